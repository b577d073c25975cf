//! Termination messages of containers.

use std::borrow::Cow;

use crate::sanitize::clean_text;

/// Longest termination message that is kept, in bytes. The kubelet passes on at most 4 KiB.
pub const LAST_WORDS_BYTES_MAX: usize = 1024;

/// Where a message is cut.
pub(super) const CUT: &str = " … ";

/// The message redacted, escaped, and without its middle if it is too long: some programs print the error first and then a
/// stack, others the error last.
pub(super) fn last_words(message: &str) -> Box<str> {
    // Redaction comes first: half of a secret is not recognised. It may make the text longer.
    let clean = clean_text(without_colours(message).trim(), usize::MAX);
    if clean.len() <= LAST_WORDS_BYTES_MAX {
        return clean.into();
    }
    let half = (LAST_WORDS_BYTES_MAX - CUT.len()) / 2;
    let start = &clean[..clean.floor_char_boundary(half)];
    let end = &clean[clean.ceil_char_boundary(clean.len() - half)..];
    clean_text(&format!("{start}{CUT}{end}"), LAST_WORDS_BYTES_MAX).into()
}

/// Without the sequences that set colours (`ESC [ … m`): many loggers write them, and escaped they hide the words.
fn without_colours(message: &str) -> Cow<'_, str> {
    const START: &str = "\u{1b}[";
    if !message.contains(START) {
        return Cow::Borrowed(message);
    }
    let mut parts = message.split(START);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => text.push_str(rest),
            None => text.extend([START, part]),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::{LAST_WORDS_BYTES_MAX, last_words};

    #[test]
    fn last_words_are_trimmed_and_escaped() {
        assert_eq!(&*last_words(" panic: x\n\tat y\n"), "panic: x\\n\\tat y");
        assert_eq!(
            &*last_words("a\0b\u{1b}[1;31mred\u{1b}[0m\u{202e}\u{1b}[2Jx\u{1b}["),
            "a\\u{0}bred\\u{202e}\\u{1b}[2Jx\\u{1b}["
        );
        assert_eq!(&*last_words(" \n "), "");
    }

    #[test]
    fn long_last_words_keep_start_and_end() {
        for middle in ["x", "é", "€", "\0"] {
            let text = format!("panic: first{}fatal: last", middle.repeat(4096));
            let words = last_words(&text);
            assert!(words.len() <= LAST_WORDS_BYTES_MAX, "{}", words.len());
            assert!(words.len() > LAST_WORDS_BYTES_MAX - 16, "{}", words.len());
            assert!(words.starts_with("panic: first") && words.ends_with("fatal: last"));
            assert!(words.contains(" … "), "{words}");
        }
    }

    /// Every offset of the cut within a secret.
    #[test]
    fn last_words_are_redacted_before_they_are_cut() {
        let secret = "planted7Kq2vX9mLwZ4tRbN";
        for before in (400..600).chain(3400..3500) {
            let text = format!(
                "{} password={secret} {}",
                "y".repeat(before),
                "z".repeat(4000 - before)
            );
            let words = last_words(&text);
            for part in secret.as_bytes().windows(6) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(!words.contains(part), "{before}: {words}");
            }
        }
    }

    /// As loggers colour keys and values: logrus, zerolog.
    #[test]
    fn colours_do_not_hide_a_secret() {
        for text in [
            "\u{1b}[31mERRO\u{1b}[0m[0000] login failed \u{1b}[31mpassword\u{1b}[0m=planted7Kq2vX9m",
            "\u{1b}[90m10:00\u{1b}[0m login \u{1b}[36mpassword=\u{1b}[0mplanted7Kq2vX9m",
            "\u{1b}[36mpassword:\u{1b}[0m \u{1b}[1;33mplanted7Kq2vX9m\u{1b}[0m",
            "postgres://app:\u{1b}[33mplanted7Kq2vX9m\u{1b}[0m@db/shop",
        ] {
            let words = last_words(text);
            assert!(
                !words.contains("planted") && !words.contains("1b"),
                "{words}"
            );
        }
    }
}
