//! The passes over an object.

use std::borrow::Cow;
use std::fmt;
use std::hash::BuildHasher;

use kube9_model::change::body::{Body, too_large};
use kube9_model::change::kinds::{OWNED_PODS, TrackedKind};
use kube9_model::change::rules::Rules;
use kube9_model::change::stored::{Fields, Stored, Text};
use kube9_model::time::Timestamp;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::hide::Hide;
use super::mark_key::MarkKey;
use super::read::{
    Build, Fingerprint, FoundField, Measure, Oversize, Reader, Sink, read_field, read_part,
    read_text,
};
use super::select::At;
use crate::attribution::ManagedEntry;

/// The object is not what the API sends. The message never quotes it, since it may contain a secret.
#[derive(Debug, thiserror::Error)]
#[error("object does not decode at line {line}, column {column}")]
pub struct BadObject {
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for BadObject {
    fn from(error: serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The metadata that is not in the body.
#[derive(Debug, Clone, Default)]
pub struct Metadata<'j> {
    /// Empty for cluster-scoped kinds.
    pub namespace: Cow<'j, str>,
    /// `metadata.name`.
    pub name: Cow<'j, str>,
    /// `metadata.uid`.
    pub uid: Cow<'j, str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Cow<'j, str>,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: when the grace period ends.
    pub deleting: Option<Timestamp>,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace_seconds: Option<u64>,
    /// The controller.
    pub owner: Option<Owner<'j>>,
    /// Who manages which fields; empty where the API server does not say.
    pub managed_fields: Vec<ManagedEntry<'j>>,
}

/// The controller of an object.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner<'j> {
    /// E.g. `apps/v1`.
    #[serde(borrow, default)]
    pub api_version: Cow<'j, str>,
    /// E.g. `ReplicaSet`.
    #[serde(borrow, default)]
    pub kind: Cow<'j, str>,
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'j, str>,
    /// Its uid.
    #[serde(borrow, default)]
    pub uid: Cow<'j, str>,
    #[serde(default)]
    controller: Option<bool>,
}

/// An object of which the first pass is done.
#[derive(Debug)]
pub struct Object<'j> {
    json: &'j str,
    kind: &'j TrackedKind,
    rules: &'static Rules,
    /// What is not in the body.
    pub metadata: Metadata<'j>,
    /// Hash of what the body is made of, the uid and the deletion; equal hashes are equal bodies. It depends on hidden
    /// values, so that it must not be stored.
    pub content_hash: u64,
    /// It must be measured before its body is built.
    pub(super) may_be_too_large: bool,
    /// All that is in the body; `None`: it must be read again.
    pub(super) found: Option<Vec<FoundField<'j>>>,
}

impl<'j> Object<'j> {
    /// The first pass: copies nothing but texts with escapes.
    ///
    /// Of a pod whose controller `is_tracked`, only what is its own is in the body.
    ///
    /// # Errors
    /// It is not JSON, or not an object with metadata.
    pub fn scan(
        kind: &'j TrackedKind,
        json: &'j str,
        hash: &impl BuildHasher,
        is_tracked: impl Fn(&Owner<'_>) -> bool,
    ) -> Result<Self, BadObject> {
        let is_pod = kind.group.is_empty() && kind.kind == "Pod";
        let mut rules = kind.rules;
        loop {
            let mut fingerprint = Fingerprint::new(hash.build_hasher());
            let mut metadata = Metadata::default();
            let owned = |owner: &Owner<'_>| is_pod && is_tracked(owner);
            let root = Root {
                rules,
                sink: &mut fingerprint,
                metadata: Some((&mut metadata, &owned)),
            };
            let is_owned = deserialize(json, root)?;
            // What precedes the metadata of an owned pod was read by the wrong rules.
            if is_owned && !std::ptr::eq(rules, &raw const OWNED_PODS) {
                rules = &OWNED_PODS;
                continue;
            }
            fingerprint.text(11, &metadata.uid);
            fingerprint.text(12, if metadata.deleting.is_some() { "x" } else { "" });
            let (content_hash, may_be_too_large, found) = fingerprint.finish();
            return Ok(Self {
                json,
                kind,
                rules,
                metadata,
                content_hash,
                may_be_too_large,
                found,
            });
        }
    }

    /// The rules of its kind; a pod whose owner is tracked has its own.
    pub const fn rules(&self) -> &'static Rules {
        self.rules
    }

    /// A pass over what the first one found, or over all of it; before that another one if something may be too large.
    ///
    /// # Errors
    /// It has a text or a number that JSON does not allow.
    pub fn body(&self, key: &MarkKey) -> Result<Body<'j>, BadObject> {
        let Metadata {
            namespace, name, ..
        } = &self.metadata;
        let marks = key.object([&self.kind.group, &self.kind.kind, namespace, name]);
        // Where the part is within the object is hashed later, when the identities of list elements are known.
        let placeholder = |raw: &str| too_large(marks.mark("", raw.as_bytes()), raw.len() as u64);
        let mut oversize = Oversize::default();
        if self.may_be_too_large {
            let mut measure = Measure::default();
            self.read(&mut measure)?;
            oversize = measure.finish();
        }
        let mut build = Build::new(&oversize, placeholder);
        self.read(&mut build)?;
        let mut fields = build.finish();
        trim(&self.kind.kind, &self.metadata.name, &mut fields);
        let mut hide = Hide::new(self.rules, &marks);
        Ok(Body::from_stored(hide.body(fields)))
    }

    /// A pass over what is in the body.
    fn read(&self, sink: &mut impl Sink<'j>) -> Result<(), BadObject> {
        let Some(found) = &self.found else {
            return self.read_all(sink);
        };
        for field in found {
            if let Err(error) = self.read_found(field, sink) {
                // It tells where in a part of the text it is.
                self.read_all(&mut Measure::default())?;
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn read_found(
        &self,
        field: &FoundField<'j>,
        sink: &mut impl Sink<'j>,
    ) -> serde_json::Result<()> {
        let at = if field.in_metadata {
            At::metadata(self.rules)
        } else {
            At::ROOT
        };
        let from = sink.next_number();
        let mut reader = Reader {
            rules: self.rules,
            sink: &mut *sink,
            at,
        };
        if let Some(value) = read_part(&mut reader, &field.key, &field.part)? {
            let to = sink.next_number();
            sink.top(field.in_metadata, field.key.clone(), (from, to), value);
        }
        Ok(())
    }

    fn read_all(&self, sink: &mut impl Sink<'j>) -> Result<(), BadObject> {
        let root = Root {
            rules: self.rules,
            sink,
            metadata: None,
        };
        deserialize(self.json, root)?;
        Ok(())
    }
}

fn deserialize<'de, T>(json: &'de str, seed: T) -> Result<T::Value, BadObject>
where
    T: DeserializeSeed<'de>,
{
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Which owners are tracked.
type IsOwned<'a> = &'a dyn Fn(&Owner<'_>) -> bool;

/// Reads an object; returns whether it is a pod whose owner is tracked.
struct Root<'s, 'm, 'de, S> {
    rules: &'static Rules,
    sink: &'s mut S,
    metadata: Option<(&'m mut Metadata<'de>, IsOwned<'m>)>,
}

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for Root<'_, '_, 'de, S> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for Root<'_, '_, 'de, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<bool, A::Error> {
        let mut is_owned = false;
        while let Some(Text(key)) = access.next_key()? {
            if key == "metadata" {
                is_owned |= access.next_value_seed(MetadataSeed {
                    rules: self.rules,
                    sink: &mut *self.sink,
                    metadata: self
                        .metadata
                        .as_mut()
                        .map(|(metadata, is_owned)| (&mut **metadata, *is_owned)),
                })?;
                continue;
            }
            let from = self.sink.next_number();
            let mut reader = Reader {
                rules: self.rules,
                sink: &mut *self.sink,
                at: At::ROOT,
            };
            if let Some(value) = read_field(&mut reader, &mut access, &key)? {
                let to = self.sink.next_number();
                self.sink.top(false, key, (from, to), value);
            }
        }
        Ok(is_owned)
    }
}

struct MetadataSeed<'s, 'm, 'de, S> {
    rules: &'static Rules,
    sink: &'s mut S,
    metadata: Option<(&'m mut Metadata<'de>, IsOwned<'m>)>,
}

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for MetadataSeed<'_, '_, 'de, S> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for MetadataSeed<'_, '_, 'de, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<bool, A::Error> {
        let at = At::metadata(self.rules);
        let mut is_owned = false;
        while let Some(Text(key)) = access.next_key()? {
            let from = self.sink.next_number();
            let mut reader = Reader {
                rules: self.rules,
                sink: &mut *self.sink,
                at,
            };
            let value = match (&mut self.metadata, &*key) {
                (Some((metadata, _)), "name") => {
                    metadata.name = access.next_value::<Text<'de>>()?.0;
                    None
                }
                (Some((metadata, _)), "namespace") => {
                    metadata.namespace = access.next_value::<Text<'de>>()?.0;
                    None
                }
                (Some((metadata, _)), "uid") => {
                    metadata.uid = access.next_value::<Text<'de>>()?.0;
                    None
                }
                (Some((metadata, _)), "resourceVersion") => {
                    metadata.resource_version = access.next_value::<Text<'de>>()?.0;
                    None
                }
                (Some((metadata, _)), "creationTimestamp") => {
                    metadata.created = time(access.next_value()?);
                    None
                }
                (Some((metadata, _)), "deletionTimestamp") => {
                    metadata.deleting = time(access.next_value()?);
                    None
                }
                (Some((metadata, _)), "deletionGracePeriodSeconds") => {
                    metadata.grace_seconds = access.next_value()?;
                    None
                }
                (Some((metadata, _)), "managedFields") => {
                    let entries: Option<Vec<ManagedEntry<'de>>> = access.next_value()?;
                    metadata.managed_fields = entries.unwrap_or_default();
                    None
                }
                (Some((metadata, is_tracked)), "ownerReferences") => {
                    let raw: &'de RawValue = access.next_value()?;
                    let owners: Option<Vec<Owner<'de>>> =
                        serde_json::from_str(raw.get()).map_err(de::Error::custom)?;
                    let controls = |owner: &Owner<'_>| owner.controller == Some(true);
                    metadata.owner = owners.into_iter().flatten().find(controls);
                    is_owned = metadata.owner.as_ref().is_some_and(is_tracked);
                    read_text(&mut reader, &key, raw.get()).map_err(de::Error::custom)?
                }
                _ => read_field(&mut reader, &mut access, &key)?,
            };
            if let Some(value) = value {
                let to = self.sink.next_number();
                self.sink.top(true, key, (from, to), value);
            }
        }
        Ok(is_owned)
    }
}

fn time(text: Text<'_>) -> Option<Timestamp> {
    Timestamp::parse(&text.0).ok()
}

/// What a path cannot say: the parts of an object that are made at random, or of which one element is kept.
fn trim(kind: &str, name: &str, fields: &mut Fields) {
    trim_kind(kind, name, fields);
    // The API server has none that is empty: what it held is not recorded, so its appearance does not count as a change.
    if let Some(Stored::Map(metadata)) = fields.get_mut("metadata") {
        for map in ["annotations", "labels"] {
            if let Some(Stored::Map(entries)) = metadata.get(map)
                && entries.is_empty()
            {
                metadata.remove(map);
            }
        }
        if metadata.is_empty() {
            fields.remove("metadata");
        }
    }
}

fn trim_kind(kind: &str, name: &str, fields: &mut Fields) {
    match kind {
        "ConfigMap" => {
            // What the cluster-autoscaler and kube9 itself write every few seconds.
            let annotations = fields
                .get_mut("metadata")
                .and_then(|metadata| metadata.get_mut("annotations"));
            let is_autoscaler = match annotations {
                Some(Stored::Map(annotations)) => annotations
                    .remove("cluster-autoscaler.kubernetes.io/last-updated")
                    .is_some(),
                _ => false,
            };
            if is_autoscaler || name == "kube9-operator-status" {
                fields.remove("data");
            }
        }
        "Node" => {
            // The cluster-autoscaler writes and removes it while it considers a node.
            let is_candidate = |taint: &Stored| {
                let key = taint.get("key").and_then(Stored::as_text);
                key == Some("DeletionCandidateOfClusterAutoscaler")
            };
            let Some(Stored::Map(spec)) = fields.get_mut("spec") else {
                return;
            };
            if let Some(Stored::List(taints)) = spec.get_mut("taints") {
                taints.retain(|taint| !is_candidate(taint));
                if taints.is_empty() {
                    spec.remove("taints");
                }
            }
            // It is left behind when the last taint goes.
            if spec.is_empty() {
                fields.remove("spec");
            }
        }
        "HorizontalPodAutoscaler" => {
            let conditions = fields
                .get_mut("status")
                .and_then(|status| status.get_mut("conditions"));
            if let Some(Stored::List(conditions)) = conditions {
                let kind = |one: &Stored| {
                    one.get("type").and_then(Stored::as_text) == Some("ScalingLimited")
                };
                conditions.retain(kind);
                if conditions.is_empty() {
                    fields.remove("status");
                }
            }
        }
        "Pod" => {
            // The token that the API server mounts into each pod, under a random name.
            let is_token = |one: &Stored| {
                let name = one.get("name").and_then(Stored::as_text);
                name.is_some_and(|name| name.starts_with("kube-api-access-"))
            };
            let remove = |parent: &mut Stored, list: &str| {
                if let Some(Stored::List(elements)) = parent.get_mut(list) {
                    elements.retain(|one| !is_token(one));
                    if elements.is_empty()
                        && let Stored::Map(parent) = parent
                    {
                        parent.remove(list);
                    }
                }
            };
            if let Some(spec) = fields.get_mut("spec") {
                remove(spec, "volumes");
                for list in ["containers", "initContainers", "ephemeralContainers"] {
                    if let Some(Stored::List(containers)) = spec.get_mut(list) {
                        for container in containers {
                            remove(container, "volumeMounts");
                        }
                    }
                }
            }
            // Until a container has an image, its id is empty.
            for list in ["containerStatuses", "initContainerStatuses"] {
                let statuses = fields.get_mut("status").and_then(|s| s.get_mut(list));
                let Some(Stored::List(statuses)) = statuses else {
                    continue;
                };
                for status in statuses {
                    if let Stored::Map(status) = status
                        && status.get("imageID").and_then(Stored::as_text) == Some("")
                    {
                        status.remove("imageID");
                    }
                }
            }
        }
        _ => {}
    }
}
