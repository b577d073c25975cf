//! The userinfo part of URLs: user and password.

use super::char_class::is_space;
use super::value_shape::is_plain_word;
use super::{ByteRange, Scan};

/// 65535 has five. More digits are a password.
const PORT_DIGITS_MAX: usize = 5;

/// Punctuation after a port, as in `(see http://host:80)...`; more are part of a password.
const PUNCTUATION_MAX: usize = 3;

impl Scan<'_> {
    /// The user part of the URL whose authority begins at `at`.
    pub(super) fn user_of_url(&mut self, at: usize) -> Option<ByteRange> {
        if at >= self.url.0 {
            let end = self.skip(at, |b| {
                !is_space(b) && !matches!(b, b'"' | b'`' | b'<' | b'>')
            });
            self.url = (
                end,
                self.bytes[at..end]
                    .iter()
                    .rposition(|b| *b == b'@')
                    .map(|step| at + step),
            );
        }
        let (end, last) = self.url;
        let authority = self
            .skip(at, |b| !matches!(b, b'/' | b'?' | b'#' | b'\\'))
            .min(end);
        let Some(last) = last.filter(|last| *last > at) else {
            // The text is truncated before the `@`.
            let broken_off = authority == self.bytes.len() && self.has_password(at, authority);
            return broken_off.then_some((at, authority));
        };
        let in_authority = self.bytes[at..authority]
            .iter()
            .rposition(|b| *b == b'@')
            .map(|step| at + step);
        let to = match in_authority {
            // A password may hold what ends an authority; then the last `@` is the one.
            Some(first) if self.bytes[at..first].contains(&b':') => last,
            Some(first) => first,
            None if self.has_password(at, authority) => last,
            None => return None,
        };
        let user = &self.text[at..to];
        // `ssh://git@host`: a user without a password.
        let before = &self.text[..at];
        let named = user == "git" || before.ends_with("ssh://") || before.ends_with("sftp://");
        let name_only = named && is_plain_word(user) && !user.contains('/');
        (to > at && !name_only).then_some((at, to))
    }

    /// Whether the text before the first slash is not `host:port`, so that a later `@` may end a password.
    fn has_password(&self, at: usize, end: usize) -> bool {
        let address = if self.bytes.get(at) == Some(&b'[') {
            self.skip(at, |b| b != b']').min(end)
        } else {
            at
        };
        let port = self.bytes[address..end].iter().position(|b| *b == b':');
        port.is_some_and(|step| !is_port(&self.text[address + step + 1..end]))
    }

    /// `user:password` before `@tcp(host:port)/database`.
    pub(super) fn user_of_source_name(&self, at: usize) -> Option<ByteRange> {
        let ends = |b: &u8| is_space(*b) || matches!(b, b'"' | b'`' | b'=');
        let from = self.bytes[self.copied..at]
            .iter()
            .rposition(ends)
            .map_or(self.copied, |step| self.copied + step + 1);
        (from < at).then_some((from, at))
    }
}

/// Whether this is a port, or an empty one, with the punctuation that may follow: `80`, `80).`, `:`.
fn is_port(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let behind = &text[digits..];
    let ends_sentence = |c| {
        matches!(
            c,
            '.' | ',' | ';' | ':' | ')' | ']' | '}' | '\'' | '!' | '?'
        )
    };
    digits <= PORT_DIGITS_MAX
        && behind.len() <= PUNCTUATION_MAX
        && behind.chars().all(ends_sentence)
}
