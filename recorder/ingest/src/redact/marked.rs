//! Redaction that keeps a mark of each secret: `password=[REDACTED #0123456789abcdef]`. A changed secret has another mark.
//!
//! The passes see `[REDACTED]` in place of each mark; what each stands for is kept beside the text.

use std::borrow::Cow;

use kube9_model::change::body::REDACTED_START;

use super::{PASSES_MAX, REDACTED, secret_spans};

/// Lengths of the digits of a mark: as it is stored, and as it is shown.
const DIGITS: [usize; 2] = [16, 8];

/// A `[REDACTED]` of the text.
struct Redaction {
    at: usize,
    stands_for: Original,
}

enum Original {
    /// A mark that the text already had.
    Mark(String),
    /// A secret.
    Secret(String),
}

impl Original {
    fn text(&self) -> &str {
        match self {
            Self::Mark(text) | Self::Secret(text) => text,
        }
    }
}

/// Replaces the secrets in a text by what `replacement` returns for each; marks that it already has stay.
pub fn redact_with(text: &str, mut replacement: impl FnMut(&str) -> String) -> Cow<'_, str> {
    if !has_marks(text) && secret_spans(text).is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut current, mut redactions) = without_marks(text);
    let mut changed = false;
    for _ in 0..PASSES_MAX {
        let spans = secret_spans(&current);
        if spans.is_empty() {
            break;
        }
        changed = true;
        (current, redactions) = pass(&current, spans, redactions);
    }
    if !changed {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(current.len());
    let mut copied = 0;
    for redaction in redactions {
        out.push_str(&current[copied..redaction.at]);
        match redaction.stands_for {
            Original::Mark(mark) => out.push_str(&mark),
            Original::Secret(secret) => out.push_str(&replacement(&secret)),
        }
        copied = redaction.at + REDACTED.len();
    }
    out.push_str(&current[copied..]);
    Cow::Owned(out)
}

/// One pass: the text with the spans redacted too, and what its redactions stand for.
fn pass(
    text: &str,
    spans: Vec<(usize, usize)>,
    redactions: Vec<Redaction>,
) -> (String, Vec<Redaction>) {
    let (mut out, mut all) = (String::with_capacity(text.len()), Vec::new());
    let mut copied = 0;
    let mut earlier = redactions.into_iter().peekable();
    for (mut from, mut to) in spans {
        from = from.max(copied);
        while let Some(redaction) = earlier.next_if(|r| r.at + REDACTED.len() <= from) {
            out.push_str(&text[copied..redaction.at]);
            copied = redaction.at + REDACTED.len();
            all.push(Redaction {
                at: out.len(),
                ..redaction
            });
            out.push_str(REDACTED);
        }
        // A span that takes in earlier redactions stands for their secrets too.
        let mut secret = String::new();
        let mut inner = from;
        while let Some(redaction) = earlier.next_if(|r| r.at < to) {
            from = from.min(redaction.at);
            inner = inner.min(redaction.at);
            secret.push_str(&text[inner..redaction.at]);
            secret.push_str(redaction.stands_for.text());
            inner = redaction.at + REDACTED.len();
            to = to.max(inner);
        }
        secret.push_str(&text[inner..to]);
        out.push_str(&text[copied..from]);
        all.push(Redaction {
            at: out.len(),
            stands_for: Original::Secret(secret),
        });
        out.push_str(REDACTED);
        copied = to;
    }
    for redaction in earlier {
        out.push_str(&text[copied..redaction.at]);
        copied = redaction.at + REDACTED.len();
        all.push(Redaction {
            at: out.len(),
            ..redaction
        });
        out.push_str(REDACTED);
    }
    out.push_str(&text[copied..]);
    (out, all)
}

/// The text with `[REDACTED]` in place of each mark.
fn without_marks(text: &str) -> (String, Vec<Redaction>) {
    let (mut out, mut marks) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(REDACTED_START) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let length = mark_length(behind);
        match length {
            Some(length) => {
                marks.push(Redaction {
                    at: out.len(),
                    stands_for: Original::Mark(behind[..length].to_owned()),
                });
                out.push_str(REDACTED);
            }
            None => out.push_str(REDACTED_START),
        }
        rest = &behind[length.unwrap_or(REDACTED_START.len())..];
    }
    out.push_str(rest);
    (out, marks)
}

/// The length of the mark that the text begins with.
fn mark_length(text: &str) -> Option<usize> {
    let digits = text.strip_prefix(REDACTED_START)?;
    let count = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    (DIGITS.contains(&count) && digits[count..].starts_with(']'))
        .then_some(REDACTED_START.len() + count + 1)
}

/// Whether a text has marks.
pub(super) fn has_marks(text: &str) -> bool {
    text.contains(REDACTED_START)
}

/// Whether a text is a mark.
pub(super) fn is_mark(text: &str) -> bool {
    mark_length(text) == Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::super::redact;
    use super::*;

    fn with_digits(text: &str) -> (String, Vec<String>) {
        let mut secrets = Vec::new();
        let out = redact_with(text, |secret| {
            secrets.push(secret.to_owned());
            format!("[REDACTED #{:016x}]", secrets.len())
        });
        (out.into_owned(), secrets)
    }

    #[test]
    fn each_secret_has_its_mark() {
        let (out, secrets) =
            with_digits("a password=hunter2 and token=ghp_0123456789abcdefghijABCDEFGHIJ012345 b");
        assert_eq!(
            out,
            "a password=[REDACTED #0000000000000001] and token=[REDACTED #0000000000000002] b"
        );
        assert_eq!(
            secrets,
            ["hunter2", "ghp_0123456789abcdefghijABCDEFGHIJ012345"]
        );
    }

    #[test]
    fn marks_stay_when_a_text_is_redacted_again() {
        let text =
            "password=[REDACTED #0123456789abcdef] [REDACTED #x] secret: [REDACTED #01234567]";
        assert_eq!(redact(text), text);
        let text = "password: \"[REDACTED #0123456789abcdef]\"";
        assert_eq!(redact(text), text);
    }
}
