//! What kube9 reads of a core/v1 Event: our own structs, so that `managedFields` and the rest are never built.
//!
//! Every field is optional and lenient in type where real clusters vary; an Event that fails even so is set aside, not
//! fatal. Field names are those of the API
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// A core/v1 Event, trimmed to what is recorded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeEvent {
    /// Standard object metadata.
    pub metadata: ObjectMeta,
    /// What the Event is about (`regarding` in events.k8s.io/v1).
    pub involved_object: InvolvedObject,
    /// Machine-readable cause, CamelCase.
    pub reason: Option<String>,
    /// Text for people (`note` in events.k8s.io/v1).
    pub message: Option<String>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Old form of who reported it.
    pub source: EventSource,
    /// New form of who reported it (`reportingController` in events.k8s.io/v1).
    pub reporting_component: Option<String>,
    /// Which instance of it, e.g. a node's name for the kubelet.
    pub reporting_instance: Option<String>,
    /// Old form of the first time.
    pub first_timestamp: Option<String>,
    /// Old form of the last time.
    pub last_timestamp: Option<String>,
    /// New form of the time: of the first occurrence.
    pub event_time: Option<String>,
    /// Old form of the number of occurrences.
    pub count: Option<i64>,
    /// New form of the number and the last time.
    pub series: Option<EventSeries>,
}

/// The parts of `metadata` that are read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name of the Event object.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its uid: identity of the Event.
    pub uid: Option<String>,
    /// Its version: one sight of it.
    pub resource_version: Option<String>,
    /// When the API server stored it first.
    pub creation_timestamp: Option<String>,
    /// Annotations of the Event itself (few reporters set any).
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The object an Event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvolvedObject {
    /// Kind, e.g. `Pod`.
    pub kind: Option<String>,
    /// Namespace; absent for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Uid of the object.
    pub uid: Option<String>,
    /// Part of it, e.g. `spec.containers{app}`.
    pub field_path: Option<String>,
}

/// Who reported an Event, in the old form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSource {
    /// Component, e.g. `kubelet`.
    pub component: Option<String>,
    /// Node it runs on.
    pub host: Option<String>,
}

/// Repetition of an Event, in the new form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSeries {
    /// Number of occurrences.
    pub count: Option<i64>,
    /// Time of the last one.
    pub last_observed_time: Option<String>,
}
