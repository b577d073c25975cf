//! RBAC: everything is allowed except what a test has denied.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::kind::{Kind, Verb};

/// The user name in error messages.
pub(super) const USER: &str = "system:serviceaccount:kube9-system:kube9";

/// One denied request. Empty fields match everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Only this verb.
    pub verb: Option<Verb>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only requests across all namespaces, as for a client with a namespaced Role.
    pub cluster_wide_only: bool,
}

/// The denied requests. Clones share state.
#[derive(Debug, Clone, Default)]
pub struct Access(Arc<Mutex<Vec<Denied>>>);

impl Access {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Denied>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Denies requests from now on; running watches continue, as with real RBAC.
    pub fn deny(&self, denied: Denied) {
        self.with(|rules| rules.push(denied));
    }

    /// Denies all verbs on a kind.
    pub fn deny_kind(&self, kind: Kind) {
        self.deny(Denied {
            verb: None,
            kind: Some(kind),
            cluster_wide_only: false,
        });
    }

    /// Allows everything again.
    pub fn allow_all(&self) {
        self.with(Vec::clear);
    }

    pub(super) fn allows(&self, verb: Verb, kind: Kind, namespace: &str) -> bool {
        self.with(|rules| {
            !rules.iter().any(|d| {
                d.verb.is_none_or(|v| v == verb)
                    && d.kind.is_none_or(|k| k == kind)
                    && (!d.cluster_wide_only || (kind.namespaced() && namespace.is_empty()))
            })
        })
    }

    /// The answer to a `SelfSubjectAccessReview`.
    pub(super) fn review(&self, request: &Value) -> Value {
        let wanted = &request["spec"]["resourceAttributes"];
        let text = |key: &str| wanted[key].as_str().unwrap_or("");
        let verbs = [
            Verb::Get,
            Verb::List,
            Verb::Watch,
            Verb::Create,
            Verb::Update,
            Verb::Patch,
            Verb::Delete,
        ];
        let verb = verbs.into_iter().find(|v| v.as_str() == text("verb"));
        let kind = Kind::ALL
            .into_iter()
            .find(|k| k.plural() == text("resource") && k.group() == text("group"));
        let allowed = match (verb, kind) {
            (Some(verb), Some(kind)) => self.allows(verb, kind, text("namespace")),
            // Unknown resources are denied.
            _ => false,
        };
        json!({
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": request["spec"],
            "status": { "allowed": allowed },
        })
    }
}
