//! Errors of the API server: `Status` objects with the texts of Kubernetes 1.35.

use serde_json::{Map, Value, json};

use super::kind::{Kind, Verb};

/// An error `Status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// HTTP code, also in the body.
    pub code: u16,
    /// Machine-readable, e.g. `Expired`; empty for none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details`, if any.
    pub details: Option<Box<Value>>,
    /// `metadata.continue`: the "inconsistent" token of an expired list.
    pub continue_token: Option<Box<str>>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl Status {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
            retry_after: None,
        }
    }

    fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The answer of a fault: code, with the reason and text of real servers.
    pub(super) fn for_code(code: u16, retry_after: Option<u64>) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => (
                "Forbidden",
                "forbidden: access to the resource was withdrawn",
            ),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            410 => (
                "Expired",
                "The resourceVersion for the provided list is too old.",
            ),
            429 => (
                "TooManyRequests",
                "too many requests, please try again later",
            ),
            500 => (
                "InternalError",
                "Internal error occurred: etcdserver: leader changed",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "Timeout: request did not complete within the requested timeout",
            ),
            _ => ("", "simulated failure"),
        };
        let mut status = Self::new(code, reason, message);
        if let Some(seconds) = retry_after {
            status.retry_after = Some(seconds);
            status.details = Some(Box::new(json!({ "retryAfterSeconds": seconds })));
        }
        status
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(super) fn forbidden(user: &str, verb: Verb, kind: Kind, namespace: &str) -> Self {
        let place = if namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{namespace}\"")
        };
        let plural = kind.plural();
        let group = kind.group();
        let resource = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        let message = format!(
            "{resource} is forbidden: User \"{user}\" cannot {} resource \"{plural}\" in API group \"{group}\" {place}",
            verb.as_str()
        );
        Self::new(403, "Forbidden", message).with_details(details(kind, None))
    }

    pub(super) fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(json!({}))
    }

    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("{} \"{name}\" not found", resource_name(kind)),
        )
        .with_details(details(kind, Some(name)))
    }

    pub(super) fn already_exists(kind: Kind, name: &str) -> Self {
        Self::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", resource_name(kind)),
        )
        .with_details(details(kind, Some(name)))
    }

    pub(super) fn conflict(kind: Kind, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to \
             the latest version and try again",
            resource_name(kind)
        );
        Self::new(409, "Conflict", message).with_details(details(kind, Some(name)))
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
            .with_details(json!({}))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    /// An unknown resourceVersionMatch.
    pub(super) fn unknown_match(given: &str) -> Self {
        let message = format!(
            "Unsupported value: \"{given}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
        );
        Self::bad_option("resourceVersionMatch", message, "FieldValueNotSupported")
    }

    /// A request with options that contradict each other.
    pub(super) fn forbidden_option(field: &str, message: &str) -> Self {
        Self::bad_option(
            field,
            format!("Forbidden: {message}"),
            "FieldValueForbidden",
        )
    }

    fn bad_option(field: &str, message: String, reason: &str) -> Self {
        Self::new(
            422,
            "Invalid",
            format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {message}"),
        )
        .with_details(json!({
            "group": "meta.k8s.io",
            "kind": "ListOptions",
            "causes": [{ "reason": reason, "message": message, "field": field }],
        }))
    }

    /// An object with a field that must not have this value.
    pub(super) fn invalid(kind: Kind, name: &str, field: &str, why: &str, reason: &str) -> Self {
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".to_owned(), json!(name));
        }
        details.insert("kind".to_owned(), json!(kind.name()));
        details.insert(
            "causes".to_owned(),
            json!([{ "reason": reason, "message": why, "field": field }]),
        );
        Self::new(
            422,
            "Invalid",
            format!("{} \"{name}\" is invalid: {field}: {why}", kind.name()),
        )
        .with_details(Value::Object(details))
    }

    /// A resourceVersion that the server has not reached.
    pub(super) fn too_large(version: u64, current: u64, retry_after: Option<u64>) -> Self {
        let mut details = Map::new();
        details.insert(
            "causes".to_owned(),
            json!([{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }]),
        );
        if let Some(seconds) = retry_after {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        let message = format!("Timeout: Too large resource version: {version}, current: {current}");
        let mut status = Self::new(504, "Timeout", message).with_details(Value::Object(details));
        status.retry_after = retry_after;
        status
    }

    /// A list at a compacted resourceVersion.
    pub(super) fn list_expired() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided list is too old.",
        )
    }

    /// A continue token whose snapshot is compacted, with an "inconsistent" token to continue.
    pub(super) fn continue_expired(fresh: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start a \
                       new list without the continue parameter, or use the continue token in this response to retrieve \
                       the remainder of the results. Continuing with the provided token results in an inconsistent \
                       list - objects that were created, modified, or deleted between the time the first chunk was \
                       returned and now may show up in the list.";
        let mut status = Self::new(410, "Expired", message);
        status.continue_token = Some(fresh.into());
        status
    }

    /// A watch of an uncached kind from a compacted resourceVersion.
    pub(super) fn watch_compacted() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion for the provided watch is too old.",
        )
    }

    /// A watch of a cached kind from before its cache.
    pub(super) fn watch_too_old(version: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {version} ({oldest})"),
        )
    }

    /// The body.
    pub(super) fn to_json(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
        });
        let map = body.as_object_mut().expect("a literal object");
        if !self.reason.is_empty() {
            map.insert("reason".to_owned(), json!(self.reason));
        }
        if let Some(details) = &self.details {
            map.insert("details".to_owned(), Value::clone(details));
        }
        map.insert("code".to_owned(), json!(self.code));
        body
    }
}

/// `events`, `deployments.apps`.
fn resource_name(kind: Kind) -> String {
    match kind.group() {
        "" => kind.plural().to_owned(),
        group => format!("{}.{group}", kind.plural()),
    }
}

fn details(kind: Kind, name: Option<&str>) -> Value {
    let mut details = Map::new();
    if let Some(name) = name {
        details.insert("name".to_owned(), json!(name));
    }
    if !kind.group().is_empty() {
        details.insert("group".to_owned(), json!(kind.group()));
    }
    details.insert("kind".to_owned(), json!(kind.plural()));
    Value::Object(details)
}
