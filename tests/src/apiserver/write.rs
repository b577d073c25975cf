//! POST, PUT, PATCH and DELETE: so that test clients can create Events as kubelets do.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::kind::{Kind, Resource};
use super::status::Status;
use super::store::Store;

/// Handles a write and returns code and body.
pub(super) fn answer(
    store: &Store,
    method: &Method,
    resource: &Resource,
    content_type: &str,
    body: &[u8],
) -> Result<(StatusCode, Bytes), Status> {
    let collection = resource.name.is_empty();
    match (method, collection) {
        (&Method::POST, true) if resource.kind.namespaced() != resource.namespace.is_empty() => {
            create(store, resource, body)
        }
        (&Method::PUT, false) => replace(store, resource, body),
        (&Method::PATCH, false) => patch(store, resource, content_type, body),
        (&Method::DELETE, false) => delete(store, resource),
        _ => Err(Status::method_not_allowed()),
    }
}

fn parse(kind: Kind, body: &[u8]) -> Result<Value, Status> {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => Ok(value),
        _ => Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error",
            kind.name()
        ))),
    }
}

/// Checks what admission checks, and puts the namespace of the path into the object.
fn admit(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let kind = resource.kind;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let metadata = &mut object["metadata"];
    let name = metadata["name"].as_str().unwrap_or("").to_owned();
    if let Some(given) = metadata["namespace"]
        .as_str()
        .filter(|n| *n != resource.namespace)
    {
        let why = format!(
            "the namespace of the provided object does not match the namespace sent on the request: {given}"
        );
        return Err(Status::bad_request(why));
    }
    if !resource.namespace.is_empty() {
        metadata["namespace"] = json!(resource.namespace);
    }
    if kind == Kind::Event {
        // An Event about a cluster-scoped object is in `default`.
        let about = object["involvedObject"]["namespace"].as_str().unwrap_or("");
        let fits =
            about == resource.namespace || (about.is_empty() && resource.namespace == "default");
        if !fits {
            let why = format!("Invalid value: \"{about}\": does not match event.namespace");
            return Err(Status::invalid(
                kind,
                &name,
                "involvedObject.namespace",
                &why,
                "FieldValueInvalid",
            ));
        }
        event_defaults(object);
    }
    Ok(())
}

/// The fields of an Event as a real server writes them, in its order, and those that it always writes.
fn event_defaults(event: &mut Value) {
    const ORDER: [&str; 15] = [
        "metadata",
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "series",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    let Some(given) = event.as_object_mut() else {
        return;
    };
    let mut fields = Map::new();
    for key in ORDER {
        let always = match key {
            "source" => Some(json!({})),
            "firstTimestamp" | "lastTimestamp" | "eventTime" => Some(Value::Null),
            "reportingComponent" | "reportingInstance" => Some(json!("")),
            _ => None,
        };
        if let Some(value) = given.shift_remove(key).or(always) {
            fields.insert(key.to_owned(), value);
        }
    }
    // A real server drops other fields.
    *given = fields;
}

fn create(store: &Store, resource: &Resource, body: &[u8]) -> Result<(StatusCode, Bytes), Status> {
    let mut object = parse(resource.kind, body)?;
    admit(resource, &mut object)?;
    let metadata = &mut object["metadata"];
    if metadata["name"].as_str().unwrap_or("").is_empty()
        && let Some(prefix) = metadata["generateName"].as_str().map(str::to_owned)
    {
        let suffix = crate::generator::suffix_of(store.version());
        metadata["name"] = json!(format!("{prefix}{suffix}"));
    }
    if let Some(fields) = metadata.as_object_mut() {
        // Set by the server.
        fields.remove("uid");
        fields.remove("creationTimestamp");
    }
    store
        .create(resource.kind, object)
        .map(|o| (StatusCode::CREATED, o.json()))
}

fn replace(store: &Store, resource: &Resource, body: &[u8]) -> Result<(StatusCode, Bytes), Status> {
    let mut object = parse(resource.kind, body)?;
    admit(resource, &mut object)?;
    let given = object["metadata"]["name"].as_str().unwrap_or("");
    if given != resource.name {
        let why = format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            resource.name
        );
        return Err(Status::bad_request(why));
    }
    let exists = store
        .get(resource.kind, &resource.namespace, &resource.name)
        .is_some();
    // Events are among the few kinds that a PUT may create.
    if !exists && resource.kind != Kind::Event {
        return Err(Status::not_found(resource.kind, &resource.name));
    }
    let code = if exists {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    store.apply(resource.kind, object).map(|o| (code, o.json()))
}

fn patch(
    store: &Store,
    resource: &Resource,
    content_type: &str,
    body: &[u8],
) -> Result<(StatusCode, Bytes), Status> {
    // A strategic merge differs only for lists of objects, which no Event has.
    let merges = [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    if !merges.iter().any(|m| content_type.starts_with(m)) {
        return Err(Status::unsupported_media_type());
    }
    let patch = parse(resource.kind, body)?;
    let changed = store.modify(
        resource.kind,
        &resource.namespace,
        &resource.name,
        |object| {
            merge(object, &patch);
        },
    )?;
    Ok((StatusCode::OK, changed.json()))
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (key, change) in changes {
        if change.is_null() {
            fields.shift_remove(key);
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

fn delete(store: &Store, resource: &Resource) -> Result<(StatusCode, Bytes), Status> {
    let gone = store.delete(resource.kind, &resource.namespace, &resource.name)?;
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": { "name": &*gone.name, "kind": resource.kind.plural(), "uid": &*gone.uid },
    });
    Ok((StatusCode::OK, Bytes::from(body.to_string())))
}
