//! Keys, and where their values begin: after `=` or `:`, or in the next argument, element or word.

use super::char_class::{is_blank, is_key, is_space, is_wide};
use super::harmless::{is_address, is_harmless_text, is_key_mark, names_objects};
use super::literals::{is_displaced, is_secret_literal};
use super::stopwords::is_stopword;
use super::token_patterns::decodes_to_pair;
use super::value_shape::{
    bare, is_commit, is_image_tag, is_object_name, is_plain_word, is_random, is_stand_in,
    is_tagged_image, is_uuid,
};
use super::{ByteRange, NEAR_BYTES, Pair, Scan};
use crate::sensitive_key::{Sensitivity, sensitivity};

impl<'t> Scan<'t> {
    /// What to redact after the key `start..end`.
    pub(super) fn after_key(&mut self, start: usize, end: usize) -> Option<ByteRange> {
        if self.is_tagged_image(start, end) {
            return None;
        }
        self.after_separator(start, end)
            .or_else(|| self.beside(start, end))
    }

    /// `ghcr.io/acme/auth:sha-4e1c9f2…`: the word is the name of an image, and what follows its tag.
    fn is_tagged_image(&self, start: usize, end: usize) -> bool {
        /// The longest tag that registries take.
        const TAG_BYTES_MAX: usize = 128;
        if self.bytes.get(end) != Some(&b':') {
            return false;
        }
        let limit = self.bytes.len().min(end + TAG_BYTES_MAX + 2);
        let near = &self.bytes[end + 1..limit];
        let length = near.iter().position(|b| !is_key(*b)).unwrap_or(near.len());
        let tag = bare(&self.text[end + 1..end + 1 + length]);
        // Alone, as in object snapshots, only a whole commit after a name whose values are not hexadecimal.
        let named = ["auth", "jwt"]
            .iter()
            .any(|name| self.text[start..end].ends_with(name));
        let before = start.checked_sub(1).map(|at| self.bytes[at]);
        let after = self.bytes.get(end + 1 + length);
        let alone = before.is_none_or(|b| is_space(b) || matches!(b, b'[' | b'(' | b','))
            && after != Some(&b'@');
        let commit = named && alone && tag.len() == 40 && is_commit(tag);
        length <= TAG_BYTES_MAX
            && is_image_tag(tag)
            && (commit || self.is_image(start))
            && (sensitivity(&self.text[start..end]) < Sensitivity::Certain
                || self.speaks_of_image(start))
    }

    /// Whether the sentence names an image before `start`.
    fn speaks_of_image(&self, start: usize) -> bool {
        const NEAR_BYTES: usize = 128;
        let near = &self.bytes[start.saturating_sub(NEAR_BYTES)..start];
        near.windows(5)
            .any(|part| part.eq_ignore_ascii_case(b"image"))
    }

    fn after_separator(&mut self, start: usize, end: usize) -> Option<ByteRange> {
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
            _ => return self.without_separator(start, end, after_quote, next),
        };
        let at = after_space + length;
        if colon && self.starts(at, "//") {
            return None;
        }
        // `:=`, `=>`, `==`, `===`; more belong to the value.
        let at = self.skip(at, |b| matches!(b, b'=' | b'>')).min(at + 2);
        let further = self.skip(at, is_blank);
        let at = if colon && (self.starts(further, "= ") || self.starts(further, "=> ")) {
            self.skip(further, |b| matches!(b, b'=' | b'>'))
        } else {
            at
        };
        let key = self.key(start, end);
        let sensitivity = self.sensitivity_of(key);
        if sensitivity == Sensitivity::None {
            return self.out_of_place(key, at);
        }
        if sensitivity == Sensitivity::Parameter && colon {
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
                sensitivity,
            },
            key,
        )
    }

    /// A generated value of a key that only describes a secret: `PASSWORD_FILE=…`.
    fn out_of_place(&self, key: &str, at: usize) -> Option<ByteRange> {
        let from = self.behind_quote(self.skip(at, is_blank));
        let to = self.skip(from, |b| b.is_ascii_alphanumeric());
        let value = &self.text[from..to];
        let ends =
            |b: &u8| is_space(*b) || matches!(b, b'"' | b'\'' | b'\\' | b',' | b';' | b'}' | b']');
        (to - from < NEAR_BYTES && self.bytes.get(to).is_none_or(ends) && is_displaced(key, value))
            .then_some((from, to))
    }

    /// The key that ends with the word `start..end`; `api key` and `pass phrase` are two words.
    pub(super) fn key(&self, start: usize, end: usize) -> &'t str {
        // `-Dpassword=x`: a property of Java.
        let start = if self.starts(start, "-D") && end > start + 3 {
            start + 2
        } else {
            start
        };
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

    pub(super) fn sensitivity_of(&self, key: &str) -> Sensitivity {
        let of_secret =
            self.of_secret && (key.eq_ignore_ascii_case("data") || key.ends_with(".data"));
        let in_two = key.contains(' ');
        match sensitivity(key) {
            _ if of_secret => Sensitivity::Certain,
            // "secret key: tls.key", as sentences have it.
            Sensitivity::Certain if in_two => Sensitivity::Key,
            Sensitivity::Key if in_two && is_license(key) => Sensitivity::Key,
            Sensitivity::Key if in_two => Sensitivity::None,
            sensitivity => sensitivity,
        }
    }

    /// `PASSWORD('x')`, `db.auth("u","x")`.
    fn called(&self, start: usize, end: usize) -> Option<ByteRange> {
        const BYTES_MAX: usize = 512;
        let word = &self.text[start..end];
        let is_call = sensitivity(word) == Sensitivity::Certain || word.ends_with(".auth");
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
    fn validated_field(&self, start: usize, end: usize) -> Option<ByteRange> {
        const BYTES_MAX: usize = 256;
        const LEAD: &str = "]: Invalid value: ";
        if sensitivity(&self.text[start..end]) < Sensitivity::Certain {
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

    /// `password;x`, `password(x)`, `password/x`, `password⏎x`: only what looks random.
    fn beside(&self, start: usize, end: usize) -> Option<ByteRange> {
        /// Punctuation between key and value.
        const MARKS_MAX: usize = 3;
        /// Shorter values do not look random.
        const RANDOM_BYTES_MIN: usize = 10;
        let mut at = end;
        for _ in 0..MARKS_MAX {
            match self.bytes.get(at) {
                Some(b'\\') if matches!(self.bytes.get(at + 1), Some(b'n' | b'r' | b't')) => {
                    at += 2
                }
                // Addresses, digests and escapes.
                Some(b'@' | b'#' | b'?' | b'&' | b'.' | b'%' | b'\\') => return None,
                Some(b) if b.is_ascii() && !is_key(*b) => at += 1,
                _ => break,
            }
        }
        // Most words: nothing random can follow.
        let near = &self.bytes[at..self.bytes.len().min(at + RANDOM_BYTES_MIN)];
        let blank = self.bytes[end..at].iter().all(|b| is_blank(*b));
        if blank
            || near.len() < RANDOM_BYTES_MIN
            || !near.iter().all(|b| is_wide(*b))
            || !self.bytes.get(at)?.is_ascii_alphanumeric()
            || sensitivity(self.key(start, end)) < Sensitivity::Likely
        {
            return None;
        }
        let argument = self.argument_at(at, None)?;
        let value = self.shown(argument);
        let id = is_uuid(bare(value)) && !names_objects(&self.text[start..end]);
        let secret = (is_random(value) || id) && !is_address(value) && !is_tagged_image(value);
        secret.then(|| self.whole(argument))
    }

    /// `<password>x</password>`, `<property name="password">x</property>`.
    fn element(&self, start: usize, end: usize, after_quote: usize) -> Option<ByteRange> {
        let in_tag = after_quote > end || start > 0 && matches!(self.bytes[start - 1], b'<' | b':');
        if !in_tag || sensitivity(&self.text[start..end]) < Sensitivity::Likely {
            return None;
        }
        self.content(after_quote + 1)
    }

    /// The text of an element whose tag ends before `from`.
    fn content(&self, from: usize) -> Option<ByteRange> {
        const BYTES_MAX: usize = 4096;
        const CDATA: &str = "<![CDATA[";
        let limit = self.bytes.len().min(from + BYTES_MAX);
        let cdata = self.skip(from, is_space);
        if self.starts(cdata, CDATA) {
            let from = cdata + CDATA.len();
            let close = self.bytes.get(from..limit)?.windows(3);
            let to = from + { close }.position(|part| part == b"]]>")?;
            return (from < to && !is_stand_in(&self.text[from..to])).then_some((from, to));
        }
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

    /// `--password x`, `Bearer x`, `"name":"DB_PASSWORD","value":"x"`, `password 'x'`, `password is x`.
    fn without_separator(
        &mut self,
        start: usize,
        end: usize,
        after_quote: usize,
        next: u8,
    ) -> Option<ByteRange> {
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
            && sensitivity(word) >= Sensitivity::Likely
        {
            const TAG_BYTES_MAX: usize = 128;
            let limit = self.bytes.len().min(end + TAG_BYTES_MAX);
            let mark = self.bytes[end..limit]
                .iter()
                .position(|b| matches!(b, b'<' | b'>'));
            if let Some(close) = mark
                && self.bytes[end + close] == b'>'
            {
                return self.content(end + close + 1);
            }
        }
        if after_quote > end || !is_blank(next) {
            return None;
        }
        self.next_word(start, end)
    }

    /// The word after a key and a blank, if it can only be the value.
    fn next_word(&self, start: usize, end: usize) -> Option<ByteRange> {
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
            let sensitivity = sensitivity(key);
            let value = self.shown(argument);
            let certain = sensitivity == Sensitivity::Certain
                && !key.contains(' ')
                && !value.contains(' ')
                && !is_harmless_text(sensitivity, key, value)
                && self.bytes[argument.to..]
                    .first()
                    .is_some_and(|b| *b == quote || *b == b'\\');
            let random = is_random(value) || is_uuid(value) && !names_objects(key);
            let secret = sensitivity >= Sensitivity::Likely && (certain || random);
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
        let random = is_random(value)
            && !value.starts_with(is_key_mark)
            && !is_address(value)
            && !is_tagged_image(value)
            || is_uuid(bare(value)) && !names_objects(&self.text[start..end]);
        if !directive && !random {
            return None;
        }
        let key = self.key(start, end);
        let secret = match sensitivity(key) {
            Sensitivity::Certain | Sensitivity::Likely => true,
            Sensitivity::Key => key.contains(' ') && !linked,
            _ => command || key == "community",
        };
        secret.then(|| self.whole(argument))
    }

    /// SQL: `IDENTIFIED BY 'x'`, `IDENTIFIED WITH plugin BY 'x'`, `WITH PASSWORD x`.
    fn identified_by(&self, start: usize, end: usize) -> Option<ByteRange> {
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
    fn named(&mut self, word: &str, end: usize, after_quote: usize) -> Option<ByteRange> {
        let between = self.skip(after_quote, |b| is_space(b) || b == b',');
        let value_key = self.behind_quote(between);
        if between == end || !self.starts_ignoring_case(value_key, "value") {
            return None;
        }
        let at = value_key + "value".len();
        let closed = self.quote_at(at);
        let at = self.skip(self.behind_quote(at), is_blank);
        let separated = matches!(self.bytes.get(at), Some(b':' | b'='));
        let sensitivity = sensitivity(word);
        if !separated || sensitivity < Sensitivity::Key {
            return None;
        }
        let span = self.value(
            Pair {
                start: end,
                at: at + 1,
                quoted: closed.is_some(),
                colon: true,
                space_before: false,
                flag: false,
                sensitivity: if sensitivity == Sensitivity::Likely {
                    Sensitivity::Certain
                } else {
                    sensitivity
                },
            },
            word,
        )?;
        // A list of variables quotes whole values, so that a number or `web-tls` can be told from a secret. A word may
        // be one.
        let value = &self.text[span.0..span.1];
        let harmless = sensitivity == Sensitivity::Likely
            && span.1 < self.bytes.len()
            && !value.bytes().all(|b| b.is_ascii_alphabetic())
            && !is_secret_literal(word, value);
        (!harmless).then_some(span)
    }

    /// `setenv("PASSWORD", "x")`: the text after a quoted key, if it is neither a word nor a name.
    fn next_of_list(&self, word: &str, after_quote: usize) -> Option<ByteRange> {
        let at = self.skip(after_quote + 1, is_blank);
        let quote = self.quote_at(at)?;
        let sensitivity = sensitivity(word);
        if sensitivity < Sensitivity::Key {
            return None;
        }
        let argument = self.argument_at(self.behind_quote(at), Some(quote))?;
        let value = self.shown(argument);
        let secret = is_random(value)
            || sensitivity == Sensitivity::Certain
                && !(value.contains(' ') || is_plain_word(value) || is_object_name(value))
                && !is_harmless_text(sensitivity, word, value);
        secret.then(|| self.whole(argument))
    }

    /// The value of a flag that is the next argument.
    fn after_flag(&mut self, word: &str, end: usize, after_quote: usize) -> Option<ByteRange> {
        let sensitivity = sensitivity(word);
        if sensitivity < Sensitivity::Likely && !(sensitivity == Sensitivity::Key && word.len() > 2)
        {
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
                sensitivity,
            },
            word,
        )
    }

    /// What follows `Bearer`, `Basic` and the like.
    fn after_scheme(&self, scheme: &str, end: usize) -> Option<ByteRange> {
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
        let to = self.skip(from, is_wide);
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
}

/// `license key`: two words, and not the key of a table.
fn is_license(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes.len() > 4 && bytes[..5].eq_ignore_ascii_case(b"licen")
}
