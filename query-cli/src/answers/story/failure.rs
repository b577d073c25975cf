//! The last episode of failures: onset, end, outages of Services and last words.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_db::read::{ReadError, Reader};
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::related::{Around, Relation};
use super::rows::{StoryRow, StoryRows, findings_before};
use super::{FailureEpisode, LastWords, Outage};
use crate::answers::change::row_object;
use crate::target::Target;

/// Failures that are less apart belong to one episode.
const APART_MAX: Duration = Duration::from_secs(600);
/// A warning this long before the first finding belongs to it: rules wait before they report.
const LEAD_MAX: Duration = Duration::from_secs(300);
/// Last words that are shown.
const LAST_WORDS_MAX: usize = 5;

/// Reasons of Events that say that pods cannot run. Failed probes are not among them: a container that starts fails some.
const FAILURE_EVENTS: [&str; 14] = [
    "BackOff",
    "Evicted",
    "Failed",
    "FailedAttachVolume",
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedKillPod",
    "FailedMount",
    "FailedPostStartHook",
    "FailedPreStopHook",
    "FailedScheduling",
    "InspectFailed",
    "OOMKilling",
    "ErrImageNeverPull",
];

/// The reason of a Service without a ready pod.
const NO_READY_POD: &str = "ServiceHasNoReadyPod";

/// An episode of failures.
#[derive(Debug, Clone)]
pub(super) struct Episode {
    pub(super) onset: Timestamp,
    /// `None`: it is not over.
    pub(super) over: Option<Timestamp>,
    title: String,
    rules: Vec<String>,
    /// `namespace/name`
    pub(super) pods: BTreeSet<String>,
}

impl Episode {
    pub(super) fn shown(self, until: Timestamp) -> FailureEpisode {
        FailureEpisode {
            onset: self.onset.to_string(),
            over: self.over.map(|at| at.to_string()),
            seconds: self.over.unwrap_or(until).since(self.onset).as_secs(),
            title: self.title,
            findings: self.rules,
            pods: self.pods.len(),
        }
    }
}

/// The last episode before a time, by its findings alone.
pub(super) fn last(
    reader: &Reader,
    target: &Target,
    around: &Around,
    until: Timestamp,
) -> Result<Option<Episode>, ReadError> {
    let mut found = findings_before(reader, target, around, until)?;
    found.sort_by_key(|row| row.begin);
    let findings: Vec<&StoryRow> = found
        .iter()
        .filter(|row| row.is_failure_finding())
        .collect();
    Ok(last_of(&findings, until))
}

/// The last episode of a story.
pub(super) fn episode(found: &StoryRows, until: Timestamp) -> Option<Episode> {
    let is_own = |row: &&StoryRow| {
        matches!(
            row.relation,
            Relation::Own | Relation::Part | Relation::Attached
        )
    };
    let own: Vec<&StoryRow> = found.rows.iter().filter(is_own).collect();
    let findings: Vec<&StoryRow> = own
        .iter()
        .copied()
        .filter(|row| row.is_failure_finding())
        .collect();
    let is_event = |row: &&StoryRow| {
        row.text("finding").is_none()
            && row.is_problem()
            && FAILURE_EVENTS.contains(&row.reason())
            && row.row.event_type == "cluster"
    };
    let events: Vec<&StoryRow> = own.iter().copied().filter(is_event).collect();
    let Some(mut episode) = last_of(&findings, until) else {
        // Rules wait, or do not know this failure.
        return last_of(&events, until);
    };
    let lead = episode.onset.minus(LEAD_MAX);
    let before = events
        .iter()
        .filter(|row| row.begin >= lead && row.begin < episode.onset);
    if let Some(first) = before.map(|row| row.begin).min() {
        episode.onset = first;
    }
    Some(episode)
}

fn last_of(failures: &[&StoryRow], until: Timestamp) -> Option<Episode> {
    let mut episodes: Vec<Vec<&StoryRow>> = Vec::new();
    let mut end = None;
    for row in failures {
        let row_end = end_of(row, until);
        match (end, episodes.last_mut()) {
            (Some(reached), Some(last)) if row.begin <= Timestamp::plus(reached, APART_MAX) => {
                last.push(row);
                end = Some(row_end.max(reached));
            }
            _ => {
                episodes.push(vec![row]);
                end = Some(row_end);
            }
        }
    }
    // A warning alone may be noise of a start; the last one with an error counts more.
    let is_error = |episode: &&Vec<&StoryRow>| {
        episode
            .iter()
            .any(|row| matches!(&*row.row.severity, "error" | "critical"))
    };
    let rows = episodes.iter().rev().find(is_error).or(episodes.last())?;
    let first = rows.first()?;
    let mut rules: Vec<String> = Vec::new();
    for row in rows {
        let name = row.text("rule").unwrap_or(row.reason());
        if !rules.iter().any(|one| one == name) {
            rules.push(name.to_owned());
        }
    }
    let is_open = |row: &&StoryRow| row.text("finding").is_some() && row.resolved().is_none();
    Some(Episode {
        onset: first.begin,
        over: if rows.iter().any(is_open) {
            None
        } else {
            rows.iter().map(|row| row.end).max()
        },
        title: first.row.title.clone(),
        rules,
        pods: rows.iter().flat_map(|row| pods(row)).collect(),
    })
}

fn end_of(row: &StoryRow, until: Timestamp) -> Timestamp {
    match row.text("finding") {
        Some(_) => row.resolved().unwrap_or(until),
        None => row.end,
    }
}

/// The pods that a row is about.
fn pods(row: &StoryRow) -> Vec<String> {
    if row.row.object_kind.as_deref() == Some("Pod") {
        let namespace = row.row.object_namespace.as_deref().unwrap_or_default();
        let name = row.row.object_name.as_deref().unwrap_or_default();
        return vec![format!("{namespace}/{name}")];
    }
    let members = row.metadata.get("members").and_then(Value::as_array);
    let members = members.into_iter().flatten();
    // Of pods alone: other members are `Deployment shop/web`.
    members
        .filter_map(Value::as_str)
        .filter(|name| !name.contains(' '))
        .map(str::to_owned)
        .collect()
}

/// When Services of the workload had no ready pod.
pub(super) fn outages(found: &StoryRows, until: Timestamp) -> Vec<Outage> {
    let is_outage = |row: &&StoryRow| row.reason() == NO_READY_POD && row.is_failure_finding();
    let outage = |row: &StoryRow| {
        let end = row.resolved();
        let namespace = row.row.object_namespace.as_deref();
        Outage {
            object: match namespace {
                Some(namespace) => format!("{}/{namespace}", row_object(&row.row)),
                None => row_object(&row.row),
            },
            since: row.begin.to_string(),
            until: end.map(|at| at.to_string()),
            seconds: end.unwrap_or(until).since(row.begin).as_secs(),
        }
    };
    found.rows.iter().filter(is_outage).map(outage).collect()
}

/// What containers wrote before they ended, each text once.
pub(super) fn last_words(found: &StoryRows, episode: &Episode) -> Vec<LastWords> {
    let mut words: Vec<LastWords> = Vec::new();
    let rows = found.rows.iter().filter(|row| row.end >= episode.onset);
    for row in rows {
        let pod = row.row.object_name.clone().unwrap_or_default();
        let own = ["first_words", "last_words"].map(|key| (row.text("container"), row.text(key)));
        let containers = row.metadata.get("containers").and_then(Value::as_array);
        let of_containers = containers.into_iter().flatten().map(|container| {
            let text = |key: &str| container.get(key).and_then(Value::as_str);
            (
                text("name").or_else(|| text("container")),
                text("last_words"),
            )
        });
        for (container, text) in own.into_iter().chain(of_containers) {
            let Some(text) = text.filter(|text| !text.is_empty()) else {
                continue;
            };
            if words.len() < LAST_WORDS_MAX && !words.iter().any(|one| one.text == text) {
                words.push(LastWords {
                    pod: pod.clone(),
                    container: container.map(str::to_owned),
                    text: text.to_owned(),
                });
            }
        }
    }
    words
}
