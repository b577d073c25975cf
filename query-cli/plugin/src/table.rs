//! Tables, and text of a cluster that is shown in a terminal.

use kube9_model::invisible::is_invisible_in_text;

/// Escapes what controls a terminal or is invisible.
pub(crate) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if is_invisible_in_text(before, c, rest.peek().copied()) {
            shown.extend(c.escape_unicode());
            before = Some('}');
        } else {
            shown.push(c);
            before = Some(c);
        }
    }
    shown
}

/// Aligned columns under headings; the last one is as long as its text.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|one| one.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(
                ' ',
                width.saturating_sub(cell.chars().count()) + 2,
            ));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            safe("a\u{1b}[31mb\u{202e}\n"),
            "a\\u{1b}[31mb\\u{202e}\\u{a}"
        );
        assert_eq!(safe("zażółć"), "zażółć");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned()],
            vec!["aaaaa".to_owned(), String::new()],
        ];
        assert_eq!(table(&["A", "B"], &rows), "A      B\na      bb\naaaaa\n");
    }
}
