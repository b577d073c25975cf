//! The row of a change before it becomes a record.

use kube9_model::{ObjectRef, Severity};
use serde_json::Value;

pub(super) struct Row {
    pub(super) reason: &'static str,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) extra: Vec<(&'static str, Value)>,
}

pub(super) fn row(
    reason: &'static str,
    title: impl Into<String>,
    description: impl Into<String>,
) -> Row {
    Row {
        reason,
        severity: Severity::Info,
        title: title.into(),
        description: description.into(),
        extra: Vec::new(),
    }
}

impl Row {
    pub(super) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((key, value.into()));
        self
    }

    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

pub(super) fn object_name(subject: &ObjectRef) -> String {
    if subject.namespace.is_empty() {
        subject.name.clone()
    } else {
        format!("{}/{}", subject.namespace, subject.name)
    }
}
