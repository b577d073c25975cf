//! A text without its encodings: colours, invisible characters, and the escapes of JSON, HTML and URLs.
//!
//! ```text
//! pass⟨zero width space⟩word%3Dx&quot;   what is stored
//! password=x"                             what is scanned, each byte with its source offset
//! ```

/// A decoded text and where its bytes come from.
pub(super) struct View {
    /// What is scanned.
    pub(super) text: String,
    /// Start and end of the source of each byte.
    from: Vec<(u32, u32)>,
}

/// Longest escape sequence or entity; anything longer is text.
const SEQUENCE_BYTES_MAX: usize = 32;

impl View {
    /// `None` if the text has no encodings.
    pub(super) fn of(text: &str) -> Option<Self> {
        let encoded = |b: u8| {
            matches!(b, b'\\' | b'%' | b'&' | 0x7f..)
                || b < b' ' && !matches!(b, b'\n' | b'\t' | b'\r')
        };
        let first = text.bytes().position(encoded)?;
        let mut view = Self {
            text: String::new(),
            from: Vec::new(),
        };
        let (mut at, mut decoded, mut copied) = (first, false, 0);
        while at < text.len() {
            let (length, shown) = match decode(&text[at..]) {
                Some(found) => found,
                None => {
                    at += text[at..].chars().next().map_or(1, char::len_utf8);
                    continue;
                }
            };
            view.copy(text, copied, at);
            if let Some(shown) = shown {
                view.text.push(char::from(shown));
                view.from.push((at as u32, (at + length) as u32));
            }
            decoded = true;
            at += length;
            copied = at;
        }
        view.copy(text, copied, text.len());
        (decoded && u32::try_from(text.len()).is_ok()).then_some(view)
    }

    fn copy(&mut self, text: &str, from: usize, to: usize) {
        self.text.push_str(&text[from..to]);
        self.from
            .extend((from..to).map(|at| (at as u32, at as u32 + 1)));
    }

    /// The part of the stored text from which a part of the view comes.
    pub(super) fn source(&self, (from, to): (usize, usize)) -> Option<(usize, usize)> {
        let last = to.checked_sub(1)?;
        Some((
            self.from.get(from)?.0 as usize,
            self.from.get(last)?.1 as usize,
        ))
    }
}

/// The encoding at the start of the text: its length, and the ASCII character it encodes, if any.
fn decode(text: &str) -> Option<(usize, Option<u8>)> {
    let bytes = text.as_bytes();
    match bytes[0] {
        0x1b => Some((terminal_sequence(bytes, 1), None)),
        b'\n' | b'\t' | b'\r' => None,
        0..b' ' | 0x7f => Some((1, None)),
        b'\\' => backslash(bytes),
        b'%' => percent(bytes),
        b'&' => entity(bytes),
        b' '..=b'~' => None,
        _ => {
            let c = text.chars().next()?;
            shown(u32::from(c)).map(|shown| (c.len_utf8(), shown))
        }
    }
}

/// Length of what begins with an escape character of `escape` bytes: `[31m`, or the character alone.
fn terminal_sequence(bytes: &[u8], escape: usize) -> usize {
    match bytes.get(escape) {
        Some(b'[') => {
            let parameters = |b: &u8| matches!(b, b'0'..=b'?' | b' '..=b'/');
            let rest = &bytes[escape + 1..bytes.len().min(escape + 1 + SEQUENCE_BYTES_MAX)];
            let length = rest.iter().take_while(|b| parameters(b)).count();
            if rest.get(length).is_some_and(|b| matches!(b, b'@'..=b'~')) {
                escape + length + 2
            } else {
                escape
            }
        }
        _ => escape,
    }
}

/// `\x1b[31m`, `\u0022`, `\u{200b}`.
fn backslash(bytes: &[u8]) -> Option<(usize, Option<u8>)> {
    let (length, code) = match bytes.get(1)? {
        b'e' if bytes.get(2) == Some(&b'[') => (2, 0x1b),
        b'0' if bytes.starts_with(b"\\033[") => (4, 0x1b),
        b'x' => (4, hex(bytes.get(2..4)?)?),
        b'u' | b'U' if bytes.get(2) == Some(&b'{') => {
            let digits = bytes[3..]
                .iter()
                .take(7)
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            (bytes.get(3 + digits) == Some(&b'}')).then_some(())?;
            (4 + digits, hex(&bytes[3..3 + digits])?)
        }
        b'u' => (6, hex(bytes.get(2..6)?)?),
        _ => return None,
    };
    if code == 0x1b {
        return Some((terminal_sequence(bytes, length), None));
    }
    shown(code).map(|shown| (length, shown))
}

/// `%22`, also encoded twice: `%2522`.
fn percent(bytes: &[u8]) -> Option<(usize, Option<u8>)> {
    let twice = if bytes[1..].starts_with(b"25") { 2 } else { 0 };
    let code = hex(bytes.get(1 + twice..3 + twice)?)?;
    let code = u8::try_from(code).ok()?;
    matches!(
        code,
        b' ' | b'"' | b'\'' | b'&' | b',' | b':' | b'=' | b'?' | b'[' | b']' | b'{' | b'}' | b'\n'
    )
    .then_some((3 + twice, Some(code)))
}

/// `&quot;`, `&#34;`.
fn entity(bytes: &[u8]) -> Option<(usize, Option<u8>)> {
    const ENTITIES: [(&[u8], u8); 13] = [
        (b"&quot;", b'"'),
        (b"&apos;", b'\''),
        (b"&amp;", b'&'),
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&equals;", b'='),
        (b"&colon;", b':'),
        (b"&#34;", b'"'),
        (b"&#39;", b'\''),
        (b"&#58;", b':'),
        (b"&#61;", b'='),
        (b"&#x22;", b'"'),
        (b"&#x27;", b'\''),
    ];
    let found = ENTITIES.iter().find(|(name, _)| bytes.starts_with(name))?;
    Some((found.0.len(), Some(found.1)))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The ASCII look-alike of a character: `Some(None)` if it is invisible, `None` if it looks like itself.
fn shown(code: u32) -> Option<Option<u8>> {
    /// Letters of other alphabets that look like these.
    const LOOKALIKES: &[(u32, u8)] = &[
        (0x405, b'S'),
        (0x406, b'I'),
        (0x410, b'A'),
        (0x412, b'B'),
        (0x415, b'E'),
        (0x41a, b'K'),
        (0x41c, b'M'),
        (0x41d, b'H'),
        (0x41e, b'O'),
        (0x420, b'P'),
        (0x421, b'C'),
        (0x422, b'T'),
        (0x425, b'X'),
        (0x430, b'a'),
        (0x435, b'e'),
        (0x43e, b'o'),
        (0x440, b'p'),
        (0x441, b'c'),
        (0x443, b'y'),
        (0x445, b'x'),
        (0x455, b's'),
        (0x456, b'i'),
        (0x501, b'd'),
        (0x3bf, b'o'),
    ];
    match code {
        0x22 | 0x26 | 0x27 | 0x3a | 0x3c | 0x3d | 0x3e => Some(u8::try_from(code).ok()),
        0x09 | 0x0a | 0x0d => Some(Some(b' ')),
        0..0x20
        | 0x7f..0xa0
        | 0xad
        | 0x34f
        | 0x61c
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180b..=0x180e => Some(None),
        0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x206f
        | 0x3164
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xffa0
        | 0xe0000..=0xe0fff => Some(None),
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x3000 => {
            Some(Some(b' '))
        }
        0x2018..=0x201b => Some(Some(b'\'')),
        0xab | 0xbb | 0x201c..=0x201f => Some(Some(b'"')),
        0xff01..=0xff5e => Some(u8::try_from(code - 0xfee0).ok()),
        _ => LOOKALIKES
            .iter()
            .find(|one| one.0 == code)
            .map(|one| Some(one.1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_decodes_escapes_and_invisible_characters() {
        for (text, seen) in [
            ("a\u{1b}[31mb\u{1b}c", "abc"),
            (r"a\x1b[0;31mb\u001b[0mc\u{1b}[1md\033[0me", "abcde"),
            ("pass\u{200b}word\u{feff}\u{ff1d}x", "password=x"),
            ("%22a%22%3D%253Db", "\"a\"==b"),
            (r"\u0022a\u0022&quot;&#61;", "\"a\"\"="),
            ("é\u{a0}\u{201c}x\u{201d}", "é \"x\""),
        ] {
            let view = View::of(text).expect("it has encodings");
            assert_eq!(view.text, seen, "{text}");
            assert_eq!(view.from.len(), view.text.len());
        }
        for text in ["plain", "a\\b %zz & é 中\n", "100% \\u12"] {
            assert!(View::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn view_sources_are_parts_of_the_text() {
        let text = "x\u{200b}é%3Dy";
        let view = View::of(text).expect("it has encodings");
        assert_eq!(view.text, "xé=y");
        assert_eq!(
            &text[view
                .source((3, 5))
                .map(|(from, to)| from..to)
                .expect("a part")],
            "%3Dy"
        );
    }
}
