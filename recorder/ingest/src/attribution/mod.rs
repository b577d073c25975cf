//! Who changed a field: what `metadata.managedFields` proves, and nothing else.
//!
//! ```text
//!   entries of the last event ─▶ Stamps (10 bytes each) ─┐
//!   entries of this event ───────────────────────────────┴─▶ Event ─▶ which entries moved
//!                       fieldsV1 ─▶ owned: which entries hold a path ─▶ the author of each changed field
//! ```
//!
//! The API server sets the time of an entry only when its manager writes and the fields that it manages change
//! (`managedFieldsUpdater.Update` in apimachinery). A write by another may take fields from an entry, but keeps its time. So
//! an entry that is new, or whose time moved, is that of the writer. Other fields alone prove nothing, nor does a time that
//! the write cannot have set: one before those of the entries that were there, or in the future.
//!
//! A manager is what a client calls itself, and a client may send any `managedFields`: this is right among honest clients.
//!
//! Invariant: where two entries could be the author, or entries are missing, the author is unknown.

mod owned;
mod stamps;

use std::borrow::Cow;
use std::time::Duration;

use kube9_model::change::body::{Body, Shape};
use kube9_model::change::diff::{FIELDS_MAX, FieldChange, Op};
use kube9_model::change::path::{Path, Segment};
use kube9_model::change::stored::Stored;
use kube9_model::time::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use owned::{Holds, OwnedFields, holds};
pub use stamps::Stamps;

use crate::redact::redact;

/// An entry of `metadata.managedFields`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedEntry<'j> {
    /// What the client called itself.
    #[serde(borrow, default)]
    pub manager: Cow<'j, str>,
    /// `Apply` or `Update`.
    #[serde(borrow, default)]
    pub operation: Cow<'j, str>,
    /// The version of the fields.
    #[serde(borrow, default)]
    pub api_version: Cow<'j, str>,
    /// When the manager last changed the fields that it manages; whole seconds.
    #[serde(borrow, default)]
    pub time: Option<Cow<'j, str>>,
    /// `status` or `scale`; empty for the object itself.
    #[serde(borrow, default)]
    pub subresource: Cow<'j, str>,
    /// The fields that it manages.
    #[serde(borrow, default, rename = "fieldsV1", deserialize_with = "borrowed")]
    pub fields: Option<Cow<'j, RawValue>>,
}

/// `Cow` itself copies.
fn borrowed<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Cow<'de, RawValue>>, D::Error> {
    let raw: Option<&'de RawValue> = Deserialize::deserialize(json)?;
    Ok(raw.map(Cow::Borrowed))
}

impl ManagedEntry<'_> {
    /// A copy that does not need the JSON that it was read from.
    pub fn into_owned(self) -> ManagedEntry<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ManagedEntry {
            manager: owned(self.manager),
            operation: owned(self.operation),
            api_version: owned(self.api_version),
            time: self.time.map(owned),
            subresource: owned(self.subresource),
            fields: self.fields.map(|fields| Cow::Owned(fields.into_owned())),
        }
    }

    /// Its memory, if it is a copy.
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.manager,
            &self.operation,
            &self.api_version,
            &self.subresource,
        ];
        size_of::<Self>()
            + texts.iter().map(|text| text.len()).sum::<usize>()
            + self.time.as_ref().map_or(0, |time| time.len())
            + self.fields.as_ref().map_or(0, |fields| fields.get().len())
    }

    /// When the manager last changed the fields that it manages.
    pub fn at(&self) -> Option<Timestamp> {
        Timestamp::parse(self.time.as_deref()?).ok()
    }

    /// An autoscaler that sets replicas, as it calls itself. Nothing else in the controller manager changes those of a tracked
    /// kind.
    pub fn is_autoscaler(&self) -> bool {
        matches!(
            &*self.manager,
            // HorizontalPodAutoscaler, KEDA, Knative.
            "kube-controller-manager" | "keda" | "keda-operator" | "autoscaler"
        )
    }

    /// kubectl, as which scripts and people write.
    pub fn is_kubectl(&self) -> bool {
        self.manager.starts_with("kubectl")
    }

    /// Whether it stands for writers of a time before the entries, or for many old ones.
    fn is_collective(&self) -> bool {
        matches!(&*self.manager, "before-first-apply" | "ancient-changes")
    }
}

/// How much is proven of an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Certainty {
    /// It alone manages the field, and it wrote.
    Field,
    /// The field changed during its write: by the request itself, by admission or by defaulting.
    Write,
}

impl Certainty {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Write => "write",
        }
    }
}

/// Who changed a field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Authorship<'e> {
    /// The entry of its author, if that is proven.
    pub author: Option<(&'e ManagedEntry<'e>, Certainty)>,
    /// Only the status was written, so it is a default of another version of the API server.
    pub is_default: bool,
    /// The field is in the new body, and no entry manages it.
    is_unmanaged: bool,
}

/// An event of an object whose changes are attributed.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The stamps of the object's previous event, if they are known.
    pub before: Option<&'e Stamps>,
    /// The entries of this event.
    pub entries: &'e [ManagedEntry<'e>],
    /// No event of the object was missed between the two.
    pub is_next: bool,
    /// When the previous event was received, if it was the last one; for one that was received late, a time before it.
    pub previous: Option<Timestamp>,
    /// When this event was received.
    pub received: Timestamp,
}

/// A time this much after the receipt may be that of a write: clocks differ, and times are whole seconds.
const AHEAD_MAX: Duration = Duration::from_secs(1);

/// How an entry differs from that of the event before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Not at all, or it lost fields to a writer.
    No,
    /// Its time is in the second of the event before, so that its manager may have written again.
    Recent,
    /// It is new, or its time is later.
    Wrote,
    /// Its time went back: a clock was wrong, or a client sent it.
    Back,
}

/// An entry, its fields, and how it differs.
struct Examined<'e> {
    entry: &'e ManagedEntry<'e>,
    fields: OwnedFields<'e>,
    moved: Moved,
}

impl Examined<'_> {
    /// Its manager wrote the object itself, as far as its time says.
    fn may_have_written(&self) -> bool {
        self.entry.subresource.is_empty() && matches!(self.moved, Moved::Wrote | Moved::Recent)
    }
}

impl<'e> Event<'e> {
    /// Who changed each field; `after` is the object's new body.
    pub fn authors(&self, after: &Body, changes: &[FieldChange<'_>]) -> Vec<Authorship<'e>> {
        let Some(examined) = self.examined() else {
            return vec![Authorship::default(); changes.len()];
        };
        let writer = self.is_next.then(|| writer(&examined)).flatten();
        let is_status_write = is_status_write(&examined);
        let mut authors: Vec<Authorship<'e>> = changes
            .iter()
            .map(|change| match change.op {
                Op::Removed => Authorship::default(),
                // Nothing manages the order of a list.
                Op::Order => Authorship {
                    author: writer.map(|entry| (entry, Certainty::Write)),
                    ..Authorship::default()
                },
                _ => author_of_present(&examined, writer, after, &change.path),
            })
            .collect();
        // An update that removes a field leaves no trace of its own: the entry that held it loses it, whichever client wrote.
        let remover = self
            .is_next
            .then(|| applier(&examined).or_else(|| only_author(&authors)))
            .flatten();
        for (authorship, change) in authors.iter_mut().zip(changes) {
            authorship.is_default = is_status_write
                && is_of_spec(&change.path)
                && (self.is_next || change.op == Op::Added && authorship.is_unmanaged);
            if change.op == Op::Removed {
                authorship.author = remover.map(|entry| (entry, Certainty::Write));
            }
        }
        authors
    }

    /// `None` if nothing can be proven by the entries.
    fn examined(&self) -> Option<Vec<Examined<'e>>> {
        let before = self.before?;
        let now = Stamps::of(self.entries).filter(|now| !now.0.is_empty())?;
        // Times are whole seconds, and two of five writes are in the second of the one before.
        let previous = self.previous.filter(|_| before.is_time_known());
        let is_recent = |seconds: u32| {
            let previous = previous.map(Timestamp::second);
            seconds > 0 && previous.is_some_and(|previous| i64::from(seconds) >= previous)
        };
        let is_future = |seconds: u32| i64::from(seconds) > self.received.plus(AHEAD_MAX).second();
        let latest = before.latest();
        let examine = |(entry, stamp): (&'e ManagedEntry<'e>, &stamps::Stamp)| {
            let moved = match before.get(stamp.entry) {
                _ if is_future(stamp.seconds) => Moved::No,
                // A client sent it: a copy of what the object had once.
                None if stamp.seconds > 0 && stamp.seconds < latest => Moved::No,
                None => Moved::Wrote,
                Some(old) if stamp.seconds < old.seconds => Moved::Back,
                Some(old) if stamp.seconds > old.seconds => Moved::Wrote,
                Some(_) if is_recent(stamp.seconds) => Moved::Recent,
                Some(_) => Moved::No,
            };
            let fields = OwnedFields::read(entry.fields.as_ref()?.get())?;
            Some(Examined {
                entry,
                fields,
                moved,
            })
        };
        self.entries.iter().zip(&now.0).map(examine).collect()
    }
}

/// The entry that wrote, if it is the only one.
fn writer<'e>(examined: &[Examined<'e>]) -> Option<&'e ManagedEntry<'e>> {
    if examined.iter().any(|one| one.moved == Moved::Back) {
        return None;
    }
    let mut wrote = examined.iter().filter(|one| one.moved == Moved::Wrote);
    let first = wrote.next()?;
    let is_sole = wrote.next().is_none();
    (is_sole && first.may_have_written() && !first.entry.is_collective()).then_some(first.entry)
}

/// Whether nothing but the status was written, as far as times say.
fn is_status_write(examined: &[Examined<'_>]) -> bool {
    let is_of_status = |one: &Examined<'_>| one.entry.subresource == "status";
    let mut moved = examined.iter().filter(|one| one.moved != Moved::No);
    let mut wrote = examined.iter().filter(|one| one.moved == Moved::Wrote);
    wrote.any(is_of_status) && moved.all(is_of_status)
}

/// A write to the status can change metadata, but never the specification.
fn is_of_spec(path: &Path) -> bool {
    matches!(path.segments().first(), Some(Segment::Field(name)) if **name == *"spec")
}

/// The entry that applied, if no other may have written: what it does not apply any more is removed.
fn applier<'e>(examined: &[Examined<'e>]) -> Option<&'e ManagedEntry<'e>> {
    let mut wrote = examined.iter().filter(|one| one.may_have_written());
    let first = wrote.next()?;
    let is_sole = wrote.next().is_none();
    (is_sole && first.entry.operation == "Apply" && !first.entry.is_collective())
        .then_some(first.entry)
}

/// The author of a field that is in the new body.
fn author_of_present<'e>(
    examined: &[Examined<'e>],
    writer: Option<&'e ManagedEntry<'e>>,
    after: &Body,
    path: &Path,
) -> Authorship<'e> {
    let held = |one: &Examined<'e>| holds(&one.fields, path.segments(), after.stored());
    let holders: Vec<(&Examined<'e>, Holds)> = examined
        .iter()
        .map(|one| (one, held(one)))
        .filter(|(_, held)| *held != Holds::No)
        .collect();
    let of_one = || holders.iter().filter(|(one, _)| !one.entry.is_collective());
    // An entry whose last key was taken keeps the empty map that it was in.
    let deepest = of_one().map(|(_, held)| held.depth()).max();
    let counted: Vec<&(&Examined<'e>, Holds)> = of_one()
        .filter(|(_, held)| Some(held.depth()) == deepest)
        .collect();
    let is_writer =
        |one: &Examined<'_>| writer.is_some_and(|writer| std::ptr::eq(writer, one.entry));
    let during_write = writer.map(|entry| (entry, Certainty::Write));
    let author = match counted[..] {
        [] => during_write,
        // An event is one write: of two that may have written, it is that whose time moved.
        [(one, _)] if one.moved == Moved::Recent && writer.is_some() && !is_writer(one) => {
            during_write
        }
        [(one, _)] => match one.moved {
            Moved::Wrote | Moved::Recent => Some((one.entry, Certainty::Field)),
            // Its entry has no time.
            Moved::No if is_scaling(one.entry, path) => Some((one.entry, Certainty::Field)),
            Moved::Back => None,
            Moved::No => during_write,
        },
        // Several manage parts of what changed, and one of them wrote.
        _ if counted.iter().all(|(_, held)| *held == Holds::Parts)
            && counted.iter().any(|(one, _)| is_writer(one)) =>
        {
            during_write
        }
        // A claim of two.
        _ => None,
    };
    Authorship {
        author,
        is_default: false,
        is_unmanaged: holders.is_empty(),
    }
}

fn is_scaling(entry: &ManagedEntry<'_>, path: &Path) -> bool {
    let is = |segment: &Segment, name: &str| matches!(segment, Segment::Field(f) if **f == *name);
    entry.subresource == "scale"
        && matches!(path.segments(), [spec, replicas] if is(spec, "spec") && is(replicas, "replicas"))
}

/// The author of all fields that have one, if it is the same.
fn only_author<'e>(authors: &[Authorship<'e>]) -> Option<&'e ManagedEntry<'e>> {
    let mut entries = authors.iter().filter_map(|one| one.author);
    let (first, _) = entries.next()?;
    entries
        .all(|(entry, _)| std::ptr::eq(entry, first))
        .then_some(first)
}

/// Who created an object: the one entry of the object itself that is not newer than the object.
///
/// The API server sets the time of the creator's entry before admission, and that of the creation after it: a webhook may
/// take seconds between them. An entry of an earlier second is that of the creator; one of the same second may also be of
/// the next writer, if the creator wrote again later.
pub fn creator<'e>(
    entries: &'e [ManagedEntry<'e>],
    created: Option<Timestamp>,
) -> Option<&'e ManagedEntry<'e>> {
    let created = created?.second();
    let own = || entries.iter().filter(|entry| entry.subresource.is_empty());
    let at = |entry: &ManagedEntry<'_>| entry.at().map(Timestamp::second);
    let mut early = own().filter(|entry| at(entry).is_none_or(|at| at <= created));
    let first = early.next()?;
    let is_sole = early.next().is_none() && !first.is_collective();
    let is_proven = at(first)? < created || own().count() == 1;
    (is_sole && is_proven).then_some(first)
}

/// An author and what it changed, as a row shows it.
#[derive(Debug, Clone)]
pub struct ChangeAuthor<'e> {
    /// Its entry.
    pub entry: &'e ManagedEntry<'e>,
    /// How much is proven.
    pub certainty: Certainty,
    /// What it changed.
    pub paths: Vec<&'e Path>,
}

impl<'e> ChangeAuthor<'e> {
    /// The authors of an event's changes, each with its fields.
    pub fn group(authors: &[Authorship<'e>], changes: &'e [FieldChange<'_>]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (authorship, change) in authors.iter().zip(changes) {
            let Some((entry, certainty)) = authorship.author else {
                continue;
            };
            let known = all
                .iter_mut()
                .find(|by| std::ptr::eq(by.entry, entry) && by.certainty == certainty);
            match known {
                Some(by) => by.paths.push(&change.path),
                None => all.push(Self {
                    entry,
                    certainty,
                    paths: vec![&change.path],
                }),
            }
        }
        all
    }

    /// The author as a row shows it: of its paths as many as a row has fields.
    pub fn shown(&self, via: Option<&Via>) -> ShownAuthor {
        let mut by = Map::new();
        // Clients choose these.
        let redacted = |text: &str| Value::String(redact(text).into_owned());
        by.insert("manager".to_owned(), redacted(&self.entry.manager));
        by.insert("operation".to_owned(), redacted(&self.entry.operation));
        if !self.entry.subresource.is_empty() {
            by.insert("subresource".to_owned(), redacted(&self.entry.subresource));
        }
        if let Some(at) = self.entry.at() {
            by.insert("at".to_owned(), at.to_string().into());
        }
        by.insert("certainty".to_owned(), self.certainty.as_str().into());
        if let Some(Via(via)) = via {
            by.insert("via".to_owned(), via.as_str().into());
        }
        let paths = self.paths.iter().take(FIELDS_MAX);
        let paths: Vec<Value> = paths.map(|path| path.to_string().into()).collect();
        by.insert("paths".to_owned(), paths.into());
        ShownAuthor(Value::Object(by))
    }
}

/// An author as a row shows it; its texts are redacted.
#[derive(Debug)]
pub struct ShownAuthor(Value);

impl ShownAuthor {
    /// The JSON object.
    pub fn into_json(self) -> Value {
        self.0
    }
}

/// What precedes the cause of a change in what an object says.
pub(crate) const CHANGE_CAUSE: &str = "change-cause: ";

/// What an object says of the tool behind its managers. It is from a body, and so redacted.
#[derive(Debug)]
pub struct Via(String);

/// What the object itself says of the tool behind its managers: annotations and labels that deployment tools write.
///
/// The cause of a change (`kubernetes.io/change-cause`) is repeated only if it changed too: an old one would name the wrong
/// change.
pub fn via(after: &Body, changes: &[FieldChange<'_>]) -> Option<Via> {
    const CAUSE: &str = "kubernetes.io/change-cause";
    let text = |group: &str, key: &str| -> Option<&str> {
        let value = after.stored().get("metadata")?.get(group)?.get(key)?;
        match Shape::of(value) {
            Shape::Scalar(Stored::Text(text)) => Some(text),
            _ => None,
        }
    };
    let is_cause = |change: &FieldChange<'_>| matches!(change.path.segments().last(), Some(Segment::Field(key)) if **key == *CAUSE);
    let cause = text("annotations", CAUSE)
        .filter(|_| changes.iter().any(is_cause))
        .map(|cause| format!("{CHANGE_CAUSE}{cause}"));
    let texts = [deployed_by(text), cause].into_iter().flatten();
    let all: Vec<String> = texts.collect();
    (!all.is_empty()).then(|| Via(all.join(", ")))
}

/// The tool that deploys the object, by what it wrote into its metadata.
fn deployed_by<'b>(text: impl Fn(&str, &str) -> Option<&'b str>) -> Option<String> {
    if let Some(id) = text("annotations", "argocd.argoproj.io/tracking-id") {
        return Some(format!("Argo CD: {id}"));
    }
    for (tool, place, name, namespace) in [
        (
            "Flux Kustomization",
            "labels",
            "kustomize.toolkit.fluxcd.io/name",
            "kustomize.toolkit.fluxcd.io/namespace",
        ),
        (
            "Flux HelmRelease",
            "labels",
            "helm.toolkit.fluxcd.io/name",
            "helm.toolkit.fluxcd.io/namespace",
        ),
        (
            "Helm",
            "annotations",
            "meta.helm.sh/release-name",
            "meta.helm.sh/release-namespace",
        ),
    ] {
        if let Some(name) = text(place, name) {
            let namespace = text(place, namespace).unwrap_or_default();
            return Some(format!("{tool}: {namespace}/{name}"));
        }
    }
    None
}

#[cfg(test)]
mod tests;
