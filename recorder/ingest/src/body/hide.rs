//! Makes the stored form of what was read: hides values, redacts texts, and stores lists by the identities of their elements.

use std::borrow::Cow;
use std::fmt::Write;

use kube9_model::change::body::{
    SIZE, SPECIAL, escaped, hidden, identities, keyed, null, too_large, unescaped,
};
use kube9_model::change::path::{push_element, push_field};
use kube9_model::change::rules::Rules;
use kube9_model::change::stored::{Fields, Stored};

use super::mark_key::ObjectMarks;
use super::select::{At, Choice, Mode};
use crate::redact::{is_secret_pair, redact, redact_with, secret_spans};

pub(super) struct Hide<'m> {
    rules: &'static Rules,
    marks: &'m ObjectMarks,
    /// The value is an element of a list of variables or headers.
    is_variable: bool,
}

/// The last segment of the path of a value, which is written only for a mark. Elements of lists without identities share the
/// path of their list.
#[derive(Clone, Copy)]
struct Step<'p> {
    above: ParentStep<'p>,
    name: &'p str,
    is_element: bool,
}

/// The path of a value; `None`: the object itself.
type ParentStep<'p> = Option<&'p Step<'p>>;

impl Step<'_> {
    fn write(&self, path: &mut String) {
        if let Some(above) = self.above {
            above.write(path);
        }
        if self.is_element {
            push_element(path, self.name);
        } else {
            push_field(path, self.name);
        }
    }
}

/// Most paths are shorter.
const PATH_BYTES: usize = 128;

/// Bytes that marks may add to one text: some thirty secrets.
const REDACTION_BYTES_MAX: usize = 1024;

impl<'m> Hide<'m> {
    pub(super) const fn new(rules: &'static Rules, marks: &'m ObjectMarks) -> Self {
        Self {
            rules,
            marks,
            is_variable: false,
        }
    }

    /// The stored form of an object.
    pub(super) fn body<'t>(&mut self, fields: Fields<'t>) -> Fields<'t> {
        match self.map(At::ROOT, None, fields, false) {
            Stored::Map(fields) => fields,
            _ => Fields::default(),
        }
    }

    fn digits(&self, place: ParentStep<'_>, value: &str) -> u64 {
        let mut path = String::with_capacity(PATH_BYTES);
        if let Some(step) = place {
            step.write(&mut path);
        }
        self.marks.mark(&path, value.as_bytes())
    }

    fn mark(&self, place: ParentStep<'_>, value: &str) -> Stored<'static> {
        hidden(self.digits(place, value))
    }

    fn value<'t>(
        &mut self,
        at: At,
        place: ParentStep<'_>,
        key: &str,
        value: Stored<'t>,
    ) -> Stored<'t> {
        let is_variable = std::mem::take(&mut self.is_variable);
        match value {
            Stored::Text(text) if is_variable => self.mark(place, &text),
            Stored::Text(text) => self.text(at, place, key, text),
            Stored::List(elements) => self.list(at, place, key, elements),
            Stored::Map(fields) if self.is_of_variables(at, key) => {
                self.map(at.hidden(), place, fields, false)
            }
            Stored::Map(fields) => self.map(at, place, fields, is_variable),
            Stored::Null => null(),
            Stored::Bool(_) | Stored::Number(_) if at.mode == Mode::Hide => {
                self.mark(place, &value.to_text())
            }
            scalar => scalar,
        }
    }

    fn text<'t>(&self, at: At, place: ParentStep<'_>, key: &str, text: Cow<'t, str>) -> Stored<'t> {
        // The `key` of a taint, a selector or a reference is a name.
        let is_name = key == "key" && !self.rules.is_custom() && !at.in_metadata;
        if at.hides(self.rules, &text)
            || !is_name && is_secret(key, &text)
            || is_blob(&text)
            || is_object(&text)
        {
            return self.mark(place, &text);
        }
        match redact_with(&text, |secret| self.redaction(place, secret)) {
            Cow::Borrowed(_) => Stored::Text(text),
            // A body is bounded by the texts that were read: one that is mostly secrets is one mark.
            Cow::Owned(redacted) if redacted.len() > text.len() + REDACTION_BYTES_MAX => {
                self.mark(place, &text)
            }
            Cow::Owned(redacted) => Stored::Text(redacted.into()),
        }
    }

    /// What stands in place of a secret.
    fn redaction(&self, place: ParentStep<'_>, secret: &str) -> String {
        let digits = self.digits(place, secret);
        format!("[REDACTED #{digits:016x}]")
    }

    /// Whether a field of a custom resource, of which no table tells, has environment variables or headers.
    fn is_of_variables(&self, at: At, key: &str) -> bool {
        self.rules.is_custom() && !at.in_metadata && is_of_variables(key)
    }

    fn map<'t>(
        &mut self,
        at: At,
        place: ParentStep<'_>,
        mut fields: Fields<'t>,
        is_variable: bool,
    ) -> Stored<'t> {
        if fields.contains_key(SPECIAL) {
            return self.placeholder(place, &fields);
        }
        // {"name": "api-token", "value": "…"}
        let is_named = fields
            .get("value")
            .and_then(Stored::as_text)
            .is_some_and(|value| {
                let names = ["name", "key"].into_iter();
                let mut names = names.filter_map(|name| fields.get(name)?.as_text());
                names.any(|name| is_secret_pair(name, value))
            });
        let mut secret_keys = Vec::new();
        // In place: a new map would hash each key again.
        for (key, value) in fields.iter_mut() {
            let name = unescaped(key);
            if may_be_secret_key(name) && matches!(redact(name), Cow::Owned(_)) {
                secret_keys.push(key.to_owned());
            }
            let (Choice::Read(inner) | Choice::Opaque(inner)) = at.field(self.rules, name) else {
                continue;
            };
            let step = Step {
                above: place,
                name,
                is_element: false,
            };
            *value = match std::mem::take(value) {
                Stored::Text(text) if (is_named || is_variable) && name == "value" => {
                    self.mark(Some(&step), &text)
                }
                value => self.value(inner, Some(&step), name, value),
            };
        }
        for key in secret_keys {
            if let Some(value) = fields.remove(&key) {
                let hidden = redact_with(unescaped(&key), |secret| self.redaction(place, secret));
                fields.insert(Cow::Owned(escaped(&hidden).into_owned()), value);
            }
        }
        Stored::Map(fields)
    }

    /// The mark of a part that was not read: of its text, and now also of its path.
    fn placeholder(&self, place: ParentStep<'_>, fields: &Fields) -> Stored<'static> {
        let text = fields.get(SPECIAL).and_then(Stored::as_text);
        let size = match fields.get(SIZE) {
            Some(Stored::Number(size)) => size.as_u64(),
            _ => None,
        };
        let digits = self.digits(place, text.unwrap_or_default());
        too_large(digits, size.unwrap_or_default())
    }

    fn list<'t>(
        &mut self,
        at: At,
        place: ParentStep<'_>,
        key: &str,
        elements: Vec<Stored<'t>>,
    ) -> Stored<'t> {
        let Choice::Read(inner) = at.element(self.rules) else {
            return Stored::List(Vec::new());
        };
        // Identities are shown, so they must be texts that are.
        let is_of_variables = self.is_of_variables(at, key);
        let texts = (inner.mode != Mode::Hide)
            .then(|| identities(self.rules.identities(at.state), elements.iter()))
            .flatten()
            .filter(|texts| texts.iter().all(|text| self.is_shown(inner, text)));
        if let Some(texts) = texts {
            let element = |(text, value): (&String, Stored<'t>)| {
                let step = Step {
                    above: place,
                    name: text,
                    is_element: true,
                };
                self.is_variable = is_of_variables;
                self.value(inner, Some(&step), "", value)
            };
            let stored: Vec<Stored<'t>> = texts.iter().zip(elements).map(element).collect();
            return keyed(stored, &texts);
        }
        if inner.mode != Mode::Hide && !is_of_variables && is_command_line(key, &elements) {
            return self.command_line(inner, place, elements);
        }
        let element = |value| {
            self.is_variable = is_of_variables;
            self.value(inner, place, key, value)
        };
        Stored::List(elements.into_iter().map(element).collect())
    }

    fn is_shown(&self, at: At, text: &str) -> bool {
        !at.hides(self.rules, text) && matches!(redact(text), Cow::Borrowed(_))
    }

    /// Arguments, which may be secrets because of those before them: `--password`, `hunter2`.
    fn command_line<'t>(
        &self,
        at: At,
        place: ParentStep<'_>,
        elements: Vec<Stored<'t>>,
    ) -> Stored<'t> {
        let mut line = String::new();
        for element in elements.iter().filter_map(Stored::as_text) {
            _ = write!(line, "{element} ");
        }
        let spans = secret_spans(&line);
        let (mut start, mut stored, mut flag) = (0, Vec::with_capacity(elements.len()), None);
        for element in elements {
            let Stored::Text(text) = element else {
                continue;
            };
            let end = start + text.len();
            let of_flag = flag.is_some_and(|flag: Cow<'_, str>| {
                is_secret_pair(flag.trim_start_matches('-'), &text)
            });
            flag = (text.starts_with('-') && !text.contains('=')).then(|| text.clone());
            stored.push(if at.hides(self.rules, &text) || of_flag {
                self.mark(place, &text)
            } else {
                let parts = spans
                    .iter()
                    .map(|(from, to)| (*from.max(&start), *to.min(&end)))
                    .filter(|(from, to)| from < to)
                    .map(|(from, to)| (from - start, to - start));
                self.text(at, place, "", self.without(place, &text, parts).into())
            });
            start = end + 1;
        }
        Stored::List(stored)
    }

    /// A text with marks in place of these parts.
    fn without(
        &self,
        place: ParentStep<'_>,
        text: &str,
        parts: impl Iterator<Item = (usize, usize)>,
    ) -> String {
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        for (from, to) in parts {
            let (from, to) = (text.floor_char_boundary(from), text.ceil_char_boundary(to));
            out.push_str(&text[copied..from.max(copied)]);
            out.push_str(&self.redaction(place, &text[from.max(copied)..to.max(copied)]));
            copied = to.max(copied);
        }
        out.push_str(&text[copied..]);
        out
    }
}

/// Frequent fields of Kubernetes' own kinds, sorted, of which no value is a secret because of the name. A list saves half of
/// the time that the check of a whole object takes.
const HARMLESS_KEYS: [&str; 34] = [
    "",
    "apiVersion",
    "args",
    "command",
    "cpu",
    "dnsPolicy",
    "effect",
    "image",
    "imageID",
    "imagePullPolicy",
    "kind",
    "maxSurge",
    "maxUnavailable",
    "memory",
    "mountPath",
    "name",
    "namespace",
    "nodeName",
    "operator",
    "path",
    "port",
    "protocol",
    "resource",
    "restartPolicy",
    "schedulerName",
    "scheme",
    "serviceAccount",
    "serviceAccountName",
    "targetPort",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "topologyKey",
    "type",
    "uid",
];

/// Whether a value is a secret because of its key.
fn is_secret(key: &str, value: &str) -> bool {
    HARMLESS_KEYS.binary_search(&key).is_err() && is_secret_pair(key, value)
}

/// Whether a field has environment variables or headers: `env`, `extraEnvVars`, `httpHeaders`.
fn is_of_variables(key: &str) -> bool {
    const ENDS: [&str; 6] = [
        "env",
        "envs",
        "envvars",
        "environment",
        "variables",
        "headers",
    ];
    let bytes = key.as_bytes();
    ENDS.iter().any(|end| {
        let start = bytes.len().checked_sub(end.len());
        start.is_some_and(|start| {
            // A word of its own: not the end of another one.
            let is_word = start == 0
                || bytes[start].is_ascii_uppercase()
                || !bytes[start - 1].is_ascii_alphanumeric();
            is_word && bytes[start..].eq_ignore_ascii_case(end.as_bytes())
        })
    })
}

/// Shortest text that is a blob if it has no other characters than those of base64.
const BLOB_BYTES_MIN: usize = 128;

/// Whether a text is an encoding of something, such as a compressed copy of an object.
fn is_blob(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    text.len() >= BLOB_BYTES_MIN && text.bytes().all(is_base64)
}

/// Whether a text is an object, or a part of one: tools keep what they applied last in annotations, with its environment
/// variables and data.
fn is_object(text: &str) -> bool {
    let has = |word: &str| text.contains(word);
    let is_json = text.trim_start().starts_with(['{', '[']);
    is_json && (has("\"spec\"") || has("\"data\"") || has("\"env\""))
        || has("apiVersion") && has("kind") && (is_json || has("\n"))
}

/// Whether a key may be a secret: those of Kubernetes have letters only.
fn may_be_secret_key(key: &str) -> bool {
    key.len() >= 8 && key.bytes().any(|byte| !byte.is_ascii_alphabetic())
}

/// Whether a list is a command and its arguments.
fn is_command_line(key: &str, elements: &[Stored]) -> bool {
    elements.len() > 1
        && elements.iter().all(|one| one.as_text().is_some())
        && (matches!(key, "command" | "args")
            || elements
                .iter()
                .any(|one| one.as_text().is_some_and(|text| text.starts_with('-'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensitive_key::{Sensitivity, sensitivity};

    #[test]
    fn keys_that_are_not_checked_are_harmless() {
        assert!(HARMLESS_KEYS.is_sorted());
        for key in HARMLESS_KEYS {
            assert_eq!(sensitivity(key), Sensitivity::None, "{key}");
        }
    }
}
