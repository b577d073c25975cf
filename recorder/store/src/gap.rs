//! Gap rows: intervals in which something may have happened that is not in the record.
//!
//! A gap row claims only what is proven. `recovery: complete` means that every Event which the API server kept was recovered.
//! Objects that were created *and* deleted inside the gap are never known.

use std::time::Duration;

use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use serde_json::{Map, Value, json};

/// Title of every gap row.
pub const TITLE: &str = "Recording gap";

/// How much of a gap was recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recovery {
    /// Everything the API server kept was recovered, and it kept everything.
    Complete,
    /// Something was deleted or expired meanwhile; the rest was recovered.
    Partial,
    /// The gap was longer than the Events' TTL, and nothing proves that they lived longer.
    None,
}

impl Recovery {
    /// The value in metadata and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Complete, Self::Partial, Self::None]
            .into_iter()
            .find(|recovery| recovery.as_str() == word)
    }

    /// Severity of a closed gap row.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Complete => Severity::Info,
            Self::Partial => Severity::Warning,
            Self::None => Severity::Error,
        }
    }
}

/// What is known when a gap closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapEvidence {
    /// When the position was last confirmed.
    pub from: Timestamp,
    /// The server's time of the list that ended it.
    pub to: Timestamp,
    /// Its longest possible duration; `None` if the clocks contradict each other.
    pub length: Option<Duration>,
    /// Oldest last change among the listed Events that were written before the gap (by resourceVersion), in the
    /// recorder's time.
    pub oldest_change: Option<Timestamp>,
    /// How long the API server keeps an Event, as configured.
    pub event_ttl: Duration,
    /// Stored Events that should have been listed and were not.
    pub missing: u64,
    /// Items that a full queue dropped and the list did not recover.
    pub dropped: u64,
}

/// Events written within a minute share an etcd lease, so one may outlive another by that much; the rest allows for clock
/// skew between nodes.
const PROOF_MARGIN: Duration = Duration::from_secs(120);

/// How much was recovered, as far as it can be proven.
pub fn assess(evidence: &GapEvidence) -> Recovery {
    // An Event that last changed well before the gap and is still listed proves that none of the gap's Events expired.
    let nothing_expired = evidence
        .oldest_change
        .is_some_and(|change| change < evidence.from.minus(PROOF_MARGIN))
        || evidence
            .length
            .is_some_and(|length| length < evidence.event_ttl);
    match (nothing_expired, evidence.missing + evidence.dropped) {
        (true, 0) => Recovery::Complete,
        (true, _) => Recovery::Partial,
        (false, _) => Recovery::None,
    }
}

/// The gap of one watch; a row has one part for each watch that was disconnected for the same cause at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: String,
    pub scope: String,
    /// When the watch was last confirmed.
    pub from: Timestamp,
    /// `None`: the gap is open.
    pub end: Option<End>,
    /// The end before the gap was reopened; its counts are kept.
    before: Option<End>,
}

/// How a gap ended for one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The server's time of the list that ended it.
    pub to: Timestamp,
    pub recovery: Recovery,
    /// Objects listed, recovered, missing and so on.
    pub counts: Map<String, Value>,
}

/// Counts that are added up over reopened gaps and over watches.
const SUMS: [&str; 5] = [
    "listed",
    "recovered",
    "missing",
    "vanished",
    "repeats_without_times",
];

const EVENT: &str = "Event";

impl Part {
    /// A watch that is disconnected since `from`.
    pub fn open(kind: &str, namespace: &str, from: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            scope: scope(namespace),
            from,
            end: None,
            before: None,
        }
    }

    /// The watch is disconnected again, since `from`.
    pub fn open_again(&mut self, from: Timestamp) {
        self.from = self.from.min(from);
        self.before = self.end.take().or(self.before.take());
    }

    pub fn is_of(&self, kind: &str, namespace: &str) -> bool {
        self.kind == kind && self.scope == scope(namespace)
    }

    pub fn close(&mut self, mut end: End) {
        if let Some(before) = self.before.take() {
            end.to = end.to.max(before.to);
            end.recovery = end.recovery.max(before.recovery);
            for key in &SUMS[1..] {
                if let Some(count) = before.counts.get(*key).and_then(Value::as_i64) {
                    add(&mut end.counts, key, count);
                }
            }
        }
        self.end = Some(end);
    }

    fn severity(&self) -> Severity {
        match &self.end {
            None => Severity::Warning,
            Some(end) if self.is_of_events() => end.recovery.severity(),
            Some(end) if end.to.since(self.from) <= SHORT_GAP => Severity::Info,
            Some(_) => Severity::Warning,
        }
    }

    fn is_of_events(&self) -> bool {
        self.kind == EVENT
    }

    fn to_json(&self) -> Value {
        let mut json = Map::from_iter([
            ("source".to_owned(), json!(self.kind)),
            ("scope".to_owned(), json!(self.scope)),
            ("from".to_owned(), json!(self.from.to_string())),
        ]);
        if let Some(end) = self.end.as_ref().or(self.before.as_ref()) {
            json.insert("to".to_owned(), json!(end.to.to_string()));
            json.insert("recovery".to_owned(), json!(end.recovery.as_str()));
            json.extend(end.counts.clone());
        }
        if self.before.is_some() {
            json.shift_remove(SUMS[0]); // the next list counts again
            json.insert("open".to_owned(), json!(true));
        }
        Value::Object(json)
    }

    fn from_json(json: &Value) -> Option<Self> {
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        let time = |key: &str| Timestamp::parse(text(key)?).ok();
        let counts = SUMS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), json.get(*key)?.clone())));
        let end = match (time("to"), text("recovery").and_then(Recovery::parse)) {
            (Some(to), Some(recovery)) => Some(End {
                to,
                recovery,
                counts: counts.collect(),
            }),
            _ => None,
        };
        let is_open = json.get("open").is_some();
        Some(Self {
            kind: text("source")?.to_owned(),
            scope: text("scope")?.to_owned(),
            from: time("from")?,
            before: end.clone().filter(|_| is_open),
            end: end.filter(|_| !is_open),
        })
    }
}

fn add(counts: &mut Map<String, Value>, key: &str, count: i64) {
    let sum = counts.get(key).and_then(Value::as_i64).unwrap_or_default();
    counts.insert(key.to_owned(), json!(sum.saturating_add(count)));
}

/// The parts of a gap row, by its metadata.
pub fn parts(extra: &Map<String, Value>) -> Vec<Part> {
    let parts = extra.get("sources").and_then(Value::as_array);
    parts
        .into_iter()
        .flatten()
        .filter_map(Part::from_json)
        .collect()
}

/// How a watch of Events ended its gap.
pub fn end_of_events(evidence: &GapEvidence, (listed, recovered, repeats): (u64, u64, i64)) -> End {
    End {
        to: evidence.to,
        recovery: assess(evidence),
        counts: Map::from_iter([
            ("listed".to_owned(), json!(listed)),
            ("recovered".to_owned(), json!(recovered)),
            (
                "missing".to_owned(),
                json!(evidence.missing + evidence.dropped),
            ),
            ("repeats_without_times".to_owned(), json!(repeats)),
        ]),
    }
}

/// How a watch of objects ended its gap. Objects that vanished were deleted with their last state unseen.
pub fn end_of_objects(to: Timestamp, (listed, vanished): (u64, u64)) -> End {
    End {
        to,
        recovery: match vanished {
            0 => Recovery::Complete,
            _ => Recovery::Partial,
        },
        counts: Map::from_iter([
            ("listed".to_owned(), json!(listed)),
            ("vanished".to_owned(), json!(vanished)),
        ]),
    }
}

/// How the gap of a watch that no longer runs ended: nothing was recovered.
pub fn abandoned(to: Timestamp) -> End {
    End {
        to,
        recovery: Recovery::None,
        counts: Map::new(),
    }
}

/// A gap within the duration of a restart or an upgrade is not worth a warning: the net changes are recorded, and Events,
/// which resume exactly, cover the time between.
const SHORT_GAP: Duration = Duration::from_secs(300);

/// The row of a gap, with at least one part.
pub fn row(cause: &str, parts: &[Part]) -> Record {
    let from = parts.iter().map(|part| part.from).min();
    let from = from.unwrap_or(Timestamp::EPOCH);
    let mut kinds: Vec<&str> = Vec::new();
    for part in parts {
        if !kinds.contains(&&*part.kind) {
            kinds.push(&part.kind);
        }
    }
    // Events first: they are the most important.
    kinds.sort_by_key(|kind| *kind != EVENT);
    let scope = match parts {
        [first, others @ ..] if others.iter().all(|part| part.scope == first.scope) => &first.scope,
        _ => "several namespaces",
    };
    let mut extra = Map::from_iter([
        ("source".to_owned(), json!(kinds.join(", "))),
        ("scope".to_owned(), json!(scope)),
        ("cause".to_owned(), json!(cause)),
        ("from".to_owned(), json!(from.to_string())),
    ]);
    let ends: Option<Vec<&End>> = parts.iter().map(|part| part.end.as_ref()).collect();
    let end = ends.and_then(|ends| {
        let recovery = ends.iter().map(|end| end.recovery).max()?;
        Some((ends.iter().map(|end| end.to).max()?, recovery, ends))
    });
    let names: Vec<String> = kinds.iter().map(|kind| plural(kind)).collect();
    let names = names.join(", ");
    let description = if let Some((to, recovery, ends)) = end {
        extra.insert("to".to_owned(), json!(to.to_string()));
        extra.insert("recovery".to_owned(), json!(recovery.as_str()));
        for end in ends {
            for key in SUMS {
                if let Some(count) = end.counts.get(key).and_then(Value::as_i64) {
                    add(&mut extra, key, count);
                }
            }
        }
        let mut text =
            format!("{names} in {scope} were not watched from {from} to {to} ({cause}).");
        let (events, objects): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| part.is_of_events());
        if let Some(verdict) = verdict(&events) {
            text.push(' ');
            text.push_str(&verdict);
        }
        let is_abandoned =
            |part: &&Part| part.end.as_ref().map(|end| end.recovery) == Some(Recovery::None);
        if objects.iter().any(is_abandoned) {
            text.push_str(" Some of them are no longer watched, so nothing of them was recovered.");
        }
        if !objects.iter().all(is_abandoned) {
            text.push_str(
                " Changes that lasted are recorded as observed late. Objects that were created and deleted in between are \
                 not recorded.",
            );
        }
        text
    } else {
        extra.insert("open".to_owned(), json!(true));
        format!(
            "The watch of {names} in {scope} could not be resumed from its position of {from} ({cause}). \
             What happened since then is being listed."
        )
    };
    let sources = parts.iter().map(Part::to_json).collect();
    extra.insert("sources".to_owned(), Value::Array(sources));
    let severity = parts.iter().map(Part::severity).max();
    record(
        severity.unwrap_or(Severity::Warning),
        description,
        extra,
        from,
    )
}

/// The sentence about Events once all of their watches have ended the gap.
fn verdict(parts: &[&Part]) -> Option<String> {
    let ends = || parts.iter().filter_map(|part| part.end.as_ref());
    let missing = ends().filter_map(|end| end.counts.get("missing")?.as_u64());
    Some(match ends().map(|end| end.recovery).max()? {
        Recovery::Complete => "Everything that the API server still had was recovered.".to_owned(),
        Recovery::Partial => format!(
            "{} Events were deleted, expired or dropped in the meantime; the others were recovered.",
            missing.sum::<u64>()
        ),
        Recovery::None => {
            "The gap may be longer than the lifetime of Events, so some may be missing.".to_owned()
        }
    })
}

/// A closed gap for internal rows that a full queue dropped; no list recovers them.
pub fn lost_rows(items: u64, since: Timestamp, now: Timestamp) -> Record {
    let description = format!(
        "The queue was full: {items} rows about kube9 itself were dropped between {since} and {now} and cannot be \
         recovered."
    );
    let extra = Map::from_iter([
        ("source".to_owned(), json!("kube9")),
        ("cause".to_owned(), json!("queue_overflow")),
        ("from".to_owned(), json!(since.to_string())),
        ("to".to_owned(), json!(now.to_string())),
        ("recovery".to_owned(), json!("none")),
        ("missing".to_owned(), json!(items)),
    ]);
    record(Severity::Error, description, extra, since)
}

/// `Events`; the watch of a kind that only the change history reads has the name of its resource, `jobs.batch`.
fn plural(kind: &str) -> String {
    let is_kind = kind.starts_with(|first: char| first.is_ascii_uppercase());
    format!("{kind}{}", if is_kind { "s" } else { "" })
}

fn scope(namespace: &str) -> String {
    if namespace.is_empty() {
        "all namespaces".to_owned()
    } else {
        format!("namespace {namespace}")
    }
}

fn record(
    severity: Severity,
    description: String,
    extra: Map<String, Value>,
    at: Timestamp,
) -> Record {
    Record {
        event_type: EventType::System,
        severity,
        title: TITLE.to_owned(),
        description,
        reason: "RecordingGap".to_owned(),
        extra,
        ..Record::internal(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assess_claims_only_what_is_proven() {
        let minutes = |m: i64| Timestamp::from_secs(m * 60);
        let hour = Duration::from_secs(3600);
        for (to, oldest, missing, expected) in [
            (minutes(110), None, 0, Recovery::Complete),
            (minutes(110), None, 1, Recovery::Partial),
            (minutes(160), None, 0, Recovery::None),
            (minutes(160), Some(minutes(97)), 0, Recovery::Complete),
            (minutes(160), Some(minutes(98)), 0, Recovery::None),
            (minutes(160), Some(minutes(97)), 3, Recovery::Partial),
        ] {
            let evidence = GapEvidence {
                from: minutes(100),
                to,
                length: Some(to.since(minutes(100))),
                oldest_change: oldest,
                event_ttl: hour,
                missing,
                dropped: 0,
            };
            assert_eq!(assess(&evidence), expected, "{evidence:?}");
            // If the clocks disagree, only an Event that outlived the gap proves anything.
            let evidence = GapEvidence {
                length: None,
                ..evidence
            };
            if oldest.is_none() {
                assert_eq!(assess(&evidence), Recovery::None, "{evidence:?}");
            }
        }
    }
}
