//! Where a value ends.

use super::char_class::{is_blank, is_space, quote_bit};
use super::{Pair, Scan};
use crate::sensitive_key::{Sensitivity, sensitivity};

/// Longest value that is itself a key.
const CHAINED_KEY_BYTES_MAX: usize = 64;

impl Scan<'_> {
    /// End of the text within a quote that was opened with so many backslashes; the limit if none closes it before.
    pub(super) fn end_of_quoted(
        &self,
        from: usize,
        (quote, slashes): (u8, usize),
        limit: usize,
    ) -> usize {
        let mut before = 0;
        for (i, &byte) in self.bytes[..limit].iter().enumerate().skip(from) {
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
        limit
    }

    /// `password: token: x`: the value is itself a key, so its value is redacted too.
    pub(super) fn end_of_chain(&self, at: usize, to: usize) -> usize {
        let word = self.text[at..to].trim_end_matches([':', '=']);
        if word.len() > CHAINED_KEY_BYTES_MAX || sensitivity(word) < Sensitivity::Likely {
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
                let end =
                    self.end_of_quoted(next + slashes + 1, (quote, slashes), self.bytes.len());
                // The opening quote is redacted, so the closing one is too.
                self.behind_quote(end)
            }
            None => self.skip(next, |b| !is_space(b)),
        }
    }

    /// Whether the value is exactly the marker, so that a second pass changes nothing.
    pub(super) fn ends_after_marker(&self, pair: Pair, at: usize) -> bool {
        let escaped_space = matches!(self.bytes.get(at..at + 2), Some(b"\\n" | b"\\r" | b"\\t"));
        escaped_space || self.end_of_unquoted(pair, at, self.bytes.len()) == at
    }

    pub(super) fn end_of_unquoted(&self, pair: Pair, from: usize, limit: usize) -> usize {
        // A parameter of a URL ends where the next begins; elsewhere these characters may belong to the secret.
        let parameter = !pair.colon
            && pair.start > 0
            && matches!(self.bytes[pair.start - 1], b'?' | b'&' | b';');
        let mut escaped = false;
        for (i, &byte) in self.bytes[..limit].iter().enumerate().skip(from) {
            let ends = match byte {
                b'&' | b'#' => parameter,
                b',' | b'}' | b']' => pair.quoted,
                // It's a quote that closes: one was opened before, and no word goes on after it.
                _ if quote_bit(byte) & self.quotes_seen != 0 => {
                    !self.bytes.get(i + 1).is_some_and(u8::is_ascii_alphanumeric)
                }
                // A shell takes a space behind a backslash for a part of the value.
                b' ' => !escaped,
                _ => is_space(byte),
            };
            if ends {
                return i;
            }
            escaped = byte == b'\\' && !escaped;
        }
        limit
    }

    /// End of an address: where text and markup go on.
    pub(super) fn end_of_address(&self, from: usize) -> usize {
        self.skip(from, |b| {
            !is_space(b) && !matches!(b, b'"' | b'`' | b'<' | b'>')
        })
    }

    /// End of the header whose value begins here: of the line, or of the quotes around it.
    pub(super) fn end_of_header(&self, from: usize) -> usize {
        for (i, &byte) in self.bytes.iter().enumerate().skip(from) {
            let ends = match byte {
                b'\n' | b'\r' => true,
                b'\\' => matches!(self.bytes.get(i + 1), Some(b'n' | b'r' | b'"')),
                _ => quote_bit(byte) & self.quotes_seen != 0,
            };
            if ends {
                return i;
            }
        }
        self.bytes.len()
    }

    /// End of the lines behind `at` that are indented more than the line on which the key at `key` stands.
    pub(super) fn end_of_indented(&self, key: usize, at: usize) -> usize {
        let line = self.bytes[..key]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        let indent = self.skip(line, |b| b == b' ').min(key) - line;
        let mut end = at;
        while self.bytes.get(end) == Some(&b'\n') {
            let text = self.skip(end + 1, |b| b == b' ');
            let blank = matches!(self.bytes.get(text), Some(b'\n'));
            if !blank && (text - end - 1 <= indent || text == self.bytes.len()) {
                break;
            }
            end = self.skip(text, |b| b != b'\n');
        }
        end
    }

    /// End of the object or list that begins here; the end of the text if it is truncated.
    pub(super) fn end_of_structure(&self, from: usize) -> usize {
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

    /// End of a YAML block (`|` or `>`): the lines that are indented. If the line breaks are escaped, the end is
    /// unknown and everything that follows is redacted.
    pub(super) fn end_of_block(&self, at: usize, to: usize) -> usize {
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
