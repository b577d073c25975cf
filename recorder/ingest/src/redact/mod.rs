//! Redacts secrets in a text. Pure; linear time; allocates only if there is a secret or an escape.
//!
//! ```text
//! text ─ view (colours, invisible characters, escapes decoded; only if there are any)
//!   │      │
//!   └──────┴─▶ scan, word by word:
//!                token_patterns   tokens with a known prefix and alphabet                 ghp_…, AKIA…, -----BEGIN
//!                urls, userinfo   addresses that are or contain credentials               hooks.slack.com/…, //user:…@
//!                arguments        flags that take a credential, by client                 mysql -p…, curl -u user:…
//!                keys             the value of a sensitive key (see sensitive_key)        password=…
//!                sentences        a secret in a sentence, without a key                   password for user x: …
//!                values           where a value ends (value_end), and whether it is a secret: by its shape
//!                                 (value_shape), or not one because a sentence follows (harmless, stopwords)
//!   ▼
//! spans, merged ─ each replaced by `[REDACTED]`, until a pass finds nothing
//! ```
//!
//! Most words are neither a key nor the start of a token. A few of their bytes show that (`may_matter`, `token_patterns::may_begin`),
//! so that they are not examined for what follows a key.
//!
//! Messages of Kubernetes contain such words too and must stay readable: `secret "db-creds" not found`, `failed to
//! fetch token: unexpected status`, `image "auth:1.2"`. If a text is ambiguous, the value's shape decides.
//!
//! Invariant: a span covers the whole value, so that no part of a secret remains beside the marker.
//! Invariant: redacting twice changes nothing.

use std::borrow::Cow;

use crate::sensitive_key::{Sensitivity, may_matter, sensitivity};

use char_class::{Kinds, is_key, is_space, quote_bit};
use clients::Client;
use harmless::is_harmless_text;
use literals::is_displaced;
pub use literals::is_secret_literal;
use value_shape::is_random;
use view::View;

mod arguments;
mod char_class;
mod clients;
mod harmless;
mod keys;
mod literals;
mod marked;
mod sentences;
mod stopwords;
mod token_patterns;
mod urls;
mod userinfo;
mod value_end;
mod value_shape;
mod values;
mod view;

pub use marked::redact_with;

/// Replaces a secret.
pub const REDACTED: &str = "[REDACTED]";

/// A redaction can make its neighbour look like a secret, so another pass is needed. No test has needed more than two.
const PASSES_MAX: usize = 4;

/// Replaces the secrets in a text.
pub fn redact(text: &str) -> Cow<'_, str> {
    let kinds = Kinds::of(text);
    if kinds.has_bracket() && marked::has_marks(text) {
        return redact_with(text, |_| REDACTED.to_owned());
    }
    let Some(mut redacted) = pass(text, kinds) else {
        return Cow::Borrowed(text);
    };
    for _ in 1..PASSES_MAX {
        match pass(&redacted, Kinds::of(&redacted)) {
            Some(next) => redacted = next,
            None => break,
        }
    }
    Cow::Owned(redacted)
}

/// Raise it when a text is redacted in another way than before: stored texts cannot be compared with new ones then.
pub const VERSION: u32 = 1;

/// Where the secrets in a text are: what the first pass finds, in order and without overlaps.
pub fn secret_spans(text: &str) -> Vec<(usize, usize)> {
    merged_spans(text, Kinds::of(text))
}

/// Whether a value under this key is a secret, as it would be in `"key":"value"`.
pub fn is_secret_pair(key: &str, value: &str) -> bool {
    let sensitivity = sensitivity(key);
    if sensitivity == Sensitivity::None {
        return is_displaced(key, value);
    }
    value != REDACTED && !marked::is_mark(value) && !is_harmless_text(sensitivity, key, value)
}

/// Bytes by which a value is judged; a longer one is not a word, a name or a number. An end further away is searched
/// only for a value that is redacted, so that no byte is examined for many keys.
const NEAR_BYTES: usize = 1024;

/// One pass; `None` if nothing changes.
fn pass(text: &str, kinds: Kinds) -> Option<String> {
    let spans = merged_spans(text, kinds);
    if spans.is_empty() {
        return None;
    }
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for (from, to) in spans {
        out.push_str(&text[copied..from]);
        out.push_str(REDACTED);
        copied = to;
    }
    out.push_str(&text[copied..]);
    (out != text).then_some(out)
}

/// What one pass redacts, in order and without overlaps.
fn merged_spans(text: &str, kinds: Kinds) -> Vec<ByteRange> {
    let mut spans = Scan::of(text, kinds).spans();
    if kinds.has_encoded()
        && let Some(view) = View::of(text)
    {
        let decoded = Scan::of(&view.text, Kinds::of(&view.text)).spans();
        spans.extend(decoded.into_iter().filter_map(|span| view.source(span)));
    }
    if spans.is_empty() {
        return spans;
    }
    spans.sort_unstable();
    let (mut merged, mut copied) = (Vec::with_capacity(spans.len()), 0);
    let mut spans = spans.into_iter().peekable();
    while let Some((from, mut to)) = spans.next() {
        while let Some((_, further)) = spans.next_if(|next| next.0 < to) {
            to = to.max(further);
        }
        // All ends are at ASCII characters; a bug here must not end the process.
        let from = text.floor_char_boundary(from).max(copied);
        copied = text.ceil_char_boundary(to).max(copied);
        merged.push((from, copied));
    }
    merged
}

type ByteRange = (usize, usize);

/// A pass over a text.
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    spans: Vec<ByteRange>,
    /// Where the last span ends.
    copied: usize,
    /// Quotes met so far, a bit each: only such a quote can end an unquoted value.
    quotes_seen: u8,
    /// The stretch without space that was searched for a user part: its end, and its last `@`.
    url: (usize, Option<usize>),
    /// Up to here paths of addresses were examined.
    path_end: usize,
    /// Up to here objects and lists were found to hold no secret.
    harmless_until: usize,
    /// The program whose arguments follow, and whether its flags count yet.
    client: Option<(&'static Client, bool)>,
    /// The word before.
    before: ByteRange,
    /// An AWS key id was found; its secret, 40 characters without a prefix, is likely near.
    aws: bool,
    /// The text quotes a Secret object: its `data` is redacted.
    of_secret: bool,
    /// The line that was searched for the name of a secret: its end, and whether it has one.
    line: (usize, bool),
    /// Examines every word as if it might be a key.
    #[cfg(test)]
    of_all_words: bool,
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
    /// It is a flag, and its value the next argument.
    flag: bool,
    sensitivity: Sensitivity,
}

impl<'t> Scan<'t> {
    fn of(text: &'t str, kinds: Kinds) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            spans: Vec::new(),
            copied: 0,
            quotes_seen: 0,
            url: (0, None),
            path_end: 0,
            harmless_until: 0,
            client: None,
            before: (0, 0),
            aws: false,
            of_secret: kinds.has_capital_s() && quotes_a_secret(text),
            line: (0, false),
            #[cfg(test)]
            of_all_words: false,
        }
    }

    fn spans(mut self) -> Vec<ByteRange> {
        self.run();
        // The id may already be redacted as a value.
        let has_id = |(from, to): &ByteRange| {
            ["AKIA", "ASIA"]
                .iter()
                .any(|id| self.text[*from..*to].contains(id))
        };
        if self.aws || self.spans.iter().any(has_id) {
            self.spans.extend(token_patterns::aws_secrets(self.text));
        }
        let (bytes, marker) = (self.bytes, REDACTED.as_bytes());
        self.spans
            .retain(|(from, to)| from < to && !marker.starts_with(&bytes[*from..*to]));
        self.spans
    }

    fn run(&mut self) {
        let mut i = 0;
        while let Some(&byte) = self.bytes.get(i) {
            if byte == b'[' && self.starts(i, REDACTED) {
                i += REDACTED.len();
                continue;
            }
            let start = i;
            let span = if is_key(byte) {
                let end = self.skip(start, is_key);
                let token = self.token_in(start, end);
                i = token.map_or(end, |(at, _)| at + 1);
                let span = token.or_else(|| self.after_word(start, end));
                self.before = (start, i);
                span
            } else {
                i += 1;
                self.at_mark(start, byte)
            };
            if let Some((from, to)) = span {
                self.spans.push((from, to));
                self.copied = to;
                i = to;
            }
        }
    }

    /// The first token that begins in the word `start..end`.
    fn token_in(&mut self, start: usize, end: usize) -> Option<ByteRange> {
        let bytes = self.bytes;
        // With the byte behind the word; at the end of the text, nothing begins at its last byte.
        let pairs = bytes[start..bytes.len().min(end + 1)].array_windows();
        pairs
            .enumerate()
            .filter(|(_, pair)| token_patterns::may_begin(**pair))
            .find_map(|(step, _)| self.token(start + step))
    }

    fn token_at(&mut self, at: usize) -> Option<ByteRange> {
        let pair = *self.bytes.get(at..)?.first_chunk()?;
        token_patterns::may_begin(pair)
            .then(|| self.token(at))
            .flatten()
    }

    fn token(&mut self, at: usize) -> Option<ByteRange> {
        let token = token_patterns::token(self.text, at)?;
        self.aws |= token.aws;
        Some((at, token.end))
    }

    /// What to redact at a byte that is not part of a word.
    fn at_mark(&mut self, at: usize, byte: u8) -> Option<ByteRange> {
        self.quotes_seen |= quote_bit(byte);
        match byte {
            b':' if self.starts(at, "://") => self.user_of_url(at + 3),
            b'@' if self.starts(at, "@tcp(") || self.starts(at, "@unix(") => {
                self.user_of_source_name(at)
            }
            b'$' | b'{' => self.token_at(at),
            b'*' if self.starts(at, "*:") => self.line_of_pgpass(at),
            b'~' if at > 1 && self.bytes[at - 1] == b'Q' => {
                let span = token_patterns::azure_secret(self.bytes, at - 1)?;
                (span.0 >= self.copied).then_some(span)
            }
            // Redis: `ACL SETUSER u on >password`.
            b'>' if at > 0 && self.bytes[at - 1] == b' ' => {
                let to = self.skip(at + 1, |b| !is_space(b));
                is_random(&self.text[at + 1..to]).then_some((at + 1, to))
            }
            b'\n' | b'|' | b';' => {
                self.client = None;
                None
            }
            _ => None,
        }
    }

    /// What to redact in or after the word `start..end`.
    fn after_word(&mut self, start: usize, end: usize) -> Option<ByteRange> {
        let word = &self.text[start..end];
        let next = self.bytes.get(end).copied();
        if matches!(next, Some(b'/' | b':'))
            && let Some(span) = self.credential_path(start, end)
        {
            return Some(span);
        }
        if token_patterns::is_token_word(word) {
            return Some((start, end));
        }
        if next == Some(b':') {
            if let Some(to) = self.id_and_secret(word, end) {
                return Some((start, to));
            }
            if word == "thin" {
                return self.oracle_user(end);
            }
        }
        self.of_client(start, end)
            .or_else(|| {
                if self.may_be_key(word) {
                    self.after_key(start, end)
                        .or_else(|| self.of_sentence(start, end))
                } else if next == Some(b':') {
                    self.between_colons(start, end)
                } else {
                    None
                }
            })
            .or_else(|| self.random_beside_name(start, end))
    }

    /// Whether [`Self::after_key`] and [`Self::of_sentence`] may find something, apart from what is between colons.
    fn may_be_key(&self, word: &str) -> bool {
        #[cfg(test)]
        if self.of_all_words {
            return true;
        }
        // Any key `data` is one then.
        self.of_secret || may_matter(word.as_bytes())
    }

    fn starts(&self, at: usize, prefix: &str) -> bool {
        self.bytes
            .get(at..)
            .is_some_and(|rest| rest.starts_with(prefix.as_bytes()))
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
        /// JSON in JSON in JSON has seven.
        const SLASHES_MAX: usize = 16;
        let slashes = self
            .bytes
            .get(at..)?
            .iter()
            .take(SLASHES_MAX)
            .take_while(|b| **b == b'\\')
            .count();
        let quote = *self.bytes.get(at + slashes)?;
        (quote_bit(quote) != 0).then_some((quote, slashes))
    }

    /// The position after a quote, if there is one.
    fn behind_quote(&self, at: usize) -> usize {
        self.quote_at(at)
            .map_or(at, |(_, slashes)| at + slashes + 1)
    }

    /// An id and a secret: Telegram's `123456789:AA…`, Asana's `1/1234567890123456:…`, Rancher's `token-x7zqk:…`, and
    /// `root:…`, `oauth:…` if it looks random.
    fn id_and_secret(&self, word: &str, end: usize) -> Option<usize> {
        const BYTES_MIN: usize = 30;
        let digits = word.strip_prefix("bot").unwrap_or(word);
        let id = word.starts_with("token-")
            || (8..=17).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let user = matches!(word, "root" | "admin" | "guest" | "user" | "oauth");
        if !id && !user {
            return None;
        }
        let to = self.skip(end + 1, char_class::is_word);
        (id && to - end > BYTES_MIN || user && is_random(&self.text[end + 1..to])).then_some(to)
    }

    /// `jdbc:oracle:thin:user/password@host`.
    fn oracle_user(&self, end: usize) -> Option<ByteRange> {
        const BYTES_MAX: usize = 128;
        let limit = self.bytes.len().min(end + BYTES_MAX);
        let at = self.bytes[end..limit]
            .iter()
            .position(|b| *b == b'@' || is_space(*b))?;
        let user = &self.bytes[end + 1..end + at];
        (self.bytes[end + at] == b'@' && user.contains(&b'/')).then_some((end + 1, end + at))
    }

    /// The path behind the host `start..end`, if it is a credential.
    fn credential_path(&mut self, start: usize, end: usize) -> Option<ByteRange> {
        const PORT_BYTES_MAX: usize = 6;
        let mut path = end;
        if self.bytes[end] == b':' {
            path = self.skip(end + 1, |b| b.is_ascii_digit());
        }
        let is_host = self.text[start..end].contains('.')
            || self.text[..start].ends_with("//")
            || self.text[..start].ends_with('@');
        if !is_host
            || path - end > PORT_BYTES_MAX
            || self.bytes.get(path) != Some(&b'/')
            || path < self.path_end
        {
            return None;
        }
        let to = self.end_of_address(path);
        self.path_end = to;
        let (from, to) = urls::secret_of_path(&self.text[start..end], &self.text[path..to])?;
        Some((path + from, path + to))
    }
}

impl Pair {
    fn plain(at: usize) -> Self {
        Self {
            start: at,
            at,
            quoted: false,
            colon: true,
            space_before: false,
            flag: false,
            sensitivity: Sensitivity::None,
        }
    }
}

/// Whether the text quotes an object of the kind Secret.
fn quotes_a_secret(text: &str) -> bool {
    text.match_indices("Secret").any(|(at, found)| {
        let behind = text.as_bytes().get(at + found.len());
        let before = text[..at].trim_end_matches(['"', '\'', '\\', ' ', ':', '=']);
        let kind = before.len() >= 4
            && before.as_bytes()[before.len() - 4..].eq_ignore_ascii_case(b"kind");
        let whole = behind.is_none_or(|b| !b.is_ascii_alphanumeric());
        kind && whole || behind == Some(&b'{')
    })
}

#[cfg(test)]
mod tests;
