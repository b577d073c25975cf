//! Tables with aligned columns. Escapes every cell, so that no caller can forget it.

use std::io::{self, Write};

use crate::terminal::Terminal;
use crate::text::{fit, fit_middle, safe, safe_text, width};

/// A column: its heading, and how it is truncated.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) heading: String,
    /// Width to which it can shrink; `usize::MAX` if it is never truncated.
    min_width: usize,
    /// Width in proportion to other shrinkable columns if the space is not sufficient.
    weight: usize,
    layout: CellLayout,
}

/// Alignment and truncation of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellLayout {
    /// Left-aligned, truncated at the end.
    Text,
    /// Left-aligned, truncated in the middle: names mostly differ at their ends.
    Name,
    /// Right-aligned.
    Number,
}

impl Column {
    /// Never truncated.
    pub(crate) fn fixed(heading: &str) -> Self {
        Self::shrinkable(heading, usize::MAX)
    }

    /// A number: never truncated, right-aligned.
    pub(crate) fn number(heading: &str) -> Self {
        Self {
            layout: CellLayout::Number,
            ..Self::fixed(heading)
        }
    }

    /// Truncated to no less than `min_width`.
    pub(crate) fn shrinkable(heading: &str, min_width: usize) -> Self {
        Self {
            heading: heading.to_owned(),
            min_width,
            weight: 1,
            layout: CellLayout::Text,
        }
    }

    /// Truncated in the middle, to no less than `min_width`.
    pub(crate) fn shrink_middle(heading: &str, min_width: usize) -> Self {
        Self {
            layout: CellLayout::Name,
            ..Self::shrinkable(heading, min_width)
        }
    }

    /// Sets the width in proportion to other shrinkable columns.
    pub(crate) const fn with_weight(mut self, weight: usize) -> Self {
        self.weight = weight;
        self
    }
}

const GAP: usize = 2;
/// Multiplier that keeps the division by weights precise.
const WEIGHT_SCALE: usize = 12;

/// Rows of cells under headings. A cell may have a severity, which determines its color.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A cell; its text is escaped.
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

    /// A sentence: see [`safe_text`].
    pub(crate) fn sentence(text: &str) -> Self {
        Self {
            text: safe_text(text),
            severity: None,
        }
    }

    /// Width in columns.
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

    /// Removes the column with this heading if all its cells are equal, to leave more space for the others.
    pub(crate) fn drop_constant_column(&mut self, heading: &str) {
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

    /// Writes headings and rows; no line is wider than the terminal.
    pub(crate) fn write(&self, out: &mut impl Write, terminal: Terminal) -> io::Result<()> {
        let widths = self.widths(terminal.columns);
        write_headings(out, &self.columns, &widths, terminal)?;
        self.rows
            .iter()
            .try_for_each(|row| write_row(out, row, &self.columns, &widths, terminal))
    }

    /// Widths of the columns. If they do not fit, shrinks the shrinkable columns, the widest first.
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
        let available = columns.saturating_sub(GAP * (widths.len().saturating_sub(1)));
        // No column is wider than the available space; this keeps the loop short however long a text is.
        for (width, column) in widths.iter_mut().zip(&self.columns) {
            *width = (*width).min(available.max(column.min_width));
        }
        while widths.iter().sum::<usize>() > available {
            let widest = (0..widths.len())
                .filter(|&i| widths[i] > self.columns[i].min_width)
                .max_by_key(|&i| widths[i] * WEIGHT_SCALE / self.columns[i].weight);
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
    terminal: Terminal,
) -> io::Result<()> {
    let headings: Vec<Cell> = columns
        .iter()
        .map(|column| Cell::new(&column.heading))
        .collect();
    let mut line = Vec::new();
    write_row(&mut line, &headings, columns, widths, terminal)?;
    let (begin, end) = terminal.bold();
    write!(out, "{begin}")?;
    out.write_all(line.trim_ascii_end())?;
    writeln!(out, "{end}")
}

/// Writes one row.
pub(crate) fn write_row(
    out: &mut impl Write,
    row: &[Cell],
    columns: &[Column],
    widths: &[usize],
    terminal: Terminal,
) -> io::Result<()> {
    let mut line = String::new();
    for (i, ((cell, column), &width_max)) in row.iter().zip(columns).zip(widths).enumerate() {
        let text = match column.layout {
            CellLayout::Name => fit_middle(&cell.text, width_max),
            CellLayout::Text | CellLayout::Number => fit(&cell.text, width_max),
        };
        let spare = width_max.saturating_sub(width(&text));
        let (before, after) = match column.layout {
            CellLayout::Number => (spare, GAP),
            _ if i + 1 < row.len() => (0, spare + GAP),
            // The width of the last column may be unlimited.
            _ => (0, 0),
        };
        let severity = cell.severity.as_deref().unwrap_or_default();
        line.extend(std::iter::repeat_n(' ', before));
        line.push_str(terminal.severity_start(severity));
        line.push_str(&text);
        line.push_str(terminal.severity_end(severity));
        line.extend(std::iter::repeat_n(' ', after));
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal {
        is_terminal: false,
        columns: None,
        has_colors: false,
    };

    fn shown(table: &Table, terminal: Terminal) -> String {
        let mut out = Vec::new();
        table.write(&mut out, terminal).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Table {
        let mut table = Table::new(vec![
            Column::fixed("SEVERITY"),
            Column::shrinkable("NAME", 6),
            Column::shrinkable("TEXT", 8),
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
    fn write_wide_characters_columns_are_aligned() {
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
    fn write_never_exceeds_terminal_width() {
        for columns in 40..60 {
            let text = shown(
                &sample(),
                Terminal {
                    is_terminal: true,
                    columns: Some(columns),
                    has_colors: false,
                },
            );
            assert!(text.lines().all(|line| width(line) <= columns), "{text}");
        }
    }

    #[test]
    fn drop_constant_column_equal_cells_removes_it() {
        let mut table = Table::new(vec![
            Column::fixed("TYPE"),
            Column::fixed("SEVERITY"),
            Column::fixed("NAME"),
        ]);
        table.push(vec![Cell::new("pod"), Cell::new("info"), Cell::new("a")]);
        table.push(vec![Cell::new("pod"), Cell::new("error"), Cell::new("a")]);
        table.drop_constant_column("TYPE");
        table.drop_constant_column("SEVERITY");
        assert!(shown(&table, PLAIN).starts_with("SEVERITY  NAME"));
    }

    #[test]
    fn widths_weighted_columns_shrink_last() {
        let mut table = Table::new(vec![
            Column::number("N"),
            Column::shrink_middle("OBJECT", 8),
            Column::shrinkable("TEXT", 8).with_weight(3),
        ]);
        table.push(vec![
            Cell::new("12345"),
            Cell::new("Pod/web-5d9c7b-x2x7k-and-more"),
            Cell::new("abcdefghijklmnopqrstuvwxyz0123456789"),
        ]);
        table.push(vec![Cell::new("7"), Cell::new("Pod/a"), Cell::new("b")]);
        let terminal = Terminal {
            columns: Some(49),
            ..PLAIN
        };
        assert_eq!(
            shown(&table, terminal),
            "    N  OBJECT      TEXT\n\
             12345  Pod/we…ore  abcdefghijklmnopqrstuvwxyz012…\n    7  Pod/a       b\n"
        );
    }

    #[test]
    fn write_escapes_colors_of_cells() {
        let text = shown(
            &sample(),
            Terminal {
                is_terminal: true,
                columns: Some(80),
                has_colors: true,
            },
        );
        // The headings' and the error's, each begun and ended.
        assert_eq!(text.matches('\u{1b}').count(), 4);
        assert!(text.contains("\u{1b}[31merror\u{1b}[0m"));
    }
}
