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

/// What stands in place of a secret.
pub(super) const MARKER: &str = "[REDACTED]";

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
    if copied == 0 && out.is_empty() {
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
                while self.bytes.get(i).is_some_and(|b| is_key(*b)) {
                    token = self.known_token(i);
                    if token.is_some() {
                        break;
                    }
                    i += 1;
                }
                let span = token
                    .map(|end| (i, end))
                    .or_else(|| self.after_key(start, i));
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

    /// End of a token that its own form gives away; called at every byte of a word, so the first bytes decide.
    fn known_token(&mut self, at: usize) -> Option<usize> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let dotted = |b: u8| word(b) || matches!(b, b'.' | b'+' | b'/' | b'=');
        let rest = &self.bytes[at..];
        // The prefix's length, how many characters must follow it, and whether dots and base64 belong to the token.
        let (prefix, min, wide) = match rest {
            [b'e', b'y', b'J', ..] => (3, 10, true),
            [b'A', b'K' | b'S', b'I', b'A', ..] => {
                let end = self.skip(at, |b| b.is_ascii_uppercase() || b.is_ascii_digit());
                let whole = end - at >= 16 || (end == self.bytes.len() && end - at >= 10);
                self.aws |= whole;
                return whole.then_some(end);
            }
            [b'A', b'I', b'z', b'a', ..] => (4, 16, false),
            [b'A', b'G', b'E', b'-', b'S', b'E', b'C', ..]
                if self.starts(at, "AGE-SECRET-KEY-") =>
            {
                (15, 6, false)
            }
            [b'S', b'G', b'.', ..] => (3, 20, true),
            [b'-', b'-', b'-', b'-', b'-', b'B', ..] if self.starts(at, "-----BEGIN") => {
                return Some(self.end_of_pem(at));
            }
            [b'd', b'o', b'p', b'_', b'v', b'1', b'_', ..] => (7, 6, false),
            [b'g', b'h', b'p' | b'o' | b'u' | b's' | b'r', b'_', ..] => (4, 6, false),
            [
                b'g',
                b'i',
                b't',
                b'h',
                b'u',
                b'b',
                b'_',
                b'p',
                b'a',
                b't',
                b'_',
                ..,
            ] => (11, 6, false),
            [b'g', b'l', b'p', b'a', b't', b'-', ..] => (6, 6, false),
            [b'h', b'f', b'_', ..] => (3, 20, false),
            [b'h', b'v', b's' | b'b' | b'r', b'.', ..] => (4, 16, true),
            [b'n', b'p', b'm', b'_', ..] => (4, 20, false),
            [b'p', b'y', b'p', b'i', b'-', b'A', ..] => (6, 16, false),
            [b's' | b'r', b'k', b'_', b'l' | b't', ..]
                if matches!(rest.get(3..8), Some(b"live_" | b"test_")) =>
            {
                (8, 6, false)
            }
            [b's', b'k', b'-', b'a', b'n', b't', b'-', ..] => (7, 6, false),
            [b's', b'k', b'-', b'p', b'r', b'o', b'j', b'-', ..] => (8, 6, false),
            [b's', b'h', b'p', b'a' | b's' | b'c' | b'p', ..]
                if matches!(rest.get(4..6), Some(b"t_" | b"s_" | b"a_")) =>
            {
                (6, 20, false)
            }
            [b'w', b'h', b's', b'e', b'c', b'_', ..] => (6, 6, false),
            [b'x', b'o', b'x', b'a'..=b'z', b'-', ..] => (5, 6, false),
            [b'x', b'a', b'p', b'p', b'-', ..] => (5, 6, false),
            [b'y', b'a', b'2', b'9', b'.', ..] => (5, 16, true),
            _ => return None,
        };
        let end = self.skip(at + prefix, |b| if wide { dotted(b) } else { word(b) });
        (end - at >= prefix + min).then_some(end)
    }

    /// End of the PEM block that begins here; the end of the text if it breaks off.
    fn end_of_pem(&self, at: usize) -> usize {
        const END: &str = "-----END";
        let Some(end) = self.text[at..].find(END).map(|step| at + step + END.len()) else {
            return self.bytes.len();
        };
        // The label and its dashes; a label is short, and what is none is not swallowed.
        let label = self.skip(end, |b| b.is_ascii_alphanumeric() || b == b' ');
        self.skip(label, |b| b == b'-')
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
        let last = last.filter(|last| *last > at)?;
        let authority = self
            .skip(at, |b| !matches!(b, b'/' | b'?' | b'#' | b'\\'))
            .min(end);
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
        let address = if self.bytes[at] == b'[' {
            self.skip(at, |b| b != b']').min(end)
        } else {
            at
        };
        let port = self.bytes[address..end].iter().position(|b| *b == b':');
        port.is_some_and(|step| {
            self.bytes[address + step + 1..end]
                .iter()
                .any(|b| !b.is_ascii_digit())
        })
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
        let flag = word.starts_with('-') && word.len() > 2;
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
        let at = self.skip(after_quote, |b| is_blank(b) || b == b',');
        let broken_off =
            at == end || matches!(self.bytes.get(at), None | Some(b'-' | b'\n' | b'\r'));
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
            token.len() >= 6 && decodes_to_pair(token)
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
        Some((at, to))
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
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
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
    const WORDS: &[&str] = &[
        "a",
        "access",
        "an",
        "and",
        "are",
        "auth",
        "authentication",
        "authorization",
        "by",
        "can't",
        "cannot",
        "challenge",
        "client",
        "configmap",
        "configmaps",
        "connection",
        "context",
        "could",
        "couldn't",
        "credential",
        "credentials",
        "delete",
        "dial",
        "duplicate",
        "error",
        "exec",
        "expired",
        "failed",
        "failure",
        "field",
        "file",
        "for",
        "forbidden",
        "from",
        "get",
        "has",
        "head",
        "header",
        "http",
        "in",
        "internal",
        "invalid",
        "is",
        "it",
        "key",
        "keys",
        "missing",
        "must",
        "namespace",
        "namespaces",
        "net/http",
        "no",
        "not",
        "object",
        "of",
        "open",
        "operation",
        "or",
        "patch",
        "permission",
        "pod",
        "pods",
        "post",
        "pull",
        "put",
        "read",
        "realm",
        "request",
        "required",
        "resource",
        "rpc",
        "scheme",
        "secret",
        "secrets",
        "server",
        "serviceaccount",
        "serviceaccounts",
        "stat",
        "that",
        "the",
        "this",
        "timed",
        "timeout",
        "tls",
        "to",
        "token",
        "tokens",
        "unable",
        "unauthorized",
        "unexpected",
        "unknown",
        "unsupported",
        "user",
        "value",
        "waiting",
        "was",
        "with",
        "write",
        "x509",
    ];
    word.len() <= 16
        && WORDS
            .binary_search(&word.to_ascii_lowercase().as_str())
            .is_ok()
}

/// Whether base64 text, also one that breaks off, holds `user:password`.
fn decodes_to_pair(token: &str) -> bool {
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
    false
}

/// AWS secret keys carry no mark: 40 characters of base64 beside a key id.
fn hide_aws_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))
    {
        let (before, from) = rest.split_at(start);
        let length = from
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/')))
            .unwrap_or(from.len());
        out.push_str(before);
        out.push_str(if length == 40 {
            MARKER
        } else {
            &from[..length]
        });
        rest = &from[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(redact(text), expected, "{text}");
        assert_eq!(redact(expected), expected, "again: {expected}");
    }

    #[test]
    fn words_are_sorted() {
        // `is_prose` searches by halves; a word out of order would be lost.
        for word in [
            "a",
            "failed",
            "net/http",
            "pod",
            "token",
            "x509",
            "namespaces",
            "can't",
        ] {
            assert!(is_prose(word), "{word}");
        }
        assert!(!is_prose("hunter2"));
    }

    #[test]
    fn values_of_secret_keys() {
        check(
            "login password=hunter2 failed",
            "login password=[REDACTED] failed",
        );
        check("PASSWORD = hunter2", "PASSWORD = [REDACTED]");
        check("password=a,b;c&d/e failed", "password=[REDACTED] failed");
        check("token: abc123def", "token: [REDACTED]");
        check("token:abc123def", "token:[REDACTED]");
        check("password: pods", "password: [REDACTED]");
        check("password='it is long' x", "password='[REDACTED]' x");
        check("password=it's-long x", "password=[REDACTED] x");
        check("'x --password=it's-long' x", "'x --password=[REDACTED]' x");
        check(
            r#"{"user":"u","password":"a\"b","n":1}"#,
            r#"{"user":"u","password":"[REDACTED]","n":1}"#,
        );
        check(
            r#"{\"token\":\"a\\\"b\",\"n\":1}"#,
            r#"{\"token\":\"[REDACTED]\",\"n\":1}"#,
        );
        check(
            r#"{"My Password": 12345678, "n": 1}"#,
            r#"{"My Password": [REDACTED], "n": 1}"#,
        );
        check(
            r#"{"auth":{"user":"u","x":["y"]},"n":1}"#,
            r#"{"auth":[REDACTED],"n":1}"#,
        );
        check(
            "{\"token\":\n  \"abcdefgh\"}",
            "{\"token\":\n  \"[REDACTED]\"}",
        );
        check(r#"{"password":"broken off"#, r#"{"password":"[REDACTED]"#);
        check(
            "https://x/y?a=1&token=abcdef&b=2",
            "https://x/y?a=1&token=[REDACTED]&b=2",
        );
        check(
            "https://x.blob/y?sv=1&sig=ab%2Bcd&se=2",
            "https://x.blob/y?sv=1&sig=[REDACTED]&se=2",
        );
        check(
            "AccountName=a;AccountKey=abc/def==;EndpointSuffix=x",
            "AccountName=a;AccountKey=[REDACTED]",
        );
        check("curl --password hunter2 x", "curl --password [REDACTED] x");
        check("run -token hunter2 x", "run -token [REDACTED] x");
        check(
            r#"["--password","hunter2","x"]"#,
            r#"["--password","[REDACTED]","x"]"#,
        );
        check("password%3Dhunter2 x", "password%3D[REDACTED] x");
        check("password := hunter2", "password := [REDACTED]");
        check(
            "Authorization: Bearer abc.def x",
            "Authorization: [REDACTED] x",
        );
        check(
            "authorization: token abcdefgh x",
            "authorization: [REDACTED] x",
        );
        check(
            "password: |\n  line one\n  line two\nuser: x",
            "password: [REDACTED]\nuser: x",
        );
        check(
            "{Name:DB_PASSWORD Value:hunter2 ValueFrom:nil}",
            "{Name:DB_PASSWORD Value:[REDACTED] ValueFrom:nil}",
        );
        check(
            r#"{"name":"DB_PASSWORD","value":"hunter2"}"#,
            r#"{"name":"DB_PASSWORD","value":"[REDACTED]"}"#,
        );
        check(
            "- name: API_TOKEN\n  value: hunter2\n",
            "- name: API_TOKEN\n  value: [REDACTED]\n",
        );
        check("password=[REDACTED]tail x", "password=[REDACTED] x");
        check("password=[odd]tail x", "password=[REDACTED] x");
    }

    #[test]
    fn secrets_that_show_by_themselves() {
        check("pull https://u:p@host/x", "pull https://[REDACTED]@host/x");
        check(
            "https://token@github.com/x",
            "https://[REDACTED]@github.com/x",
        );
        check(
            "postgres://u:p@ss/word@db:5432/x",
            "postgres://[REDACTED]@db:5432/x",
        );
        check("postgres://u:pa/ss@db/x", "postgres://[REDACTED]@db/x");
        check("root:hunter2@tcp(db:3306)/x", "[REDACTED]@tcp(db:3306)/x");
        check("Bearer abcdefgh.ijk x", "Bearer [REDACTED] x");
        check("using Basic dXNlcjpwYXNz now", "using Basic [REDACTED] now");
        check(
            "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_def, bad",
            "got [REDACTED], bad",
        );
        check("xeyJhbGciOiJIUzI1NiJ9.eyJz", "x[REDACTED]");
        check("key AKIAIOSFODNN7EXAMPLE used", "key [REDACTED] used");
        check(
            "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "[REDACTED]:[REDACTED]",
        );
        check("AIzaSyA1234567890abcdefghijklmnopqrstuv x", "[REDACTED] x");
        check(
            "ghp_abcdefghijklmnop and github_pat_11AAA_bbb",
            "[REDACTED] and [REDACTED]",
        );
        check("xoxb-1234-5678-abc xoxp-1-2-34567", "[REDACTED] [REDACTED]");
        check(
            "sk_live_4eC39HqLyj rk_test_4eC39HqLyj",
            "[REDACTED] [REDACTED]",
        );
        check(
            "a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b",
            "a [REDACTED] b",
        );
        check("a -----BEGIN PRIVATE KEY-----\nMIIabcdef", "a [REDACTED]");
        check(
            r#"{"auths":{"r.io":{"auth":"dXNlcjpwYXNz"}}}"#,
            r#"{"auths":{"r.io":{"auth":"[REDACTED]"}}}"#,
        );
        check(
            ".dockerconfigjson: eyJhdXRocyI6e30",
            ".dockerconfigjson: [REDACTED]",
        );
    }

    #[test]
    fn sentences_of_kubernetes_stay_readable() {
        for text in [
            r#"secret "db-creds" not found"#,
            r#"Error: secret "kube-creds" not found"#,
            r#"MountVolume.SetUp failed for volume "kube-api-access-x" : failed to fetch token: pod "x" not found"#,
            r#"MountVolume.SetUp failed for volume "db-secret" : secret "db-secret" not found"#,
            r#"MountVolume.SetUp failed for volume "db-secret" : references non-existent secret key: tls.crt"#,
            "MountVolume.SetUp failed for volume \"c\" : configmap references non-existent config key: token",
            "Error: couldn't find key password in Secret ns/name",
            "couldn't find key token in Secret ns/name",
            r#"serviceaccount "x" not found"#,
            "configmap references non-existent secret key: password",
            r#"Error creating: pods "nosa-5d9-" is forbidden: error looking up service account ns/absent: serviceaccount "absent" not found"#,
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token?scope=repository%3Alibrary%2Fnope%3Apull&service=registry.docker.io: 401 Unauthorized",
            r#"Failed to pull image "reg.io/acme/auth:v2.1": rpc error: code = NotFound desc = failed to pull and unpack image "reg.io/acme/auth:v2.1": failed to resolve reference"#,
            r#"Pulling image "token-server:20240101""#,
            r#"Successfully pulled image "reg.io/secrets:deadbeef" in 1.2s"#,
            "Unable to attach or mount volumes: unmounted volumes=[auth-token], unattached volumes=[kube-api-access-x auth-token]: timed out waiting for the condition",
            "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
            "no basic auth credentials",
            "basic authentication failed",
            r#"Www-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
            "bearer token is invalid",
            r#"User "system:serviceaccount:ns:token-reader" cannot get resource "secrets" in API group """#,
            r#"clusterroles.rbac.authorization.k8s.io "x" not found"#,
            r#"spec.containers[0].env[0].valueFrom.secretKeyRef.name: Required value"#,
            "create Pod auth-0 in StatefulSet auth successful",
            "Created pod: auth-service-6f7d8c9b-x2k4v",
            "Scaled up replica set token-api-75874f6c75 from 0 to 2",
            "author: Jane Doe, authority: x509",
            "pull registry.io/repo:tag@sha256:0123456789abcdef0123456789abcdef",
            "npm ERR 404 https://registry.npmjs.org/@scope/pkg https://host:8080/@x",
            r#"Get "https://10.96.0.1:443/api/v1": dial tcp 10.96.0.1:443: connect: connection refused"#,
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            "Access denied for user 'root'@'10.0.0.1' (using password: YES)",
            "error getting credentials: exec: \"docker-credential-x\": executable file not found in $PATH",
        ] {
            assert!(
                matches!(redact(text), Cow::Borrowed(same) if same == text),
                "{text}\n{}",
                redact(text)
            );
        }
    }

    #[test]
    fn hostile_texts_take_linear_time() {
        // A quadratic scan of any of these would take minutes.
        for part in [
            "://",
            "://a@",
            "@tcp(",
            "password=",
            "token: \"",
            "-----BEGIN",
            "\\",
            "\"",
            "eyJ",
            "{[",
            "--token ,",
        ] {
            let text = part.repeat(300_000);
            assert!(!redact(&text).is_empty());
        }
    }
}
