//! Objects as an API server has them, with the `managedFields` that each write leaves.

use serde_json::{Map, Value, json};

use crate::clock::Micros;
use crate::generator::{Rng, random_uid};

/// Who writes: a manager, and the subresource that it writes through.
#[derive(Debug, Clone, Copy)]
pub struct Writer(pub &'static str, pub &'static str);

/// An object and who owns which of its fields.
#[derive(Debug, Clone)]
pub struct ApiObject {
    /// The whole object; its resourceVersion is set by each line.
    pub json: Value,
}

impl ApiObject {
    /// Created by `writer`, which owns all of `content`: labels and annotations (in `metadata`), spec, data.
    pub fn new(
        (api_version, kind): (&str, &str),
        (namespace, name): (&str, &str),
        mut content: Value,
        writer: Writer,
        at: Micros,
        rng: &mut Rng,
    ) -> Self {
        let fields = owned(&content);
        let mut metadata = match content["metadata"].take() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        metadata.insert("name".to_owned(), json!(name));
        if !namespace.is_empty() {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        metadata.insert("uid".to_owned(), json!(random_uid(rng).to_string()));
        metadata.insert("generation".to_owned(), json!(1));
        metadata.insert(
            "creationTimestamp".to_owned(),
            json!(at.seconds_text().as_str()),
        );
        let mut json = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        if let (Value::Object(json), Value::Object(content)) = (&mut json, content) {
            json.extend(content.into_iter().filter(|(key, _)| key != "metadata"));
        }
        let mut object = Self { json };
        object.own(writer, at, fields);
        object
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.json["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Sets a field, or removes it (`None`); `name=app` in a path is the element of a list.
    pub fn edit(&mut self, writer: Writer, at: Micros, path: &[&str], value: Option<Value>) {
        let is_removed = value.is_none();
        let mut fields = value.as_ref().map_or(json!({}), owned);
        set(&mut self.json, path, value);
        for segment in path.iter().rev() {
            let key = match segment.split_once('=') {
                Some((key, value)) => format!("k:{}", json!({ key: value })),
                None => format!("f:{segment}"),
            };
            fields = json!({ key: fields });
        }
        if writer.1 != "status" && path.first() != Some(&"metadata") {
            let generation = self.json["metadata"]["generation"].as_i64().unwrap_or(1);
            self.json["metadata"]["generation"] = json!(generation + 1);
        }
        let entries = self.json["metadata"]["managedFields"].as_array_mut();
        for entry in entries.into_iter().flatten() {
            disown(&mut entry["fieldsV1"], &fields);
        }
        self.own(writer, at, if is_removed { json!({}) } else { fields });
    }

    /// Writes a whole part of the object (`spec`, `status`): the writer owns what differs.
    pub fn write(&mut self, writer: Writer, at: Micros, part: &str, value: &Value) {
        let mut changed = Vec::new();
        let mut path = vec![part.to_owned()];
        differences(Some(&self.json[part]), Some(value), &mut path, &mut changed);
        for (path, value) in changed {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.edit(writer, at, &path, value);
        }
    }

    fn own(&mut self, Writer(manager, subresource): Writer, at: Micros, fields: Value) {
        let metadata = &mut self.json["metadata"];
        if !metadata["managedFields"].is_array() {
            metadata["managedFields"] = json!([]);
        }
        let api_version = self.json["apiVersion"].clone();
        let Some(entries) = self.json["metadata"]["managedFields"].as_array_mut() else {
            return;
        };
        let is_own = |entry: &&mut Value| {
            entry["manager"] == manager
                && entry["subresource"].as_str().unwrap_or_default() == subresource
        };
        if let Some(entry) = entries.iter_mut().find(is_own) {
            entry["time"] = json!(at.seconds_text().as_str());
            join(&mut entry["fieldsV1"], fields);
            return;
        }
        let mut entry = json!({
            "manager": manager, "operation": "Update", "apiVersion": api_version,
            "time": at.seconds_text().as_str(), "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        if !subresource.is_empty() {
            entry["subresource"] = json!(subresource);
        }
        entries.push(entry);
    }

    /// The line of a watch that shows it.
    pub fn line(&mut self, action: &str, version: u64) -> String {
        self.json["metadata"]["resourceVersion"] = json!(version.to_string());
        format!("{{\"type\":\"{action}\",\"object\":{}}}", self.json)
    }
}

fn set(within: &mut Value, path: &[&str], value: Option<Value>) {
    let Some((segment, rest)) = path.split_first() else {
        return;
    };
    if let (Some((key, wanted)), Value::Array(list)) = (segment.split_once('='), &mut *within) {
        if let Some(element) = list.iter_mut().find(|one| one[key] == wanted) {
            set(element, rest, value);
        }
        return;
    }
    if !rest.is_empty() {
        set(&mut within[*segment], rest, value);
    } else if let Some(value) = value {
        within[*segment] = value;
    } else if let Value::Object(map) = within {
        map.shift_remove(*segment);
    }
}

/// The fields that differ, each with its new value.
fn differences(
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    changed: &mut Vec<(Vec<String>, Option<Value>)>,
) {
    let names = |list: &[Value]| -> Option<Vec<String>> {
        let name = |one: &Value| Some(format!("name={}", one["name"].as_str()?));
        list.iter().map(name).collect()
    };
    match (before, after) {
        _ if before == after => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                path.push(key.clone());
                differences(old.get(key), new.get(key), path, changed);
                path.pop();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new)))
            if names(old).is_some_and(|old| Some(old) == names(new)) =>
        {
            for ((name, old), new) in names(old).into_iter().flatten().zip(old).zip(new) {
                path.push(name);
                differences(Some(old), Some(new), path, changed);
                path.pop();
            }
        }
        _ => changed.push((path.clone(), after.cloned())),
    }
}

/// The fields of a value, as `fieldsV1` names them.
fn owned(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("f:{key}"), owned(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list)
            if !list.is_empty() && list.iter().all(|one| one["name"].is_string()) =>
        {
            let element = |one: &Value| {
                let mut fields = owned(one);
                fields["."] = json!({});
                (format!("k:{}", json!({ "name": one["name"] })), fields)
            };
            list.iter().map(element).collect::<Map<_, _>>().into()
        }
        _ => json!({}),
    }
}

fn join(into: &mut Value, fields: Value) {
    if let (Value::Object(into), Value::Object(fields)) = (into, fields) {
        for (key, value) in fields {
            join(into.entry(key).or_insert_with(|| json!({})), value);
        }
    }
}

/// Removes the leaves of `fields`.
fn disown(from: &mut Value, fields: &Value) {
    let (Value::Object(from), Value::Object(fields)) = (from, fields) else {
        return;
    };
    for (key, inside) in fields {
        let is_leaf = inside.as_object().is_none_or(Map::is_empty);
        if is_leaf {
            from.shift_remove(key);
        } else if let Some(value) = from.get_mut(key) {
            disown(value, inside);
        }
    }
}
