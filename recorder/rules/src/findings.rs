//! Findings: when a symptom opens one, what updates it, and when it closes.
//!
//! ```text
//!   symptom ──▶ pending ── `for_at_least` has passed ──▶ open ── symptom ended, object deleted, rule disabled ──▶ closed
//!                  └── symptom ended ──▶ nothing           ├── worse ──▶ open, with a new row (better changes nothing)
//!                                                          └── superseded by another rule ──▶ closed ("…, now …")
//! ```
//!
//! Invariant: a fingerprint is open at most once. It consists of the rule, the object (by uid, so that a new pod with an
//! old name is another object) and the part.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use kube9_ingest::item::{Finding, FindingTransition};
use kube9_ingest::maps;
use kube9_ingest::sanitize::{Clean, NAME_BYTES_MAX, clean_text, sanitize};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::changes::UnobservedInterval;
use super::ledger::Ledger;
use super::rules;
use super::rules::format::human_duration;
use super::rules::symptoms::{RuleOutput, Symptom};
use super::subject::{ObjectKey, Subject, SubjectKind};

/// Shortest time between two updates of a finding's row, so that a fast counter does not cause a write each second.
const UPDATE_EVERY: Duration = Duration::from_secs(60);

/// The last words of the first termination, in the metadata of a row.
pub(crate) const FIRST_WORDS: &str = "first_words";

/// Key of the value that a field had.
pub(crate) const FROM: &str = "from";

/// The stored state of an open finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFinding {
    rule: String,
    #[serde(rename = "type", with = "word")]
    event_type: EventType,
    #[serde(flatten)]
    subject: Subject,
    #[serde(with = "word")]
    severity: Severity,
    title: String,
    since: i64,
    #[serde(default, with = "triple", skip_serializing_if = "Option::is_none")]
    object: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    container: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, with = "triple", skip_serializing_if = "Option::is_none")]
    owner: Option<ObjectRef>,
    /// The value of [`FIRST_WORDS`] when it opened. After a restart the rule does not know it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    first_words: String,
    /// The value of [`FROM`] when it opened: that of the field, which ends the finding when it returns.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    from: String,
    /// Hash of the metadata of its row.
    #[serde(default)]
    digest: u64,
    #[serde(skip)]
    updated: Option<Timestamp>,
}

/// One evaluation of a subject by a rule.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    pub rule: &'static str,
    pub event_type: EventType,
    pub subject: &'a Subject,
    /// uid of the object, or the name of a subject without one.
    pub identity: &'a str,
    pub object: Option<&'a ObjectRef>,
    /// The namespace to which the memory is charged: the subject's, or for a subject in none, such as an image, that of
    /// one of its pods.
    pub bearer: &'a str,
    /// Not all pods are known: findings may open, but not close.
    pub sees_part: bool,
    /// The subject had no open or pending finding before this evaluation. True for most, which makes them cheap.
    pub had_none: bool,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy)]
enum Ending<'a> {
    /// The title of its last row ends in "resolved"; the value is the reason.
    Resolved(&'a str),
    /// Another rule reports what the problem has become.
    SupersededBy(&'a str),
}

/// All open and pending findings.
#[derive(Debug, Default)]
pub struct Findings {
    open: maps::Map<String, OpenFinding>,
    by_rule: BTreeMap<String, i64>,
    by_subject: maps::Map<Subject, BTreeSet<String>>,
    /// When symptoms that have not lasted long enough were first seen, by subject and fingerprint.
    pending: maps::Map<Subject, BTreeMap<String, Timestamp>>,
    /// Findings that were open during an interval in which their objects were not watched.
    unverified: maps::Map<String, UnobservedInterval>,
    ledger: Ledger,
    /// The namespace that is charged for a subject without one.
    bearers: maps::Map<Subject, Box<str>>,
}

impl Findings {
    /// Restores the stored findings. Returns how many could not be read.
    pub fn restore(&mut self, stored: Vec<(String, String)>) -> usize {
        let mut unreadable = 0;
        for (fingerprint, state) in stored {
            match serde_json::from_str::<OpenFinding>(&state) {
                Ok(open) => self.insert(fingerprint, open),
                Err(_) => unreadable += 1,
            }
        }
        unreadable
    }

    /// Clears everything, for a new database.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn open_by_rule(&self) -> &BTreeMap<String, i64> {
        &self.by_rule
    }

    /// Whether the subject has no open or pending finding.
    pub fn has_none(&self, subject: &Subject) -> bool {
        !self.by_subject.contains_key(subject) && !self.pending.contains_key(subject)
    }

    pub fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Subjects with an open or pending finding.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.by_subject.keys().chain(self.pending.keys())
    }

    /// The open findings about fields of objects: the object, the rule, the path, and the value before.
    pub fn of_fields(&self) -> impl Iterator<Item = (&ObjectKey, &str, &str, &str)> {
        let of_fields = self
            .open
            .iter()
            .filter(|(_, open)| open.subject.kind == SubjectKind::Fields);
        of_fields.filter_map(|(fingerprint, open)| {
            let identity = open.subject.text();
            let path = fingerprint.strip_prefix(&*open.rule)?.strip_prefix('/')?;
            let path = path.strip_prefix(&*identity)?.strip_prefix('/')?;
            Some((&open.subject.object, &*open.rule, path, &*open.from))
        })
    }

    /// Notes that findings of these rules may have ended unobserved.
    pub fn mark_unverified(&mut self, concerns: impl Fn(&str) -> bool, late: UnobservedInterval) {
        for (fingerprint, _) in self.open.iter().filter(|(_, open)| concerns(&open.rule)) {
            let interval = self.unverified.entry(fingerprint.clone()).or_insert(late);
            interval.from = interval.from.min(late.from);
            interval.to = late.to;
        }
    }

    /// Whether the rule has an open finding about this part of the subject.
    pub fn is_open(&self, evaluation: &Evaluation<'_>, part: &str) -> bool {
        !evaluation.had_none && self.open.contains_key(&fingerprint(evaluation, part))
    }

    /// Whether another rule has an open finding about this part of the subject.
    pub fn other_is_open(&self, evaluation: &Evaluation<'_>, rule: &str, part: &str) -> bool {
        self.open
            .contains_key(&fingerprint_of(rule, evaluation, part))
    }

    /// Opens, updates and closes findings so that they match the rule's output; returns when to evaluate again.
    pub fn reconcile(
        &mut self,
        evaluation: &Evaluation<'_>,
        output: RuleOutput,
        out: &mut Vec<Finding>,
    ) -> Option<Timestamp> {
        debug_assert!(
            rules::finding_names().any(|name| name == evaluation.rule),
            "{} is not documented",
            evaluation.rule
        );
        if evaluation.had_none && output.symptoms.is_empty() {
            return output.recheck_at;
        }
        self.charge(evaluation.subject, evaluation.bearer);
        let superseded = output.superseded;
        let mut recheck_at = output.recheck_at;
        let mut sooner = |at: Timestamp| {
            recheck_at = Some(recheck_at.map_or(at, |recheck_at: Timestamp| recheck_at.min(at)))
        };
        let mut seen: BTreeSet<String> = output
            .keep_open
            .iter()
            .map(|part| fingerprint(evaluation, part))
            .collect();
        for symptom in output.symptoms {
            let fingerprint = fingerprint(evaluation, &symptom.part);
            self.unverified.remove(&fingerprint);
            if let Some(open) = self.open.get_mut(&fingerprint) {
                if evaluation.sees_part {
                    continue; // what is missing does not make it better
                }
                // A lower severity does not change the finding: two pods that crash in turn are one finding.
                let is_worse = symptom.severity > open.severity;
                if !is_worse {
                    if let Some(at) = update(evaluation, open, &fingerprint, symptom, out) {
                        sooner(at);
                    }
                } else {
                    let since = Timestamp::from_millis(open.since);
                    self.open(evaluation, &fingerprint, symptom, since, out);
                }
            } else {
                // `since` is now if the rule does not know it, and later if a node's clock is ahead.
                let first = if symptom.since >= evaluation.now {
                    self.pending_since(evaluation, &fingerprint)
                } else {
                    symptom.since
                };
                let due = first.plus(symptom.for_at_least);
                if due <= evaluation.now {
                    self.open(evaluation, &fingerprint, symptom, first, out);
                } else {
                    sooner(due);
                }
            }
            seen.insert(fingerprint);
        }
        self.close_unseen(evaluation, &seen, &superseded, out);
        self.release(evaluation.subject);
        recheck_at
    }

    /// The namespace that is charged for a subject; empty if none is.
    pub fn bearer<'a>(&'a self, subject: &'a Subject) -> &'a str {
        bearer(&self.bearers, subject)
    }

    /// Moves the charge for a subject to another namespace.
    fn charge(&mut self, subject: &Subject, namespace: &str) {
        let before = bearer(&self.bearers, subject);
        if before == namespace {
            return;
        }
        let opened = self.by_subject.get(subject).into_iter().flatten();
        let opened = opened.filter_map(|fingerprint| {
            let open = self.open.get(fingerprint)?;
            Some(open.cost(fingerprint.len()))
        });
        let pending = self.pending.get(subject).into_iter().flatten();
        let pending = pending.map(|(fingerprint, _)| pending_cost(fingerprint));
        let bytes = opened.chain(pending).sum();
        self.ledger.sub(before, bytes);
        self.ledger.add(namespace, bytes);
        self.bearers.insert(subject.clone(), namespace.into());
    }

    /// Removes the charge for a subject without findings.
    fn release(&mut self, subject: &Subject) {
        if !self.bearers.is_empty() && self.has_none(subject) {
            self.bearers.remove(subject);
        }
    }

    fn pending_since(&mut self, evaluation: &Evaluation<'_>, fingerprint: &str) -> Timestamp {
        let pending = self.pending.entry(evaluation.subject.clone()).or_default();
        if let Some(first) = pending.get(fingerprint) {
            return *first;
        }
        pending.insert(fingerprint.to_owned(), evaluation.now);
        let cost = pending_cost(fingerprint);
        self.ledger.add(evaluation.bearer, cost);
        evaluation.now
    }

    /// Closes the findings of this rule whose symptom is not in its output.
    fn close_unseen(
        &mut self,
        evaluation: &Evaluation<'_>,
        seen: &BTreeSet<String>,
        superseded: &BTreeMap<String, &'static str>,
        out: &mut Vec<Finding>,
    ) {
        let prefix = format!("{}/", evaluation.rule);
        if let Some(pending) = self.pending.get_mut(evaluation.subject) {
            let place = evaluation.bearer;
            pending.retain(|fingerprint, _| {
                let stays = !fingerprint.starts_with(&prefix)
                    || (seen.contains(fingerprint) && !self.open.contains_key(fingerprint));
                if !stays {
                    self.ledger.sub(place, pending_cost(fingerprint));
                }
                stays
            });
            if pending.is_empty() {
                self.pending.remove(evaluation.subject);
            }
        }
        let Some(open) = self.by_subject.get(evaluation.subject) else {
            return;
        };
        if evaluation.sees_part {
            return;
        }
        let over = open
            .iter()
            .filter(|f| f.starts_with(&prefix) && !seen.contains(*f));
        for fingerprint in over.cloned().collect::<Vec<_>>() {
            let part = fingerprint.splitn(3, '/').nth(2).unwrap_or_default();
            let end = match superseded.get(part) {
                Some(what) => Ending::SupersededBy(what),
                None => Ending::Resolved("the problem is over"),
            };
            self.close(&fingerprint, end, evaluation.now, out);
        }
    }

    /// Closes the findings of these rules about a deleted subject.
    pub fn close_for_deleted(
        &mut self,
        subject: &Subject,
        of: impl Fn(&str) -> bool,
        now: Timestamp,
        out: &mut Vec<Finding>,
    ) {
        self.close_for(subject, of, "the object was deleted", now, out);
    }

    /// Closes the findings of these rules about a subject, with a reason.
    pub fn close_for(
        &mut self,
        subject: &Subject,
        of: impl Fn(&str) -> bool,
        because: &str,
        now: Timestamp,
        out: &mut Vec<Finding>,
    ) {
        self.forget_pending(subject);
        let mut over = self.by_subject.get(subject).cloned().unwrap_or_default();
        over.retain(|fingerprint| {
            self.open
                .get(fingerprint)
                .is_some_and(|open| of(&open.rule))
        });
        for fingerprint in over {
            self.close(&fingerprint, Ending::Resolved(because), now, out);
        }
        self.release(subject);
    }

    fn forget_pending(&mut self, subject: &Subject) {
        for (fingerprint, _) in self.pending.remove(subject).unwrap_or_default() {
            let place = bearer(&self.bearers, subject);
            self.ledger.sub(place, pending_cost(&fingerprint));
        }
    }

    /// Subjects of a namespace with an open or pending finding.
    pub fn of_namespace(&self, namespace: &str) -> Vec<Subject> {
        let all = self.by_subject.keys().chain(self.pending.keys());
        let within = all.filter(|subject| self.bearer(subject) == namespace);
        within.cloned().collect()
    }

    /// Whether a subject has a finding.
    pub fn has(&self, subject: &Subject) -> bool {
        self.by_subject.contains_key(subject)
    }

    /// Closes the findings of rules that do not run, with a reason.
    pub fn close_disabled(
        &mut self,
        runs: impl Fn(&str) -> bool,
        because: &str,
        now: Timestamp,
        out: &mut Vec<Finding>,
    ) {
        let off = self.open.iter().filter(|(_, open)| !runs(&open.rule));
        let off: BTreeSet<String> = off.map(|(fingerprint, _)| fingerprint.clone()).collect();
        for fingerprint in off {
            self.close(&fingerprint, Ending::Resolved(because), now, out);
        }
        let (by_subject, pending) = (&self.by_subject, &self.pending);
        let is_known =
            |subject: &Subject| by_subject.contains_key(subject) || pending.contains_key(subject);
        self.bearers.retain(|subject, _| is_known(subject));
    }

    fn insert(&mut self, fingerprint: String, open: OpenFinding) {
        let all = self.by_subject.entry(open.subject.clone()).or_default();
        all.insert(fingerprint.clone());
        let rule = open.rule.clone();
        let length = fingerprint.len();
        let place = bearer(&self.bearers, &open.subject);
        self.ledger.add(place, open.cost(length));
        match self.open.insert(fingerprint, open) {
            None => *self.by_rule.entry(rule).or_default() += 1,
            Some(before) => {
                let place = bearer(&self.bearers, &before.subject);
                self.ledger.sub(place, before.cost(length));
            }
        }
    }

    fn open(
        &mut self,
        evaluation: &Evaluation<'_>,
        fingerprint: &str,
        symptom: Symptom,
        since: Timestamp,
        out: &mut Vec<Finding>,
    ) {
        let text = |key: &str| match symptom.extra.get(key) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let open = OpenFinding {
            rule: evaluation.rule.to_owned(),
            event_type: evaluation.event_type,
            subject: evaluation.subject.clone(),
            severity: symptom.severity,
            title: symptom.title.clone(),
            since: since.millis(),
            object: evaluation.object.cloned(),
            container: symptom.container.clone(),
            node: symptom.node.clone(),
            owner: symptom.owner.clone(),
            first_words: text(FIRST_WORDS),
            from: text(FROM),
            digest: digest(&symptom.extra),
            updated: Some(evaluation.now),
        };
        // An `OpenFinding` always serializes.
        let state = Clean::json(&open).unwrap_or_else(|| Clean::identity("{}"));
        let row = row(evaluation, fingerprint, symptom, since);
        self.insert(fingerprint.to_owned(), open);
        out.push(Finding {
            fingerprint: Clean::identity(fingerprint),
            transition: FindingTransition::Opened { state, since },
            at: evaluation.now,
            row: sanitize(row),
        });
    }

    fn close(
        &mut self,
        fingerprint: &str,
        end: Ending<'_>,
        now: Timestamp,
        out: &mut Vec<Finding>,
    ) {
        let Some(open) = self.open.remove(fingerprint) else {
            return;
        };
        let cost = open.cost(fingerprint.len());
        let place = bearer(&self.bearers, &open.subject);
        self.ledger.sub(place, cost);
        if let Some(count) = self.by_rule.get_mut(&open.rule) {
            *count -= 1;
            if *count == 0 {
                self.by_rule.remove(&open.rule);
            }
        }
        if let Some(all) = self.by_subject.get_mut(&open.subject) {
            all.remove(fingerprint);
            if all.is_empty() {
                self.by_subject.remove(&open.subject);
            }
        }
        let interval = self.unverified.remove(fingerprint);
        out.push(Finding {
            fingerprint: Clean::identity(fingerprint),
            transition: FindingTransition::Closed,
            at: now,
            row: sanitize(open.closing_row(fingerprint, end, interval, now)),
        });
    }
}

fn bearer<'a>(bearers: &'a maps::Map<Subject, Box<str>>, subject: &'a Subject) -> &'a str {
    match subject.namespace() {
        "" => bearers.get(subject).map_or("", |namespace| namespace),
        namespace => namespace,
    }
}

fn update(
    evaluation: &Evaluation<'_>,
    open: &mut OpenFinding,
    fingerprint: &str,
    mut symptom: Symptom,
    out: &mut Vec<Finding>,
) -> Option<Timestamp> {
    symptom.extra.remove(FIRST_WORDS);
    if !open.first_words.is_empty() {
        symptom.with(FIRST_WORDS, &*open.first_words);
    }
    let digest = digest(&symptom.extra);
    if digest == open.digest {
        return None;
    }
    if let Some(next) = open
        .updated
        .map(|at| at.plus(UPDATE_EVERY))
        .filter(|next| *next > evaluation.now)
    {
        return Some(next);
    }
    open.digest = digest;
    open.updated = Some(evaluation.now);
    let row = row(
        evaluation,
        fingerprint,
        symptom,
        Timestamp::from_millis(open.since),
    );
    out.push(Finding {
        fingerprint: Clean::identity(fingerprint),
        transition: FindingTransition::Updated,
        at: evaluation.now,
        row: sanitize(row),
    });
    None
}

/// Removes zero milliseconds: times of the API are whole seconds.
fn legible(text: &str) -> String {
    text.replace(".000Z", "Z")
}

fn row(
    evaluation: &Evaluation<'_>,
    fingerprint: &str,
    symptom: Symptom,
    since: Timestamp,
) -> Record {
    let mut extra = Map::from_iter([
        ("rule".to_owned(), json!(evaluation.rule)),
        ("finding".to_owned(), json!(fingerprint)),
        ("since".to_owned(), json!(since.to_string())),
    ]);
    extra.extend(symptom.extra);
    Record {
        event_type: evaluation.event_type,
        severity: symptom.severity,
        title: format!("{} since {}", symptom.title, minute(since)),
        description: legible(&symptom.description),
        object: evaluation.object.cloned(),
        owner: symptom.owner,
        reason: evaluation.rule.to_owned(),
        container: symptom.container,
        node: symptom.node,
        extra,
        ..Record::internal(evaluation.now)
    }
}

/// Bytes of an open finding besides its texts: a dozen short strings, and its slots in two maps that are two thirds full.
/// With 700, a cluster full of findings used 90 MiB where 64 were counted.
const OPEN_COST: usize = 1700;

/// Bytes of a pending finding.
fn pending_cost(fingerprint: &str) -> usize {
    400 + fingerprint.len()
}

impl OpenFinding {
    /// Estimated bytes.
    fn cost(&self, fingerprint: usize) -> usize {
        let bytes = |object: &ObjectRef| {
            let ObjectRef {
                kind,
                namespace,
                name,
            } = object;
            kind.len() + namespace.len() + name.len()
        };
        let objects = self.object.iter().chain(&self.owner);
        OPEN_COST
            + 2 * fingerprint
            + self.title.len()
            + self.first_words.len()
            + self.from.len()
            + 2 * bytes(&self.subject.object)
            + objects.map(bytes).sum::<usize>()
    }

    fn closing_row(
        &self,
        fingerprint: &str,
        end: Ending<'_>,
        unobserved: Option<UnobservedInterval>,
        now: Timestamp,
    ) -> Record {
        let since = Timestamp::from_millis(self.since);
        let (title, because) = match end {
            Ending::Resolved(because) => (format!("{} resolved", self.title), because.to_owned()),
            Ending::SupersededBy(what) => (
                format!("{}, now {what}", self.title),
                format!("it became {what}, which has a finding of its own"),
            ),
        };
        let mut description = legible(&format!(
            "\"{}\" lasted {}, since {since}. Closed because {because}.",
            self.title,
            human_duration(now.since(since))
        ));
        let mut extra = Map::from_iter([
            ("rule".to_owned(), json!(self.rule)),
            ("finding".to_owned(), json!(fingerprint)),
            ("since".to_owned(), json!(since.to_string())),
            ("severity_was".to_owned(), json!(self.severity.as_str())),
            ("resolved_because".to_owned(), json!(because)),
        ]);
        if let Some(late) = unobserved {
            description.push_str(" It ended while the recorder could not watch it.");
            extra.insert(
                "closed_between".to_owned(),
                json!([late.from.to_string(), late.to.to_string()]),
            );
        }
        Record {
            event_type: self.event_type,
            severity: Severity::Info,
            title,
            description,
            object: self.object.clone(),
            owner: self.owner.clone(),
            reason: self.rule.clone(),
            container: self.container.clone(),
            node: self.node.clone(),
            extra,
            ..Record::internal(now)
        }
    }
}

/// `2026-11-22 18:16Z`: since when, in a title.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    let minute = text.get(..16).unwrap_or(&text);
    format!("{}Z", minute.replacen('T', " ", 1))
}

fn fingerprint(evaluation: &Evaluation<'_>, part: &str) -> String {
    fingerprint_of(evaluation.rule, evaluation, part)
}

/// The identity is a uid or a sanitized name; a part may be any text of an object.
fn fingerprint_of(rule: &str, evaluation: &Evaluation<'_>, part: &str) -> String {
    let part = clean_text(part, NAME_BYTES_MAX);
    format!("{rule}/{}/{part}", evaluation.identity)
}

/// Stores an enum as its name.
mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(word: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(word)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(Error::custom)
    }
}

/// Stores an object as its kind, namespace and name.
mod triple {
    use kube9_model::ObjectRef;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        object: &Option<ObjectRef>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let object = object.as_ref();
        let triple = object.map(|object| [&object.kind, &object.namespace, &object.name]);
        triple.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ObjectRef>, D::Error> {
        let triple = Option::<[String; 3]>::deserialize(from)?;
        Ok(triple.map(|[kind, namespace, name]| ObjectRef {
            kind,
            namespace,
            name,
        }))
    }
}

fn digest(extra: &Map<String, Value>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, value) in extra {
        key.hash(&mut hasher);
        value.to_string().hash(&mut hasher);
    }
    hasher.finish()
}
