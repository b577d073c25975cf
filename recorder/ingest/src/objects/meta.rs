//! Metadata of every kind.

use std::collections::BTreeMap;

use kube9_model::time::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::bounds::{Budget, ELEMENTS_MAX, Few, FewPairs, Fit};
use crate::decode::null_as_default;

/// The fields of `metadata` that are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub version: Box<str>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// When it was created; [`Timestamp::EPOCH`] if the API does not give it.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp`: when the grace period ends.
    pub deleting: Option<Timestamp>,
    /// Its controller.
    pub owner: Option<OwnerRef>,
    /// Rules that it opts out of, or `all`: one in the label `kube9.io/ignore`, several in the annotation.
    pub ignore: Vec<Box<str>>,
    /// A lock of a leader election or the status of an autoscaler: a program rewrites it every few seconds.
    pub is_heartbeat: bool,
    /// A Service whose pods may all be in another cluster of a mesh.
    pub is_global: bool,
    /// A Service that the removed annotation `tolerate-unready-endpoints` marks.
    pub tolerates_unready: bool,
    /// How much of the object is kept.
    pub fit: Fit,
    /// Bytes kept of the object, without parts that it shares with others.
    pub held: u32,
}

impl Meta {
    /// Whether only the resourceVersion differs.
    pub fn eq_ignoring_resource_version(&self, before: &Self) -> bool {
        let Self {
            uid,
            namespace,
            name,
            version: _,
            generation,
            labels,
            created,
            deleting,
            owner,
            ignore,
            is_heartbeat,
            is_global,
            tolerates_unready,
            fit: _,
            held: _,
        } = self;
        (uid, namespace, name, generation)
            == (
                &before.uid,
                &before.namespace,
                &before.name,
                &before.generation,
            )
            && (labels, ignore, owner) == (&before.labels, &before.ignore, &before.owner)
            && (created, deleting) == (&before.created, &before.deleting)
            && (is_heartbeat, is_global, tolerates_unready)
                == (
                    &before.is_heartbeat,
                    &before.is_global,
                    &before.tolerates_unready,
                )
    }
}

impl Meta {
    /// Bounds the metadata; all of it is essential, except for unknown words in `kube9.io/ignore`.
    pub(super) fn bound(&mut self, budget: &mut Budget) {
        for text in [
            &mut self.uid,
            &mut self.namespace,
            &mut self.name,
            &mut self.version,
        ] {
            budget.text(text);
        }
        budget.ended_early(self.fit == Fit::TooLarge);
        budget.pairs(&mut self.labels);
        budget.list(&mut self.ignore, Budget::text);
        if let Some(owner) = &mut self.owner {
            budget.text(&mut owner.kind);
            budget.text(&mut owner.name);
        }
    }

    /// What is kept of an object that is too large.
    pub(super) fn identity(self) -> Self {
        let mut budget = Budget::new();
        let mut identity = Self {
            uid: self.uid,
            namespace: self.namespace,
            name: self.name,
            version: self.version,
            ..Self::default()
        };
        identity.bound(&mut budget);
        identity.fit = Fit::TooLarge;
        identity
    }

    /// Records how much of the object is kept.
    pub(super) fn bounded(&mut self, budget: &Budget) {
        self.fit = budget.fit();
        self.held = budget.used();
    }
}

/// A controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerRef {
    /// Kind.
    pub kind: Box<str>,
    /// Name.
    pub name: Box<str>,
}

/// Opts an object out of rules.
const IGNORE: &str = "kube9.io/ignore";

/// Bound on the rules in one annotation; more than there are.
const IGNORED_MAX: usize = 128;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    #[serde(deserialize_with = "null_as_default")]
    uid: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    namespace: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    name: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    resource_version: Box<str>,
    generation: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    labels: FewPairs<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    annotations: WireAnnotations,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    owner_references: Few<WireOwner, ELEMENTS_MAX>,
}

/// Selected by name, so that other annotations (`last-applied-configuration` holds whole objects) are skipped unread.
#[derive(Deserialize, Default)]
#[serde(default)]
struct WireAnnotations {
    #[serde(rename = "kube9.io/ignore")]
    ignore: Option<Box<str>>,
    #[serde(rename = "control-plane.alpha.kubernetes.io/leader")]
    leader: Option<IgnoredAny>,
    #[serde(rename = "cluster-autoscaler.kubernetes.io/last-updated")]
    autoscaler: Option<IgnoredAny>,
    #[serde(rename = "service.alpha.kubernetes.io/tolerate-unready-endpoints")]
    tolerate_unready: Option<Box<str>>,
    #[serde(rename = "service.cilium.io/global")]
    cilium: Option<Box<str>>,
    #[serde(rename = "io.cilium/global-service")]
    cilium_before: Option<Box<str>>,
    #[serde(rename = "istio.io/global")]
    istio: Option<Box<str>>,
    #[serde(rename = "solo.io/service-scope")]
    solo: Option<Box<str>>,
}

/// Labels by which a mesh balances a Service over several clusters; the same keys are read from annotations.
const GLOBAL: [&str; 3] = [
    "service.cilium.io/global",
    "istio.io/global",
    "solo.io/service-scope",
];

/// `true`, `global`, `global-only`.
fn is_set(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.starts_with("global")
}

impl WireAnnotations {
    fn is_global(&self) -> bool {
        let these = [&self.cilium, &self.cilium_before, &self.istio, &self.solo];
        these.into_iter().flatten().any(|value| is_set(value))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireOwner {
    kind: Box<str>,
    name: Box<str>,
    controller: Option<bool>,
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        // A label's value cannot contain commas, so it is one word.
        let mut ignore = Vec::from_iter(wire.labels.kept.get(IGNORE).cloned());
        if let Some(text) = &wire.annotations.ignore {
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            ignore.extend(words.take(IGNORED_MAX).map(Box::from));
        }
        let labelled = GLOBAL.iter().filter_map(|key| wire.labels.kept.get(*key));
        let is_global = wire.annotations.is_global() || labelled.into_iter().any(|v| is_set(v));
        let time = |text: Option<String>| Timestamp::from_api(&text?);
        let owner = wire
            .owner_references
            .kept
            .into_iter()
            .find(|o| o.controller == Some(true));
        Ok(Self {
            uid: wire.uid,
            namespace: wire.namespace,
            name: wire.name,
            version: wire.resource_version,
            generation: wire.generation.unwrap_or_default(),
            fit: if wire.labels.cut {
                Fit::TooLarge
            } else {
                Fit::Whole
            },
            labels: wire.labels.kept,
            created: time(wire.creation_timestamp).unwrap_or_default(),
            deleting: time(wire.deletion_timestamp),
            owner: owner.map(|WireOwner { kind, name, .. }| OwnerRef { kind, name }),
            ignore,
            is_heartbeat: wire.annotations.leader.is_some()
                || wire.annotations.autoscaler.is_some(),
            is_global,
            tolerates_unready: wire
                .annotations
                .tolerate_unready
                .is_some_and(|v| is_set(&v)),
            held: 0,
        })
    }
}

/// A condition of a status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// E.g. `Ready`.
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    /// CamelCase.
    pub reason: Box<str>,
    /// Human-readable.
    pub message: Box<str>,
    /// `lastTransitionTime`.
    pub since: Option<Timestamp>,
}

impl Condition {
    /// Whether its status is `True`.
    pub fn is_true(&self) -> bool {
        &*self.status == "True"
    }

    /// The condition of that kind.
    pub fn of<'a>(all: &'a [Self], kind: &str) -> Option<&'a Self> {
        all.iter().find(|condition| &*condition.kind == kind)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: Box<str>,
    status: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    reason: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    message: Box<str>,
    last_transition_time: Option<String>,
}

/// Bytes kept of a condition's message: the scheduler writes one word for each node.
const MESSAGE_BYTES_MAX: usize = 300;

impl Condition {
    /// Bounds the texts of a condition.
    pub(super) fn bound(budget: &mut Budget, condition: &mut Self) {
        budget.text(&mut condition.kind);
        budget.text(&mut condition.status);
        budget.text(&mut condition.reason);
        budget.text(&mut condition.message);
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireCondition::deserialize(deserializer)?;
        Ok(Self {
            kind: wire.kind,
            status: wire.status,
            reason: wire.reason,
            message: shortened(wire.message),
            since: wire
                .last_transition_time
                .and_then(|text| Timestamp::from_api(&text)),
        })
    }
}

/// A text of the API, truncated to its bound.
pub(super) fn shortened(text: Box<str>) -> Box<str> {
    if text.len() <= MESSAGE_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    format!("{}…", &text[..end]).into()
}
