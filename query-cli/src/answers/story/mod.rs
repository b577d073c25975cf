//! The story of a workload: what happened, what preceded it, what it hit, whether it is over, and suspects.
//!
//! ```text
//!   target ── related ── the objects around it, from recorded states: Services, what the template refers to, scalers
//!          └─ rows ───── the rows about all of them, in a range
//!               ├─ failure ── the last episode: onset, end, outages of Services, last words
//!               ├─ suspects ─ changes before the onset, scored, each with its reasons (weights)
//!               └─ lines ──── everything in one order, repeats folded
//! ```
//!
//! Invariants: a time that is not known begins nothing. A suspect is a change that preceded the failure, never "the cause".
//! Where the record has a gap before the failure, the story says so, and names no suspect if the gap covers all of it.

mod failure;
mod lines;
pub(in crate::answers) mod related;
mod rows;
mod suspects;
mod weights;

use std::time::Duration;

use kube9_db::read::{ReadError, Reader};
use kube9_model::time::Timestamp;
use serde::Serialize;

pub(crate) use lines::{Line, Phase};
pub(crate) use suspects::Suspect;

use crate::target::Target;

/// What a story shows without a failure.
const RANGE_WITHOUT_FAILURE: Duration = Duration::from_secs(24 * 3600);
/// Before the onset and after the end of the last failure.
const AROUND_FAILURE: Duration = Duration::from_secs(3600);

/// What happened to an object.
#[derive(Debug, Serialize)]
pub(crate) struct Story {
    /// `Deployment/web/shop`
    pub(crate) object: String,
    pub(crate) since: String,
    pub(crate) until: String,
    /// The last failure in the range.
    pub(crate) failure: Option<FailureEpisode>,
    /// Services that had no ready pod because of it.
    pub(crate) impact: Vec<Outage>,
    pub(crate) last_words: Vec<LastWords>,
    /// The most likely first.
    pub(crate) suspects: Vec<Suspect>,
    /// Why there are no suspects, or what may be missing among them.
    pub(crate) suspects_note: Option<String>,
    pub(crate) lines: Vec<Line>,
    /// Rows that `lines` stand for or leave out.
    pub(crate) rows: usize,
    /// More rows were found than a story reads.
    pub(crate) is_cut: bool,
    /// What kube9 does not see.
    pub(crate) not_seen: Vec<&'static str>,
}

/// An episode of failures.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FailureEpisode {
    /// When it began.
    pub(crate) onset: String,
    /// When the last finding of it closed; `None` while one is open.
    pub(crate) over: Option<String>,
    pub(crate) seconds: u64,
    /// The title of the first finding.
    pub(crate) title: String,
    /// The rules of its findings.
    pub(crate) findings: Vec<String>,
    pub(crate) pods: usize,
}

/// A time in which a Service had no ready pod.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outage {
    /// `Service/web/shop`
    pub(crate) object: String,
    pub(crate) since: String,
    pub(crate) until: Option<String>,
    pub(crate) seconds: u64,
}

/// What a container wrote before it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LastWords {
    pub(crate) pod: String,
    pub(crate) container: Option<String>,
    pub(crate) text: String,
}

const NOT_SEEN: [&str; 4] = [
    "values of Secrets",
    "the content of an image behind an unchanged tag",
    "the cloud, DNS and the network outside Kubernetes objects",
    "traffic and latency",
];

/// The range of a story as a command line names it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// Tells what happened to an object.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn story(
    reader: &Reader,
    target: &Target,
    range: Range,
    now: Timestamp,
) -> Result<Story, ReadError> {
    let until = range.until.unwrap_or(now);
    let around = related::around(reader, target, until)?;
    let (since, until) = match range.since {
        Some(since) => (since, until),
        None => match failure::last(reader, target, &around, until)? {
            Some(episode) => {
                let end = episode.over.unwrap_or(until).plus(AROUND_FAILURE);
                (episode.onset.minus(AROUND_FAILURE), end.min(until))
            }
            None => (until.minus(RANGE_WITHOUT_FAILURE), until),
        },
    };
    let found = rows::read(reader, target, &around, (since, until))?;
    let episode = failure::episode(&found, until);
    let (suspects, suspects_note) = match &episode {
        Some(episode) => suspects::of(&found, episode),
        None => (Vec::new(), None),
    };
    let lines = lines::of(&found, episode.as_ref(), &suspects, (since, until));
    Ok(Story {
        object: target.title(),
        since: since.to_string(),
        until: until.to_string(),
        impact: failure::outages(&found, until),
        last_words: episode
            .as_ref()
            .map_or_else(Vec::new, |episode| failure::last_words(&found, episode)),
        failure: episode.map(|episode| episode.shown(until)),
        suspects,
        suspects_note,
        lines,
        rows: found.rows.len(),
        is_cut: found.is_cut,
        not_seen: NOT_SEEN.to_vec(),
    })
}
