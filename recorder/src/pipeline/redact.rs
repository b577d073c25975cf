//! Takes secrets out of a text. Pure; one pass, linear in the text, nothing allocated where there is no secret.
//!
//! What is taken out, and stands as `[REDACTED]`:
//! - the value of a key that promises a secret (`secret_key.rs`): `password=x`, `token: x`, `"auth":"x"` (also in JSON
//!   inside JSON), `--password x`, `?token=x`, `{"name":"DB_PASSWORD","value":"x"}`;
//! - the user part of a URL and of a Go database source name;
//! - `Bearer x`, `Basic x`; JSON web tokens; tokens that their issuers made recognizable; PEM blocks.
//!
//! Sentences of Kubernetes must stay readable, and they have such words too: `secret "db-creds" not found`, `failed to
//! fetch token: unexpected status`, `image "auth:1.2"`. Where a text can be read both ways, a value after `=` is a
//! secret, and after a colon it is one unless it is a word with which such sentences go on.

use std::borrow::Cow;

use super::secret_key::{Secrecy, secrecy};
use forms::{decodes_to_pair, hide_aws_secrets};

mod forms;

/// What stands in place of a secret.
pub(super) const MARKER: &str = "[REDACTED]";

/// A value that is a key itself is no longer than this.
const CHAINED_KEY_BYTES_MAX: usize = 64;

/// 65535 has five. More digits are a password.
const PORT_DIGITS_MAX: usize = 5;

/// Marks behind a port, as in `(see http://host:80)...`; more are part of a password.
const PUNCTUATION_MAX: usize = 3;

/// Replaces the secrets in a text.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
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
                    if forms::may_begin(self.bytes[i], self.bytes.get(i + 1)) {
                        token = forms::token(self.text, i).map(|token| (i, token));
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
        self.out.push_str(MARKER);
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

    /// End of the text within a quote that was opened with so many backslashes; the end of the text if none closes it.
    fn end_of_quoted(&self, from: usize, (quote, slashes): (u8, usize)) -> usize {
        let mut before = 0;
        for (i, &byte) in self.bytes.iter().enumerate().skip(from) {
            if byte == quote
                && if slashes == 0 {
                    before % 2 == 0
                } else {
                    before <= slashes
                }
            {
                return if slashes == 0 { i } else { i - before };
            }
            before = if byte == b'\\' { before + 1 } else { 0 };
        }
        self.bytes.len()
    }

    /// The user part of the URL whose authority begins at `at`.
    fn user_of_url(&mut self, at: usize) -> Option<Span> {
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
            // The text breaks off before the `@`.
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
        (to > at).then_some((at, to))
    }

    /// Whether what stands before the first slash is no `host:port`, so that an `@` further on may end a password.
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
    fn user_of_source_name(&self, at: usize) -> Option<Span> {
        let ends = |b: &u8| is_space(*b) || matches!(b, b'"' | b'`' | b'=');
        let from = self.bytes[self.copied..at]
            .iter()
            .rposition(ends)
            .map_or(self.copied, |step| self.copied + step + 1);
        (from < at).then_some((from, at))
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
        if self.starts(at, MARKER) && self.ends_after_marker(pair, at + MARKER.len()) {
            return None;
        }
        let mut to = self.end_of_unquoted(pair, at);
        if matches!(self.bytes.get(at), Some(b'{' | b'[')) && !self.starts(at, MARKER) {
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

    /// `password: token: x`: the value is a key again, so the value of that goes too.
    fn end_of_chain(&self, at: usize, to: usize) -> usize {
        let word = self.text[at..to].trim_end_matches([':', '=']);
        if word.len() > CHAINED_KEY_BYTES_MAX || secrecy(word) < Secrecy::Likely {
            return to;
        }
        let separator = self.skip(at + word.len(), is_blank);
        let next = self.skip(separator, |b| is_blank(b) || matches!(b, b':' | b'='));
        let separated = self.bytes[separator..next]
            .iter()
            .any(|b| matches!(b, b':' | b'='));
        if !separated && !word.starts_with('-') {
            return to;
        }
        match self.quote_at(next) {
            Some((quote, slashes)) => {
                let end = self.end_of_quoted(next + slashes + 1, (quote, slashes));
                // The quote that opened goes, so the one that closes goes too.
                (end + slashes + 1).min(self.bytes.len())
            }
            None => self.skip(next, |b| !is_space(b)),
        }
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

    /// Whether the value that begins with the marker is just that, so that a second pass changes nothing.
    fn ends_after_marker(&self, pair: Pair, at: usize) -> bool {
        let escaped_space = matches!(self.bytes.get(at..at + 2), Some(b"\\n" | b"\\r" | b"\\t"));
        escaped_space || self.end_of_unquoted(pair, at) == at
    }

    fn end_of_unquoted(&self, pair: Pair, from: usize) -> usize {
        // A parameter of a URL ends where the next begins; elsewhere these characters may belong to the secret.
        let parameter = !pair.colon
            && pair.start > 0
            && matches!(self.bytes[pair.start - 1], b'?' | b'&' | b';');
        for (i, &byte) in self.bytes.iter().enumerate().skip(from) {
            let ends = match byte {
                b'&' | b'#' => parameter,
                b',' | b'}' | b']' => pair.quoted,
                // It's a quote that closes: one was opened before, and no word goes on after it.
                _ if quote_bit(byte) & self.quotes_seen != 0 => {
                    !self.bytes.get(i + 1).is_some_and(u8::is_ascii_alphanumeric)
                }
                _ => is_space(byte),
            };
            if ends {
                return i;
            }
        }
        self.bytes.len()
    }

    /// End of the object or list that begins here; the end of the text if it breaks off.
    fn end_of_structure(&self, from: usize) -> usize {
        let (mut depth, mut in_quotes, mut escaped) = (0_usize, false, false);
        for (i, &byte) in self.bytes.iter().enumerate().skip(from) {
            match byte {
                b'\\' => {
                    escaped = !escaped;
                    continue;
                }
                b'"' if !escaped => in_quotes = !in_quotes,
                b'{' | b'[' if !in_quotes => depth += 1,
                b'}' | b']' if !in_quotes => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return i + 1;
                    }
                }
                _ => {}
            }
            escaped = false;
        }
        self.bytes.len()
    }

    /// End of a YAML block (`|` or `>`): the lines that are indented. Where the line breaks are escaped it cannot be
    /// told, so all that follows goes.
    fn end_of_block(&self, at: usize, to: usize) -> usize {
        if self.bytes.get(to) != Some(&b'\n') {
            return if self.text[at..to].contains("\\n") {
                self.bytes.len()
            } else {
                to
            };
        }
        let mut end = to;
        while self.bytes.get(end) == Some(&b'\n')
            && matches!(self.bytes.get(end + 1), Some(b' ' | b'\t' | b'\n'))
        {
            end = self.skip(end + 1, |b| b != b'\n');
        }
        end
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

/// Characters of a key. Dashes too, so that flags and PEM markers are words.
fn is_key(byte: u8) -> bool {
    const KEY: [bool; 256] = {
        let mut key = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            key[byte] =
                (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'-' | b'.');
            byte += 1;
        }
        key
    };
    KEY[byte as usize]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether this is a port, or the place of one, with what a sentence may put behind it: `80`, `80).`, `:`.
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

fn quote_bit(byte: u8) -> u8 {
    match byte {
        b'"' => 1,
        b'\'' => 2,
        b'`' => 4,
        _ => 0,
    }
}

/// Words with which a sentence goes on after "token:", "credentials:" or "bearer".
fn is_prose(word: &str) -> bool {
    #[rustfmt::skip]
    const WORDS: &[&str] = &[
        "a", "access", "an", "and", "are", "auth", "authentication", "authorization", "by",
        "can't", "cannot", "challenge", "client", "configmap", "configmaps", "connection",
        "context", "could", "couldn't", "credential", "credentials", "delete", "dial", "duplicate",
        "error", "exec", "expired", "failed", "failure", "field", "file", "for", "forbidden",
        "from", "get", "has", "head", "header", "http", "in", "internal", "invalid", "is", "it",
        "key", "keys", "missing", "must", "namespace", "namespaces", "net/http", "no", "not",
        "object", "of", "open", "operation", "or", "patch", "permission", "pod", "pods", "post",
        "pull", "put", "read", "realm", "request", "required", "resource", "rpc", "scheme",
        "secret", "secrets", "server", "serviceaccount", "serviceaccounts", "stat", "that", "the",
        "this", "timed", "timeout", "tls", "to", "token", "tokens", "unable", "unauthorized",
        "unexpected", "unknown", "unsupported", "user", "value", "waiting", "was", "with", "write",
        "x509",
    ];
    word.len() <= 16
        && WORDS
            .binary_search(&word.to_ascii_lowercase().as_str())
            .is_ok()
}

#[cfg(test)]
mod tests;
