//! How two bodies of one object differ, as fields that were added, removed or changed.
//!
//! - Elements of a list are compared by identity, the first kind of identity that all elements of both lists have. Lists
//!   without one are compared as arrays.
//! - A map of plain values that appears or disappears is one change for each key; anything deeper, and an element of a
//!   list, is one change.
//! - The order of a list is a change of its own (`order`), where it matters: as the kind's table says for lists with
//!   identities, always for others.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::automaton::{Automaton, State};
use super::body::{Body, List, SPECIAL, Shape, identities, plain, unescaped};
use super::path::{Path, Segment};
use super::rules::{Field, Rules, Silence};
use super::stored::{Fields, Stored, merged};

/// What happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It has another value.
    Changed,
    /// A list has the same elements in another order.
    Order,
}

impl Op {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Order => "order",
        }
    }
}

/// A changed field; its values are in the stored form.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange<'b> {
    /// Which field.
    pub path: Path,
    /// What happened to it.
    pub op: Op,
    /// Its value before; of a list in another order, the order.
    pub from: Option<&'b Stored<'b>>,
    /// Its value after.
    pub to: Option<&'b Stored<'b>>,
    /// By itself it makes no row.
    pub silent: bool,
    /// Changes of this field often break something.
    pub risky: bool,
    /// An autoscaler changes it for as long as the load changes.
    pub swings: bool,
}

/// The fields in which two bodies differ; `deleting` if a deletion waits for the object's finalizers.
pub fn changes<'b>(
    rules: &Rules,
    before: &'b Body<'b>,
    after: &'b Body<'b>,
    deleting: bool,
) -> Vec<FieldChange<'b>> {
    let mut diff = Diff {
        rules,
        deleting,
        path: Vec::new(),
        changes: Vec::new(),
    };
    let root = At {
        state: Automaton::<Field>::ROOT,
        silence: Silence::Never,
        risky: false,
        swings: false,
    };
    diff.values(root, before.stored(), after.stored());
    diff.changes
}

struct Diff<'r, 'b> {
    rules: &'r Rules,
    deleting: bool,
    path: Vec<Step<'b>>,
    changes: Vec<FieldChange<'b>>,
}

/// A segment of the path, which is copied only into a change.
enum Step<'b> {
    Field(&'b str),
    Element(Cow<'b, str>),
    Index(u32),
}

impl Step<'_> {
    fn segment(&self) -> Segment {
        match self {
            Self::Field(name) => Segment::Field((*name).into()),
            Self::Element(key) => Segment::Element((**key).into()),
            Self::Index(index) => Segment::Index(*index),
        }
    }
}

/// A field, and what is known about it and those it is in.
#[derive(Clone, Copy)]
struct At {
    state: State,
    silence: Silence,
    risky: bool,
    swings: bool,
}

/// The arrays of which a permutation is recognised; longer ones have changed.
const PERMUTATION_MAX: usize = 64;

impl<'b> Diff<'_, 'b> {
    fn at(&self, parent: At, state: State) -> At {
        let field = self.rules.field(state);
        At {
            state,
            silence: match field.silence {
                Silence::Never => parent.silence,
                own => own,
            },
            risky: parent.risky || field.risky,
            swings: parent.swings || field.swings,
        }
    }

    fn field(&self, parent: At, key: &str) -> At {
        self.at(parent, self.rules.automaton().step(parent.state, key))
    }

    fn element(&self, parent: At) -> At {
        self.at(parent, self.rules.automaton().element(parent.state))
    }

    /// An element with an identity, of a list.
    fn identified(&self, list: At, identity: &str) -> At {
        let silent = self.rules.field(list.state).silent_elements;
        let is_silent = silent.iter().any(|start| {
            let rest = identity.strip_prefix(start);
            rest.is_some_and(|rest| rest.starts_with('/'))
        });
        let mut at = self.element(list);
        if is_silent {
            at.silence = Silence::Always;
        }
        at
    }

    /// Runs `inner` one segment further inside.
    fn inside(&mut self, step: Step<'b>, inner: impl FnOnce(&mut Self)) {
        self.path.push(step);
        inner(self);
        self.path.pop();
    }

    fn emit(&mut self, at: At, op: Op, from: Option<&'b Stored<'b>>, to: Option<&'b Stored<'b>>) {
        let silent = match at.silence {
            Silence::Never => false,
            Silence::WhenSet => op == Op::Added,
            Silence::UnlessReplaced => matches!(op, Op::Added | Op::Removed),
            Silence::UnlessDeleting => !self.deleting,
            Silence::From(text) => op == Op::Added || from.and_then(Stored::as_text) == Some(text),
            Silence::Always => true,
        };
        self.changes.push(FieldChange {
            path: self.path.iter().map(Step::segment).collect(),
            op,
            from,
            to,
            silent,
            risky: at.risky,
            swings: at.swings,
        });
    }

    fn values(&mut self, at: At, before: &'b Stored<'b>, after: &'b Stored<'b>) {
        match (Shape::of(before), Shape::of(after)) {
            // Not compared first: on the way to a difference, each map would compare all that is in it.
            (Shape::Map(old), Shape::Map(new)) => self.maps(at, old, new),
            _ if before == after => {}
            (Shape::List(old), Shape::List(new)) => {
                self.lists(at, (old, before), (new, after));
            }
            _ => self.emit(at, Op::Changed, Some(before), Some(after)),
        }
    }

    fn maps(&mut self, at: At, before: &'b Fields<'b>, after: &'b Fields<'b>) {
        for (key, old, new) in merged(before, after) {
            // Nearly all of two states is equal.
            let is_map = old.is_some_and(|old| old.as_map().is_some());
            if !is_map && old == new {
                continue;
            }
            let name = unescaped(key);
            let mut at = self.field(at, name);
            if let Some(path) = self.rules.field(at.state).silent_if_true
                && new.is_none_or(|new| is_true(new, path))
            {
                at.silence = Silence::Always;
            }
            self.inside(Step::Field(name), |diff| match (old, new) {
                (Some(old), Some(new)) => diff.values(at, old, new),
                (Some(old), None) => diff.one_sided(at, Op::Removed, old),
                (None, Some(new)) => diff.one_sided(at, Op::Added, new),
                (None, None) => {}
            });
        }
    }

    /// A field that one of the bodies lacks.
    fn one_sided(&mut self, at: At, op: Op, value: &'b Stored<'b>) {
        let is_plain = |value: &Stored| !matches!(Shape::of(value), Shape::Map(_) | Shape::List(_));
        match Shape::of(value) {
            Shape::Map(fields)
                if !fields.is_empty()
                    && (self.path.len() <= 1 || fields.values().all(is_plain)) =>
            {
                for (key, value) in fields.iter() {
                    let name = unescaped(key);
                    let at = self.field(at, name);
                    self.inside(Step::Field(name), |diff| {
                        diff.one_sided(at, op, value);
                    });
                }
            }
            Shape::List(List::Keyed { order, fields }) => {
                for key in order.iter().filter_map(Stored::as_text) {
                    if let Some(value) = fields.get(key) {
                        let at = self.identified(at, unescaped(key));
                        let step = Step::Element(Cow::Borrowed(unescaped(key)));
                        self.inside(step, |diff| diff.one_value(at, op, value));
                    }
                }
            }
            _ => self.one_value(at, op, value),
        }
    }

    fn one_value(&mut self, at: At, op: Op, value: &'b Stored<'b>) {
        if op == Op::Added {
            self.emit(at, op, None, Some(value));
        } else {
            self.emit(at, op, Some(value), None);
        }
    }

    fn lists(
        &mut self,
        at: At,
        before: (List<'b>, &'b Stored<'b>),
        after: (List<'b>, &'b Stored<'b>),
    ) {
        let field = self.rules.field(at.state);
        if let (
            List::Keyed {
                order: old_order,
                fields: old,
            },
            List::Keyed {
                order: new_order,
                fields: new,
            },
        ) = (before.0, after.0)
            && old.len() == new.len()
            && merged(old, new).all(|(_, old, new)| old.is_some() && new.is_some())
        {
            for key in new_order.iter().filter_map(Stored::as_text) {
                if let (Some(old), Some(new)) = (old.get(key), new.get(key)) {
                    let step = Step::Element(Cow::Borrowed(unescaped(key)));
                    let inner = self.identified(at, unescaped(key));
                    self.inside(step, |diff| diff.values(inner, old, new));
                }
            }
            if field.ordered && old_order != new_order {
                self.emit(at, Op::Order, old.get(SPECIAL), new.get(SPECIAL));
            }
            return;
        }
        let (old, new) = (before.0.elements(), after.0.elements());
        if let ([old], [new]) = (&old[..], &new[..])
            && field.single
        {
            let choices = self.rules.identities(at.state);
            let step = identities(choices, [*new].into_iter())
                .and_then(|mut texts| texts.pop())
                .map_or(Step::Index(0), |text| Step::Element(Cow::Owned(text)));
            let inner = self.element(at);
            self.inside(step, |diff| diff.values(inner, old, new));
            return;
        }
        let choices = self.rules.identities(at.state);
        let of = |choice, list: &[&'b Stored<'b>]| {
            if list.is_empty() {
                return Some(Vec::new());
            }
            identities(&[choice], list.iter().copied())
        };
        let both = choices
            .iter()
            .find_map(|choice| Some((of(*choice, &old)?, of(*choice, &new)?)));
        match both {
            Some(texts) => {
                let (old_texts, new_texts) = &texts;
                self.by_identity(at, (&old, old_texts), (&new, new_texts));
                if field.ordered && !are_in_the_same_order(old_texts, new_texts) {
                    self.emit(at, Op::Order, before.1.get(SPECIAL), after.1.get(SPECIAL));
                }
            }
            None => self.arrays(at, (&old, before.1), (&new, after.1)),
        }
    }

    fn by_identity(
        &mut self,
        list: At,
        (old, old_texts): (&[&'b Stored<'b>], &[String]),
        (new, new_texts): (&[&'b Stored<'b>], &[String]),
    ) {
        let index = |texts: &'_ [String]| -> HashMap<String, usize> {
            texts
                .iter()
                .enumerate()
                .map(|(n, text)| (text.clone(), n))
                .collect()
        };
        let (in_old, in_new) = (index(old_texts), index(new_texts));
        for (text, value) in old_texts.iter().zip(old) {
            let at = self.identified(list, text);
            self.inside(
                Step::Element(Cow::Owned(text.clone())),
                |diff| match in_new.get(text) {
                    Some(n) => diff.values(at, value, new[*n]),
                    None => diff.one_value(at, Op::Removed, value),
                },
            );
        }
        for (text, value) in new_texts.iter().zip(new) {
            if !in_old.contains_key(text) {
                let at = self.identified(list, text);
                self.inside(Step::Element(Cow::Owned(text.clone())), |diff| {
                    diff.one_value(at, Op::Added, value);
                });
            }
        }
    }

    /// Lists without identities.
    fn arrays(
        &mut self,
        at: At,
        (old, before): (&[&'b Stored<'b>], &'b Stored<'b>),
        (new, after): (&[&'b Stored<'b>], &'b Stored<'b>),
    ) {
        if old == new {
            return;
        }
        if is_permutation(old, new) {
            self.emit(at, Op::Order, Some(before), Some(after));
            return;
        }
        let is_map = |value: &&Stored| matches!(Shape::of(value), Shape::Map(_));
        let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let rest = old.len().min(new.len()) - start;
        let end = old
            .iter()
            .rev()
            .zip(new.iter().rev())
            .take(rest)
            .take_while(|(a, b)| a == b)
            .count();
        let (old_part, new_part) = (&old[start..old.len() - end], &new[start..new.len() - end]);
        let pairs = old_part.len() == new_part.len();
        if !(old.iter().chain(new).all(is_map)
            && (pairs || old_part.is_empty() || new_part.is_empty()))
        {
            self.emit(at, Op::Changed, Some(before), Some(after));
            return;
        }
        let inner = self.element(at);
        for n in 0..old_part.len().max(new_part.len()) {
            let index = u32::try_from(start + n).unwrap_or(u32::MAX);
            self.inside(Step::Index(index), |diff| {
                match (old_part.get(n), new_part.get(n)) {
                    (Some(old), Some(new)) => diff.values(inner, old, new),
                    (Some(old), None) => diff.one_value(inner, Op::Removed, old),
                    (None, Some(new)) => diff.one_value(inner, Op::Added, new),
                    (None, None) => {}
                }
            });
        }
    }
}

fn is_true(value: &Stored, path: &[&str]) -> bool {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found == Some(&Stored::Bool(true))
}

/// Whether the elements that both lists have stand in the same order.
fn are_in_the_same_order(old: &[String], new: &[String]) -> bool {
    let common = |list: &'_ [String], other: &'_ [String]| -> Vec<String> {
        let other: HashSet<&String> = other.iter().collect();
        list.iter()
            .filter(|text| other.contains(text))
            .cloned()
            .collect()
    };
    common(old, new) == common(new, old)
}

fn is_permutation(old: &[&Stored], new: &[&Stored]) -> bool {
    if old.len() != new.len() || old.len() > PERMUTATION_MAX {
        return false;
    }
    let mut left: Vec<&Stored> = new.to_vec();
    old.iter().all(|value| {
        let found = left.iter().position(|other| other == value);
        found.map(|n| left.swap_remove(n)).is_some()
    })
}

/// Fields of one row.
pub const FIELDS_MAX: usize = 20;

/// Bytes of the fields of one row, as JSON.
pub const FIELDS_BYTES_MAX: usize = 2048;

/// Bytes of a value, and of a path, as JSON; a third of what a row may have, so that one field always fits.
const TEXT_BYTES_MAX: usize = 512;

/// The changed fields that one row shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownFields {
    /// A list of objects with `path`, `op`, `from` and `to`; the risky fields first.
    pub fields: Value,
    /// How many more fields changed.
    pub left_out: usize,
}

/// What a row shows of changes; a longer value is cut.
pub fn shown(changes: &[FieldChange<'_>]) -> ShownFields {
    let mut sorted: Vec<&FieldChange<'_>> = changes.iter().collect();
    sorted.sort_by_key(|change| !change.risky);
    let (mut fields, mut bytes) = (Vec::new(), "[]".len());
    for change in sorted {
        let mut field = Map::with_capacity(4);
        let path = Value::String(change.path.to_string());
        field.insert("path".to_owned(), cut(path));
        field.insert("op".to_owned(), change.op.as_str().into());
        for (name, value) in [("from", change.from), ("to", change.to)] {
            if let Some(value) = value {
                field.insert(name.to_owned(), cut(plain(value)));
            }
        }
        let field = Value::Object(field);
        bytes += field.to_string().len() + ",".len();
        if fields.len() == FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
            break;
        }
        fields.push(field);
    }
    ShownFields {
        left_out: changes.len() - fields.len(),
        fields: Value::Array(fields),
    }
}

/// A value, or the beginning of its text.
fn cut(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= TEXT_BYTES_MAX {
        return value;
    }
    let text = match value {
        Value::String(text) => text,
        _ => text,
    };
    let mut left = TEXT_BYTES_MAX - "\"…\"".len();
    let end = text.char_indices().find_map(|(at, c)| {
        // As JSON escapes it.
        let bytes = match c {
            '"' | '\\' => 2,
            '\0'..' ' => 6,
            _ => c.len_utf8(),
        };
        match left.checked_sub(bytes) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(at),
        }
    });
    Value::String(format!("{}…", &text[..end.unwrap_or(text.len())]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::body::testing::stored;
    use super::*;
    use crate::change::kinds::{BUILT_IN, TrackedKind};

    fn rules(kind: &str) -> &'static Rules {
        TrackedKind::find(BUILT_IN.iter(), kind).unwrap().rules
    }

    fn custom() -> &'static Rules {
        TrackedKind::custom(&"x.io/v1/things".parse().unwrap(), "Thing", true).rules
    }

    /// Each change as `op path from to`, silent ones in parentheses.
    fn lines(rules: &Rules, before: Value, after: Value) -> Vec<String> {
        let (before, after) = (stored(rules, before), stored(rules, after));
        let shown = |value: Option<&Stored>| value.map_or("-".to_owned(), |v| plain(v).to_string());
        changes(rules, &before, &after, false)
            .iter()
            .map(|change| {
                let line = format!(
                    "{} {} {} {}",
                    change.op.as_str(),
                    change.path,
                    shown(change.from),
                    shown(change.to)
                );
                if change.silent {
                    format!("({line})")
                } else {
                    line
                }
            })
            .collect()
    }

    #[test]
    fn automatic_operation_of_an_application_is_silent() {
        let id = "argoproj.io/v1alpha1/applications".parse().unwrap();
        let rules = TrackedKind::custom(&id, "Application", true).rules;
        let application =
            |operation: Value| json!({"spec": {"project": "shop"}, "operation": operation});
        let none = || json!({"spec": {"project": "shop"}});
        let automatic =
            || application(json!({"initiatedBy": {"automated": true}, "sync": {"revision": "a1"}}));
        let by_hand =
            || application(json!({"initiatedBy": {"username": "ann"}, "sync": {"revision": "a1"}}));
        for (before, after) in [
            (none(), automatic()),
            (automatic(), none()),
            (by_hand(), none()),
            (by_hand(), automatic()),
        ] {
            let lines = lines(rules, before, after);
            assert!(
                !lines.is_empty() && lines.iter().all(|line| line.starts_with('(')),
                "{lines:?}"
            );
        }
        assert_eq!(
            lines(rules, none(), by_hand()),
            [
                "added operation.initiatedBy.username - \"ann\"",
                "added operation.sync.revision - \"a1\"",
            ]
        );
        // Another kind of that name.
        let lines = lines(custom(), none(), automatic());
        assert!(lines.iter().all(|line| !line.starts_with('(')), "{lines:?}");
    }

    fn deployment(containers: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn image_of_a_container_is_one_change() {
        let image =
            |image: &str| deployment(json!([{"name": "app", "image": image}, {"name": "b"}]));
        assert_eq!(
            lines(rules("deploy"), image("a:1"), image("a:2")),
            ["changed spec.template.spec.containers[app].image \"a:1\" \"a:2\""]
        );
        assert!(lines(rules("deploy"), image("a:1"), image("a:1")).is_empty());
    }

    #[test]
    fn order_of_containers_is_a_change_and_order_of_volumes_is_not() {
        let app = json!({"name": "app"});
        let side = json!({"name": "side"});
        assert_eq!(
            lines(
                rules("deploy"),
                deployment(json!([app, side])),
                deployment(json!([side, app]))
            ),
            ["order spec.template.spec.containers [\"app\",\"side\"] [\"side\",\"app\"]"]
        );
        let volumes = |list: Value| json!({"spec": {"template": {"spec": {"volumes": list}}}});
        assert!(
            lines(
                rules("deploy"),
                volumes(json!([app, side])),
                volumes(json!([side, app]))
            )
            .is_empty()
        );
        // Only what both have is compared.
        assert_eq!(
            lines(
                rules("deploy"),
                deployment(json!([app, side])),
                deployment(json!([{"name": "x"}, app, side]))
            ),
            ["added spec.template.spec.containers[x] - {\"name\":\"x\"}"]
        );
    }

    #[test]
    fn arguments_are_one_value_and_their_order_a_change() {
        let args = |args: Value| deployment(json!([{"name": "a", "args": args}]));
        let path = "spec.template.spec.containers[a].args";
        assert_eq!(
            lines(
                rules("deploy"),
                args(json!(["x", "y"])),
                args(json!(["x", "z"]))
            ),
            [format!("changed {path} [\"x\",\"y\"] [\"x\",\"z\"]")]
        );
        assert_eq!(
            lines(
                rules("deploy"),
                args(json!(["x", "y"])),
                args(json!(["y", "x"]))
            ),
            [format!("order {path} [\"x\",\"y\"] [\"y\",\"x\"]")]
        );
    }

    #[test]
    fn port_of_a_service_with_one_port_is_the_same_port() {
        let ports = |ports: Value| json!({"spec": {"ports": ports}});
        assert_eq!(
            lines(
                rules("svc"),
                ports(json!([{"port": 80, "protocol": "TCP"}])),
                ports(json!([{"port": 8080, "protocol": "TCP", "nodePort": 30000}]))
            ),
            [
                "(added spec.ports[8080/TCP].nodePort - 30000)",
                "changed spec.ports[8080/TCP].port 80 8080"
            ]
        );
        // A name for the one port.
        assert_eq!(
            lines(
                rules("svc"),
                ports(json!([{"port": 80, "protocol": "TCP"}])),
                ports(json!([{"port": 80, "protocol": "TCP", "name": "http"}]))
            ),
            ["added spec.ports[http].name - \"http\""]
        );
        // Two ports: what both lists have is port and protocol.
        assert_eq!(
            lines(
                rules("svc"),
                ports(json!([{"port": 80, "protocol": "TCP"}])),
                ports(
                    json!([{"port": 80, "protocol": "TCP", "name": "a"}, {"port": 81, "protocol": "TCP", "name": "b"}])
                )
            ),
            [
                "added spec.ports[80/TCP].name - \"a\"",
                "added spec.ports[81/TCP] - {\"name\":\"b\",\"port\":81,\"protocol\":\"TCP\"}"
            ]
        );
    }

    #[test]
    fn repeated_name_makes_an_array_of_that_revision_only() {
        let env = |env: Value| deployment(json!([{"name": "a", "env": env}]));
        let x = |value: &str| json!({"name": "X", "value": value});
        let (one, two) = (json!([x("1")]), json!([x("1"), x("2")]));
        let path = "spec.template.spec.containers[a].env";
        assert_eq!(
            lines(rules("deploy"), env(one.clone()), env(two.clone())),
            [format!(
                "added {path}[1] - {{\"name\":\"X\",\"value\":\"2\"}}"
            )]
        );
        assert_eq!(
            lines(rules("deploy"), env(two), env(one)),
            [format!(
                "removed {path}[1] {{\"name\":\"X\",\"value\":\"2\"}} -"
            )]
        );
    }

    #[test]
    fn labels_are_one_change_each_and_deeper_fields_one_whole() {
        assert_eq!(
            lines(
                rules("deploy"),
                json!({"metadata": {}, "spec": {}}),
                json!({
                    "metadata": {"labels": {"a": "1", "b.io/c": "2"}},
                    "spec": {"template": {"spec": {"affinity": {"nodeAffinity": {"x": 1}}, "volumes": [{"name": "v"}]}}},
                    "status": {"a": {"b": {"c": 1}}},
                }),
            ),
            [
                "added metadata.labels.a - \"1\"",
                "added metadata.labels[\"b.io/c\"] - \"2\"",
                "added spec.template - {\"spec\":{\"affinity\":{\"nodeAffinity\":{\"x\":1}},\"volumes\":[{\"name\":\"v\"}]}}",
                "added status.a - {\"b\":{\"c\":1}}",
            ]
        );
    }

    #[test]
    fn custom_list_uses_what_is_unique_in_both_states() {
        let list = |list: Value| json!({"spec": {"list": list}});
        assert_eq!(
            lines(
                custom(),
                list(json!([{"name": "a", "id": "1", "v": 1}, {"name": "b", "id": "2"}])),
                list(json!([{"name": "a", "id": "2"}, {"name": "a", "id": "1", "v": 2}]))
            ),
            [
                "changed spec.list[1].v 1 2".replace("[1]", "[\"1\"]"),
                "changed spec.list[\"2\"].name \"b\" \"a\"".to_owned(),
            ]
        );
        assert_eq!(
            lines(
                custom(),
                list(json!([{"x": 1}, {"x": 2}, {"x": 3}])),
                list(json!([{"x": 1}, {"x": 5}, {"x": 3}]))
            ),
            ["changed spec.list[1].x 2 5"]
        );
        assert_eq!(
            lines(
                custom(),
                list(json!([{"x": 1}, {"x": 2}])),
                list(json!([{"x": 2}, {"x": 1}]))
            ),
            ["order spec.list [{\"x\":1},{\"x\":2}] [{\"x\":2},{\"x\":1}]"]
        );
        assert_eq!(
            lines(custom(), list(json!([])), list(json!([{"name": "a"}]))),
            ["added spec.list[a] - {\"name\":\"a\"}"]
        );
        assert_eq!(
            lines(custom(), list(json!(null)), list(json!({"a": null}))),
            ["changed spec.list null {\"a\":null}"]
        );
    }

    #[test]
    fn fields_that_kubernetes_sets_are_silent_only_when_set() {
        assert_eq!(
            lines(
                rules("svc"),
                json!({"spec": {"type": "ClusterIP"}}),
                json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}})
            ),
            [
                "(added spec.clusterIP - \"10.0.0.1\")",
                "(added spec.clusterIPs - [\"10.0.0.1\"])"
            ]
        );
        assert_eq!(
            lines(
                rules("svc"),
                json!({"spec": {"clusterIP": "10.0.0.1"}}),
                json!({"spec": {"clusterIP": "None"}})
            ),
            ["changed spec.clusterIP \"10.0.0.1\" \"None\""]
        );
        assert_eq!(
            lines(
                rules("pvc"),
                json!({"metadata": {}}),
                json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes", "x": "y"}}})
            ),
            [
                "(added metadata.annotations[\"pv.kubernetes.io/bind-completed\"] - \"yes\")",
                "added metadata.annotations.x - \"y\""
            ]
        );
        let claim = json!({"spec": {"claimRef": {"name": "c", "uid": "u"}}});
        let added = lines(rules("pv"), json!({"spec": {}}), claim);
        assert!(added.iter().all(|line| line.starts_with('(')), "{added:?}");
        assert_eq!(added.len(), 2);
        assert_eq!(
            lines(
                rules("po"),
                json!({"spec": {}}),
                json!({"spec": {"nodeName": "n"}, "status": {"containerStatuses": [{"name": "a", "imageID": "i"}]}})
            ),
            [
                "(added spec.nodeName - \"n\")",
                "(added status.containerStatuses[a] - {\"imageID\":\"i\",\"name\":\"a\"})"
            ]
        );
    }

    #[test]
    fn image_that_a_tag_means_is_a_change_only_if_it_is_another_one() {
        let pod = |image: Option<&str>| {
            let id = image.map_or(
                json!({"name": "a"}),
                |id| json!({"name": "a", "imageID": id}),
            );
            json!({"status": {"containerStatuses": [id]}})
        };
        // The status of a lost pod is reset.
        for (before, after) in [(None, Some("i@1")), (Some("i@1"), None)] {
            let found = lines(rules("po"), pod(before), pod(after));
            assert!(found.len() == 1 && found[0].starts_with('('), "{found:?}");
        }
        let found = lines(rules("po"), pod(Some("i@1")), json!({}));
        assert!(found.len() == 1 && found[0].starts_with('('), "{found:?}");
        assert_eq!(
            lines(rules("po"), pod(Some("i@1")), pod(Some("i@2"))),
            ["changed status.containerStatuses[a].imageID \"i@1\" \"i@2\""]
        );
    }

    #[test]
    fn taints_of_conditions_are_silent_and_others_are_not() {
        let node = |taints: Value| json!({"spec": {"podCIDR": "10.0.0.0/24", "taints": taints}});
        let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
        let bare = json!({"spec": {"podCIDR": "10.0.0.0/24"}});
        let pressure = node(json!([taint("node.kubernetes.io/memory-pressure")]));
        let path = "spec.taints[node.kubernetes.io/memory-pressure/NoSchedule]";
        for (before, after, op) in [(&bare, &pressure, "added"), (&pressure, &bare, "removed")] {
            let found = lines(rules("node"), before.clone(), after.clone());
            assert_eq!(found.len(), 1);
            assert!(found[0].starts_with(&format!("({op} {path} ")), "{found:?}");
        }
        let both = node(json!([
            taint("dedicated"),
            taint("node.kubernetes.io/memory-pressure"),
            taint("node.kubernetes.io/out-of-service"),
        ]));
        let found = lines(rules("node"), node(json!([])), both);
        let silent: Vec<bool> = found.iter().map(|line| line.starts_with('(')).collect();
        assert_eq!(silent, [false, true, false], "{found:?}");
    }

    #[test]
    fn claim_is_bound_in_silence_and_lost_with_a_row() {
        let claim = |phase: &str| json!({"status": {"phase": phase}});
        let of = |before: &str, after: &str| lines(rules("pvc"), claim(before), claim(after));
        assert_eq!(
            of("Pending", "Bound"),
            ["(changed status.phase \"Pending\" \"Bound\")"]
        );
        assert_eq!(
            of("Bound", "Lost"),
            ["changed status.phase \"Bound\" \"Lost\""]
        );
        let owned = json!({"metadata": {"ownerReferences": [{"uid": "u1", "kind": "Pod", "name": "db-0"}]}});
        let found = lines(rules("pvc"), json!({}), owned);
        assert!(found.iter().all(|line| line.starts_with('(')), "{found:?}");
    }

    #[test]
    fn finalizers_are_silent_unless_a_deletion_waits() {
        let of = |list: Value| stored(rules("pvc"), json!({"metadata": {"finalizers": list}}));
        let (before, after) = (of(json!(["a", "b"])), of(json!(["a"])));
        assert!(changes(rules("pvc"), &before, &after, false)[0].silent);
        assert!(!changes(rules("pvc"), &before, &after, true)[0].silent);
    }

    #[test]
    fn row_shows_twenty_fields_of_two_kibibytes() {
        let many = |value: &str| {
            let labels: Map<String, Value> =
                (0..30).map(|n| (format!("l{n}"), json!(value))).collect();
            json!({"metadata": {"labels": labels}, "spec": {"replicas": value.len()}})
        };
        let show = |before: Value, after: Value| {
            let (before, after) = (
                stored(rules("deploy"), before),
                stored(rules("deploy"), after),
            );
            shown(&changes(rules("deploy"), &before, &after, false))
        };
        let row = show(many("a"), many("bb"));
        let fields = row.fields.as_array().unwrap();
        assert_eq!((fields.len(), row.left_out), (20, 11));
        // The field that often breaks something comes first.
        assert_eq!(
            fields[0],
            json!({"path": "spec.replicas", "op": "changed", "from": 1, "to": 2})
        );
        for filler in ["x", "\u{1}", "\"", "ä"] {
            let row = show(many("a"), many(&filler.repeat(3000)));
            assert!(row.fields.to_string().len() <= FIELDS_BYTES_MAX, "{filler}");
            assert_eq!(row.fields.as_array().unwrap().len() + row.left_out, 31);
            assert!(row.left_out < 30);
        }
        let long = json!({"metadata": {"labels": {"k".repeat(5000): "\u{1}".repeat(5000)}}});
        let row = show(
            json!({"metadata": {"labels": {"k".repeat(5000): "\"".repeat(5000)}}}),
            long,
        );
        assert_eq!(row.left_out, 0);
        assert!(row.fields.to_string().len() <= FIELDS_BYTES_MAX);
    }
}
