//! Command lines: credentials passed by a flag or a subcommand of a client, or piped into one.

use super::char_class::{is_blank, is_space};
use super::clients::{self, Takes};
use super::stopwords::is_stopword;
use super::value_shape::{bare, is_path, is_plain_word, is_quantity, is_random, is_stand_in};
use super::{ByteRange, NEAR_BYTES, Pair, Scan};

/// An argument of a command, or its beginning.
#[derive(Clone, Copy)]
pub(super) struct Argument {
    from: usize,
    /// Where it ends, or how far it was judged.
    pub(super) to: usize,
    quote: Option<(u8, usize)>,
}

impl<'t> Scan<'t> {
    /// The argument that a flag or a subcommand of a known client takes.
    pub(super) fn of_client(&mut self, start: usize, end: usize) -> Option<ByteRange> {
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
                    if word == *flag || matches!(takes, Takes::Pair(_)) && ends_cluster(word, flag)
                    {
                        return self.argument(end, word.starts_with('-'), *takes);
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

    /// A one-letter flag that takes a credential in many clients, if its argument looks like one.
    fn of_unknown_client(&self, start: usize, end: usize) -> Option<ByteRange> {
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

    /// The secret in the argument of a flag or subcommand.
    fn argument(&self, end: usize, flag: bool, takes: Takes) -> Option<ByteRange> {
        let mut at = end;
        if let Takes::After(others) = takes {
            for _ in 0..others {
                let other = self.next_argument(at)?;
                if is_of_sentence(self.shown(other)) {
                    return None;
                }
                at = other.to;
            }
        }
        let argument = self.next_argument(at)?;
        let value = self.shown(argument);
        let goes_on = self.bytes.get(argument.to) == Some(&b' ')
            && self
                .bytes
                .get(argument.to + 1)
                .is_some_and(u8::is_ascii_lowercase);
        let in_sentence = is_of_sentence(value) && (takes.is_next() || goes_on)
            || goes_on && is_plain_word(value)
            || value.ends_with(':') && is_plain_word(value);
        if !flag
            && matches!(takes, Takes::Secret)
            && is_plain_word(value)
            && !is_of_sentence(value)
            && let Some(second) = self.next_argument(argument.to)
            && is_random(self.shown(second))
        {
            // `auth default x`: the user comes first.
            return Some((argument.from, self.whole(second).1));
        }
        let secret = match takes {
            Takes::Secret | Takes::After(_) if !flag && in_sentence || says_of_flag(value) => false,
            _ if is_stand_in(value) => false,
            Takes::Secret | Takes::After(_) => !is_quantity(value) && !is_path(value),
            Takes::Attached => is_random(value),
            Takes::Pair(mark) => return self.behind(argument, mark),
        };
        secret.then(|| self.whole(argument))
    }

    /// The secret attached to a flag.
    fn attached(&self, from: usize, takes: Takes) -> Option<ByteRange> {
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
    fn behind(&self, argument: Argument, mark: u8) -> Option<ByteRange> {
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
        // A quote that closes the argument does not open another.
        let closes = |b: &u8| is_space(*b) || matches!(b, b',' | b']' | b')');
        if quote.is_some() && self.bytes.get(at).is_none_or(closes) {
            return None;
        }
        self.argument_at(at, quote)
    }

    /// The next argument: after blanks or `=`, or in a list after quotes and commas.
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
    pub(super) fn behind_item(&self, at: usize) -> usize {
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

    pub(super) fn argument_at(&self, from: usize, quote: Option<(u8, usize)>) -> Option<Argument> {
        let near = self.near(from);
        let to = match quote {
            Some(quote) => self.end_of_quoted(from, quote, near),
            None => self.end_of_unquoted(Pair::plain(from), from, near),
        };
        (from < to).then_some(Argument { from, to, quote })
    }

    pub(super) fn shown(&self, argument: Argument) -> &'t str {
        &self.text[argument.from..argument.to]
    }

    /// All of an argument that was judged by its beginning.
    pub(super) fn whole(&self, argument: Argument) -> ByteRange {
        let (from, end) = (argument.from, self.bytes.len());
        let to = match argument.quote {
            Some(quote) => self.end_of_quoted(from, quote, end),
            None => self.end_of_unquoted(Pair::plain(from), from, end),
        };
        (from, to)
    }

    /// End of the bytes by which a value that begins here is judged.
    pub(super) fn near(&self, from: usize) -> usize {
        self.text
            .floor_char_boundary(self.bytes.len().min(from + NEAR_BYTES))
    }

    /// `echo X | docker login --password-stdin`: a secret piped into a command that reads a password.
    fn piped(&self, end: usize) -> Option<ByteRange> {
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
}

/// Whether this word continues a sentence, so that this is not a command line.
fn is_of_sentence(word: &str) -> bool {
    word.ends_with(':') && !word.contains('/') && !is_random(word) || is_stopword(bare(word))
}

/// `-sku`: several flags of one letter, of which the last takes an argument.
fn ends_cluster(word: &str, flag: &str) -> bool {
    const LETTERS_MAX: usize = 6;
    let letters = word.strip_prefix('-').unwrap_or_default();
    flag.len() == 2
        && (2..=LETTERS_MAX).contains(&letters.len())
        && letters.ends_with(&flag[1..])
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// What a message says about a flag: `-p is deprecated`, `-w requires an argument`, `-k failed: bad decrypt`.
fn says_of_flag(word: &str) -> bool {
    [
        "are", "cannot", "expects", "failed", "flag", "is", "missing", "must", "needs", "option",
        "required", "requires", "was",
    ]
    .contains(&bare(word))
}
