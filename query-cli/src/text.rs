//! Text from a cluster on its way to a terminal. It is hostile: a container can write what it likes into an Event.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character could do something to a terminal, or to the order in which text is shown, other than appear; or is
/// none, so that some readers refuse it.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hostile character written out, e.g. `\u{1b}`; never more than one line.
pub(crate) fn safe(text: &str) -> String {
    // Most text is plain ASCII.
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hostile(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// [`safe`] line by line, for text whose line breaks are ours.
pub(crate) fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// Columns that the text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text cut to `columns`, with an ellipsis where something is missing.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        // The width of a sequence (an emoji with modifiers) is not the sum of its parts, so measure what is there.
        out.push(c);
        if width(&out) > room {
            out.pop();
            break;
        }
    }
    // No joiner may be left that would draw the ellipsis into the last character.
    while out.ends_with(|c: char| c == '\u{200d}' || c.width() == Some(0)) {
        out.pop();
    }
    out.push('…');
    out
}

/// The text cut to `columns` in its middle: names that begin alike differ in their ends.
pub(crate) fn fit_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1) / 3;
    let mut at = text.len();
    for (i, _) in text.char_indices().rev() {
        if width(&text[i..]) > room {
            break;
        }
        at = i;
    }
    // A tail may not begin with what belongs to the character before it.
    let tail = text[at..].trim_start_matches(|c: char| c == '\u{200d}' || c.width() == Some(0));
    // The head's last column is the ellipsis.
    let mut out = fit(text, columns.saturating_sub(width(tail)));
    out.push_str(tail);
    out
}

/// The text in lines of at most `columns`, broken at spaces where there are any.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && width(&line) + 1 + width(word) <= columns {
            line.push(' ');
        } else if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            line.push(c);
            if width(&line) > columns && line.chars().count() > 1 {
                line.pop();
                lines.push(std::mem::replace(&mut line, c.to_string()));
            }
        }
    }
    lines.push(line);
    lines
}

/// 1234567 → `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `1,234 events`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// 12582912 → `12.0 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    let mut size = number as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return if unit == "B" {
                format!("{number} B")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_left() {
        for text in [
            "\u{1b}[2J",
            "a\u{9b}31m",
            "x\r\ny\tz",
            "\u{202e}txt.exe",
            "\u{7f}",
            "\0",
            "\u{2028}",
        ] {
            let shown = safe(text);
            assert!(!shown.chars().any(is_hostile), "{shown}");
        }
        assert_eq!(safe("\u{1b}[31mé 漢"), "\\u{1b}[31mé 漢");
    }

    #[test]
    fn text_is_cut_by_columns_not_characters() {
        for (text, columns, expected) in [
            ("nginx", 5, "nginx"),
            ("nginx", 4, "ngi…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("👩‍👩‍👧 family", 4, "👩‍👩‍👧 …"),
            ("abc", 1, "…"),
            // A joiner would draw the ellipsis into the character before it.
            ("a\u{200d}bcd", 2, "a…"),
            ("e\u{301}\u{301}xyz", 2, "e…"),
        ] {
            let cut = fit(text, columns);
            assert_eq!(cut, expected, "{text}");
            assert!(width(&cut) <= columns);
        }
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        for (text, columns, expected) in [
            ("web-5d9c7b-x2x7k", 16, "web-5d9c7b-x2x7k"),
            ("web-5d9c7b-x2x7k", 13, "web-5d9c…2x7k"),
            ("web-5d9c7b-x2x7k", 2, "w…"),
            ("漢字漢字漢字", 8, "漢字…字"),
            ("family-👩‍👩‍👧", 6, "famil…"),
        ] {
            let cut = fit_middle(text, columns);
            assert_eq!(cut, expected, "{text}");
            assert!(width(&cut) <= columns);
        }
    }

    #[test]
    fn long_text_goes_on_in_the_next_line() {
        for (text, columns, expected) in [
            (
                "it failed because of that",
                10,
                &["it failed", "because of", "that"][..],
            ),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("漢字漢字", 5, &["漢字", "漢字"]),
            ("", 5, &[""]),
        ] {
            assert_eq!(wrap(text, columns), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 1, 2000].map(|number| counted(number, "change")),
            ["0 changes", "1 change", "2,000 changes"]
        );
        assert_eq!(
            [12, 2048, 12_582_912, 3 << 40, 2048 << 40].map(bytes),
            ["12 B", "2.0 KiB", "12.0 MiB", "3.0 TiB", "2048.0 TiB"]
        );
    }
}
