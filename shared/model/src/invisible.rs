//! Characters that must be escaped because they are invisible or control a terminal; the same for recorder and query.
//!
//! ```text
//!   is_invisible          control, bidirectional, zero-width, filler, tag and private-use characters
//!   is_invisible_in_name  these, and every space but U+0020, so that names which look equal are equal
//!   is_invisible_in_text  these, except joiners between letters or emoji, which change how they look
//! ```

/// Whether a character controls a terminal, changes the order of text, or is invisible.
///
/// Default_Ignorable_Code_Point of Unicode 16 (DerivedCoreProperties.txt), controls and separators, and characters that fonts
/// leave blank: private use, noncharacters, U+2800, U+FFFC and the format controls of single scripts.
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        // ASCII first: nearly every character.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{fffe}'..='\u{ffff}'
        | '\u{13430}'..='\u{1343f}' | '\u{16fe4}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
        // The last two of each plane are noncharacters.
        || (c as u32) & 0xfffe == 0xfffe
}

/// Whether a character must be escaped in a name: [`is_invisible`], and every space that is not U+0020.
pub const fn is_invisible_in_name(c: char) -> bool {
    is_invisible(c)
        || matches!(
            c,
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
        )
}

/// Whether a character must be escaped in a sentence, between the characters before and after it: [`is_invisible`],
/// except a joiner (Persian, Indic scripts, emoji) or a variation selector of an emoji that changes how the text looks.
///
/// `before` is the previous character as it is shown: after an escape, its last one.
pub const fn is_invisible_in_text(before: Option<char>, c: char, after: Option<char>) -> bool {
    if !is_invisible(c) {
        return false;
    }
    match (before, c, after) {
        (Some('0'..='9' | '#' | '*'), '\u{fe0f}', Some('\u{20e3}')) => false,
        (Some(before), '\u{fe0e}' | '\u{fe0f}', _) => !is_joined(before),
        (Some(before), '\u{200c}' | '\u{200d}', Some(after)) => {
            !(is_joined(after) && (is_joined(before) || matches!(before, '\u{fe0f}')))
        }
        _ => true,
    }
}

/// What a joiner can join: no script that is written in ASCII has joined letters.
const fn is_joined(c: char) -> bool {
    !c.is_ascii() && !is_invisible_in_name(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for (i, &c) in chars.iter().enumerate() {
            if is_invisible_in_text(out.chars().last(), c, chars.get(i + 1).copied()) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        out
    }

    #[test]
    fn hides_every_kind_that_shows_nothing() {
        for c in "\0\u{1b}\u{7f}\u{85}\u{9b}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200c}\u{200d}\
                  \u{200e}\u{2028}\u{202e}\u{2060}\u{2061}\u{2064}\u{2066}\u{206f}\u{2800}\u{3164}\u{e000}\u{fdd0}\u{fe00}\
                  \u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{fffb}\u{fffe}\u{1bca0}\u{1d173}\u{1fffe}\u{e0001}\u{e0020}\u{e007f}\u{e0100}\
                  \u{e01ef}\u{f0000}\u{10fffd}\u{10ffff}"
            .chars()
        {
            assert!(is_invisible(c) && is_invisible_in_name(c), "{c:?}");
        }
    }

    #[test]
    fn hides_no_letter_digit_or_sign() {
        for c in ('!'..='~').chain("éß漢字한국어अะأ🚀❤→×…\u{301}\u{20e3}\u{fffd}".chars())
        {
            assert!(!is_invisible(c) && !is_invisible_in_name(c), "{c:?}");
        }
        for space in ['\u{a0}', '\u{2003}', '\u{3000}'] {
            assert!(
                !is_invisible(space) && is_invisible_in_name(space),
                "{space:?}"
            );
        }
    }

    #[test]
    fn hides_in_text_joiner_kept_only_where_it_joins() {
        for kept in [
            "👩\u{200d}👩\u{200d}👧 done",
            "❤\u{fe0f}\u{200d}🔥 hot",
            "⚠\u{fe0f} disk",
            "می\u{200c}خواهم",
            "क\u{94d}\u{200d}ष",
            "1\u{fe0f}\u{20e3}",
        ] {
            assert_eq!(shown(kept), kept);
        }
        for (hidden, expected) in [
            ("we\u{200d}b", "we\\u{200d}b"),
            ("web\u{fe0f}", "web\\u{fe0f}"),
            ("🚀\u{200d}", "🚀\\u{200d}"),
            ("\u{200c}漢", "\\u{200c}漢"),
            ("漢\u{200d}\u{200d}字", "漢\\u{200d}\\u{200d}字"),
            ("🏴\u{e0067}\u{e007f}", "🏴\\u{e0067}\\u{e007f}"),
            ("漢\u{200b}字", "漢\\u{200b}字"),
        ] {
            assert_eq!(shown(hidden), expected, "{hidden:?}");
            assert_eq!(shown(&shown(hidden)), expected, "{hidden:?}");
        }
    }
}
