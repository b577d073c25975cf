//! Templates of descriptions, and the borders in them that a match could straddle.

use crate::schema::placeholder;

fn is_placeholder(c: char) -> bool {
    c == placeholder::NAME || c == placeholder::NAMESPACE || placeholder::ARGS.contains(&c)
}

pub(super) fn has_placeholder(body: &str) -> bool {
    body.bytes().any(|byte| is_placeholder(char::from(byte)))
}

pub(super) fn names_namespace(body: &str) -> bool {
    body.contains(placeholder::NAMESPACE)
}

/// Number of the last argument that the template uses, counted from 1; 0 where it uses none.
pub(super) fn args_used(body: &str) -> usize {
    (1..=placeholder::ARGS.len())
        .rev()
        .find(|at| body.contains(placeholder::ARGS[at - 1]))
        .unwrap_or(0)
}

/// Places at which a needle is cut by some template's border.
#[derive(Debug, Default)]
pub(super) struct Borders {
    /// Cuts whose first part ends a run: a value must fit the rest.
    into_value: Vec<usize>,
    /// Cuts whose second part begins a run: a value must fit what is before.
    out_of_value: Vec<usize>,
    /// Whether a needle could lie across a run in some template.
    any_across: bool,
}

/// What a template's borders allow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The needle could begin or end in the template's own text and go on in a value.
    pub(super) straddled: bool,
    /// The needle could begin in one value and end in another.
    pub(super) across: bool,
}

impl Borders {
    pub(super) fn is_empty(&self) -> bool {
        self.into_value.is_empty() && self.out_of_value.is_empty() && !self.any_across
    }

    /// Looks at a template, in lower case, that has placeholders, and remembers the cuts.
    pub(super) fn look(&mut self, body: &str, needle: &str) -> Look {
        let mut look = Look::default();
        let cuts = || needle.char_indices().map(|(at, _)| at).skip(1);
        let mut runs = body.split(is_placeholder).enumerate().peekable();
        while let Some((i, run)) = runs.next() {
            let (follows, precedes) = (i > 0, runs.peek().is_some());
            for cut in cuts() {
                let (first, second) = needle.split_at(cut);
                if precedes && run.ends_with(first) {
                    look.straddled = true;
                    remember(&mut self.into_value, cut);
                }
                if follows && run.starts_with(second) {
                    look.straddled = true;
                    remember(&mut self.out_of_value, cut);
                }
                // A run, an empty one too, that the needle has strictly inside.
                let across = follows && precedes;
                if across
                    && second
                        .strip_prefix(run)
                        .is_some_and(|rest| !rest.is_empty())
                {
                    look.across = true;
                    self.any_across = true;
                }
            }
        }
        look
    }

    /// Whether a value could be one side of a match that straddles a remembered border.
    pub(super) fn fit(&self, value: &[u8], needle: &str) -> bool {
        let starts = |a: &[u8], b: &[u8]| {
            let shared = a.len().min(b.len());
            a[..shared].eq_ignore_ascii_case(&b[..shared])
        };
        let ends = |a: &[u8], b: &[u8]| {
            let shared = a.len().min(b.len());
            a[a.len() - shared..].eq_ignore_ascii_case(&b[b.len() - shared..])
        };
        let needle = needle.as_bytes();
        self.into_value
            .iter()
            .any(|&cut| starts(value, &needle[cut..]))
            || self
                .out_of_value
                .iter()
                .any(|&cut| ends(value, &needle[..cut]))
    }
}

fn remember(cuts: &mut Vec<usize>, cut: usize) {
    if !cuts.contains(&cut) {
        cuts.push(cut);
    }
}

/// The strings of a JSON array of strings without escapes; `None` for any other text.
pub(super) fn args(json: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let inner = json.strip_prefix(b"[\"")?.strip_suffix(b"\"]")?;
    if inner.contains(&b'\\') {
        return None;
    }
    // Only `","` may stand between two strings.
    let mut parts = inner.split(|&byte| byte == b'"');
    let is_plain = parts
        .by_ref()
        .skip(1)
        .step_by(2)
        .all(|between| between == b",");
    let values = inner.split(|&byte| byte == b'"').step_by(2);
    is_plain.then_some(values)
}

/// Whether `text` has `needle`, which is in lower case, without regard to ASCII case.
pub(super) fn has(text: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return true;
    };
    text.iter().enumerate().any(|(at, byte)| {
        byte.to_ascii_lowercase() == first
            && text[at + 1..]
                .get(..rest.len())
                .is_some_and(|window| window.eq_ignore_ascii_case(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn match_may_straddle_only_where_the_border_fits() {
        for (body, needle, straddled, across) in [
            ("pod \u{1} failed", "pod web", true, false),
            ("pod \u{1} failed", "web failed", true, false),
            ("pod \u{1} failed", "killed", false, false),
            ("\u{1}\u{3}", "ab", false, true),
            ("\u{1}/\u{3}", "a/b", false, true),
            ("\u{1}/\u{3}", "ab", false, false),
            ("no placeholder", "o p", false, false),
        ] {
            let look = Borders::default().look(body, needle);
            assert_eq!(look, Look { straddled, across }, "{body:?} {needle:?}");
        }
    }

    #[test]
    fn value_fits_where_it_could_complete_the_needle() {
        let mut borders = Borders::default();
        borders.look("container \u{3} in", "container app in");
        for (value, expected) in [
            ("app", true),
            ("App-1", false),
            ("ap", true),
            ("", true),
            ("nginx", false),
        ] {
            assert_eq!(
                borders.fit(value.as_bytes(), "container app in"),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn arguments_are_read_without_a_parser_only_when_they_are_plain() {
        let strings = |json: &str| -> Option<Vec<String>> {
            args(json.as_bytes()).map(|values| {
                values
                    .map(|v| String::from_utf8_lossy(v).into_owned())
                    .collect()
            })
        };
        assert_eq!(
            strings(r#"["a","b c"]"#),
            Some(vec!["a".into(), "b c".into()])
        );
        assert_eq!(strings(r#"[""]"#), Some(vec![String::new()]));
        for other in [
            "[]",
            "[1]",
            r#"["a\"b"]"#,
            r#"["a", "b"]"#,
            "null",
            r#"["a",1,"b"]"#,
            "",
        ] {
            assert_eq!(strings(other), None, "{other}");
        }
    }

    #[test]
    fn bytes_are_found_without_regard_to_case() {
        assert!(has(b"[\"NGINX:1.2\"]", b"nginx:1"));
        assert!(!has(b"[\"ngin\"]", b"nginx"));
    }
}
