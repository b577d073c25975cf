//! Secrets in sentences: after a verb, after a later colon, or before the name of the secret.

use super::char_class::{is_blank, is_key, is_space, quote_bit};
use super::harmless::{is_harmless_text, looks_secret};
use super::value_shape::{
    is_commit, is_object_name, is_path, is_plain_word, is_quantity, is_random, is_stand_in,
    is_tagged_image,
};
use super::{ByteRange, Scan};
use crate::sensitive_key::{Sensitivity, sensitivity};

/// Bytes examined after a word, so that no byte is examined for many words.
const SENTENCE_BYTES: usize = 256;

impl Scan<'_> {
    /// The secret in the sentence around the word `start..end`.
    pub(super) fn of_sentence(&self, start: usize, end: usize) -> Option<ByteRange> {
        let word = &self.text[start..end];
        let next = *self.bytes.get(end)?;
        match word {
            "port" | "character" if next == b' ' => self.part_of_address(end + 1),
            "argument" | "value" if next == b' ' => self.argument_of_flag(end + 1),
            "Key" | "key" | "Share" | "share" if next == b' ' => self.numbered_key(end + 1),
            _ if word.ends_with(".value") => self.value_of_field(word, end),
            _ if word.eq_ignore_ascii_case("value") => self.before_name(end),
            _ if next == b':' => self.between_colons(start, end),
            _ if next == b' ' => self.stated_value(start, end),
            _ => None,
        }
    }

    /// The secret behind a word and a colon, whatever the word.
    pub(super) fn between_colons(&self, start: usize, end: usize) -> Option<ByteRange> {
        self.user_without_scheme(start, end)
            .or_else(|| self.line_of_pgpass(start))
    }

    /// `expected password 'x' got 'y'`, `API key provided (x)`: something random, on its own, in a line that names a secret.
    pub(super) fn random_beside_name(&mut self, start: usize, end: usize) -> Option<ByteRange> {
        const BYTES_MIN: usize = 12;
        const BYTES_MAX: usize = 128;
        let word = &self.bytes[start..end];
        if !(BYTES_MIN..=BYTES_MAX).contains(&word.len())
            || !word.iter().all(u8::is_ascii_alphanumeric)
        {
            return None;
        }
        let count = |class: fn(&u8) -> bool| word.iter().filter(|b| class(b)).count();
        let (upper, digit) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_digit));
        let mixed = upper > 0 && digit > 0 && upper + digit < word.len();
        // `TokenReviewV1beta1`: few capitals and fewer digits.
        let is_name = upper * 4 <= word.len() && digit * 6 <= word.len();
        if !mixed || is_name {
            return None;
        }
        // Not a part of a path, an address, an image or a longer word.
        let alone = |byte: Option<&u8>, also: &[u8]| {
            byte.is_none_or(|b| is_space(*b) || quote_bit(*b) != 0 || also.contains(b))
        };
        let before = start.checked_sub(1).map(|at| &self.bytes[at]);
        let is_alone = alone(before, b"([{<=,;*") && alone(self.bytes.get(end), b")]}>,;.:!*\\");
        (is_alone && is_random(&self.text[start..end]) && self.line_names_secret(start))
            .then_some((start, end))
    }

    /// Whether a word in the line of this byte is the name of a secret.
    fn line_names_secret(&mut self, at: usize) -> bool {
        let (known_to, names) = self.line;
        if at < known_to {
            return names;
        }
        let is_break = |b: &u8| *b == b'\n';
        let from = self.bytes[..at].iter().rposition(is_break);
        let from = from.map_or(0, |at| at + 1);
        let to = self.bytes[at..].iter().position(is_break);
        let to = to.map_or(self.bytes.len(), |step| at + step);
        let mut words = self.bytes[from..to].split(|b| !is_key(*b));
        let names = words.any(|word| {
            std::str::from_utf8(word).is_ok_and(|word| sensitivity(word) >= Sensitivity::Likely)
        });
        self.line = (to.max(at + 1), names);
        names
    }

    /// End of the examined part of a sentence.
    fn sentence_end(&self, from: usize) -> usize {
        self.text
            .floor_char_boundary(self.bytes.len().min(from + SENTENCE_BYTES))
    }

    /// The quoted text that begins here, and the position after it; `None` if the quote does not close within reach.
    fn quoted_near(&self, at: usize) -> Option<(ByteRange, usize)> {
        let (quote, slashes) = self.quote_at(at)?;
        let from = at + slashes + 1;
        let limit = self.sentence_end(from);
        if from >= limit {
            return None;
        }
        let to = self.end_of_quoted(from, (quote, slashes), limit);
        (from < to && to < limit).then(|| ((from, to), self.behind_quote(to)))
    }

    /// `invalid port ":x" after host`, `invalid character "x" in host name`: a password that ends an authority.
    fn part_of_address(&self, at: usize) -> Option<ByteRange> {
        /// One character, also as an escape.
        const CHARACTER_BYTES_MAX: usize = 6;
        let (before, _) = self.before;
        if !self.starts(before, "invalid ") {
            return None;
        }
        let ((from, to), behind) = self.quoted_near(at)?;
        let port = self.bytes[from] == b':' || self.starts(behind, " after host");
        let from = from + usize::from(self.bytes[from] == b':');
        let part = &self.text[from..to];
        let shown = if port {
            part.bytes().all(|b| b.is_ascii_digit())
        } else {
            part.len() <= CHARACTER_BYTES_MAX || !self.starts(behind, " in host")
        };
        (!shown && !is_stand_in(part)).then_some((from, to))
    }

    /// `invalid argument "x" for "--api-token" flag`, `invalid value "x" for flag -password`.
    fn argument_of_flag(&self, at: usize) -> Option<ByteRange> {
        let ((from, to), behind) = self.quoted_near(at)?;
        if !self.starts(behind, " for ") {
            return None;
        }
        let rest = &self.text[behind..self.sentence_end(behind)];
        let rest = rest.split([':', '\n']).next().unwrap_or_default();
        let mut words = rest.split(|c: char| !c.is_ascii() || !is_key(c as u8));
        let found = words.find_map(|word| {
            let sensitivity = sensitivity(word.trim_start_matches('-'));
            (word.starts_with('-') && sensitivity >= Sensitivity::Likely)
                .then_some((word, sensitivity))
        });
        let (flag, sensitivity) = found?;
        (!is_harmless_text(sensitivity, flag, &self.text[from..to])).then_some((from, to))
    }

    /// `Unseal Key 1: x`, `Recovery Key 2: x`, `Key Share 3: x`.
    fn numbered_key(&self, at: usize) -> Option<ByteRange> {
        let (from, to) = self.before;
        let of_vault = ["unseal", "recovery", "key"]
            .iter()
            .any(|name| self.text[from..to].eq_ignore_ascii_case(name));
        let mut number = self.skip(at, |b| b.is_ascii_digit());
        if !of_vault || number == at {
            return None;
        }
        // A remark about the key: `(will be hidden)`.
        if self.starts(number, " (") {
            let limit = self.sentence_end(number);
            let close = self.bytes[number..limit].iter().position(|b| *b == b')')?;
            number += close + 1;
        }
        if self.bytes.get(number) != Some(&b':') {
            return None;
        }
        let argument = self.argument_at(self.skip(number + 1, is_blank), None)?;
        is_random(self.shown(argument)).then(|| self.whole(argument))
    }

    /// `env[3].value: Invalid value: "x"`, `spec.password.value: Invalid value: "x"`.
    fn value_of_field(&self, word: &str, end: usize) -> Option<ByteRange> {
        const LEAD: &str = ": Invalid value: ";
        if !self.starts(end, LEAD) {
            return None;
        }
        let ((from, to), _) = self.quoted_near(end + LEAD.len())?;
        let value = &self.text[from..to];
        let owner = word.strip_suffix(".value")?;
        let owner = owner.rsplit('.').next().unwrap_or(owner);
        let sensitivity = sensitivity(owner);
        let secret = if sensitivity >= Sensitivity::Likely {
            !is_harmless_text(sensitivity, owner, value)
        } else {
            looks_secret(value)
        };
        secret.then_some((from, to))
    }

    /// `{"value":"x","name":"DB_PASSWORD"}`, `{Value:x Name:DB_PASSWORD}`: the value before the name.
    fn before_name(&self, end: usize) -> Option<ByteRange> {
        let separated = |at: usize| {
            let mark = self.skip(self.behind_quote(at), is_blank);
            matches!(self.bytes.get(mark), Some(b':' | b'=')).then(|| self.skip(mark + 1, is_blank))
        };
        let at = separated(end)?;
        let ((from, to), behind) = if self.quote_at(at).is_some() {
            self.quoted_near(at)?
        } else {
            let near = &self.bytes[at..self.sentence_end(at)];
            let length = near
                .iter()
                .position(|b| is_space(*b) || matches!(b, b',' | b'}'))?;
            ((at, at + length), at + length)
        };
        let name = self.behind_quote(self.skip(behind, |b| is_space(b) || b == b','));
        if from == to || !self.starts_ignoring_case(name, "name") {
            return None;
        }
        let key = self.behind_quote(separated(name + "name".len())?);
        let key = &self.text[key..self.skip(key, is_key)];
        let sensitivity = sensitivity(key);
        (sensitivity >= Sensitivity::Likely
            && !is_harmless_text(sensitivity, key, &self.text[from..to]))
        .then_some((from, to))
    }

    /// `clone app:x@git.example/x.git`, `lookup app:x@db`: a user and a password without the scheme before them.
    fn user_without_scheme(&self, start: usize, end: usize) -> Option<ByteRange> {
        let begins =
            start == 0 || is_space(self.bytes[start - 1]) || quote_bit(self.bytes[start - 1]) != 0;
        if !begins || self.starts(end, "://") {
            return None;
        }
        let from = end + 1;
        let near = &self.bytes[from..self.sentence_end(from)];
        let length = near
            .iter()
            .position(|b| is_space(*b) || quote_bit(*b) != 0)
            .unwrap_or(near.len());
        let at = from + near[..length].iter().rposition(|b| *b == b'@')?;
        let value = &self.text[from..at];
        let digest = self.starts(at, "@sha256:") || self.starts(at, "@sha512:");
        let host = self
            .bytes
            .get(at + 1)
            .is_some_and(u8::is_ascii_alphanumeric);
        if value.is_empty() || digest || !host || is_stand_in(value) {
            return None;
        }
        let looked_up = self.text[..start].ends_with("lookup ");
        let unparsed = self.starts(
            self.behind_quote(from + length),
            ": first path segment in URL",
        );
        // `commit:4e1c9f2@main`, `Message-ID:x@host`.
        let word = &self.bytes[start..end];
        let of_id = word.len() >= 2 && word[word.len() - 2..].eq_ignore_ascii_case(b"id");
        let random = is_random(value) && !is_commit(value) && !of_id;
        (looked_up || unparsed || random).then_some((from, at))
    }

    /// `host:5432:database:user:x`, a line of `.pgpass`.
    pub(super) fn line_of_pgpass(&self, start: usize) -> Option<ByteRange> {
        let begins =
            start == 0 || is_space(self.bytes[start - 1]) || quote_bit(self.bytes[start - 1]) != 0;
        if !begins {
            return None;
        }
        let near = &self.bytes[start..self.sentence_end(start)];
        let length = near
            .iter()
            .position(|b| is_space(*b) || quote_bit(*b) != 0)
            .unwrap_or(near.len());
        let line = &self.text[start..start + length];
        let mut fields = line.splitn(5, ':');
        let any = |field: &str| field == "*";
        let host = fields.next()?;
        let port = fields.next()?;
        let (database, user, secret) = (fields.next()?, fields.next()?, fields.next()?);
        let ported =
            any(port) || (2..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        let named = [host, database, user]
            .iter()
            .all(|field| any(field) || is_object_name(field));
        (ported && named && is_random(secret))
            .then(|| (start + length - secret.len(), start + length))
    }

    /// `password for user app: x`, `password is: x`, `password changed from 'x' to 'y'`, `DB_PASSWORD set to x`.
    fn stated_value(&self, start: usize, end: usize) -> Option<ByteRange> {
        const VERBS: &[&str] = &[
            "is",
            "was",
            "for",
            "of",
            "changed",
            "set",
            "updated",
            "reset",
            "rotated",
            "generated",
        ];
        /// No verb is longer.
        const VERB_BYTES_MAX: usize = 9;
        let mut at = end + 1;
        for lead in ["has been ", "was ", "is ", "now "] {
            if self.starts(at, lead) {
                at += lead.len();
            }
        }
        // `is: x`, `is generated for …`: the verb itself.
        let verb_follows = VERBS.iter().any(|verb| self.starts(at, verb));
        let at = if verb_follows { at } else { end + 1 };
        let near = &self.bytes[at..self.bytes.len().min(at + VERB_BYTES_MAX + 1)];
        let length = near.iter().position(|b| !b.is_ascii_lowercase())?;
        let verb = &self.text[at..at + length];
        if !VERBS.contains(&verb) {
            return None;
        }
        let sensitivity = sensitivity(self.key(start, end));
        if sensitivity < Sensitivity::Likely {
            return None;
        }
        let at = at + length;
        if self.starts(at, " to ") {
            return self.stated_value_at(at + 4, sensitivity);
        }
        if self.starts(at, " from ") {
            let (from, to) = self.stated_value_at(at + 6, sensitivity)?;
            let behind = self.behind_quote(to);
            let second = self
                .starts(behind, " to ")
                .then(|| self.stated_value_at(behind + 4, sensitivity))
                .flatten();
            return Some((from, second.map_or(to, |(_, to)| to)));
        }
        let line = self.text[at..self.sentence_end(at)].lines().next()?;
        let marks = [": ", " is ", " was "];
        let of_first = |mark: &&str| Some((line.find(*mark)?, mark.len()));
        let (length, mark) = marks.iter().filter_map(of_first).min()?;
        let gap = &line[..length];
        let mut words = gap.split(' ').filter(|word| !word.is_empty());
        let of_someone = matches!(verb, "for" | "of") || gap.is_empty() || gap.contains(" for ");
        let plain = words.all(|word| {
            let word = word.trim_matches(['"', '\'', '\\']);
            is_plain_word(word)
                || word
                    .split('@')
                    .all(|part| is_object_name(part) || part == "%")
        });
        (of_someone && plain)
            .then(|| self.stated_value_at(at + length + mark, sensitivity))
            .flatten()
    }

    /// The value in a sentence at this position, if it looks like one.
    fn stated_value_at(&self, at: usize, sensitivity: Sensitivity) -> Option<ByteRange> {
        let at = self.skip(at, is_blank);
        let quote = self.quote_at(at);
        let argument = self.argument_at(self.behind_quote(at), quote)?;
        let value = self.shown(argument);
        let ends_line = self
            .bytes
            .get(argument.to)
            .is_none_or(|b| matches!(b, b'\n' | b'\r'));
        let certain = sensitivity == Sensitivity::Certain
            && if quote.is_some() {
                !value.contains(' ') && !is_harmless_text(sensitivity, "", value)
            } else {
                ends_line && is_mixed(value)
            };
        let image = is_tagged_image(value) || value.contains("@sha256:");
        ((is_random(value) && !image) || certain).then(|| self.whole(argument))
    }
}

/// Letters with digits or marks between them, and not a name, a number or a path.
fn is_mixed(value: &str) -> bool {
    const BYTES_MIN: usize = 6;
    value.len() >= BYTES_MIN
        && value.bytes().any(|b| b.is_ascii_alphabetic())
        && value.bytes().any(|b| !b.is_ascii_alphabetic())
        && !value.contains("://")
        && !value.ends_with(':')
        && !is_plain_word(value)
        && !is_object_name(value)
        && !is_quantity(value)
        && !is_path(value)
        && !is_stand_in(value)
}
