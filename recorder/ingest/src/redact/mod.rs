//! Takes secrets out of a text. Pure; linear in the text, nothing allocated where there is neither a secret nor an escape.
//!
//! ```text
//! text ─ view (colours, invisible characters, escapes decoded; only if there are any)
//!   │      │
//!   └──────┴─▶ scan, word by word:
//!                token_patterns   what gives itself away by a prefix and its alphabet     ghp_…, AKIA…, -----BEGIN
//!                urls, userinfo   addresses that are credentials, or have them            hooks.slack.com/…, //user:…@
//!                clients          flags that take a credential, by the client's name      mysql -p…, curl -u user:…
//!                key and value    sensitive_key says which keys, this file which values   password=…, "token": "…"
//!                                 value_shape, stopwords: what a value looks like; value_end: how far it goes
//!   ▼
//! spans, merged ─ each replaced by `[REDACTED]`, until a pass finds nothing
//! ```
//!
//! Sentences of Kubernetes must stay readable, and they have such words too: `secret "db-creds" not found`, `failed to
//! fetch token: unexpected status`, `image "auth:1.2"`. Where a text can be read both ways, the value's shape decides.
//!
//! Invariant: a span covers the whole value, so that no rest of a secret stands beside the marker.
//! Invariant: redacting twice changes nothing.

use std::borrow::Cow;

use crate::sensitive_key::{Secrecy, secrecy};

use char_class::{is_blank, is_key, is_space, quote_bit};
use clients::{Client, Takes};
use stopwords::{is_state, is_stopword};
use token_patterns::decodes_to_pair;
use value_shape::{
    bare, is_object_name, is_path, is_plain_word, is_quantity, is_random, is_stand_in, is_uuid,
};
use view::View;

mod char_class;
mod clients;
mod stopwords;
mod token_patterns;
mod urls;
mod userinfo;
mod value_end;
mod value_shape;
mod view;

/// The text that stands in place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// What was hidden can make something beside it look like a secret; then another pass is needed. Two are the most that
/// a test has needed.
const PASSES_MAX: usize = 4;

/// Replaces the secrets in a text.
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some(mut redacted) = pass(text) else {
        return Cow::Borrowed(text);
    };
    for _ in 1..PASSES_MAX {
        match pass(&redacted) {
            Some(next) => redacted = next,
            None => break,
        }
    }
    Cow::Owned(redacted)
}

/// Whether a value under this key is a secret, as it would be in `"key":"value"`.
pub fn is_secret_pair(key: &str, value: &str) -> bool {
    let secrecy = secrecy(key);
    secrecy > Secrecy::None && value != REDACTED && !is_harmless_text(secrecy, key, value)
}

/// A value is judged by so many bytes; a longer one is not a word, a name or a number. Ends further away are looked for
/// only where the value goes, so that no byte is examined for many keys.
const NEAR_BYTES: usize = 1024;

/// One pass; `None` if nothing changes.
fn pass(text: &str) -> Option<String> {
    let mut spans = Scan::of(text).spans();
    if let Some(view) = View::of(text) {
        let decoded = Scan::of(&view.text).spans();
        spans.extend(decoded.into_iter().filter_map(|span| view.source(span)));
    }
    if spans.is_empty() {
        return None;
    }
    spans.sort_unstable();
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    let mut spans = spans.into_iter().peekable();
    while let Some((from, mut to)) = spans.next() {
        while let Some((_, further)) = spans.next_if(|next| next.0 < to) {
            to = to.max(further);
        }
        // All ends are at ASCII characters; a mistake must not end the process.
        let from = text.floor_char_boundary(from).max(copied);
        out.push_str(&text[copied..from]);
        out.push_str(REDACTED);
        copied = text.ceil_char_boundary(to).max(copied);
    }
    out.push_str(&text[copied..]);
    (out != text).then_some(out)
}

type Span = (usize, usize);

/// A pass over a text.
struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    spans: Vec<Span>,
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
    /// The program whose arguments these are, and whether its flags count yet.
    client: Option<(&'static Client, bool)>,
    /// The word before.
    before: Span,
    /// An AWS key id was met; its secret, 40 characters without any mark, is likely near.
    aws: bool,
    /// The text quotes a Secret: its `data` is one.
    of_secret: bool,
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
    secrecy: Secrecy,
}

/// An argument of a command, or its beginning.
#[derive(Clone, Copy)]
struct Argument {
    from: usize,
    to: usize,
    quote: Option<(u8, usize)>,
}

impl<'t> Scan<'t> {
    fn of(text: &'t str) -> Self {
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
            of_secret: quotes_a_secret(text),
        }
    }

    fn spans(mut self) -> Vec<Span> {
        self.run();
        if self.aws {
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
                let mut token = None;
                while token.is_none() && self.bytes.get(i).is_some_and(|b| is_key(*b)) {
                    token = self.token_at(i);
                    i += 1;
                }
                let span = token.or_else(|| self.after_word(start, i));
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

    fn token_at(&mut self, at: usize) -> Option<Span> {
        if !token_patterns::may_begin(self.bytes[at], self.bytes.get(at + 1)) {
            return None;
        }
        let token = token_patterns::token(self.text, at)?;
        self.aws |= token.aws;
        Some((at, token.end))
    }

    /// What to hide at a byte that is not of a word.
    fn at_mark(&mut self, at: usize, byte: u8) -> Option<Span> {
        self.quotes_seen |= quote_bit(byte);
        match byte {
            b':' if self.starts(at, "://") => self.user_of_url(at + 3),
            b'@' if self.starts(at, "@tcp(") || self.starts(at, "@unix(") => {
                self.user_of_source_name(at)
            }
            b'$' | b'{' => self.token_at(at),
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

    /// What to hide after the word `start..end`, or of it.
    fn after_word(&mut self, start: usize, end: usize) -> Option<Span> {
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
            .or_else(|| self.after_key(start, end))
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

    /// Behind a quote, if there is one.
    fn behind_quote(&self, at: usize) -> usize {
        self.quote_at(at)
            .map_or(at, |(_, slashes)| at + slashes + 1)
    }

    /// An id and a secret: Telegram's `123456789:AA…`, Asana's `1/1234567890123456:…`, Rancher's `token-x7zqk:…`, and
    /// `root:…`, `oauth:…` where it looks random.
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
    fn oracle_user(&self, end: usize) -> Option<Span> {
        const BYTES_MAX: usize = 128;
        let limit = self.bytes.len().min(end + BYTES_MAX);
        let at = self.bytes[end..limit]
            .iter()
            .position(|b| *b == b'@' || is_space(*b))?;
        let user = &self.bytes[end + 1..end + at];
        (self.bytes[end + at] == b'@' && user.contains(&b'/')).then_some((end + 1, end + at))
    }

    /// The path behind the host `start..end`, if it is a credential.
    fn credential_path(&mut self, start: usize, end: usize) -> Option<Span> {
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

    /// The argument that a flag or a subcommand of a known client takes.
    fn of_client(&mut self, start: usize, end: usize) -> Option<Span> {
        let word = &self.text[start..end];
        if word == "echo" || word == "printf" {
            return self.piped(end);
        }
        if let Some(client) = clients::client(word) {
            let first = self
                .client
                .is_none_or(|(one, _)| !std::ptr::eq(one, client));
            if first {
                self.client = Some((client, client.needs.is_empty()));
            }
        }
        if let Some((client, armed)) = &mut self.client {
            *armed |= client.needs.contains(&word);
            if *armed {
                for (flag, takes) in client.flags {
                    if word == *flag {
                        return self.argument(end, *takes);
                    }
                    // What is attached to a flag of one letter.
                    let attached =
                        flag.len() == 2 && word.starts_with(flag) && !word.starts_with("--");
                    if attached && let Some(span) = self.attached(start + 2, *takes) {
                        return Some(span);
                    }
                }
            }
        }
        self.of_unknown_client(start, end)
    }

    /// A flag of one letter that takes a credential with many clients, if what it is given looks like one.
    fn of_unknown_client(&self, start: usize, end: usize) -> Option<Span> {
        let [
            b'-',
            b'p' | b'P' | b'w' | b'a' | b'k' | b't' | b's',
            attached @ ..,
        ] = &self.bytes[start..end]
        else {
            return None;
        };
        let argument = if attached.is_empty() {
            self.next_argument(end)?
        } else {
            self.attached_argument(start + 2)?
        };
        let value = self.shown(argument);
        (is_random(value) && !value.contains('/')).then(|| self.whole(argument))
    }

    /// The secret in what stands behind a flag or a subcommand.
    fn argument(&self, end: usize, takes: Takes) -> Option<Span> {
        let mut at = end;
        if let Takes::After(others) = takes {
            for _ in 0..others {
                at = self.next_argument(at)?.to;
            }
        }
        let argument = self.next_argument(at)?;
        let value = self.shown(argument);
        let secret = match takes {
            _ if is_stand_in(value) => false,
            Takes::Secret | Takes::After(_) => !is_quantity(value) && !is_path(value),
            Takes::Attached => is_random(value),
            Takes::Pair(mark) => return self.behind(argument, mark),
        };
        secret.then(|| self.whole(argument))
    }

    /// The secret in what is attached to a flag.
    fn attached(&self, from: usize, takes: Takes) -> Option<Span> {
        let argument = self.attached_argument(from)?;
        let value = self.shown(argument);
        let secret = match takes {
            _ if is_stand_in(value) => false,
            Takes::Attached => true,
            Takes::Secret => !is_plain_word(value) && !is_quantity(value),
            Takes::Pair(mark) => return self.behind(argument, mark),
            Takes::After(_) => false,
        };
        secret.then(|| self.whole(argument))
    }

    /// The secret of `user:secret`.
    fn behind(&self, argument: Argument, mark: u8) -> Option<Span> {
        let shown = self.shown(argument);
        let step = shown.bytes().position(|b| b == mark)? + 1;
        let value = &shown[step..];
        // `-u 1000:1000` is a user and a group.
        let secret = !is_stand_in(value) && !is_quantity(value) && !value.starts_with("//");
        secret.then(|| (argument.from + step, self.whole(argument).1))
    }

    fn attached_argument(&self, from: usize) -> Option<Argument> {
        let from = self.skip(from, |b| b == b'=');
        let quote = self.quote_at(from);
        let at = self.behind_quote(from);
        // A quote that closes the argument opens nothing.
        let closes = |b: &u8| is_space(*b) || matches!(b, b',' | b']' | b')');
        if quote.is_some() && self.bytes.get(at).is_none_or(closes) {
            return None;
        }
        self.argument_at(at, quote)
    }

    /// The next argument: behind blanks, `=`, or in a list of arguments behind quotes and commas.
    fn next_argument(&self, end: usize) -> Option<Argument> {
        let after_quote = self.behind_quote(end);
        let listed = after_quote > end;
        let mut at = self.skip(after_quote, |b| {
            is_blank(b) || b == b'=' || listed && (b == b',' || is_space(b))
        });
        if !listed && self.bytes.get(at) == Some(&b',') {
            at = self.skip(at, |b| is_blank(b) || b == b',');
        }
        at = self.behind_item(at);
        if at == end
            || self
                .bytes
                .get(at)
                .is_none_or(|b| is_space(*b) || matches!(b, b'-' | b'|'))
        {
            return None;
        }
        self.argument_at(self.behind_quote(at), self.quote_at(at))
    }

    /// The first of a list of lines, as YAML has it: `- -a⏎- x`.
    fn behind_item(&self, at: usize) -> usize {
        if self.bytes.get(at) != Some(&b'\n') {
            return at;
        }
        let item = self.skip(at, is_space);
        if self.starts(item, "- ") {
            self.skip(item + 1, is_blank)
        } else {
            at
        }
    }

    fn argument_at(&self, from: usize, quote: Option<(u8, usize)>) -> Option<Argument> {
        let near = self.near(from);
        let to = match quote {
            Some(quote) => self.end_of_quoted(from, quote, near),
            None => self.end_of_unquoted(Pair::plain(from), from, near),
        };
        (from < to).then_some(Argument { from, to, quote })
    }

    fn shown(&self, argument: Argument) -> &'t str {
        &self.text[argument.from..argument.to]
    }

    /// All of an argument that was judged by its beginning.
    fn whole(&self, argument: Argument) -> Span {
        let (from, end) = (argument.from, self.bytes.len());
        let to = match argument.quote {
            Some(quote) => self.end_of_quoted(from, quote, end),
            None => self.end_of_unquoted(Pair::plain(from), from, end),
        };
        (from, to)
    }

    /// Up to where a value that begins here is judged.
    fn near(&self, from: usize) -> usize {
        self.text
            .floor_char_boundary(self.bytes.len().min(from + NEAR_BYTES))
    }

    /// `echo X | docker login --password-stdin`: what is piped into something that reads a password.
    fn piped(&self, end: usize) -> Option<Span> {
        const BYTES_MAX: usize = 256;
        const READERS: &[&str] = &[
            "password-stdin",
            "chpasswd",
            "passwd",
            "kinit",
            "sudo -S",
            "su ",
            "cryptsetup",
            "login",
            "smbpasswd",
        ];
        let limit = (end + BYTES_MAX).min(self.bytes.len());
        let pipe = end
            + self.bytes[end..limit]
                .iter()
                .position(|b| matches!(b, b'|' | b'\n'))?;
        let limit = self
            .text
            .floor_char_boundary((pipe + BYTES_MAX).min(self.bytes.len()));
        let reader = &self.text[pipe..limit];
        if self.bytes[pipe] != b'|' || !READERS.iter().any(|name| reader.contains(name)) {
            return None;
        }
        let mut from = self.skip(end, is_blank);
        while self.bytes.get(from) == Some(&b'-') {
            from = self.skip(self.skip(from, |b| !is_space(b)), is_blank);
        }
        let to = from + self.text.get(from..pipe)?.trim_end().len();
        (from < to && !is_stand_in(self.text[from..to].trim_matches(['"', '\''])))
            .then_some((from, to))
    }

    /// What to hide after the key `start..end`.
    fn after_key(&mut self, start: usize, end: usize) -> Option<Span> {
        let next = *self.bytes.get(end)?;
        let quote = self.quote_at(end);
        let after_quote = quote.map_or(end, |(_, slashes)| end + slashes + 1);
        // `ENV["PASSWORD"] = "x"`
        let indexed = quote.is_some() && self.bytes.get(after_quote) == Some(&b']');
        let after_space = self.skip(after_quote + usize::from(indexed), is_blank);
        let (colon, length) = match self.bytes.get(after_space) {
            Some(b':') => (true, 1),
            Some(b'=') => (false, 1),
            Some(b'>') if after_space == after_quote => {
                return self.element(start, end, after_quote);
            }
            Some(b'-') if self.starts(after_space, "-> ") => (false, 2),
            Some(b'(') if after_space == end => return self.called(start, end),
            Some(b'[') if after_space == end => return self.validated_field(start, end),
            Some(b']') if after_space == end && self.starts(end, "]: Invalid value: ") => (true, 2),
            Some(b';' | b'|') if after_space == end => return self.beside(start, end),
            _ => return self.without_separator(start, end, after_quote, next),
        };
        let at = after_space + length;
        if colon && self.starts(at, "//") {
            return None;
        }
        // `:=`, `=>`, `==`
        let at = self.skip(at, |b| matches!(b, b'=' | b'>'));
        let key = self.key(start, end);
        let secrecy = self.secrecy_of(key);
        if secrecy == Secrecy::None || (secrecy == Secrecy::Parameter && colon) {
            return None;
        }
        self.value(
            Pair {
                start,
                at,
                quoted: quote.is_some(),
                colon,
                space_before: after_space > after_quote,
                flag: false,
                secrecy,
            },
            key,
        )
    }

    /// The key that ends with the word `start..end`; `api key` and `pass phrase` are written in two.
    fn key(&self, start: usize, end: usize) -> &'t str {
        let word = &self.text[start..end];
        let second = ["key", "keys", "phrase", "word"]
            .iter()
            .any(|one| word.eq_ignore_ascii_case(one));
        let (from, to) = self.before;
        if second && to + 1 == start && self.bytes[to] == b' ' && from < to {
            &self.text[from..end]
        } else {
            word
        }
    }

    fn secrecy_of(&self, key: &str) -> Secrecy {
        let of_secret =
            self.of_secret && (key.eq_ignore_ascii_case("data") || key.ends_with(".data"));
        let in_two = key.contains(' ');
        match secrecy(key) {
            _ if of_secret => Secrecy::Certain,
            // "secret key: tls.key", as sentences have it.
            Secrecy::Certain if in_two => Secrecy::Key,
            Secrecy::Key if in_two => Secrecy::None,
            secrecy => secrecy,
        }
    }

    /// `<password>x</password>`, `<property name="password">x</property>`.
    fn element(&self, start: usize, end: usize, after_quote: usize) -> Option<Span> {
        let in_tag = after_quote > end || start > 0 && matches!(self.bytes[start - 1], b'<' | b':');
        if !in_tag || secrecy(&self.text[start..end]) < Secrecy::Likely {
            return None;
        }
        self.content(after_quote + 1)
    }

    /// The text of an element whose tag ends before `from`.
    fn content(&self, from: usize) -> Option<Span> {
        const BYTES_MAX: usize = 4096;
        let limit = self.bytes.len().min(from + BYTES_MAX);
        let to = from
            + self
                .bytes
                .get(from..limit)?
                .iter()
                .position(|b| *b == b'<')?;
        let inner = &self.text[from..to];
        let from = from + (inner.len() - inner.trim_start().len());
        let to = from + inner.trim().len();
        let closed = self.bytes[to..].iter().find(|b| **b == b'<' || **b == b'/') == Some(&b'<')
            && self.bytes.get(self.skip(to, |b| b != b'<') + 1) == Some(&b'/');
        (closed && from < to && !is_stand_in(&self.text[from..to])).then_some((from, to))
    }

    /// `PASSWORD('x')`, `db.auth("u","x")`.
    fn called(&self, start: usize, end: usize) -> Option<Span> {
        const BYTES_MAX: usize = 512;
        let word = &self.text[start..end];
        let is_call = secrecy(word) == Secrecy::Certain || word.ends_with(".auth");
        let from = end + 1;
        self.quote_at(from)?;
        if !is_call {
            return None;
        }
        let limit = self.bytes.len().min(from + BYTES_MAX);
        let close = from + self.bytes[from..limit].iter().position(|b| *b == b')')?;
        (close > from + 2).then_some((from, close))
    }

    /// `stringData[x]: Invalid value: "…"`.
    fn validated_field(&self, start: usize, end: usize) -> Option<Span> {
        const BYTES_MAX: usize = 256;
        const LEAD: &str = "]: Invalid value: ";
        if secrecy(&self.text[start..end]) < Secrecy::Certain {
            return None;
        }
        let limit = self.bytes.len().min(end + BYTES_MAX);
        let close = end + self.bytes[end..limit].iter().position(|b| *b == b']')?;
        let at = close + LEAD.len();
        let (quote, slashes) = self
            .starts(close, LEAD)
            .then(|| self.quote_at(at))
            .flatten()?;
        let from = at + slashes + 1;
        let to = self.end_of_quoted(from, (quote, slashes), self.bytes.len());
        (from < to).then_some((from, to))
    }

    /// `password;x`, `password|x`: only what looks like a secret.
    fn beside(&self, start: usize, end: usize) -> Option<Span> {
        if secrecy(self.key(start, end)) < Secrecy::Likely {
            return None;
        }
        let argument = self.argument_at(end + 1, None)?;
        is_random(self.shown(argument)).then(|| self.whole(argument))
    }

    /// `--password x`, `Bearer x`, `"name":"DB_PASSWORD","value":"x"`, `password 'x'`, `password is x`.
    fn without_separator(
        &mut self,
        start: usize,
        end: usize,
        after_quote: usize,
        next: u8,
    ) -> Option<Span> {
        let word = &self.text[start..end];
        if is_space(next)
            && let Some(span) = self.after_scheme(word, end)
        {
            return Some(span);
        }
        if let Some(span) = self.identified_by(start, end) {
            return Some(span);
        }
        if word.starts_with('-') {
            return self.after_flag(word, end, after_quote);
        }
        if let Some(span) = self.named(word, end, after_quote) {
            return Some(span);
        }
        if after_quote > end && self.bytes.get(after_quote) == Some(&b',') {
            return self.next_of_list(word, after_quote);
        }
        if matches!(self.bytes[start.saturating_sub(1)], b'<' | b':')
            && next == b' '
            && secrecy(word) >= Secrecy::Likely
        {
            const TAG_BYTES_MAX: usize = 128;
            let limit = self.bytes.len().min(end + TAG_BYTES_MAX);
            let close = self.bytes[end..limit]
                .iter()
                .position(|b| matches!(b, b'<' | b'>'))?;
            return (self.bytes[end + close] == b'>')
                .then(|| self.content(end + close + 1))
                .flatten();
        }
        if after_quote > end || !is_blank(next) {
            return None;
        }
        self.next_word(start, end)
    }

    /// The word behind a key and a blank, if it cannot be anything but its value.
    fn next_word(&self, start: usize, end: usize) -> Option<Span> {
        let mut at = self.skip(end, is_blank);
        let mut linked = false;
        if let Some(b'i' | b'w') = self.bytes.get(at) {
            for link in ["is ", "was "] {
                if self.starts(at, link) {
                    at = self.skip(at + link.len(), is_blank);
                    linked = true;
                }
            }
        }
        if matches!(self.bytes.get(at), Some(b'(' | b'<')) {
            at += 1;
        }
        let quote = self.quote_at(at);
        let mut argument = self.argument_at(self.behind_quote(at), quote)?;
        if let Some((quote, _)) = quote {
            let key = self.key(start, end);
            let secrecy = secrecy(key);
            let value = self.shown(argument);
            let certain = secrecy == Secrecy::Certain
                && !key.contains(' ')
                && !value.contains(' ')
                && !is_harmless_text(secrecy, key, value)
                && self.bytes[argument.to..]
                    .first()
                    .is_some_and(|b| *b == quote || *b == b'\\');
            let secret = secrecy >= Secrecy::Likely && (certain || is_random(value));
            return secret.then(|| self.whole(argument));
        }
        // Redis: `AUTH default …`; IMAP: `LOGIN user …`.
        let command = matches!(&self.text[start..end], "AUTH" | "LOGIN");
        if command && !is_random(self.shown(argument)) {
            argument = self.argument_at(self.skip(argument.to, is_blank), None)?;
        }
        let value = self.shown(argument);
        let directive = matches!(
            &self.text[start..end],
            "requirepass" | "masterauth" | "bindpw" | "rootpw"
        ) && !linked
            && !is_stopword(bare(value));
        let random = is_random(value) && !value.starts_with(is_key_mark) && !is_address(value);
        if !directive && !random {
            return None;
        }
        let key = self.key(start, end);
        let secret = match secrecy(key) {
            Secrecy::Certain | Secrecy::Likely => true,
            Secrecy::Key => key.contains(' ') && !linked,
            _ => command || key == "community",
        };
        secret.then(|| self.whole(argument))
    }

    /// SQL: `IDENTIFIED BY 'x'`, `IDENTIFIED WITH plugin BY 'x'`, `WITH PASSWORD x`.
    fn identified_by(&self, start: usize, end: usize) -> Option<Span> {
        const NEAR_BYTES: usize = 64;
        let word = &self.text[start..end];
        if !word.eq_ignore_ascii_case("by") {
            return None;
        }
        let near = &self.bytes[start.saturating_sub(NEAR_BYTES)..start];
        let identified = near
            .windows(10)
            .any(|part| part.eq_ignore_ascii_case(b"identified"));
        let mut at = self.skip(end, is_blank);
        if self.starts_ignoring_case(at, "password ") {
            at = self.skip(at + 9, is_blank);
        }
        if !identified || at == end {
            return None;
        }
        let argument = self.argument_at(self.behind_quote(at), self.quote_at(at))?;
        (!is_stand_in(self.shown(argument))).then(|| self.whole(argument))
    }

    /// `"name":"DB_PASSWORD","value":"x"`, `{Name:DB_PASSWORD Value:x}`.
    fn named(&mut self, word: &str, end: usize, after_quote: usize) -> Option<Span> {
        let between = self.skip(after_quote, |b| is_space(b) || b == b',');
        let value_key = self.behind_quote(between);
        if between == end || !self.starts_ignoring_case(value_key, "value") {
            return None;
        }
        let at = value_key + "value".len();
        let closed = self.quote_at(at);
        let at = self.skip(self.behind_quote(at), is_blank);
        let separated = matches!(self.bytes.get(at), Some(b':' | b'='));
        let secrecy = secrecy(word);
        if !separated || secrecy < Secrecy::Key {
            return None;
        }
        self.value(
            Pair {
                start: end,
                at: at + 1,
                quoted: closed.is_some(),
                colon: true,
                space_before: false,
                flag: false,
                secrecy: if secrecy == Secrecy::Likely {
                    Secrecy::Certain
                } else {
                    secrecy
                },
            },
            word,
        )
    }

    /// `setenv("PASSWORD", "x")`: the text behind a quoted key, if it is neither a word nor a name.
    fn next_of_list(&self, word: &str, after_quote: usize) -> Option<Span> {
        let at = self.skip(after_quote + 1, is_blank);
        let quote = self.quote_at(at)?;
        let secrecy = secrecy(word);
        if secrecy < Secrecy::Key {
            return None;
        }
        let argument = self.argument_at(self.behind_quote(at), Some(quote))?;
        let value = self.shown(argument);
        let secret = is_random(value)
            || secrecy == Secrecy::Certain
                && !(value.contains(' ') || is_plain_word(value) || is_object_name(value))
                && !is_harmless_text(secrecy, word, value);
        secret.then(|| self.whole(argument))
    }

    /// The value of a flag that stands as the next argument.
    fn after_flag(&mut self, word: &str, end: usize, after_quote: usize) -> Option<Span> {
        let secrecy = secrecy(word);
        if secrecy < Secrecy::Likely && !(secrecy == Secrecy::Key && word.len() > 2) {
            return None;
        }
        // In a list of arguments quotes and commas stand between: `"--password", "x"`.
        let listed = after_quote > end;
        let mut at = self.skip(after_quote, |b| {
            is_blank(b) || (listed && (b == b',' || is_space(b)))
        });
        at = self.behind_item(at);
        let next_flag = self.bytes.get(at) == Some(&b'-')
            && self
                .bytes
                .get(at + 1)
                .is_none_or(|b| *b == b'-' || b.is_ascii_lowercase());
        let broken_off =
            at == end || next_flag || matches!(self.bytes.get(at), None | Some(b'\n' | b'\r'));
        if broken_off {
            return None;
        }
        let blank_before = usize::from(is_blank(self.bytes[at - 1]));
        self.value(
            Pair {
                start: end,
                at: at - blank_before,
                quoted: false,
                colon: false,
                space_before: false,
                flag: true,
                secrecy,
            },
            word,
        )
    }

    /// What follows `Bearer`, `Basic` and the like.
    fn after_scheme(&self, scheme: &str, end: usize) -> Option<Span> {
        if !matches!(
            scheme.as_bytes()[0],
            b'b' | b'B' | b'g' | b'G' | b's' | b'S' | b'a' | b'A'
        ) {
            return None;
        }
        const SCHEMES: [&str; 6] = ["bearer", "basic", "geniekey", "ssws", "splunk", "apikey"];
        let scheme = SCHEMES
            .iter()
            .find(|one| scheme.eq_ignore_ascii_case(one))?;
        let from = self.skip(end, is_space);
        let to = self.skip(from, char_class::is_wide);
        let token = &self.text[from..to];
        // "basic" is an English word; credentials after it are always base64 of `user:password`.
        let secret = match *scheme {
            "basic" => token.len() >= 6 && decodes_to_pair(token, to == self.bytes.len()),
            "bearer" => {
                token.len() >= 6
                    && !is_stopword(token.trim_end_matches(['=', '.']))
                    && !token.starts_with("realm=")
            }
            _ => is_random(token) || is_uuid(token),
        };
        secret.then_some((from, to))
    }

    /// The value of a pair; `None` if it is not a secret.
    fn value(&mut self, mut pair: Pair, key: &str) -> Option<Span> {
        let mut at = self.skip(pair.at, is_blank);
        let spaced = at > pair.at;
        at = self.behind_prefix(at);
        // Of a path only the last step names the value: `valueFrom.secretKeyRef.name: Required value`.
        let key = key.trim_end_matches('.');
        let last_step = key.rsplit('.').next().unwrap_or(key);
        if pair.colon && last_step.len() < key.len() && pair.secrecy >= Secrecy::Likely {
            pair.secrecy = self.secrecy_of(last_step);
            if pair.secrecy < Secrecy::Likely {
                return None;
            }
        }
        if pair.colon && matches!(self.bytes.get(at), Some(b'\n' | b'\r')) {
            at = match self.on_next_lines(pair, key, at) {
                NextLine::Nothing => return None,
                NextLine::Block(span) => return Some(span),
                NextLine::Value(at) => at,
            };
        }
        let mut validated = false;
        for lead in [
            "Invalid value: ",
            "Unsupported value: ",
            "Duplicate value: ",
        ] {
            if self.starts(at, lead) {
                at += lead.len();
                validated = true;
            }
        }
        if let Some((quote, slashes)) = self.quote_at(at) {
            return self.quoted_value(pair, key, at, (quote, slashes));
        }
        // `volume "db-secret" : secret "db-secret" not found`
        if validated || pair.quoted && pair.colon && pair.space_before {
            return None;
        }
        if pair.colon
            && !spaced
            && pair.secrecy < Secrecy::Certain
            && (self.is_image(pair.start) || self.is_version(at))
        {
            return None;
        }
        if self.starts(at, REDACTED) && self.ends_after_marker(pair, at + REDACTED.len()) {
            return None;
        }
        let to = self.end_of_unquoted(pair, at, self.near(at));
        if !self.starts(at, REDACTED)
            && let Some(open) = self.structure_at(at)
        {
            return self.structure(pair, key, (at, open), to);
        }
        if let Some(end) = self.end_of_credentials(pair, last_step, at, to) {
            return Some((at, end));
        }
        let value = &self.text[at..to];
        if self.is_harmless(pair, key, (at, to), spaced) {
            return None;
        }
        let mut to = self.end_of_unquoted(pair, at, self.bytes.len());
        let scheme = ["bearer", "basic", "digest", "negotiate"];
        if scheme.iter().any(|one| value.eq_ignore_ascii_case(one)) {
            to = self.end_of_unquoted(pair, self.skip(to, is_space), self.bytes.len());
        } else if let Some(b'|' | b'>') = self.bytes.get(at) {
            to = self.end_of_block(at, to);
        }
        Some((at, self.end_of_chain(at, to)))
    }

    /// Behind what languages put before a value: a YAML tag, `Some(`, `N'…'`, `$'…'`.
    fn behind_prefix(&self, mut at: usize) -> usize {
        if self.starts(at, "!!") {
            let tag = self.skip(at + 2, |b| b.is_ascii_alphabetic());
            if tag > at + 2 && self.bytes.get(tag) == Some(&b' ') {
                at = self.skip(tag, is_blank);
            }
        }
        if self.starts(at, "Some(") {
            at += "Some(".len();
        }
        let prefixed = matches!(
            self.bytes.get(at),
            Some(b'N' | b'b' | b'u' | b'r' | b'f' | b'@' | b'$')
        );
        if prefixed
            && self
                .quote_at(at + 1)
                .is_some_and(|(_, slashes)| slashes == 0)
        {
            at += 1;
        }
        at
    }

    /// Pretty-printed: the value on the next line, or a block of lines that belong to the key.
    fn on_next_lines(&self, pair: Pair, key: &str, at: usize) -> NextLine {
        if pair.secrecy == Secrecy::Certain && is_block_key(key) {
            let end = self.end_of_indented(pair.start, at);
            let from = self.skip(at, is_space);
            return if from < end {
                NextLine::Block((from, end))
            } else {
                NextLine::Nothing
            };
        }
        let mut next = self.skip(at, is_space);
        if self.quote_at(next).is_some() {
            let from = self.behind_quote(next);
            // `"x":` on the next line is a key.
            let end = self.skip(from, is_key);
            let is_pair = self.bytes.get(self.behind_quote(end)) == Some(&b':')
                && self.quote_at(end).is_some();
            return if is_pair {
                NextLine::Nothing
            } else {
                NextLine::Value(next)
            };
        }
        if self.starts(next, "- ") {
            next = self.skip(next + 1, is_blank);
        }
        let Some(argument) = self.argument_at(next, None) else {
            return NextLine::Nothing;
        };
        let value = self.shown(argument);
        let is_value = match pair.secrecy {
            Secrecy::Certain => {
                !value.ends_with(':') && !value.contains('=') && !is_plain_word(value)
                    || is_random(value)
            }
            _ => is_random(value),
        };
        if is_value && !value.contains("://") {
            NextLine::Value(next)
        } else {
            NextLine::Nothing
        }
    }

    fn quoted_value(
        &self,
        pair: Pair,
        key: &str,
        at: usize,
        (quote, slashes): (u8, usize),
    ) -> Option<Span> {
        let from = at + slashes + 1;
        let end = self.bytes.len();
        let to = self.end_of_quoted(from, (quote, slashes), end);
        // A shell joins what stands together: 'it'"'"'s', "a"b
        let joined = self
            .bytes
            .get(to + 1)
            .is_some_and(|b| b.is_ascii_alphanumeric() || quote_bit(*b) != 0);
        if slashes == 0 && joined {
            return Some((at, self.end_of_unquoted(pair, to, end)));
        }
        let secret =
            to - from >= NEAR_BYTES || !is_harmless_text(pair.secrecy, key, &self.text[from..to]);
        (from < to && secret).then_some((from, to))
    }

    /// The bracket of an object or list that begins here: `{`, `[`, `map[`, `map[string]string{`.
    fn structure_at(&self, at: usize) -> Option<usize> {
        const TYPE_BYTES_MAX: usize = 40;
        match self.bytes.get(at)? {
            b'{' | b'[' => Some(at),
            b'm' if self.starts(at, "map[") => {
                let rest = &self.bytes[at..self.bytes.len().min(at + TYPE_BYTES_MAX)];
                let is_type =
                    |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'[' | b']' | b'*' | b'.');
                let end = rest.iter().position(|b| !is_type(b));
                match end {
                    Some(end) if rest[end] == b'{' => Some(at + end),
                    _ => Some(at + 3),
                }
            }
            _ => None,
        }
    }

    /// An object or list under a secret key: all of it, unless nothing in it looks like a secret.
    fn structure(&mut self, pair: Pair, key: &str, (at, open): Span, to: usize) -> Option<Span> {
        if at < self.harmless_until || is_stand_in(&self.text[at..to]) && !self.starts(at, "[") {
            return None;
        }
        let end = self.end_of_structure(open);
        // `password=[odd]` is a value that begins with a bracket.
        let whole = pair.secrecy == Secrecy::Certain && (is_block_key(key) || !pair.colon);
        if !whole
            && self.text[open..end]
                .split(is_structure_mark)
                .all(is_harmless_leaf)
        {
            self.harmless_until = end;
            return None;
        }
        let to = to.max(self.end_of_unquoted(pair, to, self.bytes.len()));
        Some((at, if pair.quoted { end } else { end.max(to) }))
    }

    /// `Authorization: Scheme credentials, more`, `Cookie: a=b; c=d`: to the end of the header.
    fn end_of_credentials(&self, pair: Pair, key: &str, at: usize, to: usize) -> Option<usize> {
        let ends = |name: &str| {
            key.len() >= name.len()
                && key.as_bytes()[key.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes())
        };
        let first = &self.text[at..to];
        if ends("cookie") {
            return first.contains('=').then(|| self.end_of_header(at));
        }
        if !ends("authorization") {
            return None;
        }
        let scheme = first.len() <= 20
            && first.bytes().all(char_class::is_word)
            && first.bytes().any(|b| b.is_ascii_alphabetic());
        let from = self.skip(to, is_blank);
        if !scheme || from == to {
            return None;
        }
        let limit = self.bytes.len();
        let mut end = self.end_of_unquoted(pair, from, limit);
        let credentials = &self.text[from..end];
        let known = ["bearer", "basic", "digest", "negotiate", "token", "apikey"]
            .iter()
            .any(|one| first.eq_ignore_ascii_case(one));
        let looks = credentials.contains('=')
            || is_random(credentials)
            || is_uuid(bare(credentials))
            || credentials.len() >= 24;
        if !(looks || known && !is_stopword(bare(credentials))) {
            return None;
        }
        while self.bytes[..end].ends_with(b",") && self.bytes.get(end) == Some(&b' ') {
            let next = self.skip(end, is_blank);
            let further = self.end_of_unquoted(pair, next, limit);
            if !self.text[next..further].contains('=') {
                break;
            }
            end = further;
        }
        Some(end)
    }

    /// `host/auth:latest`, `image "auth:latest"`: a colon without space may belong to an image.
    fn is_image(&self, start: usize) -> bool {
        let before = &self.bytes[..start];
        [&b"/"[..], b"image \"", b"image "]
            .iter()
            .any(|one| before.ends_with(one))
    }

    /// `1.2`, `v2`, `v1.25.3`.
    fn is_version(&self, at: usize) -> bool {
        let version = self.skip(at, |b| b == b'v');
        let major = self.skip(version, |b| b.is_ascii_digit());
        let numbered = version < major && version - at <= 1 && major - version <= 3;
        numbered
            && (self.bytes.get(major) == Some(&b'.') || version > at)
            && self
                .bytes
                .get(major)
                .is_none_or(|b| matches!(b, b'.' | b'-' | b'"' | b' ' | b','))
    }

    /// Whether an unquoted value is not a secret: a word of a sentence, a number, a name, a state.
    fn is_harmless(&self, pair: Pair, key: &str, (at, to): Span, spaced: bool) -> bool {
        let value = &self.text[at..to];
        let word = bare(value);
        if value.len() >= NEAR_BYTES {
            return false;
        }
        if word.is_empty() || is_stand_in(value) || is_state(word) {
            return true;
        }
        let goes_on = self.bytes.get(to) == Some(&b' ')
            && self.bytes.get(to + 1).is_some_and(|b| !is_space(*b));
        let parameter = !pair.colon
            && pair.start > 0
            && matches!(self.bytes[pair.start - 1], b'?' | b'&' | b'#');
        match pair.secrecy {
            Secrecy::None => true,
            Secrecy::Parameter if parameter => !is_secret_parameter(key, value),
            Secrecy::Parameter | Secrecy::Key => !looks_secret(value),
            Secrecy::Certain => {
                let digits = value.bytes().filter(u8::is_ascii_digit).count();
                is_quantity(value) && digits <= 3
                    || is_path(value)
                    || pair.colon && !spaced && self.is_image(pair.start)
                    || pair.flag && goes_on && is_stopword(word)
                    || pair.colon && spaced && goes_on && is_stopword(word)
                    || pair.colon
                        && spaced
                        && value.ends_with(':')
                        && is_plain_word(word)
                        && word.bytes().any(|b| b.is_ascii_uppercase())
            }
            Secrecy::Likely => {
                let named = names_objects(key) && is_object_name(word);
                let counted = key.ends_with('s') && word.bytes().all(|b| b.is_ascii_digit());
                counted
                    || pair.colon
                        && spaced
                        && value.ends_with(':')
                        && is_error_class(word)
                        && secrecy(word) < Secrecy::Likely
                    || is_quantity(value)
                    || is_path(value)
                    || is_plain_address(value)
                    || is_reference(value)
                    || is_stopword(word) && (pair.colon || goes_on)
                    || named && !(pair.colon && !spaced && !word.contains(['-', '/']))
                    || pair.colon && spaced && is_plain_word(word)
                    || pair.colon && !spaced && value.len() < 6
            }
        }
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
            secrecy: Secrecy::None,
        }
    }
}

/// Where a value is that does not stand on the line of its key.
enum NextLine {
    Nothing,
    Value(usize),
    Block(Span),
}

/// Whether the text of a quoted value is not a secret.
fn is_harmless_text(secrecy: Secrecy, key: &str, value: &str) -> bool {
    if is_stand_in(value) || is_state(value) {
        return true;
    }
    match secrecy {
        Secrecy::None => true,
        Secrecy::Parameter | Secrecy::Key => !looks_secret(value),
        Secrecy::Certain => is_path(value),
        Secrecy::Likely => {
            is_quantity(value)
                || is_path(value)
                || is_plain_address(value)
                || is_stopword(value)
                || names_objects(key) && is_object_name(value)
                || is_sentence(value)
        }
    }
}

/// Several words of a language, of which the first is one that sentences begin with.
fn is_sentence(text: &str) -> bool {
    let mut words = text.split(' ');
    words
        .next()
        .is_some_and(|word| is_stopword(bare(word)) || is_plain_word(word))
        && text.contains(' ')
        && words.all(|word| {
            is_plain_word(word) || is_quantity(word) || word.is_empty() || is_object_name(word)
        })
}

/// Keys whose values are mostly names of objects: `secret: db-creds`, `auth: kubernetes`.
fn names_objects(key: &str) -> bool {
    let ends = |name: &str| {
        let key = key.as_bytes();
        key.len() >= name.len()
            && key[key.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes())
    };
    [
        "secret",
        "secrets",
        "auth",
        "credential",
        "credentials",
        "creds",
        "authorization",
    ]
    .iter()
    .any(|name| ends(name))
}

/// Keys whose values are secret whatever they look like, each of them.
fn is_block_key(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    ["stringdata", "data"]
        .iter()
        .any(|name| last.eq_ignore_ascii_case(name))
}

/// A value that nobody writes by hand; also shorter ones than [`is_random`], and ids.
fn looks_secret(value: &str) -> bool {
    const BYTES_MIN: usize = 16;
    let word = bare(value);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    is_random(word)
        || is_uuid(word)
        || word.len() >= BYTES_MIN
            && digits >= 2
            && letters >= 2
            && digits + letters + word.matches('-').count() == word.len()
            && !is_object_name(word)
        || word
            .strip_prefix("base64:")
            .is_some_and(|word| word.len() >= BYTES_MIN)
}

/// Whether a parameter of a URL is a secret: `?sig=…` always, `?key=…` if it is more than a word or a number.
fn is_secret_parameter(key: &str, value: &str) -> bool {
    const BYTES_MIN: usize = 6;
    let lower = key.to_ascii_lowercase();
    let signed = lower.ends_with("sig") || lower.ends_with("signature");
    let word = bare(value);
    word.len() >= BYTES_MIN
        && (signed || !(is_quantity(word) || is_plain_word(word) || is_object_name(word)))
}

/// `AccessDenied`, `EC2MetadataError`: what stands before another colon.
fn is_error_class(word: &str) -> bool {
    let begins = word.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
    begins && word.bytes().all(|b| b.is_ascii_alphanumeric()) && !is_random(word)
}

/// `name=db-creds`, `key:password`: which one it is.
fn is_reference(value: &str) -> bool {
    ["name=", "name:", "key=", "key:", "namespace=", "secret/"]
        .iter()
        .any(|start| value.starts_with(start))
}

fn is_address(value: &str) -> bool {
    value.contains("://") || value.starts_with("//")
}

/// An address without a user: `https://host/path`.
fn is_plain_address(value: &str) -> bool {
    ["http://", "https://", "arn:", "urn:"]
        .iter()
        .any(|start| value.starts_with(start))
        && !value.contains(['@', '?'])
}

fn is_key_mark(c: char) -> bool {
    matches!(c, '-' | '(' | '{' | '[' | '<' | '=')
}

fn is_structure_mark(c: char) -> bool {
    matches!(
        c,
        '{' | '}' | '[' | ']' | ',' | '"' | '\'' | '\\' | ' ' | '\n' | '\t' | '\r'
    )
}

/// Whether a piece of an object does not look like a secret. A piece may be `key:value`.
fn is_harmless_leaf(piece: &str) -> bool {
    let piece = piece.trim_matches(':');
    let value = piece.rsplit(['=', ':']).next().unwrap_or(piece);
    piece.is_empty()
        || is_plain_word(piece)
        || is_quantity(piece)
        || is_stand_in(piece)
        || is_object_name(piece)
        || is_plain_address(piece)
        || is_path(piece)
        || is_plain_word(value) && is_plain_word(&piece[..piece.len() - value.len()])
        || is_quantity(value) && is_plain_word(&piece[..piece.len() - value.len()])
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
