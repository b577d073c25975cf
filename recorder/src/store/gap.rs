//! Gap rows: intervals in which something may have happened that is not in the record.
//!
//! A gap row claims only what is provable. `healed: true` means that no Event which the API server kept can have been
//! missed; objects created *and* deleted inside the gap are unknowable either way.

use std::time::Duration;

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::pipeline::record::Record;

/// Title of every gap row.
pub const TITLE: &str = "Recording gap";

/// How far a gap was healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The row of a gap that begins.
pub fn opened(kind: &str, namespace: &str, cause: &str, from: Timestamp) -> Record {
    let scope = scope(namespace);
    let description = format!(
        "The watch of {kind}s in {scope} could not be continued from where it was at {from} ({cause}). \
         What happened since is being listed."
    );
    let extra = Map::from_iter([
        ("source".to_owned(), json!(kind)),
        ("scope".to_owned(), json!(scope)),
        ("cause".to_owned(), json!(cause)),
        ("from".to_owned(), json!(from.to_string())),
        ("open".to_owned(), json!(true)),
    ]);
    record(Severity::Warning, description, extra, from)
}

/// What a gap row says once it is closed: description and metadata.
pub fn closed(
    kind: &str,
    namespace: &str,
    cause: &str,
    facts: &Facts,
    healed: Healed,
    counts: (u64, u64, i64),
) -> (String, Map<String, Value>) {
    let (listed, recovered, repeats) = counts;
    let scope = scope(namespace);
    let verdict = match healed {
        Healed::True => "Everything the API server kept was brought back.".to_owned(),
        Healed::Partial => format!(
            "{} Events were deleted, expired or dropped meanwhile; the rest was brought back.",
            facts.missing + facts.dropped
        ),
        Healed::False => format!(
            "It may have lasted longer than Events are kept ({} s), so some may be missing.",
            facts.event_ttl.as_secs()
        ),
    };
    let description = format!(
        "{kind}s in {scope} were not watched from {} to {} ({cause}). {verdict}",
        facts.from, facts.to
    );
    let extra = Map::from_iter([
        ("source".to_owned(), json!(kind)),
        ("scope".to_owned(), json!(scope)),
        ("cause".to_owned(), json!(cause)),
        ("from".to_owned(), json!(facts.from.to_string())),
        ("to".to_owned(), json!(facts.to.to_string())),
        ("healed".to_owned(), json!(healed.as_str())),
        ("listed".to_owned(), json!(listed)),
        ("recovered".to_owned(), json!(recovered)),
        ("missing".to_owned(), json!(facts.missing + facts.dropped)),
        ("repeats_without_times".to_owned(), json!(repeats)),
    ]);
    (description, extra)
}

/// What the gap row of an informer says once it is closed: description and metadata. What changed and stayed changed is
/// in the record; what came and went in between is not, and nothing can tell.
pub fn objects_closed(
    kind: &str,
    namespace: &str,
    cause: &str,
    (from, to): (Timestamp, Timestamp),
    (listed, vanished): (u64, u64),
) -> (String, Map<String, Value>) {
    let scope = scope(namespace);
    let description = format!(
        "{kind}s in {scope} were not watched from {from} to {to} ({cause}). What changed in between and stayed so is \
         recorded as observed late; what came and went in between is not."
    );
    let extra = Map::from_iter([
        ("source".to_owned(), json!(kind)),
        ("scope".to_owned(), json!(scope)),
        ("cause".to_owned(), json!(cause)),
        ("from".to_owned(), json!(from.to_string())),
        ("to".to_owned(), json!(to.to_string())),
        ("healed".to_owned(), json!(judge_objects(vanished).as_str())),
        ("listed".to_owned(), json!(listed)),
        ("vanished".to_owned(), json!(vanished)),
    ]);
    (description, extra)
}

/// What can be claimed of an informer's gap. As with Events: everything that the API server kept was brought back, and
/// nothing that was known is gone with its last state unseen.
pub const fn judge_objects(vanished: u64) -> Healed {
    match vanished {
        0 => Healed::True,
        _ => Healed::Partial,
    }
}

/// A gap that is no longer than a restart or an upgrade takes is not worth a warning: the net changes are recorded, and
/// the Events of the same time, which resume exactly, say what came between.
const SHORT_GAP: Duration = Duration::from_secs(300);

/// Severity of the closed gap row of an informer.
pub fn objects_severity(from: Timestamp, to: Timestamp) -> Severity {
    if to.since(from) <= SHORT_GAP {
        Severity::Info
    } else {
        Severity::Warning
    }
}

/// A closed gap of its own: rows of kube9's own that a full queue dropped; no list brings them back.
pub fn lost_rows(items: u64, since: Timestamp, now: Timestamp) -> Record {
    let description = format!(
        "The queue was full: {items} rows of kube9's own (changes, findings) were dropped between {since} and {now} \
         and cannot be brought back."
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
