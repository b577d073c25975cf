//! The JSON Patch (RFC 6902) that turns one body of an object into another, as far as both are known.
//!
//! A patch tests each value before it changes it: an object that was changed since is left alone.

use serde_json::{Value, json};

use super::automaton::{Automaton, State};
use super::body::{Body, List, Shape, identity, is_complete, plain, unescaped};
use super::path::{Path, Segment};
use super::rules::{Field, Rules, Silence};
use super::stored::{Fields, Stored, merged};

/// The operations, and the fields that they leave as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JsonPatch {
    /// In the order in which they apply.
    pub operations: Vec<Value>,
    /// Fields that differ and are not changed: their values are hidden, or the cluster sets them.
    pub left_out: Vec<Path>,
}

/// The patch from `current` to `wanted`.
pub fn json_patch(rules: &Rules, current: &Body, wanted: &Body) -> JsonPatch {
    let mut maker = Maker {
        rules,
        patch: JsonPatch::default(),
        path: Vec::new(),
        pointer: String::new(),
    };
    maker.values(Automaton::<Field>::ROOT, current.stored(), wanted.stored());
    maker.patch
}

struct Maker<'r> {
    rules: &'r Rules,
    patch: JsonPatch,
    path: Vec<Segment>,
    /// The place of `path` in the object that the operations so far make.
    pointer: String,
}

impl Maker<'_> {
    fn inside(&mut self, segment: Segment, key: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer
            .push_str(&key.replace('~', "~0").replace('/', "~1"));
        self.path.push(segment);
        inner(self);
        self.path.pop();
        self.pointer.truncate(length);
    }

    fn leave_out(&mut self) {
        self.patch.left_out.push(self.path.clone().into());
    }

    fn emit(&mut self, op: &str, value: Option<&Stored>) {
        let mut operation = json!({"op": op, "path": self.pointer});
        if let Some(value) = value {
            operation["value"] = plain(value);
        }
        self.patch.operations.push(operation);
    }

    /// Where a part is hidden, the test is of what is known: the rest of the element or nothing.
    fn test(&mut self, value: &Stored) {
        if is_complete(value) {
            self.emit("test", Some(value));
        }
    }

    fn is_silent(&self, state: State) -> bool {
        !matches!(self.rules.field(state).silence, Silence::Never)
    }

    fn values(&mut self, state: State, current: &Stored, wanted: &Stored) {
        if current == wanted {
            return;
        }
        match (Shape::of(current), Shape::of(wanted)) {
            _ if self.is_silent(state) => self.leave_out(),
            (Shape::Map(current), Shape::Map(wanted)) => self.maps(state, current, wanted),
            (
                Shape::List(List::Keyed { order, fields }),
                Shape::List(List::Keyed {
                    order: wanted_order,
                    fields: wanted,
                }),
            ) => self.lists(state, (order, fields), (wanted_order, wanted)),
            _ if is_complete(wanted) => {
                self.test(current);
                self.emit("replace", Some(wanted));
            }
            _ => self.leave_out(),
        }
    }

    fn maps(&mut self, state: State, current: &Fields, wanted: &Fields) {
        for (key, current, wanted) in merged(current, wanted) {
            let name = unescaped(key);
            let inner = self.rules.automaton().step(state, name);
            self.inside(Segment::Field(name.into()), name, |maker| {
                match (current, wanted) {
                    (Some(current), Some(wanted)) => maker.values(inner, current, wanted),
                    _ if maker.is_silent(inner) => maker.leave_out(),
                    (Some(current), None) => {
                        maker.test(current);
                        maker.emit("remove", None);
                    }
                    (None, Some(wanted)) if is_complete(wanted) => maker.emit("add", Some(wanted)),
                    (None, Some(_)) => maker.leave_out(),
                    (None, None) => {}
                }
            });
        }
    }

    fn lists(
        &mut self,
        state: State,
        (order, current): (&[Stored], &Fields),
        (wanted_order, wanted): (&[Stored], &Fields),
    ) {
        let inner = self.rules.automaton().element(state);
        let keys = |order: &[Stored]| -> Vec<String> {
            order
                .iter()
                .filter_map(|key| key.as_text().map(str::to_owned))
                .collect()
        };
        let (mut working, wanted_keys) = (keys(order), keys(wanted_order));
        for key in keys(order) {
            let Some(element) = current.get(&key) else {
                continue;
            };
            let Some(at) = working.iter().position(|one| *one == key) else {
                continue;
            };
            let segment = Segment::Element(unescaped(&key).into());
            match wanted.get(&key) {
                Some(wanted) => self.inside(segment, &at.to_string(), |maker| {
                    let before = maker.patch.operations.len();
                    maker.values(inner, element, wanted);
                    if maker.patch.operations.len() > before {
                        maker.test_identity(state, element, before);
                    }
                }),
                None => {
                    self.inside(segment, &at.to_string(), |maker| {
                        let before = maker.patch.operations.len();
                        maker.test(element);
                        maker.emit("remove", None);
                        maker.test_identity(state, element, before);
                    });
                    working.remove(at);
                }
            }
        }
        let mut possible: Vec<&String> = Vec::new();
        for key in &wanted_keys {
            let Some(element) = wanted.get(key) else {
                continue;
            };
            let segment = Segment::Element(unescaped(key).into());
            if working.contains(key) {
                possible.push(key);
            } else if is_complete(element) {
                let at = possible.len().min(working.len());
                self.inside(segment, &at.to_string(), |maker| {
                    maker.emit("add", Some(element));
                });
                working.insert(at, key.clone());
                possible.push(key);
            } else {
                self.path.push(segment);
                self.leave_out();
                self.path.pop();
            }
        }
        for (at, key) in possible.into_iter().enumerate() {
            let Some(from) = working.iter().position(|one| one == key) else {
                continue;
            };
            if from != at {
                let moved = json!({
                    "op": "move",
                    "from": format!("{}/{from}", self.pointer),
                    "path": format!("{}/{at}", self.pointer),
                });
                self.patch.operations.push(moved);
                let key = working.remove(from);
                working.insert(at, key);
            }
        }
    }

    /// Tests before the operation number `before` that the element at this place is the one that is meant.
    fn test_identity(&mut self, list: State, element: &Stored, before: usize) {
        let choices = self.rules.identities(list);
        let Some(fields) = choices
            .iter()
            .find(|fields| identity(fields, element).is_some())
        else {
            return;
        };
        let tests: Vec<Value> = fields
            .iter()
            .filter_map(|field| {
                let parts = field.split('.');
                let value = parts
                    .clone()
                    .try_fold(element, |value, name| value.get(name))?;
                let place: String = parts.map(|name| format!("/{name}")).collect();
                let path = format!("{}{place}", self.pointer);
                is_complete(value)
                    .then(|| json!({"op": "test", "path": path, "value": plain(value)}))
            })
            .collect();
        self.patch.operations.splice(before..before, tests);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::super::body::testing::stored;
    use super::*;
    use crate::change::kinds::{BUILT_IN, TrackedKind};

    fn rules(kind: &str) -> &'static Rules {
        TrackedKind::find(BUILT_IN.iter(), kind).unwrap().rules
    }

    fn applied(current: &Body, patch: &JsonPatch) -> Value {
        let operations: ::json_patch::Patch =
            serde_json::from_value(Value::Array(patch.operations.clone())).unwrap();
        let mut object = current.plain();
        ::json_patch::patch(&mut object, &operations).unwrap();
        object
    }

    fn container() -> impl Strategy<Value = Value> {
        let env = prop::collection::btree_map("[A-C]", "[xy]", 0..4);
        ("[a-d]", "[xy]", env, any::<bool>()).prop_map(|(name, image, env, reverse)| {
            let mut env: Vec<Value> = env
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            if reverse {
                env.reverse();
            }
            json!({"name": name, "image": image, "env": env, "args": [image, name]})
        })
    }

    fn deployment() -> impl Strategy<Value = Value> {
        let labels = prop::collection::btree_map("[a-c/~]{1,2}", "[xy]", 0..4);
        let containers = prop::collection::vec(container(), 0..5);
        (labels, containers, 0..3_u8).prop_map(|(labels, containers, replicas)| {
            let labels: Map<String, Value> = labels
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect();
            json!({"metadata": {"labels": labels},
                   "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
        })
    }

    proptest! {
        #[test]
        fn patch_makes_the_wanted_object(current in deployment(), wanted in deployment()) {
            let rules = rules("deploy");
            let (current, wanted) = (stored(rules, current), stored(rules, wanted));
            let patch = json_patch(rules, &current, &wanted);
            prop_assert!(patch.left_out.is_empty());
            prop_assert_eq!(applied(&current, &patch), wanted.plain());
            prop_assert_eq!(patch.operations.is_empty(), current == wanted);
        }
    }

    #[test]
    fn hidden_values_are_left_out_and_the_rest_is_patched() {
        let body = |digits: u64, image: &str| {
            let mut body = stored(
                rules("deploy"),
                json!({"spec": {"template": {"spec": {"containers": [
                    {"name": "app", "image": image, "env": [{"name": "PASSWORD", "value": "?"}]}
                ]}}}}),
            );
            let mut at = body.stored_mut();
            for key in [
                "spec",
                "template",
                "spec",
                "containers",
                "app",
                "env",
                "PASSWORD",
                "value",
            ] {
                at = at.get_mut(key).unwrap();
            }
            *at = super::super::body::hidden(digits);
            body
        };
        let patch = json_patch(rules("deploy"), &body(1, "app:2"), &body(2, "app:1"));
        let left_out: Vec<String> = patch.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(
            left_out,
            ["spec.template.spec.containers[app].env[PASSWORD].value"]
        );
        let place = "/spec/template/spec/containers/0";
        assert_eq!(
            patch.operations,
            [
                json!({"op": "test", "path": format!("{place}/name"), "value": "app"}),
                json!({"op": "test", "path": format!("{place}/image"), "value": "app:2"}),
                json!({"op": "replace", "path": format!("{place}/image"), "value": "app:1"}),
            ]
        );
    }

    #[test]
    fn fields_that_kubernetes_sets_are_left_out() {
        let of = |ip: Value| {
            stored(
                rules("svc"),
                json!({"spec": {"type": "ClusterIP", "clusterIP": ip}}),
            )
        };
        let patch = json_patch(rules("svc"), &of(json!("10.0.0.1")), &of(json!("10.0.0.2")));
        assert!(patch.operations.is_empty());
        assert_eq!(patch.left_out[0].to_string(), "spec.clusterIP");
    }
}
