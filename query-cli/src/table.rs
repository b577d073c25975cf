//! Aligned columns for people. Every cell is made safe here, so no caller can forget it.

use std::io::{self, Write};

use crate::screen::Screen;
use crate::text::{fit, fit_middle, safe, safe_text, width};

/// A column: its heading and how narrow it may become.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) heading: String,
    /// Columns below which it is not cut; `usize::MAX` where it is never cut.
    least: usize,
    /// How many times as wide as another elastic column it may be when there is too little room.
    weight: usize,
    shape: Shape,
}

/// How a column's cells lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Text: at the left, what is too long loses its end.
    Text,
    /// Names, which differ in their ends: what is too long loses its middle.
    Name,
    /// At the right.
    Number,
}

impl Column {
    /// Never cut.
    pub(crate) fn fixed(heading: &str) -> Self {
        Self::elastic(heading, usize::MAX)
    }

    /// Never cut, at the right.
    pub(crate) fn number(heading: &str) -> Self {
        Self {
            shape: Shape::Number,
            ..Self::fixed(heading)
        }
    }

    /// Cut to no less than `least`.
    pub(crate) fn elastic(heading: &str, least: usize) -> Self {
        Self {
            heading: heading.to_owned(),
            least,
            weight: 1,
            shape: Shape::Text,
        }
    }

    /// Cut in the middle, to no less than `least`.
    pub(crate) fn name(heading: &str, least: usize) -> Self {
        Self {
            shape: Shape::Name,
            ..Self::elastic(heading, least)
        }
    }

    /// So many times as wide as the others where there is too little room.
    pub(crate) const fn weighing(mut self, weight: usize) -> Self {
        self.weight = weight;
        self
    }
}

const GAP: usize = 2;
/// What the weights divide evenly enough.
const WEIGHTS: usize = 12;

/// Rows of cells under headings. A cell may have a severity, which colours it.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A cell's text, safe to show.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    severity: Option<String>,
}

impl Cell {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: safe(text),
            severity: None,
        }
    }

    /// Of a sentence: see [`safe_text`].
    pub(crate) fn text(text: &str) -> Self {
        Self {
            text: safe_text(text),
            severity: None,
        }
    }

    /// Columns that it takes.
    pub(crate) fn width(&self) -> usize {
        width(&self.text)
    }

    pub(crate) fn severity(word: &str) -> Self {
        Self {
            text: safe(word),
            severity: Some(word.to_owned()),
        }
    }
}

impl Table {
    pub(crate) const fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Leaves out the column under this heading if it says the same in every row, so that the others have room.
    pub(crate) fn spare(&mut self, heading: &str) {
        let Some(at) = self
            .columns
            .iter()
            .position(|column| column.heading == heading)
        else {
            return;
        };
        let first = self.rows.first().map(|row| row[at].text.clone());
        if self
            .rows
            .iter()
            .all(|row| Some(&row[at].text) == first.as_ref())
        {
            self.columns.remove(at);
            self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
        }
    }

    /// Writes headings and rows; on a terminal no line is wider than it.
    pub(crate) fn write(&self, out: &mut impl Write, screen: Screen) -> io::Result<()> {
        let widths = self.widths(screen.columns);
        write_headings(out, &self.columns, &widths, screen)?;
        self.rows
            .iter()
            .try_for_each(|row| write_row(out, row, &self.columns, &widths, screen))
    }

    /// Widths that show everything, or, where that does not fit, with the elastic columns cut: the widest first.
    pub(crate) fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let cells = self
                    .rows
                    .iter()
                    .map(|row| width(&row[i].text))
                    .max()
                    .unwrap_or(0);
                cells.max(width(&column.heading))
            })
            .collect();
        let Some(columns) = columns else {
            return widths;
        };
        let room = columns.saturating_sub(GAP * (widths.len().saturating_sub(1)));
        // One column alone never gets more than there is; then the loop is short however long a text.
        for (width, column) in widths.iter_mut().zip(&self.columns) {
            *width = (*width).min(room.max(column.least));
        }
        while widths.iter().sum::<usize>() > room {
            let widest = (0..widths.len())
                .filter(|&i| widths[i] > self.columns[i].least)
                .max_by_key(|&i| widths[i] * WEIGHTS / self.columns[i].weight);
            match widest {
                Some(i) => widths[i] -= 1,
                None => break,
            }
        }
        widths
    }
}

/// Writes the headings of columns.
pub(crate) fn write_headings(
    out: &mut impl Write,
    columns: &[Column],
    widths: &[usize],
    screen: Screen,
) -> io::Result<()> {
    let headings: Vec<Cell> = columns
        .iter()
        .map(|column| Cell::new(&column.heading))
        .collect();
    let mut line = Vec::new();
    write_row(&mut line, &headings, columns, widths, screen)?;
    let (begin, end) = screen.strong();
    write!(out, "{begin}")?;
    out.write_all(line.trim_ascii_end())?;
    writeln!(out, "{end}")
}

/// Writes cells side by side.
pub(crate) fn write_row(
    out: &mut impl Write,
    row: &[Cell],
    columns: &[Column],
    widths: &[usize],
    screen: Screen,
) -> io::Result<()> {
    let mut line = String::new();
    for (i, ((cell, column), &room)) in row.iter().zip(columns).zip(widths).enumerate() {
        let text = match column.shape {
            Shape::Name => fit_middle(&cell.text, room),
            Shape::Text | Shape::Number => fit(&cell.text, room),
        };
        let spare = room.saturating_sub(width(&text));
        let (before, after) = match column.shape {
            Shape::Number => (spare, GAP),
            _ if i + 1 < row.len() => (0, spare + GAP),
            // The last may be without bounds.
            _ => (0, 0),
        };
        let severity = cell.severity.as_deref().unwrap_or_default();
        line.extend(std::iter::repeat_n(' ', before));
        line.push_str(screen.begin(severity));
        line.push_str(&text);
        line.push_str(screen.end(severity));
        line.extend(std::iter::repeat_n(' ', after));
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen {
        is_terminal: false,
        columns: None,
        colours: false,
    };

    fn shown(table: &Table, screen: Screen) -> String {
        let mut out = Vec::new();
        table.write(&mut out, screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::fixed("SEVERITY"),
            Column::elastic("NAME", 6),
            Column::elastic("TEXT", 8),
        ]);
        table.push(vec![
            Cell::severity("error"),
            Cell::new("漢字"),
            Cell::new("it \u{1b}[2J failed because of that"),
        ]);
        table.push(vec![
            Cell::severity("info"),
            Cell::new("🚀-pod"),
            Cell::new("fine"),
        ]);
        table
    }

    #[test]
    fn columns_line_up_whatever_the_width_of_the_characters() {
        let text = shown(&sample(), PLAIN);
        let starts: Vec<usize> = text
            .lines()
            .map(|line| {
                ["TEXT", "it ", "fine"]
                    .iter()
                    .find_map(|word| line.find(word))
                    .map(|at| width(&line[..at]))
                    .unwrap()
            })
            .collect();
        assert_eq!(starts, [18, 18, 18]);
        assert!(text.contains("\\u{1b}[2J") && !text.contains('\u{1b}'));
    }

    #[test]
    fn a_terminal_is_never_overrun() {
        for columns in 40..60 {
            let text = shown(
                &sample(),
                Screen {
                    is_terminal: true,
                    columns: Some(columns),
                    colours: false,
                },
            );
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        }
    }

    #[test]
    fn what_is_always_the_same_can_be_spared() {
        let mut table = Table::new(vec![
            Column::fixed("TYPE"),
            Column::fixed("SEVERITY"),
            Column::fixed("NAME"),
        ]);
        table.push(vec![Cell::new("pod"), Cell::new("info"), Cell::new("a")]);
        table.push(vec![Cell::new("pod"), Cell::new("error"), Cell::new("a")]);
        table.spare("TYPE");
        table.spare("SEVERITY");
        assert!(shown(&table, PLAIN).starts_with("SEVERITY  NAME"));
    }

    #[test]
    fn heavy_columns_are_cut_last_and_names_in_the_middle() {
        let mut table = Table::new(vec![
            Column::number("N"),
            Column::name("OBJECT", 8),
            Column::elastic("TEXT", 8).weighing(3),
        ]);
        table.push(vec![
            Cell::new("12345"),
            Cell::new("Pod/web-5d9c7b-x2x7k-and-more"),
            Cell::new("abcdefghijklmnopqrstuvwxyz0123456789"),
        ]);
        table.push(vec![Cell::new("7"), Cell::new("Pod/a"), Cell::new("b")]);
        let screen = Screen {
            columns: Some(49),
            ..PLAIN
        };
        assert_eq!(
            shown(&table, screen),
            "    N  OBJECT      TEXT\n\
             12345  Pod/we…ore  abcdefghijklmnopqrstuvwxyz012…\n    7  Pod/a       b\n"
        );
    }

    #[test]
    fn only_our_colours_reach_a_terminal() {
        let text = shown(
            &sample(),
            Screen {
                is_terminal: true,
                columns: Some(80),
                colours: true,
            },
        );
        // The headings' and the error's, each begun and ended.
        assert_eq!(text.matches('\u{1b}').count(), 4);
        assert!(text.contains("\u{1b}[31merror\u{1b}[0m"));
    }
}
