//! Erases fields from what is stored: bodies, patches, and the fields of rows.

use serde_json::Value;

use super::automaton::{Automaton, State};
use super::body::{SPECIAL, hidden, unescaped};
use super::path::{Path, Pattern, Segment};
use super::stored::Stored;

/// The fields that a pattern matches, with all that is inside them.
#[derive(Debug)]
pub struct Eraser(Automaton<Reached>);

/// What the pattern can do after the keys that were taken.
#[derive(Debug, Clone, Copy)]
struct Reached {
    matches: bool,
    can_match_inside: bool,
}

impl Eraser {
    /// Erases what a pattern matches.
    pub fn new(pattern: Pattern) -> Self {
        Self(Automaton::new(&[(pattern, ())], |here, inside| Reached {
            matches: !here.is_empty(),
            can_match_inside: !inside.is_empty(),
        }))
    }

    /// Replaces each matching value of a body or a patch with a mark of zeros. Whether there was one.
    ///
    /// A patch is a part of a body, so that the same fields match; a removal in it has no value. A body that a patch without
    /// the field is applied to keeps the mark.
    pub fn erase(&self, stored: &mut Stored<'_>) -> bool {
        self.inside(stored, Automaton::<Reached>::ROOT)
    }

    fn inside(&self, value: &mut Stored<'_>, state: State) -> bool {
        let mut erased = false;
        match value {
            Stored::Map(fields) => {
                for (key, value) in fields.iter_mut().filter(|(key, _)| *key != SPECIAL) {
                    erased |= self.value(value, self.0.step(state, unescaped(key)));
                }
            }
            Stored::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    erased |= self.value(element, self.0.step(state, &index.to_string()));
                }
            }
            _ => {}
        }
        erased
    }

    fn value(&self, value: &mut Stored<'_>, state: State) -> bool {
        let reached = self.0.at(state);
        let mark = hidden(0);
        if reached.matches && !matches!(value, Stored::Null) && *value != mark {
            *value = mark;
            return true;
        }
        !reached.matches && reached.can_match_inside && self.inside(value, state)
    }

    /// Whether a row that shows a field shows a value that is erased: of this field, or inside it where one of `values` is
    /// an object or a list.
    pub fn is_shown(&self, path: &str, values: &[Option<&Value>]) -> bool {
        let Ok(path) = Path::parse(path) else {
            // Longer than a path is read: it cannot be told.
            return true;
        };
        let mut state = Automaton::<Reached>::ROOT;
        for segment in path.segments() {
            state = match segment {
                Segment::Index(index) => self.0.step(state, &index.to_string()),
                Segment::Field(name) | Segment::Element(name) => self.0.step(state, name),
            };
            if self.0.at(state).matches {
                return true;
            }
        }
        let has_inside = |value: &&Value| value.is_object() || value.is_array();
        self.0.at(state).can_match_inside && values.iter().flatten().any(has_inside)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::change::body::Body;
    use crate::change::kinds::{BUILT_IN, TrackedKind};
    use crate::change::patch;

    fn eraser(pattern: &str) -> Eraser {
        Eraser::new(Pattern::parse(pattern).unwrap())
    }

    fn deployment(token: &Value) -> Body<'static> {
        let kind = TrackedKind::find(BUILT_IN.iter(), "deploy").unwrap();
        let env = json!([{"name": "TOKEN", "value": token}, {"name": "MODE", "value": "a"}]);
        let spec = json!({"containers": [{"name": "app", "args": ["x", token], "env": env}]});
        let object = json!({"metadata": {"annotations": {"~odd": token}}, "spec": {"template": {"spec": spec}}});
        Body::of_manifest(kind.rules, &object).unwrap()
    }

    #[test]
    fn value_is_erased_wherever_the_pattern_matches() {
        let whole = deployment(&json!("planted"));
        for (pattern, left) in [
            ("spec.template.spec.containers[app].env[TOKEN].value", 2),
            ("**.env.*", 2),
            ("**.value", 2),
            ("**.args[1]", 2),
            ("**.args", 2),
            ("metadata.annotations[\"~odd\"]", 2),
            ("spec", 1),
            ("**", 0),
            ("spec.replicas", 3),
        ] {
            let mut body = whole.stored().clone();
            assert_eq!(eraser(pattern).erase(&mut body), left < 3, "{pattern}");
            assert_eq!(body.to_text().matches("planted").count(), left, "{pattern}");
            assert!(!eraser(pattern).erase(&mut body), "again: {pattern}");
        }
    }

    #[test]
    fn older_body_that_is_rebuilt_from_an_erased_patch_has_no_value_either() {
        let eraser = eraser("**.env[TOKEN]");
        let texts = ["planted-1", "planted-2", "planted-3"].map(|text| deployment(&json!(text)));
        let mut patches = [
            patch::between(&texts[1], &texts[0]).unwrap().into_owned(),
            patch::between(&texts[2], &texts[1]).unwrap().into_owned(),
        ];
        let mut newest = texts[2].stored().clone();
        assert!(eraser.erase(&mut newest));
        for patch in &mut patches {
            assert!(eraser.erase(patch));
        }
        let text = newest.to_text();
        let mut body = Body::parse(&text).unwrap();
        for (patch, plain) in patches.into_iter().rev().zip(texts.iter().rev().skip(1)) {
            patch::apply(&mut body, patch);
            let mut expected = plain.stored().clone();
            eraser.erase(&mut expected);
            assert_eq!(body.stored(), &expected);
        }
    }

    #[test]
    fn field_of_a_row_is_shown_with_what_is_inside_it() {
        let text = json!("x");
        let map = json!({"TOKEN": "x"});
        for (pattern, path, value, expected) in [
            ("data.TOKEN", "data.TOKEN", &text, true),
            ("data.TOKEN", "data.MODE", &text, false),
            ("data", "data.TOKEN", &text, true),
            ("data.TOKEN", "data", &map, true),
            ("data.TOKEN", "data", &text, false),
            (
                "**.env[TOKEN].value",
                "spec.containers[app].env[TOKEN].value",
                &text,
                true,
            ),
            (
                "**.env[TOKEN].value",
                "spec.containers[app].image",
                &text,
                false,
            ),
            ("**.args[1]", "spec.args[1]", &text, true),
            ("data", "not..a path", &text, true),
        ] {
            let found = eraser(pattern).is_shown(path, &[None, Some(value)]);
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }
}
