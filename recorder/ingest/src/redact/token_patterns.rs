//! Secrets that their own form gives away, whatever stands around them.

use super::REDACTED;

/// A token that was recognized.
pub(super) struct Token {
    /// Where it ends.
    pub(super) end: usize,
    /// It is the id of an AWS key: the key itself is likely near, and has no form of its own.
    pub(super) aws: bool,
}

/// First bytes of tokens, and which bytes may come second.
#[rustfmt::skip]
const BEGINNINGS: [(u8, &[u8]); 14] = [
    (b'e', b"y"), (b'A', b"KSIG"), (b'S', b"G"), (b'-', b"-"), (b'd', b"o"), (b'g', b"hil"), (b'h', b"fv"),
    (b'n', b"p"), (b'p', b"y"), (b's', b"kh"), (b'r', b"k"), (b'w', b"h"), (b'x', b"oa"), (b'y', b"a"),
];

/// For each first byte a bit for every beginning that it is of, for each second byte the same.
const PAIRS: ([u16; 256], [u16; 256]) = {
    let (mut first, mut second) = ([0; 256], [0; 256]);
    let mut at = 0;
    while at < BEGINNINGS.len() {
        let (byte, next) = BEGINNINGS[at];
        first[byte as usize] |= 1 << at;
        let mut i = 0;
        while i < next.len() {
            second[next[i] as usize] |= 1 << at;
            i += 1;
        }
        at += 1;
    }
    (first, second)
};

/// Whether two bytes can begin a token at all; most bytes of most texts cannot, and are done with here.
#[inline]
pub(super) fn may_begin(first: u8, second: Option<&u8>) -> bool {
    second.is_some_and(|second| PAIRS.0[first as usize] & PAIRS.1[*second as usize] != 0)
}

/// The token that begins at `at`. Called at every byte of a word, so the first bytes decide.
#[rustfmt::skip]
pub(super) fn token(text: &str, at: usize) -> Option<Token> {
    let rest = &text.as_bytes()[at..];
    // How long the prefix is, how many characters must follow it, and which may.
    let (prefix, min, which): (usize, usize, fn(u8) -> bool) = match rest {
        [b'e', b'y', b'J', ..] => (3, 10, wide),
        [b'A', b'K' | b'S', b'I', b'A', ..] => (4, 12, capital),
        [b'A', b'I', b'z', b'a', ..] => (4, 16, word),
        [b'A', b'G', b'E', b'-', ..] if rest.starts_with(b"AGE-SECRET-KEY-") => (15, 6, word),
        [b'S', b'G', b'.', ..] => (3, 20, wide),
        [b'-', b'-', b'-', b'-', b'-', b'B', ..] if rest.starts_with(b"-----BEGIN") => {
            return Some(Token { end: end_of_pem(text, at), aws: false });
        }
        [b'd', b'o', b'p', b'_', b'v', b'1', b'_', ..] => (7, 6, word),
        [b'g', b'h', b'p' | b'o' | b'u' | b's' | b'r', b'_', ..] => (4, 6, word),
        [b'g', b'i', b't', b'h', b'u', b'b', b'_', b'p', b'a', b't', b'_', ..] => (11, 6, word),
        [b'g', b'l', b'p', b'a', b't', b'-', ..] => (6, 6, word),
        [b'h', b'f', b'_', ..] => (3, 20, word),
        [b'h', b'v', b's' | b'b' | b'r', b'.', ..] => (4, 16, wide),
        [b'n', b'p', b'm', b'_', ..] => (4, 20, word),
        [b'p', b'y', b'p', b'i', b'-', b'A', ..] => (6, 16, word),
        [b's' | b'r', b'k', b'_', b'l', b'i', b'v', b'e', b'_', ..] => (8, 6, word),
        [b's' | b'r', b'k', b'_', b't', b'e', b's', b't', b'_', ..] => (8, 6, word),
        [b's', b'k', b'-', b'a', b'n', b't', b'-', ..] => (7, 6, word),
        [b's', b'k', b'-', b'p', b'r', b'o', b'j', b'-', ..] => (8, 6, word),
        [b's', b'h', b'p', b'a', b't', b'_', ..] => (6, 20, word),
        [b'w', b'h', b's', b'e', b'c', b'_', ..] => (6, 6, word),
        [b'x', b'o', b'x', b'a'..=b'z', b'-', ..] => (5, 6, word),
        [b'x', b'a', b'p', b'p', b'-', ..] => (5, 6, word),
        [b'y', b'a', b'2', b'9', b'.', ..] => (5, 16, wide),
        _ => return None,
    };
    let follow = rest[prefix..].iter().take_while(|b| which(**b)).count();
    // At the end of the text it may have been broken off.
    let broken_off = follow > 0 && prefix + follow == rest.len();
    let aws = rest.starts_with(b"A") && rest[2..].starts_with(b"IA");
    (follow >= min || broken_off).then_some(Token { end: at + prefix + follow, aws })
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn wide(byte: u8) -> bool {
    word(byte) || matches!(byte, b'.' | b'+' | b'/' | b'=')
}

fn capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// End of the PEM block that begins at `at`; the end of the text if it breaks off.
fn end_of_pem(text: &str, at: usize) -> usize {
    const END: &str = "-----END";
    let Some(step) = text[at..].find(END) else {
        return text.len();
    };
    let label = &text[at + step + END.len()..];
    // The label and its dashes; what is no label is not swallowed.
    let after_label = label.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
    text.len() - after_label.trim_start_matches('-').len()
}

/// Whether base64 text holds `user:password`, or, where the text breaks off, the beginning of a user.
pub(super) fn decodes_to_pair(token: &str, broken_off: bool) -> bool {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in token.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            match (bits >> count) as u8 {
                b':' => return true,
                b' '..=b'~' => {}
                _ => return false,
            }
        }
    }
    broken_off
}

/// AWS secret keys carry no mark: 40 characters of base64 beside a key id, or fewer where the text breaks off.
pub(super) fn hide_aws_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))
    {
        let (before, from) = rest.split_at(start);
        let length = from
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')))
            .unwrap_or(from.len());
        out.push_str(before);
        let secret = length == 40 || (length == from.len() && (6..40).contains(&length));
        out.push_str(if secret { REDACTED } else { &from[..length] });
        rest = &from[length..];
    }
    out.push_str(rest);
    out
}
