//! Takes secrets out of a text. Pure; one pass, linear in the text, nothing allocated where there is no secret.
//!
//! What is taken out, and stands as `[REDACTED]`:
//! - the value of a key that promises a secret (`sensitive_key.rs`): `password=x`, `token: x`, `"auth":"x"` (also in JSON
//!   inside JSON), `--password x`, `?token=x`, `{"name":"DB_PASSWORD","value":"x"}`;
//! - the user part of a URL and of a Go database source name;
//! - `Bearer x`, `Basic x`; JSON web tokens; tokens that their issuers made recognizable; PEM blocks.
//!
//! Sentences of Kubernetes must stay readable, and they have such words too: `secret "db-creds" not found`, `failed to
//! fetch token: unexpected status`, `image "auth:1.2"`. Where a text can be read both ways, a value after `=` is a
//! secret, and after a colon it is one unless it is a word with which such sentences go on.

use std::borrow::Cow;

use crate::sensitive_key::{Secrecy, secrecy};
/// The text that stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

use char_class::{is_blank, is_key, is_space, quote_bit};
use stopwords::is_prose;
use token_patterns::{decodes_to_pair, hide_aws_secrets};

mod char_class;
mod stopwords;
mod token_patterns;
mod userinfo;
mod value_end;

/// Replaces the secrets in a text.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        copied: 0,
        out: String::new(),
        quotes_seen: 0,
        url: (0, None),
        aws: false,
    };
    scan.run();
    let Scan {
        copied,
        mut out,
        aws,
        ..
    } = scan;
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(if aws { hide_aws_secrets(&out) } else { out })
}

struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// Up to here the text is in `out`.
    copied: usize,
    out: String,
    /// Quotes met so far, a bit each: only such a quote can end an unquoted value.
    quotes_seen: u8,
    /// The stretch without space that was searched for a user part: its end, and its last `@`.
    url: (usize, Option<usize>),
    /// An AWS key id was met; its secret, 40 characters without any mark, is likely near.
    aws: bool,
}

/// A key and what stands between it and its value.
#[derive(Clone, Copy)]
struct Pair {
    /// Where the key begins.
    start: usize,
    /// Where the value may begin.
    at: usize,
    /// A quote follows the key.
    quoted: bool,
    /// `:`, or else `=`.
    colon: bool,
    /// There is space before the colon.
    space_before: bool,
    secrecy: Secrecy,
}

type Span = (usize, usize);

impl Scan<'_> {
    fn run(&mut self) {
        let mut i = 0;
        while let Some(&byte) = self.bytes.get(i) {
            if is_key(byte) {
                let start = i;
                let mut token = None;
                while token.is_none() && self.bytes.get(i).is_some_and(|b| is_key(*b)) {
                    if token_patterns::may_begin(self.bytes[i], self.bytes.get(i + 1)) {
                        token = token_patterns::token(self.text, i).map(|token| (i, token));
                    }
                    i += 1;
                }
                let span = match token {
                    Some((from, token)) => {
                        self.aws |= token.aws;
                        Some((from, token.end))
                    }
                    None => self.after_key(start, i),
                };
                i = span.map_or(i, |span| self.hide(span));
                continue;
            }
            let span = match byte {
                b':' if self.starts(i, "://") => self.user_of_url(i + 3),
                b'@' if self.starts(i, "@tcp(") || self.starts(i, "@unix(") => {
                    self.user_of_source_name(i)
                }
                _ => None,
            };
            self.quotes_seen |= quote_bit(byte);
            i = span.map_or(i + 1, |span| self.hide(span));
        }
    }

    /// Replaces the span and returns its end.
    fn hide(&mut self, (from, to): Span) -> usize {
        self.out.push_str(&self.text[self.copied..from]);
        self.out.push_str(REDACTED);
        self.copied = to;
        to
    }

    fn starts(&self, at: usize, prefix: &str) -> bool {
        self.bytes[at..].starts_with(prefix.as_bytes())
    }

    fn starts_ignoring_case(&self, at: usize, prefix: &str) -> bool {
        self.bytes
            .get(at..at + prefix.len())
            .is_some_and(|part| part.eq_ignore_ascii_case(prefix.as_bytes()))
    }

    fn skip(&self, from: usize, which: impl Fn(u8) -> bool) -> usize {
        self.bytes[from..]
            .iter()
            .position(|b| !which(*b))
            .map_or(self.bytes.len(), |step| from + step)
    }

    /// A quote, also one that is escaped: its byte, and the number of backslashes before it.
    fn quote_at(&self, at: usize) -> Option<(u8, usize)> {
        let slashes = self
            .bytes
            .get(at..)?
            .iter()
            .take_while(|b| **b == b'\\')
            .count();
        let quote = *self.bytes.get(at + slashes)?;
        (quote_bit(quote) != 0).then_some((quote, slashes))
    }

    /// What to hide after the word `start..end`.
    fn after_key(&self, start: usize, end: usize) -> Option<Span> {
        // Most words: one more follows. What `without_separator` looks for begins otherwise.
        let plain = self.bytes.get(end).is_none_or(|b| *b == b' ')
            && !matches!(self.bytes[start], b'-' | b'b' | b'B')
            && self
                .bytes
                .get(end + 1)
                .is_none_or(|b| is_key(*b) && !matches!(b, b'v' | b'V'));
        if plain {
            return None;
        }
        let word = &self.text[start..end];
        let quote = self.quote_at(end);
        let after_quote = quote.map_or(end, |(_, slashes)| end + slashes + 1);
        let after_space = self.skip(after_quote, is_blank);
        let (colon, length) = match self.bytes.get(after_space) {
            Some(b':') => (true, 1),
            Some(b'=') => (false, 1),
            Some(b'%') if self.starts_ignoring_case(after_space, "%3d") => (false, 3),
            Some(b'%') if self.starts_ignoring_case(after_space, "%3a") => (true, 3),
            _ => return self.without_separator(word, end, after_quote),
        };
        let mut at = after_space + length;
        if colon && self.starts(at, "//") {
            return None;
        }
        // `:=`, `=>`, `==`
        at = self.skip(at, |b| matches!(b, b'=' | b'>'));
        let secrecy = secrecy(word);
        if secrecy == Secrecy::None || (secrecy == Secrecy::Parameter && colon) {
            return None;
        }
        let space_before = after_space > after_quote;
        self.value(
            Pair {
                start,
                at,
                quoted: quote.is_some(),
                colon,
                space_before,
                secrecy,
            },
            word,
        )
    }

    /// `--password x`, `Bearer x`, `"name":"DB_PASSWORD","value":"x"`.
    fn without_separator(&self, word: &str, end: usize, after_quote: usize) -> Option<Span> {
        let next = *self.bytes.get(end)?;
        if is_space(next)
            && (word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic"))
        {
            return self.after_scheme(word, end);
        }
        let flag = word.starts_with('-');
        let between = self.skip(after_quote, |b| is_space(b) || b == b',');
        let value_key = self
            .quote_at(between)
            .map_or(between, |(_, slashes)| between + slashes + 1);
        let named = self.starts_ignoring_case(value_key, "value");
        if !(flag || named) || secrecy(word) < Secrecy::Likely {
            return None;
        }
        let pair = Pair {
            start: end,
            at: end,
            quoted: false,
            colon: true,
            space_before: false,
            secrecy: secrecy(word),
        };
        if named {
            let at = value_key + "value".len();
            let closed = self.quote_at(at);
            let at = self.skip(closed.map_or(at, |(_, slashes)| at + slashes + 1), is_blank);
            if matches!(self.bytes.get(at), Some(b':' | b'=')) {
                let pair = Pair {
                    at: at + 1,
                    quoted: closed.is_some(),
                    secrecy: Secrecy::Certain,
                    ..pair
                };
                return self.value(pair, "value");
            }
        }
        if !flag {
            return None;
        }
        // In a list of arguments quotes and commas stand between: `"--password", "x"`.
        let listed = after_quote > end;
        let at = self.skip(after_quote, |b| is_blank(b) || (listed && b == b','));
        let next_flag = self.bytes.get(at) == Some(&b'-')
            && self
                .bytes
                .get(at + 1)
                .is_none_or(|b| *b == b'-' || b.is_ascii_lowercase());
        let broken_off =
            at == end || next_flag || matches!(self.bytes.get(at), None | Some(b'\n' | b'\r'));
        let blank_before = usize::from(is_blank(self.bytes[at - 1]));
        if broken_off {
            None
        } else {
            self.value(
                Pair {
                    at: at - blank_before,
                    ..pair
                },
                word,
            )
        }
    }

    /// What follows `Bearer` or `Basic`.
    fn after_scheme(&self, scheme: &str, end: usize) -> Option<Span> {
        let from = self.skip(end, is_space);
        let to = self.skip(from, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-')
        });
        let token = &self.text[from..to];
        // "basic" is an English word; credentials after it are always base64 of `user:password`.
        let secret = if scheme.eq_ignore_ascii_case("basic") {
            token.len() >= 6 && decodes_to_pair(token, to == self.bytes.len())
        } else {
            token.len() >= 6 && !is_prose(token.trim_end_matches('='))
        };
        secret.then_some((from, to))
    }

    /// The value of a pair; `None` if it is no secret.
    fn value(&self, pair: Pair, key: &str) -> Option<Span> {
        let mut at = self.skip(pair.at, is_blank);
        let spaced = at > pair.at;
        if pair.colon && matches!(self.bytes.get(at), Some(b'\n' | b'\r')) {
            // Pretty-printed: the value on the next line, if it is quoted.
            let next = self.skip(at, is_space);
            self.quote_at(next)?;
            at = next;
        }
        if let Some((quote, slashes)) = self.quote_at(at) {
            let from = at + slashes + 1;
            let to = self.end_of_quoted(from, (quote, slashes));
            // A shell joins what stands together: 'it'"'"'s', "a"b
            let joined = self
                .bytes
                .get(to + 1)
                .is_some_and(|b| b.is_ascii_alphanumeric() || quote_bit(*b) != 0);
            if slashes == 0 && joined {
                return Some((at, self.end_of_unquoted(pair, to)));
            }
            return (from < to).then_some((from, to));
        }
        // `volume "db-secret" : secret "db-secret" not found`
        if pair.quoted && pair.colon && pair.space_before {
            return None;
        }
        // Of a path only the last step names the value: `valueFrom.secretKeyRef.name: Required value`.
        let key = key.trim_end_matches('.');
        let last_step = key.rsplit('.').next().unwrap_or(key);
        if pair.colon && last_step.len() < key.len() && secrecy(last_step) < Secrecy::Likely {
            return None;
        }
        if pair.colon && !spaced && pair.secrecy < Secrecy::Certain && self.is_image(pair.start, at)
        {
            return None;
        }
        if self.starts(at, REDACTED) && self.ends_after_marker(pair, at + REDACTED.len()) {
            return None;
        }
        let mut to = self.end_of_unquoted(pair, at);
        if matches!(self.bytes.get(at), Some(b'{' | b'[')) && !self.starts(at, REDACTED) {
            let end = self.end_of_structure(at);
            return Some((at, if pair.quoted { end } else { end.max(to) }));
        }
        let value = &self.text[at..to];
        let is_scheme = match value.to_ascii_lowercase().as_str() {
            "bearer" | "basic" | "digest" | "negotiate" => true,
            "token" => last_step.to_ascii_lowercase().ends_with("authorization"),
            _ => false,
        };
        if value == "…" || (!is_scheme && is_no_secret(pair, value, spaced)) {
            return None;
        }
        if is_scheme {
            to = self.end_of_unquoted(pair, self.skip(to, is_space));
        } else if let Some(b'|' | b'>') = self.bytes.get(at) {
            to = self.end_of_block(at, to);
        }
        Some((at, self.end_of_chain(at, to)))
    }

    /// `auth:1.2`, `host/auth:latest`, `image "auth:latest"`: a colon without space may belong to an image.
    fn is_image(&self, start: usize, at: usize) -> bool {
        let before = &self.bytes[..start];
        let version = self.skip(at, |b| b == b'v');
        let major = self.skip(version, |b| b.is_ascii_digit());
        let numbered = version < major && version - at <= 1 && self.bytes.get(major) == Some(&b'.');
        numbered
            || before.ends_with(b"/")
            || before.ends_with(b"image \"")
            || before.ends_with(b"image ")
    }
}

/// Whether what follows a key is a word of a sentence, or too short to be a secret.
fn is_no_secret(pair: Pair, value: &str, spaced: bool) -> bool {
    let word = value.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '!']);
    if [
        "", "true", "false", "yes", "no", "null", "nil", "none", "<nil>",
    ]
    .contains(&word.to_ascii_lowercase().as_str())
    {
        return true;
    }
    if !pair.colon || pair.secrecy == Secrecy::Certain {
        return false;
    }
    let plain = pair.quoted && word.bytes().all(|b| b.is_ascii_lowercase());
    if spaced {
        plain || is_prose(word)
    } else {
        value.len() < 6
    }
}

#[cfg(test)]
mod tests;
