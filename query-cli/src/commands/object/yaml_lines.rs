//! A body as lines of YAML, each with the fields that it shows.

use std::ops::Range;

use kube9_model::change::automaton::{Automaton, State};
use kube9_model::change::body::{List, Shape, identity, plain, unescaped};
use kube9_model::change::path::{Path, Segment};
use kube9_model::change::rules::{Field, Rules};
use kube9_model::change::stored::Stored;
use serde_json::Value;

use crate::output;

/// A value without parts: a scalar, a hidden value, or a list without identities.
#[derive(Debug)]
pub(super) struct Leaf<'b> {
    pub(super) path: Path,
    /// The keys that lead to it in the stored form.
    keys: Vec<&'b str>,
    value: &'b Stored<'b>,
}

impl Leaf<'_> {
    /// Whether a body has the same value at this place.
    pub(super) fn is_in(&self, rules: &Rules, body: &Stored<'_>) -> bool {
        let all = rules.automaton();
        let (mut state, mut value) = (Automaton::<Field>::ROOT, body);
        for (key, segment) in self.keys.iter().zip(self.path.segments()) {
            let found = match (segment, Shape::of(value)) {
                (Segment::Field(name), _) => {
                    let found = value.get(key);
                    state = all.step(state, name);
                    found
                }
                (segment, Shape::List(list)) => {
                    let found = value
                        .get(key)
                        .or_else(|| element(rules, state, list, segment));
                    state = all.element(state);
                    found
                }
                _ => None,
            };
            let Some(found) = found else {
                return false;
            };
            value = found;
        }
        value == self.value
    }
}

/// The element that has another key in another state of its list: the keys are of the first identity that all elements have.
fn element<'v>(
    rules: &Rules,
    list: State,
    elements: List<'v>,
    segment: &Segment,
) -> Option<&'v Stored<'v>> {
    let elements = elements.elements();
    if let ([only], true) = (&elements[..], rules.field(list).single) {
        return Some(only);
    }
    let Segment::Element(key) = segment else {
        return None;
    };
    let is_it = |element: &&Stored| {
        let mut texts = rules
            .identities(list)
            .iter()
            .filter_map(|fields| identity(fields, element));
        texts.any(|text| text == **key)
    };
    elements.into_iter().find(is_it)
}

/// A line of YAML.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// Its own field, or all fields inside it.
    pub(super) leaves: Range<usize>,
}

/// The lines of a body, and its leaves in order.
pub(super) fn lines<'b>(body: &'b Stored<'b>) -> (Vec<Line>, Vec<Leaf<'b>>) {
    let mut printer = Printer {
        lines: Vec::new(),
        leaves: Vec::new(),
        keys: Vec::new(),
        path: Vec::new(),
    };
    if let Shape::Map(fields) = Shape::of(body) {
        for (key, value) in fields.iter() {
            printer.field(key, value, "", 0);
        }
    }
    (printer.lines, printer.leaves)
}

struct Printer<'b> {
    lines: Vec<Line>,
    leaves: Vec<Leaf<'b>>,
    keys: Vec<&'b str>,
    path: Vec<Segment>,
}

impl<'b> Printer<'b> {
    /// `start` is what the first line begins with: the indentation, or a dash.
    fn field(&mut self, key: &'b str, value: &'b Stored<'b>, start: &str, indent: usize) {
        let name = unescaped(key);
        self.keys.push(key);
        self.path.push(Segment::Field(name.into()));
        self.value(value, &format!("{start}{}:", scalar(&name.into())), indent);
        self.path.pop();
        self.keys.pop();
    }

    fn value(&mut self, value: &'b Stored<'b>, start: &str, indent: usize) {
        let first_leaf = self.leaves.len();
        match Shape::of(value) {
            Shape::Map(fields) if !fields.is_empty() => {
                let line = self.open(start);
                let inner = " ".repeat(indent + 2);
                for (key, value) in fields.iter() {
                    self.field(key, value, &inner, indent + 2);
                }
                self.close(line, first_leaf);
            }
            Shape::List(List::Keyed { order, fields }) if !order.is_empty() => {
                let line = self.open(start);
                for key in order.iter().filter_map(Stored::as_text) {
                    if let Some(value) = fields.get(key) {
                        self.keys.push(key);
                        self.path.push(Segment::Element(unescaped(key).into()));
                        self.element(value, indent);
                        self.path.pop();
                        self.keys.pop();
                    }
                }
                self.close(line, first_leaf);
            }
            _ => {
                self.leaf(value);
                let leaves = first_leaf..self.leaves.len();
                self.plain(&plain(value), start, indent, &leaves);
            }
        }
    }

    /// An element of a list with identities.
    fn element(&mut self, value: &'b Stored<'b>, indent: usize) {
        let dash = format!("{}- ", " ".repeat(indent));
        match Shape::of(value) {
            Shape::Map(fields) if !fields.is_empty() => {
                let inner = " ".repeat(indent + 2);
                for (n, (key, value)) in fields.iter().enumerate() {
                    let start = if n == 0 { &dash } else { &inner };
                    self.field(key, value, start, indent + 2);
                }
            }
            _ => self.value(value, dash.trim_end(), indent),
        }
    }

    fn leaf(&mut self, value: &'b Stored<'b>) {
        self.leaves.push(Leaf {
            path: self.path.clone().into(),
            keys: self.keys.clone(),
            value,
        });
    }

    fn open(&mut self, text: &str) -> usize {
        self.lines.push(Line {
            text: text.to_owned(),
            leaves: 0..0,
        });
        self.lines.len() - 1
    }

    fn close(&mut self, line: usize, first_leaf: usize) {
        self.lines[line].leaves = first_leaf..self.leaves.len();
    }

    /// A value that is one leaf.
    fn plain(&mut self, value: &Value, start: &str, indent: usize, leaves: &Range<usize>) {
        let mut push = |text: String| {
            self.lines.push(Line {
                text,
                leaves: leaves.clone(),
            });
        };
        match value {
            Value::Array(elements) if !elements.is_empty() => {
                push(start.to_owned());
                let dash = format!("{}- ", " ".repeat(indent));
                // Parts of elements are flow style: the leaf is the list.
                elements
                    .iter()
                    .for_each(|element| push(format!("{dash}{}", scalar(element))));
            }
            value => push(format!("{start} {}", scalar(value))),
        }
    }
}

/// A value on one line.
fn scalar(value: &Value) -> String {
    let block = match value {
        Value::Array(_) | Value::Object(_) => None,
        scalar => serde_yaml::to_string(scalar).ok(),
    };
    let block = block.map(|text| text.trim_end().to_owned());
    let is_line = |text: &String| {
        !text.is_empty() && !text.contains('\n') && text.bytes().all(|b| (b' '..0x7f).contains(&b))
    };
    block
        .filter(is_line)
        .unwrap_or_else(|| output::to_yaml_line(value))
}

#[cfg(test)]
mod tests {
    use kube9_model::change::body::Body;
    use kube9_model::change::kinds::rules_of;
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_the_yaml_of_the_object() {
        let object = json!({
            "metadata": {"labels": {"a/b": "1", "~c": "true"}, "annotations": {}},
            "spec": {"replicas": 3, "paused": false, "template": {"spec": {"containers": [
                {"name": "app", "args": ["-v", "a: b\nc", "# no comment"], "env": [{"name": "X", "value": "no"}]},
                {"name": "side", "args": [], "resources": {"limits": {"cpu": "1"}}},
            ], "tolerations": [{"operator": "Exists"}]}}},
        });
        let body = Body::of_manifest(rules_of("apps", "Deployment"), &object).unwrap();
        let (lines, leaves) = lines(body.stored());
        let text: Vec<&str> = lines.iter().map(|line| &*line.text).collect();
        let read: Value = serde_yaml::from_str(&text.join("\n")).unwrap();
        assert_eq!(read, object);
        assert!(
            leaves
                .iter()
                .all(|leaf| leaf.is_in(rules_of("apps", "Deployment"), body.stored()))
        );
        let replicas = lines
            .iter()
            .find(|line| line.text.contains("replicas"))
            .unwrap();
        assert_eq!(replicas.text, "  replicas: 3");
        assert_eq!(
            leaves[replicas.leaves.start].path.to_string(),
            "spec.replicas"
        );
        let spec = lines.iter().find(|line| line.text == "spec:").unwrap();
        assert_eq!(spec.leaves.end, leaves.len());
    }

    #[test]
    fn element_with_another_key_is_the_same_element() {
        let rules = rules_of("apps", "Deployment");
        let body = |ports: Value| {
            let container = json!({"name": "app", "ports": ports});
            let object = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
            Body::of_manifest(rules, &object).unwrap()
        };
        let (http, metrics) = (
            json!({"name": "http", "containerPort": 80, "protocol": "TCP"}),
            json!({"containerPort": 90, "protocol": "TCP"}),
        );
        // The second port has no name, so that ports are known by their numbers.
        let (before, after) = (body(json!([http])), body(json!([http, metrics])));
        let (_, leaves) = lines(after.stored());
        let known: Vec<String> = leaves
            .iter()
            .filter(|leaf| leaf.is_in(rules, before.stored()))
            .map(|leaf| leaf.path.to_string())
            .collect();
        let port = "spec.template.spec.containers[app].ports[80/TCP]";
        assert_eq!(
            known,
            [
                "spec.template.spec.containers[app].name".to_owned(),
                format!("{port}.containerPort"),
                format!("{port}.name"),
                format!("{port}.protocol"),
            ]
        );
        // The one port of a Service is the same port, whatever its number.
        let rules = rules_of("", "Service");
        let service = |port: u16| {
            let object = json!({"spec": {"ports": [{"port": port, "protocol": "TCP"}]}});
            Body::of_manifest(rules, &object).unwrap()
        };
        let (before, after) = (service(80), service(81));
        let (_, leaves) = lines(after.stored());
        let is_known = |leaf: &Leaf<'_>| leaf.is_in(rules, before.stored());
        assert_eq!(
            leaves.iter().map(is_known).collect::<Vec<_>>(),
            [false, true]
        );
    }
}
