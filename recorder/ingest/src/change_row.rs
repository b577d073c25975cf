//! The row of a change: reason, title and description in words, the changed fields, and who changed them. Pure.
//!
//! ```text
//!   changed fields ─▶ the class of each ─▶ the most important one ─▶ reason and title
//!                 └─▶ description and metadata: all of them
//! ```
//!
//! A write that changes several fields is one row.

use std::borrow::Cow;

use kube9_model::change::body::{Body, Shape, plain, unescaped};
use kube9_model::change::diff::{FieldChange, Op, shown};
use kube9_model::change::kinds::{TrackedKind, stored_group};
use kube9_model::change::path::{Path, Segment};
use kube9_model::change::stored::Stored;
use kube9_model::commit_stats::BreakingChange;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef, Severity};
use serde_json::{Map, Value, json};

use crate::attribution::{Certainty, ShownAuthor};
use crate::deletion::{CauseCertainty, DeletionCause};
use crate::objects::announces_removal;
use crate::redact::redact;
use crate::sanitize::Redacted;

/// Fields that a description names; the metadata has more of them.
const DESCRIBED_MAX: usize = 5;

/// Authors that a description names; the metadata has all of them.
const AUTHORS_NAMED_MAX: usize = 3;

/// Longest value in a title or description, in bytes.
const VALUE_BYTES_MAX: usize = 80;

/// What happened to an object.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    Created(&'a Body<'a>),
    Changed {
        before: &'a Body<'a>,
        after: &'a Body<'a>,
        /// At least one is not silent.
        fields: &'a [FieldChange<'a>],
    },
    /// Its deletion waits for these.
    Deleting {
        finalizers: &'a [String],
    },
    Deleted(&'a Body<'a>),
}

impl What<'_> {
    /// The word that is stored and shown.
    pub const fn op(self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Changed { .. } => "changed",
            Self::Deleting { .. } => "deleting",
            Self::Deleted(_) => "deleted",
        }
    }
}

/// A change of an object.
#[derive(Debug)]
pub struct ChangeRow<'a> {
    pub kind: &'a TrackedKind,
    pub object: ObjectRef,
    pub owner: Option<ObjectRef>,
    pub what: What<'a>,
    pub at: Timestamp,
    /// The interval in which it happened, if it was not observed then.
    pub between: Option<(Timestamp, Timestamp)>,
    /// It was observed later than it happened.
    pub observed_late: bool,
    pub resource_version: String,
    /// Who changed what.
    pub by: Vec<ShownAuthor>,
    pub cause: Option<(DeletionCause, CauseCertainty)>,
}

impl ChangeRow<'_> {
    /// Kind and name.
    pub fn name(&self) -> String {
        format!("{} {}", self.kind.kind, object_name(&self.object))
    }

    /// The row. What is in it is from bodies, which are redacted, or redacted here: names, and the version.
    pub fn record(mut self) -> Redacted {
        redact_name(&mut self.object);
        self.owner.as_mut().map(redact_name);
        let mut words = self.words();
        let by: Vec<Value> = self.by.into_iter().map(ShownAuthor::into_json).collect();
        add_authors(&mut words.description, &by);
        let values = match self.what {
            What::Changed { fields, .. } => described_values(fields),
            _ => Vec::new(),
        };
        let mut extra = Map::new();
        extra.insert("op".to_owned(), self.what.op().into());
        if !self.kind.group.is_empty() {
            extra.insert("api_group".to_owned(), (*self.kind.group).into());
        }
        if let What::Changed { fields, .. } = self.what {
            let loud: Vec<FieldChange<'_>> = fields.iter().filter(|f| !f.silent).cloned().collect();
            let shown = shown(&loud);
            extra.insert("fields".to_owned(), shown.fields);
            if shown.left_out > 0 {
                extra.insert("fields_left_out".to_owned(), shown.left_out.into());
            }
        }
        if let What::Deleting { finalizers } = self.what {
            extra.insert("finalizers".to_owned(), json!(finalizers));
        }
        if !by.is_empty() {
            extra.insert("by".to_owned(), Value::Array(by));
        }
        if let Some((cause, certainty)) = self.cause {
            extra.insert(
                "cause".to_owned(),
                json!({"kind": cause.as_str(), "certainty": certainty.as_str()}),
            );
        }
        let version = redact(&self.resource_version).into_owned();
        extra.insert("resource_version".to_owned(), version.into());
        if self.observed_late || self.between.is_some() {
            extra.insert("observed_late".to_owned(), true.into());
        }
        if let Some((from, to)) = self.between {
            let interval = json!([from.to_string(), to.to_string()]);
            extra.insert("between".to_owned(), interval);
        }
        let group = &*self.kind.group;
        let record = Record {
            event_type: EventType::Cluster,
            api_group: stored_group(group).to_owned(),
            severity: words.severity,
            title: words.title,
            description: words.description,
            node: (self.kind.kind == "Node").then(|| self.object.name.clone()),
            object: Some(self.object),
            owner: self.owner,
            reason: words.reason,
            extra,
            ..Record::internal(self.at)
        };
        Redacted::new(record, values)
    }

    fn words(&self) -> Words {
        let kind = &*self.kind.kind;
        let name = object_name(&self.object);
        match self.what {
            What::Created(body) => {
                let text = match created(kind, body) {
                    Some(details) => format!("{kind} {name} was created: {details}."),
                    None => format!("{kind} {name} was created."),
                };
                match kind {
                    "Node" => Words::new("NodeAdded", "Node added", text),
                    _ => Words::new(format!("{kind}Created"), format!("{kind} created"), text),
                }
            }
            What::Deleting { finalizers } => Words::new(
                format!("{kind}Deleting"),
                format!("{kind} is being deleted"),
                format!(
                    "The deletion of {kind} {name} waits for its finalizers: {}.",
                    finalizers.join(", ")
                ),
            ),
            What::Deleted(body) => self.deleted(kind, &name, body),
            What::Changed {
                before,
                after,
                fields,
            } => changed(kind, &name, (before, after), fields),
        }
    }

    fn deleted(&self, kind: &str, name: &str, body: &Body) -> Words {
        let effect = match kind {
            "Node" => {
                // It was drained before.
                let is_planned = is_true(body, &["spec", "unschedulable"]) || is_leaving(body);
                let text = format!(
                    "Node {name} was removed from the cluster. The pod garbage collector deletes its pods."
                );
                let severity = if is_planned {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                return Words::new("NodeRemoved", "Node removed", text).severity(severity);
            }
            "Deployment" | "StatefulSet" | "DaemonSet" => {
                ". Its pods are deleted too, unless the request orphaned them"
            }
            "Service" => ". Its name no longer resolves",
            "ConfigMap" => ". Pods that require it cannot start without it",
            "Namespace" => ", and everything in it",
            "CustomResourceDefinition" => ", and all objects of its kind",
            _ => "",
        };
        let how = match self.cause {
            None | Some((DeletionCause::Request, _)) => String::new(),
            Some((cause, CauseCertainty::Stated)) => format!(" ({})", cause.as_str()),
            Some((cause, CauseCertainty::Inferred)) => format!(" (probably {})", cause.as_str()),
        };
        let text = format!("{kind} {name} was deleted{how}{effect}.");
        let severity = match self.cause {
            None | Some((DeletionCause::Request, _)) if !effect.is_empty() => Severity::Warning,
            _ => Severity::Info,
        };
        Words::new(format!("{kind}Deleted"), format!("{kind} deleted"), text).severity(severity)
    }
}

fn redact_name(object: &mut ObjectRef) {
    for part in [&mut object.kind, &mut object.namespace, &mut object.name] {
        if let Cow::Owned(redacted) = redact(part) {
            *part = redacted;
        }
    }
}

/// Reason, title, description and severity.
struct Words {
    reason: String,
    title: String,
    description: String,
    severity: Severity,
}

impl Words {
    fn new(
        reason: impl Into<String>,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        Self {
            reason: reason.into(),
            title: title.into(),
            description: description.into(),
            severity: Severity::Info,
        }
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

fn object_name(object: &ObjectRef) -> String {
    if object.namespace.is_empty() {
        object.name.clone()
    } else {
        format!("{}/{}", object.namespace, object.name)
    }
}

/// What a new object is, in a few words.
fn created(kind: &str, body: &Body) -> Option<String> {
    match kind {
        "Node" => {
            let version = at(body, &["status", "nodeInfo", "kubeletVersion"])?;
            // The kubelet writes its status after the creation.
            let version = Some(version).filter(|version| !word(version).is_empty())?;
            Some(format!("kubelet {}", word(version)))
        }
        "Deployment" | "StatefulSet" | "DaemonSet" => {
            let containers = at(body, &["spec", "template", "spec", "containers"])?;
            let Shape::List(containers) = Shape::of(containers) else {
                return None;
            };
            let images: Vec<String> = containers
                .elements()
                .into_iter()
                .filter_map(|container| container.get("image").map(word))
                .collect();
            let images = images.join(", ");
            Some(match at(body, &["spec", "replicas"]) {
                Some(replicas) => format!("{} replicas of {images}", word(replicas)),
                None => images,
            })
        }
        "Service" => {
            let of = at(body, &["spec", "type"]).map_or_else(|| "ClusterIP".to_owned(), word);
            Some(format!("type {of}"))
        }
        "ConfigMap" => {
            let keys = at(body, &["data"])?.as_map()?;
            let keys: Vec<&str> = keys.iter().map(|(key, _)| unescaped(key)).collect();
            Some(format!("keys {}", keys.join(", ")))
        }
        _ => None,
    }
}

fn at<'b>(body: &'b Body<'b>, path: &[&str]) -> Option<&'b Stored<'b>> {
    path.iter()
        .try_fold(body.stored(), |value, name| value.get(name))
}

/// Whether a taint has announced that the node goes.
fn is_leaving(node: &Body) -> bool {
    let Some(Shape::List(taints)) = at(node, &["spec", "taints"]).map(Shape::of) else {
        return false;
    };
    let text = |taint: &Stored, name: &str| taint.get(name).map_or_else(String::new, word);
    taints.elements().into_iter().any(|taint| {
        announces_removal(&format!("{}:{}", text(taint, "key"), text(taint, "effect")))
    })
}

fn is_true(body: &Body, path: &[&str]) -> bool {
    at(body, path) == Some(&Stored::Bool(true))
}

/// The classes of changes, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Image,
    Scaled,
    Cordoned,
    Selector,
    ServiceType,
    Ports,
    Data,
    Paused,
    Suspended,
    Sync,
    Resources,
    Environment,
    Command,
    Probes,
    Volumes,
    Security,
    Restart,
    Strategy,
    Scheduling,
    Taints,
    KubeletVersion,
    Capacity,
    /// Of anything else in `spec`.
    Other,
    ImageDigest,
    Labels,
    Annotations,
    Owners,
    Finalizers,
}

fn class(kind: &str, path: &Path) -> Class {
    let names: Vec<&str> = path
        .segments()
        .iter()
        .map(|segment| match segment {
            Segment::Field(name) | Segment::Element(name) => &**name,
            Segment::Index(_) => "",
        })
        .collect();
    match (kind, &names[..]) {
        (_, ["metadata", "labels", ..]) => return Class::Labels,
        (_, ["metadata", "annotations", ..]) => return Class::Annotations,
        (_, ["metadata", "ownerReferences", ..]) => return Class::Owners,
        (_, ["metadata", "finalizers", ..]) | ("Namespace", ["spec", "finalizers", ..]) => {
            return Class::Finalizers;
        }
        ("Node", ["spec", "unschedulable"]) => return Class::Cordoned,
        ("Node", ["spec", "taints", ..]) => return Class::Taints,
        ("Node", ["status", "nodeInfo", "kubeletVersion"]) => return Class::KubeletVersion,
        ("Node", ["status", "capacity" | "allocatable", ..]) => return Class::Capacity,
        ("Service", ["spec", "selector", ..]) => return Class::Selector,
        ("Service", ["spec", "type"]) => return Class::ServiceType,
        ("Service", ["spec", "ports", ..]) => return Class::Ports,
        ("ConfigMap", ["data" | "binaryData", ..]) => return Class::Data,
        ("Pod", ["status", ..]) => return Class::ImageDigest,
        (_, ["spec", "replicas"]) => return Class::Scaled,
        ("Application", ["operation", ..]) => return Class::Sync,
        ("Deployment", ["spec", "paused"]) => return Class::Paused,
        ("Job" | "CronJob", ["spec", "suspend"]) => return Class::Suspended,
        (_, ["spec", "strategy" | "updateStrategy", ..]) => return Class::Strategy,
        (
            _,
            [
                ..,
                "template",
                "metadata",
                "annotations",
                "kubectl.kubernetes.io/restartedAt",
            ],
        ) => {
            return Class::Restart;
        }
        _ => {}
    }
    pod_class(&names).unwrap_or(Class::Other)
}

/// Of a field of a pod's specification, in a pod or a template.
fn pod_class(names: &[&str]) -> Option<Class> {
    let position = names.iter().position(|name| {
        matches!(
            *name,
            "containers" | "initContainers" | "ephemeralContainers"
        )
    });
    if let Some(position) = position {
        return Some(match names.get(position + 2).copied() {
            Some("image") => Class::Image,
            Some("resources" | "resizePolicy") => Class::Resources,
            Some("env" | "envFrom") => Class::Environment,
            Some("command" | "args" | "workingDir") => Class::Command,
            Some("livenessProbe" | "readinessProbe" | "startupProbe") => Class::Probes,
            Some("volumeMounts" | "volumeDevices") => Class::Volumes,
            Some("securityContext") => Class::Security,
            _ => return None,
        });
    }
    let spec = names.iter().rposition(|name| *name == "spec")?;
    Some(match names.get(spec + 1).copied()? {
        "resources" => Class::Resources,
        "volumes" | "volumeClaimTemplates" => Class::Volumes,
        "securityContext" | "serviceAccountName" | "hostNetwork" | "hostPID" | "hostIPC" => {
            Class::Security
        }
        "nodeSelector"
        | "affinity"
        | "tolerations"
        | "topologySpreadConstraints"
        | "priorityClassName"
        | "schedulerName"
        | "nodeName" => Class::Scheduling,
        _ => return None,
    })
}

fn changed(
    kind: &str,
    name: &str,
    (before, after): (&Body, &Body),
    fields: &[FieldChange<'_>],
) -> Words {
    let loud = || fields.iter().filter(|field| !field.silent);
    let of = |field: &FieldChange<'_>| match class(kind, &field.path) {
        // A rollback takes the annotation away.
        Class::Restart if field.op == Op::Removed => Class::Other,
        class => class,
    };
    let mut classes: Vec<(Class, &FieldChange<'_>)> =
        loud().map(|field| (of(field), field)).collect();
    classes.sort_by_key(|(class, _)| *class);
    let Some(&(first, _)) = classes.first() else {
        return Words::new(format!("{kind}Changed"), format!("{kind} changed"), "");
    };
    let own: Vec<&FieldChange<'_>> = classes
        .iter()
        .filter(|(class, _)| *class == first)
        .map(|(_, field)| *field)
        .collect();
    let text = describe(loud());
    let simple = |reason: &str, title: String| Words::new(reason, title, text.clone());
    match first {
        Class::Image => simple("ImageChanged", image_title(&own)),
        Class::Scaled => {
            let replicas = |body: &Body| {
                at(body, &["spec", "replicas"]).map_or_else(|| "default".to_owned(), word)
            };
            let (from, to) = (replicas(before), replicas(after));
            let title = format!("Scaled from {from} to {to} replicas");
            let severity = if to == "0" {
                Severity::Warning
            } else {
                Severity::Info
            };
            simple("Scaled", title).severity(severity)
        }
        Class::Cordoned if is_true(after, &["spec", "unschedulable"]) => Words::new(
            "NodeCordoned",
            "Node cordoned",
            format!("Node {name} was cordoned: no new pods are scheduled to it."),
        )
        .severity(Severity::Warning),
        Class::Cordoned => Words::new(
            "NodeUncordoned",
            "Node uncordoned",
            format!("Node {name} was uncordoned: pods are scheduled to it again."),
        ),
        Class::Selector => simple(
            "ServiceSelectorChanged",
            "Service selector changed".to_owned(),
        )
        .severity(Severity::Warning),
        Class::ServiceType => {
            let of = |body: &Body| at(body, &["spec", "type"]).map_or_else(String::new, word);
            let title = format!("Service type changed: {} → {}", of(before), of(after));
            simple("ServiceTypeChanged", title)
        }
        Class::Ports => simple("ServicePortsChanged", "Service ports changed".to_owned()),
        Class::Data => simple("ConfigMapChanged", "ConfigMap changed".to_owned()),
        Class::Paused if is_true(after, &["spec", "paused"]) => {
            simple("RolloutPaused", "Rollout paused".to_owned())
        }
        Class::Paused => simple("RolloutResumed", "Rollout resumed".to_owned()),
        Class::Suspended if is_true(after, &["spec", "suspend"]) => {
            simple(&format!("{kind}Suspended"), format!("{kind} suspended"))
        }
        Class::Suspended => simple(&format!("{kind}Resumed"), format!("{kind} resumed")),
        Class::Sync => simple("SyncRequested", "Sync requested".to_owned()),
        Class::Resources => simple("ResourcesChanged", titled("Resources", &own)),
        Class::Environment => simple("EnvironmentChanged", titled("Environment", &own)),
        Class::Command => simple("CommandChanged", titled("Command", &own)),
        Class::Probes => simple("ProbesChanged", titled("Probes", &own)),
        Class::Volumes => simple("VolumesChanged", titled("Volumes", &own)),
        Class::Security => simple("SecurityContextChanged", titled("Security context", &own)),
        Class::Restart => simple("RestartRequested", "Restart requested".to_owned()),
        Class::Strategy => simple(
            "UpdateStrategyChanged",
            "Update strategy changed".to_owned(),
        ),
        Class::Scheduling => simple("SchedulingChanged", titled("Scheduling", &own)),
        Class::Taints => simple("NodeTaintsChanged", "Node taints changed".to_owned()),
        Class::KubeletVersion => {
            let of = |value: Option<&Stored>| value.map_or_else(String::new, word);
            let title = format!(
                "Kubelet version changed: {} → {}",
                of(own[0].from),
                of(own[0].to)
            );
            simple("NodeVersionChanged", title)
        }
        Class::Capacity => simple("NodeCapacityChanged", "Node capacity changed".to_owned()),
        Class::ImageDigest => simple("ImageDigestChanged", "Image digest changed".to_owned()),
        Class::Labels => simple("LabelsChanged", format!("Labels of {kind} changed")),
        Class::Annotations => simple(
            "AnnotationsChanged",
            format!("Annotations of {kind} changed"),
        ),
        Class::Owners => simple("OwnerChanged", format!("Owner of {kind} changed")),
        Class::Finalizers => simple("FinalizersChanged", format!("Finalizers of {kind} changed")),
        Class::Other => {
            let title = match own[..] {
                [one] => format!("{kind} changed: {}", one.path),
                _ => format!("{kind} changed: {} fields", own.len()),
            };
            simple(&format!("{kind}Changed"), title)
        }
    }
}

/// `Environment of app changed`, if the fields are of one container.
fn titled(what: &str, fields: &[&FieldChange<'_>]) -> String {
    let container = |field: &&FieldChange<'_>| {
        field
            .path
            .segments()
            .iter()
            .find_map(|segment| match segment {
                Segment::Element(name) => Some(name.to_string()),
                _ => None,
            })
    };
    let first = fields.first().and_then(container);
    match first.filter(|first| fields.iter().all(|f| container(f).as_ref() == Some(first))) {
        Some(name) => format!("{what} changed: {name}"),
        None => format!("{what} changed"),
    }
}

fn image_title(fields: &[&FieldChange<'_>]) -> String {
    let [one] = fields else {
        return format!("Images changed: {} containers", fields.len());
    };
    let container = one.path.segments().iter().rev().find_map(|s| match s {
        Segment::Element(name) => Some(&**name),
        _ => None,
    });
    match (container, one.from, one.to) {
        (Some(container), Some(Stored::Text(from)), Some(Stored::Text(to))) => {
            format!("Image changed: {container} {}", tags(from, to))
        }
        _ => "Image changed".to_owned(),
    }
}

/// `v1 → v2` if only the tag differs, otherwise both images.
fn tags(from: &str, to: &str) -> String {
    if let (Some((name, old)), Some((other, new))) = (from.rsplit_once(':'), to.rsplit_once(':'))
        && name == other
        && !name.is_empty()
    {
        return format!("{old} → {new}");
    }
    format!("{from} → {to}")
}

/// The changed fields in words.
fn describe<'f, 'b: 'f>(fields: impl Iterator<Item = &'f FieldChange<'b>>) -> String {
    let mut sorted: Vec<&FieldChange<'_>> = fields.collect();
    sorted.sort_by_key(|field| !field.risky);
    let mut parts: Vec<String> = sorted
        .iter()
        .take(DESCRIBED_MAX)
        .map(|field| {
            let path = &field.path;
            let value = |value: Option<&Stored>| value.map_or_else(String::new, word);
            match field.op {
                Op::Added => format!("{path} was added ({})", value(field.to)),
                Op::Removed => format!("{path} was removed ({})", value(field.from)),
                Op::Changed => {
                    format!("{path} from {} to {}", value(field.from), value(field.to))
                }
                Op::Order => format!("the order of {path}"),
            }
        })
        .collect();
    let left = sorted.len().saturating_sub(DESCRIBED_MAX);
    if left > 0 {
        parts.push(format!("and {left} more fields"));
    }
    format!("{}.", parts.join("; "))
}

/// Whether a change is one of those that controllers make of an object while they set it up.
pub fn is_set_up(kind: &str, path: &Path) -> bool {
    let names: Vec<&str> = path
        .segments()
        .iter()
        .map_while(|segment| match segment {
            Segment::Field(name) => Some(&**name),
            _ => None,
        })
        .collect();
    kind == "Node"
        && matches!(
            names[..],
            ["metadata", "labels" | "annotations", ..]
                | ["spec", "taints" | "podCIDR" | "podCIDRs" | "providerID", ..]
                | ["status", ..]
        )
}

/// What happened to an object whose changes are folded: `parts` are its fields as in the metadata.
pub fn describe_folded(
    what: &str,
    (changes, since): (u32, Timestamp),
    parts: &[Value],
    by: &[Value],
) -> String {
    let mut text = match range(parts) {
        Some((path, least, most)) => {
            format!(
                "{what} changed {changes} times since {since}: {path} between {least} and {most}."
            )
        }
        None => format!(
            "{what} changed {changes} times since {since}. The metadata lists the fields, with the value before the first \
             change and that after the last."
        ),
    };
    add_authors(&mut text, by);
    text
}

/// The title of folded changes, if it says more than that of the first one.
pub fn title_of_folded(reason: &str, parts: &[Value]) -> Option<String> {
    let (_, least, most) = range(parts).filter(|_| reason == "Scaled")?;
    Some(format!("Scaled between {least} and {most} replicas"))
}

/// Path, least and greatest value of the one field, if it is a number.
fn range(parts: &[Value]) -> Option<(&str, i64, i64)> {
    let [part] = parts else { return None };
    let number = |key: &str| part.get(key)?.as_i64();
    Some((part.get("path")?.as_str()?, number("min")?, number("max")?))
}

/// What a new object is, and what controllers set of it afterwards.
pub fn describe_set_up(text: &str, parts: &[Value]) -> String {
    let paths: Vec<&str> = parts
        .iter()
        .filter_map(|part| part.get("path")?.as_str())
        .collect();
    let mut named = paths[..paths.len().min(DESCRIBED_MAX)].join(", ");
    if paths.len() > DESCRIBED_MAX {
        named.push_str(", and more");
    }
    format!("{text} Set in its first minutes: {named}.")
}

/// The values in a description, which no other row has; what is left of it is stored once for many.
fn described_values(fields: &[FieldChange<'_>]) -> Vec<String> {
    let of = |field: &FieldChange<'_>| [field.from.map(word), field.to.map(word)];
    let loud = fields.iter().filter(|field| !field.silent);
    loud.take(DESCRIBED_MAX).flat_map(of).flatten().collect()
}

/// Appends who made a change, as the clients call themselves.
fn add_authors(description: &mut String, by: &[Value]) {
    for (certainty, words) in [
        (Certainty::Field, "By"),
        (Certainty::Write, "In a write by"),
    ] {
        let name = |by: &Value| {
            let is = by.get("certainty")?.as_str()? == certainty.as_str();
            is.then(|| Some(by.get("manager")?.as_str()?.to_owned()))?
        };
        let mut names: Vec<String> = by.iter().filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(AUTHORS_NAMED_MAX);
        if !names.is_empty() {
            *description = format!("{description} {words} {}.", names.join(", "));
        }
    }
}

/// A value in a sentence.
fn word(value: &Stored) -> String {
    let text = match plain(value) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    shortened(text, VALUE_BYTES_MAX)
}

/// Whether the cluster itself removes a finalizer within moments, so that a deletion that waits for it needs no row.
pub fn is_brief_finalizer(kind: &str, name: &str) -> bool {
    match name {
        // The controller that deletes finished Jobs writes it; of others, the pods that it waits for may take hours to end.
        "foregroundDeletion" => kind == "Job",
        "orphan" | "kubernetes.io/pv-protection" | "customresourcecleanup.apiextensions.k8s.io" => {
            true
        }
        _ => false,
    }
}

/// Whether a controller makes the object in each namespace, or kube9 itself.
pub fn is_made_by_the_cluster(kind: &str, name: &str) -> bool {
    match kind {
        "ConfigMap" => matches!(
            name,
            "kube-root-ca.crt"
                | "openshift-service-ca.crt"
                | "istio-ca-root-cert"
                | "kube9-operator-status"
        ),
        // OpenShift makes two more.
        "ServiceAccount" => matches!(name, "default" | "builder" | "deployer"),
        _ => false,
    }
}

/// The kinds whose changes can break pods, with their API groups.
const BREAKING_KINDS: [(&str, &str); 17] = [
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("Job", "batch"),
    ("CronJob", "batch"),
    ("Pod", ""),
    ("ConfigMap", ""),
    ("ResourceQuota", ""),
    ("LimitRange", ""),
    ("NetworkPolicy", "networking.k8s.io"),
    ("PodDisruptionBudget", "policy"),
    ("MutatingWebhookConfiguration", ADMISSION),
    ("ValidatingWebhookConfiguration", ADMISSION),
    ("MutatingAdmissionPolicy", ADMISSION),
    ("MutatingAdmissionPolicyBinding", ADMISSION),
    ("ValidatingAdmissionPolicy", ADMISSION),
    ("ValidatingAdmissionPolicyBinding", ADMISSION),
];

const ADMISSION: &str = "admissionregistration.k8s.io";

/// The names of the kinds whose changes can break pods. Other groups may have kinds of these names.
pub fn breaking_kinds() -> impl Iterator<Item = &'static str> {
    BREAKING_KINDS.iter().map(|(kind, _)| *kind)
}

/// What findings say of a change that can break pods; `None` for another change.
///
/// The fields decide, not the reason: a write that scales a Deployment and changes its environment is `Scaled`.
pub fn breaking(
    object: &ObjectRef,
    title: &str,
    extra: &Map<String, Value>,
    at: Timestamp,
) -> Option<BreakingChange> {
    let text = |key: &str| extra.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = &*object.kind;
    if !BREAKING_KINDS.contains(&(kind, text("api_group"))) {
        return None;
    }
    let template = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => Some("spec.template."),
        "CronJob" => Some("spec.jobTemplate.spec.template."),
        "Pod" => Some(""),
        _ => None,
    };
    let op = text("op");
    let mut change = BreakingChange {
        object: object.clone(),
        at,
        ..BreakingChange::default()
    };
    if op != "changed" {
        let may_break = match op {
            "created" => template.is_none() && kind != "ConfigMap",
            // With its namespace or owner, the pods are deleted too.
            "deleted" => {
                let cause = extra
                    .get("cause")
                    .and_then(|cause| cause.get("kind")?.as_str());
                cause.is_none_or(|cause| cause == DeletionCause::Request.as_str())
                    && (matches!(kind, "ConfigMap" | "NetworkPolicy")
                        || kind.starts_with("Mutating"))
            }
            _ => false,
        };
        change.what = format!("{kind} {} {op}", object.name).into();
        change.by = author(extra, None).into();
        return may_break.then_some(change);
    }
    let path_of = |field: &Value| Some(field.get("path")?.as_str()?.to_owned());
    let fields = extra.get("fields")?.as_array()?.iter();
    let rank = |path: &str| match template {
        Some(template) => template_rank(path.strip_prefix(template)?),
        None if kind == "ConfigMap" => {
            let is_data = path.starts_with("data") || path.starts_with("binaryData");
            is_data.then_some(0)
        }
        None => path.strip_prefix("metadata.").is_none().then_some(0),
    };
    let ranked = fields.filter_map(|field| {
        let path = path_of(field)?;
        Some((rank(&path)?, path, field))
    });
    let (rank, path, field) = ranked.min_by_key(|(rank, ..)| *rank)?;
    change.what = match template {
        // The title is of the most important change.
        Some(_) if rank == 0 && title.starts_with("Image") => {
            format!("i{}", title.get(1..)?)
        }
        Some(_) => format!("{path} changed"),
        None => format!("{kind} {} changed", object.name),
    }
    .into();
    let value = |key: &str| {
        let value = field.get(key).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        value.map(|value| shortened(value, VALUE_BYTES_MAX))
    };
    change.from = value("from").unwrap_or_default().into();
    change.to = value("to").unwrap_or_default().into();
    change.by = author(extra, Some(&path)).into();
    change.what = shortened(change.what.into(), WHAT_BYTES_MAX).into();
    change.path = shortened(path, WHAT_BYTES_MAX).into();
    Some(change)
}

/// How likely a change of a field of a pod template breaks its pods: 0 is the most likely; `None` if it cannot.
fn template_rank(path: &str) -> Option<u8> {
    if path.starts_with("metadata.labels") {
        return Some(2); // network policies and webhooks select by them
    }
    let path = path.strip_prefix("spec.")?;
    let field = path.rsplit(['.', ']']).next().unwrap_or(path);
    match field {
        "image" => Some(0),
        "terminationGracePeriodSeconds" | "terminationMessagePath" | "terminationMessagePolicy" => {
            None
        }
        _ if path.starts_with("ephemeralContainers") => None,
        _ => Some(1),
    }
}

/// Who changed a field, or made the only change, in words after "a change"; empty if that is not known.
fn author(extra: &Map<String, Value>, path: Option<&str>) -> String {
    let all = extra.get("by").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let changed = |by: &&Value| match path {
        Some(path) => {
            let paths = by.get("paths").and_then(Value::as_array);
            paths.is_some_and(|paths| paths.iter().any(|one| one.as_str() == Some(path)))
        }
        None => all.len() == 1,
    };
    let text = |by: &Value, key: &str| Some(by.get(key)?.as_str()?.to_owned());
    let words = |by: &Value| {
        let manager = shortened(text(by, "manager")?, VALUE_BYTES_MAX);
        let is_proven = text(by, "certainty")? == Certainty::Field.as_str();
        let words = if is_proven { "by" } else { "in a write by" };
        Some(format!("{words} {manager}"))
    };
    let found = all.iter().find(changed);
    found.and_then(words).unwrap_or_default()
}

fn shortened(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

/// Longest name of a change, and path, in a finding; they are kept in memory.
const WHAT_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use foldhash::quality::FixedState;
    use kube9_model::change::diff;
    use kube9_model::change::kinds::BUILT_IN;

    use super::*;
    use crate::attribution::ChangeAuthor;
    use crate::body::{MarkKey, Object};
    use crate::sanitize::sanitize;

    fn kind(name: &str) -> &'static TrackedKind {
        TrackedKind::find(BUILT_IN.iter(), name).unwrap()
    }

    fn body(kind: &'static TrackedKind, mut object: Value) -> Body<'static> {
        object["metadata"]["name"] = json!("web");
        let json = object.to_string();
        let object = Object::scan(kind, &json, &FixedState::with_seed(1), |_| false).unwrap();
        let body = object.body(&MarkKey::new(&[1; 32]));
        body.unwrap().into_owned()
    }

    fn row(kind: &TrackedKind, what: What<'_>) -> Record {
        change_row(kind, what).record().record().clone()
    }

    fn change_row<'a>(kind: &'a TrackedKind, what: What<'a>) -> ChangeRow<'a> {
        ChangeRow {
            kind,
            object: ObjectRef {
                kind: kind.kind.to_string(),
                namespace: if kind.namespaced {
                    "shop".to_owned()
                } else {
                    String::new()
                },
                name: "web".to_owned(),
            },
            owner: None,
            what,
            at: Timestamp::EPOCH,
            between: None,
            observed_late: false,
            resource_version: "7".to_owned(),
            by: Vec::new(),
            cause: None,
        }
    }

    /// `severity reason title` of a change; empty if it makes no row.
    fn changed(name: &str, before: Value, after: Value) -> String {
        let kind = kind(name);
        let (before, after) = (body(kind, before), body(kind, after));
        let fields = diff::changes(kind.rules, &before, &after, false);
        if fields.iter().all(|field| field.silent) {
            return String::new();
        }
        let what = What::Changed {
            before: &before,
            after: &after,
            fields: &fields,
        };
        let row = row(kind, what);
        assert!(row.description.ends_with('.'), "{}", row.description);
        format!("{} {} {}", row.severity, row.reason, row.title)
    }

    fn template(container: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn most_important_field_decides_reason_and_title() {
        let app = |more: Value| {
            let mut container = json!({"name": "app", "image": "r:5000/web:1"});
            for (key, value) in more.as_object().unwrap() {
                container[key] = value.clone();
            }
            template(container)
        };
        let spec = |spec: Value| json!({"spec": spec});
        let empty = || json!({"spec": {}});
        let cases: Vec<(&str, Value, Value, &str)> = vec![
            (
                "deploy",
                app(json!({})),
                app(json!({"image": "r:5000/web:2"})),
                "info ImageChanged Image changed: app 1 → 2",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"image": "web:2", "args": ["x"]})),
                "info ImageChanged Image changed: app r:5000/web:1 → web:2",
            ),
            (
                "deploy",
                spec(json!({"replicas": 2})),
                spec(json!({"replicas": 5})),
                "info Scaled Scaled from 2 to 5 replicas",
            ),
            (
                "sts",
                spec(json!({"replicas": 2})),
                spec(json!({"replicas": 0})),
                "warning Scaled Scaled from 2 to 0 replicas",
            ),
            (
                "deploy",
                empty(),
                spec(json!({"paused": true})),
                "info RolloutPaused Rollout paused",
            ),
            (
                "deploy",
                spec(json!({"paused": true})),
                empty(),
                "info RolloutResumed Rollout resumed",
            ),
            (
                "cj",
                empty(),
                spec(json!({"suspend": true})),
                "info CronJobSuspended CronJob suspended",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"resources": {"limits": {"cpu": "1"}}})),
                "info ResourcesChanged Resources changed: app",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"env": [{"name": "A", "value": "b"}]})),
                "info EnvironmentChanged Environment changed: app",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"args": ["b"]})),
                "info CommandChanged Command changed: app",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"livenessProbe": {"periodSeconds": 5}})),
                "info ProbesChanged Probes changed: app",
            ),
            (
                "deploy",
                app(json!({})),
                app(json!({"volumeMounts": [{"name": "a", "mountPath": "/a"}]})),
                "info VolumesChanged Volumes changed: app",
            ),
            (
                "deploy",
                template(json!({})),
                json!({"spec": {"template": {"spec": {"containers": [{}], "nodeSelector": {"a": "b"}}}}}),
                "info SchedulingChanged Scheduling changed",
            ),
            (
                "deploy",
                json!({"spec": {"template": {"metadata": {}}}}),
                json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "x"}}}}}),
                "info RestartRequested Restart requested",
            ),
            (
                "svc",
                spec(json!({"selector": {"app": "web"}})),
                spec(json!({"selector": {"app": "api"}})),
                "warning ServiceSelectorChanged Service selector changed",
            ),
            (
                "svc",
                spec(json!({"type": "ClusterIP"})),
                spec(json!({"type": "NodePort", "externalTrafficPolicy": "Cluster"})),
                "info ServiceTypeChanged Service type changed: ClusterIP → NodePort",
            ),
            (
                "svc",
                spec(json!({"ports": [{"port": 80}]})),
                spec(json!({"ports": [{"port": 81}]})),
                "info ServicePortsChanged Service ports changed",
            ),
            (
                "no",
                empty(),
                spec(json!({"unschedulable": true})),
                "warning NodeCordoned Node cordoned",
            ),
            (
                "no",
                spec(json!({"unschedulable": true})),
                empty(),
                "info NodeUncordoned Node uncordoned",
            ),
            (
                "no",
                empty(),
                spec(json!({"taints": [{"key": "gpu", "value": "a", "effect": "NoSchedule"}]})),
                "info NodeTaintsChanged Node taints changed",
            ),
            (
                "no",
                json!({"status": {"nodeInfo": {"kubeletVersion": "v1"}}}),
                json!({"status": {"nodeInfo": {"kubeletVersion": "v2"}}}),
                "info NodeVersionChanged Kubelet version changed: v1 → v2",
            ),
            (
                "cm",
                json!({"data": {"mode": "a"}}),
                json!({"data": {"mode": "b"}}),
                "info ConfigMapChanged ConfigMap changed",
            ),
            (
                "cm",
                json!({}),
                json!({"metadata": {"labels": {"a": "b"}}}),
                "info LabelsChanged Labels of ConfigMap changed",
            ),
            (
                "ing",
                spec(json!({"ingressClassName": "a"})),
                spec(json!({"ingressClassName": "b"})),
                "info IngressChanged Ingress changed: spec.ingressClassName",
            ),
        ];
        for (name, before, after, expected) in cases {
            assert_eq!(
                changed(name, before.clone(), after.clone()),
                expected,
                "{before} → {after}"
            );
        }
    }

    fn author(manager: &str, certainty: Certainty) -> ShownAuthor {
        let entry = json!({
            "manager": manager, "operation": manager, "subresource": manager, "time": "2026-11-30T10:00:00Z",
        });
        let text = entry.to_string();
        let author = ChangeAuthor {
            entry: &serde_json::from_str(&text).unwrap(),
            certainty,
            paths: Vec::new(),
        };
        author.shown(None)
    }

    #[test]
    fn row_of_secret_names_and_authors_has_no_secret() {
        const SECRET: &str = "glpat-pLaNtEd0aB3dE6gH9j";
        let kind = kind("deploy");
        let (before, after) = (
            body(
                kind,
                json!({"spec": {"replicas": 2}, "metadata": {"labels": {SECRET: SECRET}}}),
            ),
            body(
                kind,
                json!({"spec": {"replicas": 5, "schedulerName": SECRET}}),
            ),
        );
        let fields = diff::changes(kind.rules, &before, &after, false);
        let object = ObjectRef {
            kind: "Deployment".to_owned(),
            namespace: SECRET.to_owned(),
            name: SECRET.to_owned(),
        };
        for what in [
            What::Created(&after),
            What::Changed {
                before: &before,
                after: &after,
                fields: &fields,
            },
            What::Deleted(&before),
        ] {
            let row = ChangeRow {
                object: object.clone(),
                owner: Some(object.clone()),
                by: vec![author(SECRET, Certainty::Field)],
                resource_version: SECRET.to_owned(),
                ..change_row(kind, what)
            };
            let row = row.record().sanitize();
            let shown = format!("{row:?}").to_lowercase();
            assert!(!shown.contains("planted"), "{shown}");
            // Redacted once is as good as redacted again.
            let again = sanitize(row.record().clone());
            assert_eq!(again.record().description, row.record().description);
        }
    }

    #[test]
    fn description_names_fields_and_authors_with_what_is_proven() {
        let by = |manager, certainty| (manager, certainty);
        let described = |authors: &[(&str, Certainty)]| {
            let kind = kind("deploy");
            let (before, after) = (
                body(kind, json!({"spec": {"replicas": 2}})),
                body(kind, json!({"spec": {"replicas": 5}})),
            );
            let fields = diff::changes(kind.rules, &before, &after, false);
            let what = What::Changed {
                before: &before,
                after: &after,
                fields: &fields,
            };
            let row = ChangeRow {
                by: authors.iter().map(|(m, c)| author(m, *c)).collect(),
                ..change_row(kind, what)
            };
            row.record().record().description.clone()
        };
        let text = "spec.replicas from 2 to 5.";
        assert_eq!(described(&[]), text);
        assert_eq!(
            described(&[by("kubectl-scale", Certainty::Field)]),
            format!("{text} By kubectl-scale.")
        );
        assert_eq!(
            described(&[
                by("b", Certainty::Write),
                by("c", Certainty::Field),
                by("a", Certainty::Field),
                by("a", Certainty::Field),
            ]),
            format!("{text} By a, c. In a write by b.")
        );
    }

    #[test]
    fn what_a_cluster_writes_in_normal_life_makes_no_row() {
        let taint = |taint: Value| json!({"spec": {"taints": [taint]}});
        let status = |n: &str| json!({"metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/last-updated": n}}, "data": {"status": n}});
        let claim = |phase: &str, more: Value| {
            let mut claim = json!({"status": {"phase": phase}});
            claim["metadata"] = more;
            claim
        };
        let silent: Vec<(&str, Value, Value)> = vec![
            (
                "no",
                json!({"spec": {}}),
                taint(
                    json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "t"}),
                ),
            ),
            (
                "no",
                json!({}),
                taint(
                    json!({"key": "DeletionCandidateOfClusterAutoscaler", "value": "1764500000", "effect": "PreferNoSchedule"}),
                ),
            ),
            (
                "no",
                taint(json!({"key": "a", "effect": "NoExecute"})),
                taint(json!({"key": "a", "effect": "NoExecute", "timeAdded": "t"})),
            ),
            ("cm", status("1"), status("2")),
            (
                "pvc",
                claim("Pending", json!({})),
                claim(
                    "Bound",
                    json!({"annotations": {
                "pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/storage-provisioner": "p"}}),
                ),
            ),
            (
                "svc",
                json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}}),
                json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
            ),
        ];
        for (name, before, after) in silent {
            assert_eq!(
                changed(name, before.clone(), after.clone()),
                "",
                "{before} → {after}"
            );
        }
        // A lost volume makes one, and so does a taint that a user sets.
        assert_eq!(
            changed("pvc", claim("Bound", json!({})), claim("Lost", json!({}))),
            "info PersistentVolumeClaimChanged PersistentVolumeClaim changed: status.phase"
        );
        let out_of_service =
            taint(json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}));
        assert_eq!(
            changed("no", json!({}), out_of_service),
            "info NodeTaintsChanged Node taints changed"
        );
    }

    #[test]
    fn deletion_says_why_and_warns_of_what_stops() {
        let deleted = |name: &str, object: Value| {
            let kind = kind(name);
            let body = body(kind, object);
            let row = row(kind, What::Deleted(&body));
            format!("{} {}", row.severity, row.reason)
        };
        assert_eq!(deleted("deploy", json!({})), "warning DeploymentDeleted");
        assert_eq!(deleted("quota", json!({})), "info ResourceQuotaDeleted");
        assert_eq!(deleted("no", json!({})), "warning NodeRemoved");
        for node in [
            json!({"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}),
            json!({"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}}),
            json!({"spec": {"unschedulable": true}}),
        ] {
            assert_eq!(deleted("no", node.clone()), "info NodeRemoved", "{node}");
        }
    }

    #[test]
    fn objects_of_each_namespace_and_of_kube9_are_made_by_the_cluster() {
        for (kind, name, expected) in [
            ("ConfigMap", "kube-root-ca.crt", true),
            ("ConfigMap", "kube9-operator-status", true),
            ("ServiceAccount", "default", true),
            ("ConfigMap", "default", false),
            ("Service", "kube9-operator-status", false),
        ] {
            assert_eq!(
                is_made_by_the_cluster(kind, name),
                expected,
                "{kind} {name}"
            );
        }
    }

    /// A change as `what | path | from | to | by`.
    fn named(kind: &str, title: &str, extra: Value) -> Option<String> {
        let object = ObjectRef {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let change = breaking(&object, title, extra.as_object()?, Timestamp::EPOCH)?;
        let parts = [change.what, change.path, change.from, change.to, change.by];
        Some(parts.join(" | "))
    }

    const IMAGE: &str = "spec.template.spec.containers[app].image";
    const ENV: &str = "spec.template.spec.containers[app].env[MODE].value";

    fn apps(op: &str, fields: Value, by: Value) -> Value {
        json!({"api_group": "apps", "op": op, "fields": fields, "by": by})
    }

    #[test]
    fn change_that_can_break_pods_is_named_with_values_and_author() {
        let fields = json!([
            {"path": "spec.replicas", "op": "changed", "from": 2, "to": 3},
            {"path": ENV, "op": "changed", "from": "a", "to": "b"}
        ]);
        let by = json!([
            {"manager": "scaler", "certainty": "field", "paths": ["spec.replicas"]},
            {"manager": "helm", "certainty": "field", "paths": [ENV]}
        ]);
        // The reason and title of the row are those of the scaling.
        assert_eq!(
            named(
                "StatefulSet",
                "Scaled from 2 to 3 replicas",
                apps("changed", fields.clone(), by)
            ),
            Some(format!("{ENV} changed | {ENV} | a | b | by helm"))
        );
        let write = json!([{"manager": "kubectl-edit", "certainty": "write", "paths": [ENV]}]);
        let text = named("Deployment", "", apps("changed", fields.clone(), write)).unwrap();
        assert!(text.ends_with(" | in a write by kubectl-edit"), "{text}");
        let other =
            json!([{"manager": "scaler", "certainty": "field", "paths": ["spec.replicas"]}]);
        let text = named("Deployment", "", apps("changed", fields, other)).unwrap();
        assert!(text.ends_with(" | b | "), "{text}");
        let image = json!([
            {"path": ENV, "op": "added", "to": "b"},
            {"path": IMAGE, "op": "changed", "from": "web:1", "to": "web:2"}
        ]);
        assert_eq!(
            named(
                "DaemonSet",
                "Image changed: app 1 → 2",
                apps("changed", image, json!([]))
            ),
            Some(format!(
                "image changed: app 1 → 2 | {IMAGE} | web:1 | web:2 | "
            ))
        );
        let job = json!({"api_group": "batch", "op": "changed", "fields": [
            {"path": format!("spec.jobTemplate.{ENV}"), "op": "changed", "from": "a", "to": "b"}]});
        assert!(named("CronJob", "", job).is_some());
        for (kind, group, op, expected) in [
            ("NetworkPolicy", "networking.k8s.io", "created", true),
            ("LimitRange", "", "created", true),
            ("ConfigMap", "", "deleted", true),
            ("ConfigMap", "", "created", false),
            ("Deployment", "apps", "created", false),
            ("Deployment", "apps", "deleted", false),
            ("NetworkPolicy", "crd.projectcalico.org", "created", false),
        ] {
            let extra = json!({"api_group": group, "op": op});
            assert_eq!(named(kind, "", extra).is_some(), expected, "{kind} {op}");
        }
    }

    #[test]
    fn change_that_cannot_break_pods_is_not_named() {
        for (kind, group, path) in [
            ("Deployment", "apps", "spec.replicas"),
            ("Deployment", "apps", "spec.paused"),
            ("Deployment", "apps", "spec.strategy.type"),
            ("Deployment", "apps", "metadata.labels.team"),
            (
                "Deployment",
                "apps",
                "spec.template.spec.terminationGracePeriodSeconds",
            ),
            (
                "Deployment",
                "apps",
                "spec.template.metadata.annotations[\"kubectl.kubernetes.io/restartedAt\"]",
            ),
            ("Deployment", "example.com", IMAGE),
            ("StatefulSet", "apps.kruise.io", IMAGE),
            ("ConfigMap", "", "metadata.annotations.note"),
            ("LimitRange", "", "metadata.labels.team"),
            ("Service", "", "spec.selector.app"),
        ] {
            let fields = json!([{"path": path, "op": "changed", "from": "1", "to": "2"}]);
            let extra = json!({"api_group": group, "op": "changed", "fields": fields});
            assert_eq!(named(kind, "Image changed", extra), None, "{kind} {path}");
        }
    }
}
