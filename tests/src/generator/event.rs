//! An Event as its reporter writes it to the API server.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::names::uuid_text;
use crate::clock::Micros;

/// A uid: 128 bits that print as a version 4 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u128);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&uuid_text(self.0))
    }
}

/// The kinds that Events are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvolvedKind {
    Pod,
    Node,
    Deployment,
    /// `ReplicaSet`.
    ReplicaSet,
    /// `StatefulSet`.
    StatefulSet,
    /// `DaemonSet`.
    DaemonSet,
    Job,
    /// `CronJob`.
    CronJob,
    /// `HorizontalPodAutoscaler`.
    Autoscaler,
    /// `PersistentVolumeClaim`.
    Claim,
    Ingress,
    Lease,
    /// cert-manager's Certificate.
    Certificate,
    /// Flux's Kustomization.
    Kustomization,
    /// Argo CD's Application.
    Application,
}

impl InvolvedKind {
    /// `involvedObject.kind`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
            Self::Autoscaler => "HorizontalPodAutoscaler",
            Self::Claim => "PersistentVolumeClaim",
            Self::Ingress => "Ingress",
            Self::Lease => "Lease",
            Self::Certificate => "Certificate",
            Self::Kustomization => "Kustomization",
            Self::Application => "Application",
        }
    }

    /// `involvedObject.apiVersion`.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Pod | Self::Node | Self::Claim => "v1",
            Self::Deployment | Self::ReplicaSet | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
            Self::Autoscaler => "autoscaling/v2",
            Self::Ingress => "networking.k8s.io/v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::Certificate => "cert-manager.io/v1",
            Self::Kustomization => "kustomize.toolkit.fluxcd.io/v1",
            Self::Application => "argoproj.io/v1alpha1",
        }
    }
}

/// `involvedObject`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Involved {
    /// What it is.
    pub about: InvolvedKind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// Its uid. Of a Node, the kubelet gives the name instead; see [`Involved::uid_text`].
    pub uid: Uid,
    /// Its resourceVersion when it was reported; 0 for none.
    pub version: u64,
    /// The container it is about; empty for the whole object.
    pub container: Arc<str>,
}

impl Involved {
    /// The whole object, at no resourceVersion in particular.
    pub fn new(about: InvolvedKind, namespace: &Arc<str>, name: &Arc<str>, uid: Uid) -> Self {
        Self {
            about,
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
            uid,
            version: 0,
            container: Arc::from(""),
        }
    }

    /// Namespace of an Event about this object: `default` for cluster-scoped objects.
    pub fn event_namespace(&self) -> Arc<str> {
        if self.namespace.is_empty() {
            Arc::from("default")
        } else {
            Arc::clone(&self.namespace)
        }
    }

    /// `involvedObject.uid` as reporters write it.
    pub fn uid_text(&self) -> String {
        if self.about == InvolvedKind::Node {
            self.name.to_string()
        } else {
            self.uid.to_string()
        }
    }

    /// `spec.containers{app}`; empty for the whole object.
    pub fn field_path(&self) -> String {
        if self.container.is_empty() {
            String::new()
        } else {
            format!("spec.containers{{{}}}", self.container)
        }
    }
}

/// Who reports, and through which of the two event libraries of client-go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// `tools/record`: `source`, counts, whole seconds.
    Record {
        /// `source.component` and `reportingComponent`.
        component: &'static str,
        /// `source.host` and `reportingInstance`; empty for controllers.
        host: Arc<str>,
    },
    /// `tools/events`: `eventTime`, `action`, series, microseconds.
    Events {
        /// `reportingComponent`.
        component: &'static str,
        /// `reportingInstance`.
        instance: Arc<str>,
        /// `action`.
        action: &'static str,
    },
}

impl Reporter {
    /// `reportingComponent`.
    pub const fn component(&self) -> &'static str {
        match self {
            Self::Record { component, .. } | Self::Events { component, .. } => component,
        }
    }

    /// `reportingInstance`; empty for controllers.
    pub fn instance(&self) -> &str {
        match self {
            Self::Record { host, .. } => host,
            Self::Events { instance, .. } => instance,
        }
    }
}

/// An Event object at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`; 0 if the API server assigns it.
    pub version: u64,
    /// The name's part behind the object's name: a time in nanoseconds.
    pub tail: u64,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.creationTimestamp`.
    pub created: Micros,
    /// What it is about.
    pub involved: Involved,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: Arc<str>,
    /// `type`: `Warning`, else `Normal`.
    pub warning: bool,
    /// Who reports it.
    pub reporter: Reporter,
    /// How often so far; at least 1.
    pub count: i64,
    /// First time.
    pub first: Micros,
    /// Last time; never before `first`.
    pub last: Micros,
}

impl Event {
    /// `metadata.name`.
    pub fn name(&self) -> String {
        format!("{}.{:x}", self.involved.name, self.tail)
    }

    /// `Normal` or `Warning`.
    pub const fn kube_type(&self) -> &'static str {
        if self.warning { "Warning" } else { "Normal" }
    }

    /// The Event in API form, with all the fields that a real API server sends.
    pub fn to_json(&self) -> Value {
        let mut involved = Map::new();
        let mut put = |key: &str, value: String| {
            if !value.is_empty() {
                involved.insert(key.to_owned(), Value::String(value));
            }
        };
        put("kind", self.involved.about.kind().to_owned());
        put("namespace", self.involved.namespace.to_string());
        put("name", self.involved.name.to_string());
        put("uid", self.involved.uid_text());
        put("apiVersion", self.involved.about.api_version().to_owned());
        if self.involved.version > 0 {
            put("resourceVersion", self.involved.version.to_string());
        }
        put("fieldPath", self.involved.field_path());

        let mut event = json!({
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name(),
                "namespace": &*self.namespace,
                "uid": self.uid.to_string(),
                "resourceVersion": self.version.to_string(),
                "creationTimestamp": self.created.seconds_text().as_str(),
                "managedFields": [self.managed_fields()],
            },
            "involvedObject": involved,
            "reason": self.reason,
            "message": &*self.message,
        });
        if self.version == 0
            && let Some(metadata) = event["metadata"].as_object_mut()
        {
            metadata.shift_remove("resourceVersion");
        }
        let fields = event.as_object_mut().expect("a literal object");
        let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
        match &self.reporter {
            Reporter::Record { component, host } => {
                let source = if host.is_empty() {
                    json!({ "component": component })
                } else {
                    json!({ "component": component, "host": &**host })
                };
                put("source", source);
                put("firstTimestamp", json!(self.first.seconds_text().as_str()));
                put("lastTimestamp", json!(self.last.seconds_text().as_str()));
                put("count", json!(self.count));
                put("type", json!(self.kube_type()));
                put("eventTime", Value::Null);
            }
            Reporter::Events { action, .. } => {
                put("source", json!({}));
                put("firstTimestamp", Value::Null);
                put("lastTimestamp", Value::Null);
                put("type", json!(self.kube_type()));
                put("eventTime", json!(self.first.micros_text().as_str()));
                if self.count > 1 {
                    let last = self.last.micros_text();
                    put(
                        "series",
                        json!({ "count": self.count, "lastObservedTime": last.as_str() }),
                    );
                }
                put("action", json!(action));
            }
        }
        put("reportingComponent", json!(self.reporter.component()));
        put("reportingInstance", json!(self.reporter.instance()));
        event
    }

    /// `managedFields`, about a third of a real Event's bytes.
    fn managed_fields(&self) -> Value {
        let manager = match self.reporter.component() {
            component @ ("kubelet" | "kube-proxy") => component,
            "default-scheduler" => "kube-scheduler",
            _ => "kube-controller-manager",
        };
        let fields = match &self.reporter {
            Reporter::Record { .. } => json!({
                "f:count": {}, "f:firstTimestamp": {}, "f:involvedObject": {}, "f:lastTimestamp": {}, "f:message": {},
                "f:reason": {}, "f:reportingComponent": {}, "f:reportingInstance": {},
                "f:source": { "f:component": {} }, "f:type": {},
            }),
            Reporter::Events { .. } => json!({
                "f:action": {}, "f:eventTime": {}, "f:note": {}, "f:reason": {}, "f:regarding": {},
                "f:reportingController": {}, "f:reportingInstance": {}, "f:type": {},
            }),
        };
        let version = match &self.reporter {
            Reporter::Record { .. } => "v1",
            Reporter::Events { .. } => "events.k8s.io/v1",
        };
        json!({
            "manager": manager,
            "operation": "Update",
            "apiVersion": version,
            "time": self.last.seconds_text().as_str(),
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        })
    }
}

/// Whether an Event object is new or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// ADDED in a watch.
    Added,
    /// MODIFIED in a watch: the same uid at a newer resourceVersion.
    Modified,
}

/// One state of an Event object, as a watch delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// New or changed.
    pub change: Change,
    /// The object as it is now.
    pub event: Event,
}
