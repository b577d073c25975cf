//! Gap rows: intervals in which something may have happened that is not in the record.
//!
//! A gap row claims only what is provable. `healed: true` means that no Event which the API server kept can have been
//! missed; objects created *and* deleted inside the gap are unknowable either way.

use std::time::Duration;

use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use serde_json::{Map, Value, json};

/// Title of every gap row.
pub const TITLE: &str = "Recording gap";

/// How far a gap was healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Healed {
    /// Everything the API server kept was brought back, and it kept everything.
    True,
    /// Something was deleted or expired meanwhile; the rest was brought back.
    Partial,
    /// The gap was longer than Events live, and nothing shows that they lived longer.
    False,
}

impl Healed {
    /// The word in metadata and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::Partial => "partial",
            Self::False => "false",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::True, Self::Partial, Self::False]
            .into_iter()
            .find(|healed| healed.as_str() == word)
    }

    /// Severity of a closed gap row.
    pub const fn severity(self) -> Severity {
        match self {
            Self::True => Severity::Info,
            Self::Partial => Severity::Warning,
            Self::False => Severity::Error,
        }
    }
}

/// What is known when a gap closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// When the position was last proven current.
    pub from: Timestamp,
    /// The server's time of the list that ended it.
    pub to: Timestamp,
    /// How long it was at most; `None` where the clocks contradict each other.
    pub length: Option<Duration>,
    /// Oldest last change among the listed Events that were written before the gap (their resourceVersion says so), by
    /// the recorder's clock.
    pub oldest_change: Option<Timestamp>,
    /// How long the API server keeps an Event, as configured.
    pub event_ttl: Duration,
    /// Events of ours that should still have been listed and were not.
    pub missing: u64,
    /// Items that a full queue dropped and the list did not bring back.
    pub dropped: u64,
}

/// Events that are written within a minute share a lease in etcd, so one may outlive another by that much; the rest is for
/// clocks of nodes that differ.
const PROOF_MARGIN: Duration = Duration::from_secs(120);

/// What can be claimed.
pub fn judge(facts: &Facts) -> Healed {
    // An Event last changed well before the gap began and still there shows that none of the gap's Events expired.
    let nothing_expired = facts
        .oldest_change
        .is_some_and(|change| change < facts.from.minus(PROOF_MARGIN))
        || facts.length.is_some_and(|length| length < facts.event_ttl);
    match (nothing_expired, facts.missing + facts.dropped) {
        (true, 0) => Healed::True,
        (true, _) => Healed::Partial,
        (false, _) => Healed::False,
    }
}

/// What one watch says of a gap; a row has one for each watch that was blind for the same cause at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Kind.
    pub kind: String,
    /// Where.
    pub scope: String,
    /// When it was last proven to be current.
    pub from: Timestamp,
    /// How it ended; `None`: it is open.
    pub end: Option<End>,
    /// Where it is open again: how it had ended before. Nothing that was missing then is forgotten.
    before: Option<End>,
}

/// How a gap ended for one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The server's time of the list that ended it.
    pub to: Timestamp,
    /// How far it was healed.
    pub healed: Healed,
    /// Objects listed, and what became of them.
    pub counts: Map<String, Value>,
}

/// Counts that add up where a watch is blind again, or several are.
const SUMS: [&str; 5] = [
    "listed",
    "recovered",
    "missing",
    "vanished",
    "repeats_without_times",
];

/// The kind whose rows count how often something happened.
const EVENT: &str = "Event";

impl Part {
    /// A watch that is blind from now on.
    pub fn open(kind: &str, namespace: &str, from: Timestamp) -> Self {
        Self {
            kind: kind.to_owned(),
            scope: scope(namespace),
            from,
            end: None,
            before: None,
        }
    }

    /// The watch is blind again, from `from` on.
    pub fn open_again(&mut self, from: Timestamp) {
        self.from = self.from.min(from);
        self.before = self.end.take().or(self.before.take());
    }

    /// Whether this is about that watch.
    pub fn is_of(&self, kind: &str, namespace: &str) -> bool {
        self.kind == kind && self.scope == scope(namespace)
    }

    /// Ends it.
    pub fn close(&mut self, mut end: End) {
        if let Some(before) = self.before.take() {
            end.to = end.to.max(before.to);
            end.healed = end.healed.max(before.healed);
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
            Some(end) if self.is_of_events() => end.healed.severity(),
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
            json.insert("healed".to_owned(), json!(end.healed.as_str()));
            json.extend(end.counts.clone());
        }
        if self.before.is_some() {
            json.shift_remove(SUMS[0]); // the next list counts anew
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
        let end = match (time("to"), text("healed").and_then(Healed::parse)) {
            (Some(to), Some(healed)) => Some(End {
                to,
                healed,
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
pub fn end_of_events(facts: &Facts, (listed, recovered, repeats): (u64, u64, i64)) -> End {
    End {
        to: facts.to,
        healed: judge(facts),
        counts: Map::from_iter([
            ("listed".to_owned(), json!(listed)),
            ("recovered".to_owned(), json!(recovered)),
            ("missing".to_owned(), json!(facts.missing + facts.dropped)),
            ("repeats_without_times".to_owned(), json!(repeats)),
        ]),
    }
}

/// How a watch of objects ended its gap. As with Events: everything that the API server kept was brought back, and nothing
/// that was known is gone with its last state unseen.
pub fn end_of_objects(to: Timestamp, (listed, vanished): (u64, u64)) -> End {
    End {
        to,
        healed: match vanished {
            0 => Healed::True,
            _ => Healed::Partial,
        },
        counts: Map::from_iter([
            ("listed".to_owned(), json!(listed)),
            ("vanished".to_owned(), json!(vanished)),
        ]),
    }
}

/// How a watch that is no longer run ended its gap: nothing was brought back.
pub fn abandoned(to: Timestamp) -> End {
    End {
        to,
        healed: Healed::False,
        counts: Map::new(),
    }
}

/// A gap that is no longer than a restart or an upgrade takes is not worth a warning: the net changes are recorded, and
/// the Events of the same time, which resume exactly, say what came between.
const SHORT_GAP: Duration = Duration::from_secs(300);

/// The row of a gap. There is a part at least.
pub fn row(cause: &str, parts: &[Part]) -> Record {
    let from = parts.iter().map(|part| part.from).min();
    let from = from.unwrap_or(Timestamp::EPOCH);
    let mut kinds: Vec<&str> = Vec::new();
    for part in parts {
        if !kinds.contains(&&*part.kind) {
            kinds.push(&part.kind);
        }
    }
    // A reader who stops after the first one has read the most important.
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
        let healed = ends.iter().map(|end| end.healed).max()?;
        Some((ends.iter().map(|end| end.to).max()?, healed, ends))
    });
    let names = kinds.join("s, ");
    let description = if let Some((to, healed, ends)) = end {
        extra.insert("to".to_owned(), json!(to.to_string()));
        extra.insert("healed".to_owned(), json!(healed.as_str()));
        for end in ends {
            for key in SUMS {
                if let Some(count) = end.counts.get(key).and_then(Value::as_i64) {
                    add(&mut extra, key, count);
                }
            }
        }
        let mut text =
            format!("{names}s in {scope} were not watched from {from} to {to} ({cause}).");
        let (events, objects): (Vec<_>, Vec<_>) =
            parts.iter().partition(|part| part.is_of_events());
        if let Some(verdict) = verdict(&events) {
            text.push(' ');
            text.push_str(&verdict);
        }
        let is_abandoned =
            |part: &&Part| part.end.as_ref().map(|end| end.healed) == Some(Healed::False);
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
            "The watch of {names}s in {scope} could not be resumed from its position of {from} ({cause}). \
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

/// What is said of Events once all of their watches have ended the gap.
fn verdict(parts: &[&Part]) -> Option<String> {
    let ends = || parts.iter().filter_map(|part| part.end.as_ref());
    let missing = ends().filter_map(|end| end.counts.get("missing")?.as_u64());
    Some(match ends().map(|end| end.healed).max()? {
        Healed::True => "Everything that the API server still had was recovered.".to_owned(),
        Healed::Partial => format!(
            "{} Events were deleted, expired or dropped in the meantime; the others were recovered.",
            missing.sum::<u64>()
        ),
        Healed::False => {
            "The gap may be longer than the lifetime of Events, so some may be missing.".to_owned()
        }
    })
}

/// A closed gap of its own: rows of kube9's own that a full queue dropped; no list brings them back.
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
        ("healed".to_owned(), json!("false")),
        ("missing".to_owned(), json!(items)),
    ]);
    record(Severity::Error, description, extra, since)
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
        ..Record::own(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_only_what_is_provable() {
        let minutes = |m: i64| Timestamp::from_secs(m * 60);
        let hour = Duration::from_secs(3600);
        for (to, oldest, missing, expected) in [
            (minutes(110), None, 0, Healed::True),
            (minutes(110), None, 1, Healed::Partial),
            (minutes(160), None, 0, Healed::False),
            (minutes(160), Some(minutes(97)), 0, Healed::True),
            (minutes(160), Some(minutes(98)), 0, Healed::False),
            (minutes(160), Some(minutes(97)), 3, Healed::Partial),
        ] {
            let facts = Facts {
                from: minutes(100),
                to,
                length: Some(to.since(minutes(100))),
                oldest_change: oldest,
                event_ttl: hour,
                missing,
                dropped: 0,
            };
            assert_eq!(judge(&facts), expected, "{facts:?}");
            // Without clocks that agree, only an Event that outlived the gap proves anything.
            let facts = Facts {
                length: None,
                ..facts
            };
            if oldest.is_none() {
                assert_eq!(judge(&facts), Healed::False, "{facts:?}");
            }
        }
    }
}
