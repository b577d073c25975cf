//! The value of a pair: its extent, and whether it is a secret.

use super::char_class::{self, is_blank, is_key, is_space, quote_bit};
use super::harmless::{
    is_block_key, is_error_class, is_harmless_leaf, is_harmless_text, is_plain_address,
    is_reference, is_secret_parameter, is_sentence_of_words, is_setting, is_structure_mark,
    looks_secret, names_objects,
};
use super::stopwords::{is_state, is_stopword};
use super::value_shape::{
    bare, is_image_tag, is_object_name, is_path, is_plain_word, is_quantity, is_random,
    is_stand_in, is_tagged_image, is_uuid,
};
use super::{ByteRange, NEAR_BYTES, Pair, REDACTED, Scan};
use crate::sensitive_key::{Sensitivity, sensitivity};

/// Where a value is that is not on the line of its key.
enum NextLine {
    Nothing,
    Value(usize),
    Block(ByteRange),
}

impl Scan<'_> {
    /// The value of a pair; `None` if it is not a secret.
    pub(super) fn value(&mut self, mut pair: Pair, key: &str) -> Option<ByteRange> {
        let mut at = self.skip(pair.at, is_blank);
        let spaced = at > pair.at;
        at = self.behind_prefix(at);
        if pair.colon && spaced {
            at = self.behind_mark(at);
        }
        // Only the last segment of a path names the value: `valueFrom.secretKeyRef.name: Required value`.
        let key = key.trim_end_matches('.');
        let last_step = key.rsplit('.').next().unwrap_or(key);
        if pair.colon && last_step.len() < key.len() && pair.sensitivity >= Sensitivity::Likely {
            pair.sensitivity = self.sensitivity_of(last_step);
            if pair.sensitivity < Sensitivity::Likely {
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
            && pair.sensitivity < Sensitivity::Certain
            && (self.is_image(pair.start)
                || self.is_version(at)
                    && is_image_tag(bare(
                        &self.text[at..self.end_of_unquoted(pair, at, self.near(at))],
                    )))
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
        if to == at + 1
            && let Some(rest) = self.argument_at(self.skip(to, is_blank), None)
            && is_random(self.shown(rest))
        {
            // A space within the value.
            to = self.whole(rest).1;
        }
        let scheme = ["bearer", "basic", "digest", "negotiate"];
        if scheme.iter().any(|one| value.eq_ignore_ascii_case(one)) {
            to = self.end_of_unquoted(pair, self.skip(to, is_space), self.bytes.len());
        } else if let Some(b'|' | b'>') = self.bytes.get(at) {
            to = self.end_of_block(at, to);
        }
        Some((at, self.end_of_chain(at, to)))
    }

    /// The position after a prefix of the value: a YAML tag, `Some(`, `N'…'`, `$'…'`.
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

    /// The position after an anchor or a tag of YAML: `&name x`, `!secret x`. A reference tag keeps its name.
    fn behind_mark(&self, at: usize) -> usize {
        const REFERENCES: [&str; 4] = ["!Ref", "!GetAtt", "!ImportValue", "!reference"];
        if !matches!(self.bytes.get(at), Some(b'&' | b'!')) {
            return at;
        }
        let end = self.skip(at + 1, is_key);
        let next = self.skip(end, is_blank);
        let marked =
            end > at + 1 && next > end && self.bytes.get(next).is_some_and(|b| !is_space(*b));
        if marked && !REFERENCES.contains(&&self.text[at..end]) {
            next
        } else {
            at
        }
    }

    /// Pretty-printed: the value on the next line, or a block of lines that belong to the key.
    fn on_next_lines(&self, pair: Pair, key: &str, at: usize) -> NextLine {
        if pair.sensitivity == Sensitivity::Certain && is_block_key(key) {
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
        let is_value = match pair.sensitivity {
            Sensitivity::Certain => {
                !value.ends_with(':') && !value.contains('=') && !is_plain_word(value)
                    || is_random(value)
            }
            _ => is_random(value) || is_uuid(value),
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
    ) -> Option<ByteRange> {
        let from = at + slashes + 1;
        let end = self.bytes.len();
        let to = self.end_of_quoted(from, (quote, slashes), end);
        // A shell joins adjacent parts: 'it'"'"'s', "a"b
        let joined = self
            .bytes
            .get(to + 1)
            .is_some_and(|b| b.is_ascii_alphanumeric() || quote_bit(*b) != 0);
        if slashes == 0 && joined {
            return Some((at, self.end_of_unquoted(pair, to, end)));
        }
        let value = &self.text[from..to];
        // A truncated value may begin as a name, a number with a unit, a path or a sentence does.
        let is_likely_start = to == end
            && pair.sensitivity >= Sensitivity::Likely
            && !(is_stand_in(value) || is_state(value) || is_stopword(value));
        let secret = to - from >= NEAR_BYTES
            || is_likely_start
            || !is_harmless_text(pair.sensitivity, key, value);
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
    fn structure(
        &mut self,
        pair: Pair,
        key: &str,
        (at, open): ByteRange,
        to: usize,
    ) -> Option<ByteRange> {
        if at < self.harmless_until || is_stand_in(&self.text[at..to]) && !self.starts(at, "[") {
            return None;
        }
        let end = self.end_of_structure(open);
        // `password=[odd]` is a value that begins with a bracket.
        let whole = pair.sensitivity == Sensitivity::Certain && (is_block_key(key) || !pair.colon);
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
            // An attribute alone is not a cookie.
            let attribute = first.split('=').next().unwrap_or_default();
            let attributes = ["samesite", "domain", "path", "expires", "max-age"];
            if attributes
                .iter()
                .any(|one| attribute.eq_ignore_ascii_case(one))
            {
                return None;
            }
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
    pub(super) fn is_image(&self, start: usize) -> bool {
        /// `image`, and what stands between it and the name: `: "`, `\":\"`.
        const BYTES_MAX: usize = 16;
        let before = &self.bytes[start.saturating_sub(BYTES_MAX)..start];
        let between = |b: &&u8| matches!(b, b' ' | b'"' | b'\'' | b'\\' | b':' | b'=');
        let marks = before.iter().rev().take_while(between).count();
        let word = &before[..before.len() - marks];
        before.ends_with(b"/")
            || marks > 0 && word.len() >= 5 && word[word.len() - 5..].eq_ignore_ascii_case(b"image")
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

    /// Whether this is an error about a key: in a sentence, or behind a path that ends in the key (`/etc/passwd: broken pipe`).
    fn is_error_text(&self, key: usize, (at, to): ByteRange) -> bool {
        /// A sentence is known by its beginning.
        const BYTES_MAX: usize = 128;
        let limit = self
            .text
            .floor_char_boundary(self.bytes.len().min(at + BYTES_MAX));
        let line = self.text[at..limit].lines().next().unwrap_or_default();
        let goes_on = self.bytes.get(to) == Some(&b' ');
        let of_path = key > 0 && self.bytes[key - 1] == b'/' && goes_on;
        of_path && is_plain_word(&self.text[at..to]) || is_sentence_of_words(line)
    }

    /// Whether an unquoted value is not a secret: a word of a sentence, a number, a name, a state.
    pub(super) fn is_harmless(
        &self,
        pair: Pair,
        key: &str,
        (at, to): ByteRange,
        spaced: bool,
    ) -> bool {
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
        match pair.sensitivity {
            Sensitivity::None => true,
            Sensitivity::Parameter if parameter => !is_secret_parameter(key, value),
            Sensitivity::Parameter | Sensitivity::Key => !looks_secret(value),
            Sensitivity::Certain => {
                let digits = value.bytes().filter(u8::is_ascii_digit).count();
                is_quantity(value) && digits <= 3
                    || is_path(value)
                    || pair.colon && !spaced && self.is_image(pair.start)
                    || pair.flag && goes_on && is_stopword(word)
                    || pair.colon && spaced && goes_on && is_stopword(word)
                    || pair.colon && spaced && self.is_error_text(pair.start, (at, to))
                    || pair.colon
                        && spaced
                        && value.ends_with(':')
                        && is_plain_word(word)
                        && word.bytes().any(|b| b.is_ascii_uppercase())
            }
            Sensitivity::Likely => {
                let named = !parameter && names_objects(key) && is_object_name(word);
                let counted = key.ends_with(['s', 'S']) && word.bytes().all(|b| b.is_ascii_digit());
                counted
                    || pair.colon
                        && spaced
                        && value.ends_with(':')
                        && is_error_class(word)
                        && sensitivity(word) < Sensitivity::Likely
                    || is_quantity(value)
                    || is_path(value)
                    || is_plain_address(value)
                    || is_reference(value)
                    || is_tagged_image(value)
                    || pair.colon && spaced && is_setting(word)
                    || is_stopword(word) && (pair.colon || goes_on)
                    || named && !(pair.colon && !spaced && !word.contains(['-', '/']))
                    || pair.colon && spaced && is_plain_word(word)
                    || pair.colon && !spaced && value.len() < 6
            }
        }
    }
}
