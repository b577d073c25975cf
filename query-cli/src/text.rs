//! Escapes and truncates text from the cluster for a terminal. It is untrusted: a container can put any text into an Event.

use kube9_model::invisible::{is_invisible_in_name, is_invisible_in_text};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Combining marks of one character; further ones are escaped. Written languages need up to four (pointed Hebrew, Tibetan
/// stacks); "Zalgo" text has dozens, which a terminal draws over the lines above and below.
const MARKS_MAX: usize = 4;
/// Maximum length of a cluster: a base, its marks, and joined characters. Longer sequences are measured in parts, so that
/// measuring takes linear time.
const CLUSTER_CHARS_MAX: usize = 16;

/// Escapes the invisible characters of a name, e.g. `\u{1b}`; the result is one line. Names that differ only in invisible
/// characters look different.
pub(crate) fn safe(text: &str) -> String {
    escape(text, |_, c, _| is_invisible_in_name(c))
}

/// Like [`safe`] for a sentence: keeps emoji and joined letters whole.
pub(crate) fn safe_text(text: &str) -> String {
    escape(text, is_invisible_in_text)
}

fn escape(text: &str, must_escape: impl Fn(Option<char>, char, Option<char>) -> bool) -> String {
    // Most text is plain ASCII.
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let (mut before, mut marks) = (None, 0);
    while let Some(c) = chars.next() {
        let is_mark = c.width() == Some(0);
        marks = if is_mark { marks + 1 } else { 0 };
        // A terminal draws a mark without a base character into the neighbouring column.
        let is_stray = is_mark && (marks > MARKS_MAX || matches!(before, None | Some(' ')));
        // A mark that is escaped next joins nothing.
        let after = chars.peek().copied();
        let after = after.filter(|next| next.width() != Some(0) || marks < MARKS_MAX);
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_stray || must_escape(before, c, after) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        before = out.chars().next_back();
    }
    out
}

/// [`safe`] for each line, for text whose line breaks are not from the cluster.
pub(crate) fn safe_lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// Width of the text on a terminal, in columns.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Splits text into clusters that are drawn as one, each with its width. The width of the text is at most their sum.
fn clusters(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest.chars().next()?;
        let joined = cluster_end(rest, true);
        // What a joiner joins is as wide as one emoji; other characters stay beside each other.
        let end = match width(&rest[..joined]) {
            ..=2 => joined,
            _ => cluster_end(rest, false),
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some((part, width(part)))
    })
}

/// Where the first cluster ends, which a joiner continues or not.
fn cluster_end(text: &str, joins: bool) -> usize {
    let mut before = '\0';
    let mut chars = text.char_indices().enumerate();
    let end = chars.find(|&(i, (_, c))| {
        let is_joined = joins && before == '\u{200d}' && !c.is_ascii();
        let begins = c.width() != Some(0) && !is_joined;
        before = c;
        i > 0 && (begins || i == CLUSTER_CHARS_MAX)
    });
    end.map_or(text.len(), |(_, (at, _))| at)
}

/// Truncates text to `columns`, with an ellipsis.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(available) = columns.checked_sub(1) else {
        return String::new();
    };
    let mut used = 0;
    let kept = clusters(text).take_while(|(_, columns)| {
        used += columns;
        used <= available
    });
    let end: usize = kept.map(|(part, _)| part.len()).sum();
    // A joiner at the end would join the ellipsis to the last character.
    let is_joining = |c: char| c == '\u{200d}' || c.width() == Some(0);
    format!("{}…", text[..end].trim_end_matches(is_joining))
}

/// Truncates text to `columns` in its middle: names with a common prefix differ at their ends.
pub(crate) fn fit_middle(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let tail_max = columns.saturating_sub(1) / 3;
    let parts: Vec<(&str, usize)> = clusters(text).collect();
    let mut used = 0;
    let kept = parts.iter().rev().take_while(|(_, columns)| {
        used += columns;
        used <= tail_max
    });
    let tail = &text[text.len() - kept.map(|(part, _)| part.len()).sum::<usize>()..];
    // The tail must not start with marks of the character before it.
    let tail = tail.trim_start_matches(|c: char| c == '\u{200d}' || c.width() == Some(0));
    // The head ends with the ellipsis.
    let mut out = fit(text, columns.saturating_sub(width(tail)));
    out.push_str(tail);
    out
}

/// Wraps text at `columns`, at spaces if possible.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        if !line.is_empty() && used + 1 + width(word) <= columns {
            line.push(' ');
            used += 1;
        } else if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for (part, takes) in clusters(word) {
            if used + takes > columns && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push_str(part);
            used += takes;
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

/// Plural of a kind: `Events`, `Ingresses`, `NetworkPolicies`. A name of a resource is one already: `jobs.batch`.
pub(crate) fn plural(kind: &str) -> String {
    if kind.starts_with(|first: char| first.is_ascii_lowercase()) {
        return kind.to_owned();
    }
    match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if kind.ends_with(['s', 'x']) => format!("{kind}es"),
        _ => format!("{kind}s"),
    }
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
    use kube9_model::invisible::is_invisible;

    use super::*;

    #[test]
    fn safe_escapes_control_characters() {
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
            assert!(!shown.chars().any(is_invisible), "{shown}");
        }
        assert_eq!(safe("\u{1b}[31mé 漢"), "\\u{1b}[31mé 漢");
    }

    #[test]
    fn safe_invisible_character_is_escaped() {
        for c in "\u{ad}\u{34f}\u{115f}\u{200b}\u{200c}\u{200d}\u{2060}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\
                  \u{e0041}\u{e0100}\u{f0000}\u{a0}\u{2003}\u{3000}"
            .chars()
        {
            for name in ["web", "漢字", "❤🔥"] {
                let at = name.chars().next().unwrap().len_utf8();
                let with = format!("{}{c}{}", &name[..at], &name[at..]);
                let escape = c.escape_unicode().to_string();
                assert_eq!(safe(&with), with.replace(c, &escape), "{with:?}");
                // A space that is wide by nature stays in a sentence, and so does a joiner that joins.
                let stays = is_invisible(c) && !matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}');
                assert!(!stays || safe_text(&with) == safe(&with), "{with:?}");
            }
        }
        assert_eq!(
            safe_text("👩\u{200d}👩\u{200d}👧 ⚠\u{fe0f}"),
            "👩\u{200d}👩\u{200d}👧 ⚠\u{fe0f}"
        );
    }

    #[test]
    fn safe_text_many_marks_are_escaped() {
        let zalgo = format!("a{}b", "\u{301}".repeat(7));
        assert_eq!(
            safe_text(&zalgo),
            format!("a{}{}b", "\u{301}".repeat(4), "\\u{301}".repeat(3))
        );
        assert_eq!(safe("\u{301}a \u{302}b"), "\\u{301}a \\u{302}b");
        // A joiner before a mark that is escaped.
        assert_eq!(
            safe_text("漢\u{301}\u{301}\u{301}\u{200d}\u{338}"),
            "漢\u{301}\u{301}\u{301}\\u{200d}\\u{338}"
        );
        for word in ["שָׁלוֹם", "ที่นี่", "རྒྱལ", "Việt", "한국"] {
            assert_eq!(safe(word), word);
        }
    }

    /// A megabyte of each kind of text that is slow to measure: quadratic time would be hours.
    #[test]
    fn fit_and_wrap_megabyte_takes_linear_time() {
        for unit in [
            "\u{301}",
            "a\u{301}",
            "👩\u{200d}",
            "🇩",
            "x",
            "漢",
            " ",
            "\u{1100}\u{1161}",
            "🏽",
            "ل\u{627}",
        ] {
            let long = unit.repeat((1 << 20) / unit.len());
            let shown = safe_text(&long);
            assert!(shown.len() <= 8 * long.len());
            for columns in [1, 80] {
                assert!(width(&fit(&long, columns)) <= columns);
                assert!(width(&fit_middle(&long, columns)) <= columns);
            }
            for columns in [80, usize::MAX] {
                let lines = wrap(&long, columns);
                assert!(lines.iter().all(|line| width(line) <= columns));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn fit_and_wrap_any_text_is_within_columns(
            chars in proptest::collection::vec(proptest::prop_oneof![
                proptest::char::any(),
                proptest::sample::select("ab \u{301}\u{20e3}\u{fe0f}\u{fe0e}\u{200d}\u{200c}👩🔥❤1#🇩🏽漢한ᄀ\u{1161}ل\u{627}\u{338}\u{94d}क"
                    .chars().collect::<Vec<_>>()),
            ], 0..60),
            columns in 1_usize..30,
        ) {
            let text = String::from_iter(chars);
            for text in [text.clone(), safe(&text), safe_text(&text)] {
                proptest::prop_assert!(width(&fit(&text, columns)) <= columns);
                proptest::prop_assert!(width(&fit_middle(&text, columns)) <= columns);
                for line in wrap(&text, columns.max(4)) {
                    proptest::prop_assert!(width(&line) <= columns.max(4), "{line:?}");
                }
                proptest::prop_assert_eq!(clusters(&text).map(|(part, _)| part).collect::<String>(), text);
            }
            proptest::prop_assert!(!safe(&text).chars().any(is_invisible_in_name));
            proptest::prop_assert_eq!(safe_text(&safe_text(&text)), safe_text(&text));
        }
    }

    #[test]
    fn fit_counts_columns_not_characters() {
        for (text, columns, expected) in [
            ("nginx", 5, "nginx"),
            ("nginx", 4, "ngi…"),
            ("漢字漢字", 5, "漢字…"),
            ("漢字漢字", 4, "漢…"),
            ("👩‍👩‍👧 family", 4, "👩‍👩‍👧 …"),
            ("abc", 1, "…"),
            ("®\u{200d}漢\u{200d}字", 4, "®\u{200d}漢…"),
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
    fn fit_middle_keeps_both_ends() {
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
    fn wrap_long_text_continues_on_next_line() {
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
    fn plural_follows_the_ending() {
        for (kind, expected) in [
            ("Event", "Events"),
            ("Ingress", "Ingresses"),
            ("NetworkPolicy", "NetworkPolicies"),
            ("Gateway", "Gateways"),
            ("namespaces", "namespaces"),
            ("jobs.batch", "jobs.batch"),
            ("", "s"),
        ] {
            assert_eq!(plural(kind), expected);
        }
    }

    #[test]
    fn numbers_have_separators_and_units() {
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
