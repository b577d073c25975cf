//! Aligned columns for people. Every cell is made safe here, so no caller can forget it.

use std::io::{self, Write};

use crate::screen::Screen;
use crate::text::{fit, safe, width};

/// A column: its heading and how narrow it may become.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) heading: String,
    /// Columns below which it is not cut; `usize::MAX` where it is never cut.
    pub(crate) least: usize,
}

impl Column {
    /// Never cut.
    pub(crate) fn fixed(heading: &str) -> Self {
        Self::named(heading.to_owned(), usize::MAX)
    }

    /// Cut to no less than `least`.
    pub(crate) fn elastic(heading: &str, least: usize) -> Self {
        Self::named(heading.to_owned(), least)
    }

    pub(crate) const fn named(heading: String, least: usize) -> Self {
        Self { heading, least }
    }
}

const GAP: usize = 2;

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

    /// On a terminal narrower than `columns`, leaves out the columns under these headings that say the same in every
    /// row, so that the others have room.
    pub(crate) fn spare(&mut self, screen: Screen, columns: usize, headings: &[&str]) {
        if screen.columns.is_none_or(|there| there >= columns) {
            return;
        }
        for heading in headings {
            let Some(at) = self
                .columns
                .iter()
                .position(|column| column.heading == *heading)
            else {
                continue;
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
    }

    /// Writes headings and rows; on a terminal no line is wider than it.
    pub(crate) fn write(&self, out: &mut impl Write, screen: Screen) -> io::Result<()> {
        let widths = self.widths(screen.columns);
        self.write_headings(out, &widths)?;
        self.rows
            .iter()
            .try_for_each(|row| write_row(out, row, &widths, screen))
    }

    pub(crate) fn write_headings(&self, out: &mut impl Write, widths: &[usize]) -> io::Result<()> {
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(&column.heading))
            .collect();
        write_row(
            out,
            &headings,
            widths,
            Screen {
                is_terminal: false,
                columns: None,
                colours: false,
            },
        )
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
        while widths.iter().sum::<usize>() > room {
            let widest = (0..widths.len())
                .filter(|&i| widths[i] > self.columns[i].least)
                .max_by_key(|&i| widths[i]);
            match widest {
                Some(i) => widths[i] -= 1,
                None => break,
            }
        }
        widths
    }
}

pub(crate) fn write_row(
    out: &mut impl Write,
    row: &[Cell],
    widths: &[usize],
    screen: Screen,
) -> io::Result<()> {
    let mut line = String::new();
    for (i, (cell, &columns)) in row.iter().zip(widths).enumerate() {
        let text = fit(&cell.text, columns);
        let severity = cell.severity.as_deref().unwrap_or_default();
        let padding = if i + 1 < row.len() {
            columns.saturating_sub(width(&text)) + GAP
        } else {
            0
        };
        line.push_str(screen.begin(severity));
        line.push_str(&text);
        line.push_str(screen.end(severity));
        line.extend(std::iter::repeat_n(' ', padding));
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
    fn a_narrow_terminal_is_spared_what_is_always_the_same() {
        let narrow = Screen {
            is_terminal: true,
            columns: Some(80),
            colours: false,
        };
        for (screen, expected) in [(narrow, "SEVERITY  NAME"), (PLAIN, "TYPE  SEVERITY")] {
            let mut table = Table::new(vec![
                Column::fixed("TYPE"),
                Column::fixed("SEVERITY"),
                Column::fixed("NAME"),
            ]);
            table.push(vec![Cell::new("pod"), Cell::new("info"), Cell::new("a")]);
            table.push(vec![Cell::new("pod"), Cell::new("error"), Cell::new("a")]);
            table.spare(screen, 120, &["TYPE", "SEVERITY"]);
            assert!(shown(&table, screen).starts_with(expected));
        }
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
        assert_eq!(text.matches('\u{1b}').count(), 2);
        assert!(text.contains("\u{1b}[31merror\u{1b}[0m"));
    }
}
