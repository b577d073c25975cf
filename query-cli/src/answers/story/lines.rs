//! The rows of a story in one order, repeats folded.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use kube9_model::time::Timestamp;
use serde::Serialize;

use super::failure::Episode;
use super::related::Relation;
use super::rows::{StoryRow, StoryRows};
use super::suspects::Suspect;
use crate::answers::change::{by, object, row_object, what};

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// An object changed.
    Change,
    /// Pods were created, started and ended.
    Rollout,
    /// Something fails.
    Fails,
    /// A Service had no ready pod.
    Impact,
    /// The failure is over.
    Over,
    /// Nothing was observed.
    Gap,
    /// Advice about the configuration, and other rows.
    Note,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Rollout => "rollout",
            Self::Fails => "fails",
            Self::Impact => "impact",
            Self::Over => "over",
            Self::Gap => "gap",
            Self::Note => "note",
        }
    }
}

/// A line of a story: one row, or several that report the same.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) at: String,
    /// The last time, if it is later.
    pub(crate) until: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) severity: String,
    /// Of one row; of several, the object that they have in common or the number of objects.
    pub(crate) object: String,
    pub(crate) text: String,
    pub(crate) by: Option<String>,
    /// Rows that it stands for.
    pub(crate) rows: usize,
    /// Id of the first of them.
    pub(crate) id: Option<String>,
    /// It is a finding, or several.
    #[serde(skip)]
    pub(crate) is_finding: bool,
    /// 0 is shown first where not all lines are.
    #[serde(skip)]
    pub(crate) rank: u8,
}

/// Rows that report the same are one line if they are less apart.
const FOLD_MAX: Duration = Duration::from_secs(600);

/// Reasons of Events that each pod has when all is well.
const ROUTINE: [&str; 9] = [
    "Created",
    "Killing",
    "Pulled",
    "Pulling",
    "Scheduled",
    "Started",
    "SuccessfulAttachVolume",
    "SuccessfulCreate",
    "SuccessfulDelete",
];

/// All lines, the oldest first.
pub(super) fn of(
    found: &StoryRows,
    episode: Option<&Episode>,
    suspects: &[Suspect],
    (since, until): (Timestamp, Timestamp),
) -> Vec<Line> {
    let suspects: BTreeSet<&str> = suspects.iter().map(|suspect| &*suspect.id).collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    // The last line of each group, by what the rows have in common.
    let mut last: HashMap<(Phase, String, bool), usize> = HashMap::new();
    for row in &found.rows {
        let phase = phase(row);
        // The row that opened a finding has the time at which it closed. Advice that is older than the story is not part
        // of it.
        let is_closing = row.text("resolves").is_some();
        if is_closing || phase == Phase::Note && row.begin < since {
            continue;
        }
        let key = (phase, subject(row, phase), row.is_problem());
        let same = last.get(&key).copied().filter(|at| {
            let group: &Group<'_> = &groups[*at];
            phase != Phase::Change && row.begin <= group.end.plus(FOLD_MAX)
        });
        match same {
            Some(at) => groups[at].add(row),
            None => {
                last.insert(key, groups.len());
                groups.push(Group::of(row, phase));
            }
        }
    }
    let mut lines: Vec<(Timestamp, Line)> = groups
        .into_iter()
        .map(|group| (group.rows[0].begin, group.line(&suspects)))
        .collect();
    lines.extend(found.gaps.iter().map(|gap| {
        let line = Line {
            at: gap.from.to_string(),
            until: Some(gap.to.min(until).to_string()),
            phase: Phase::Gap,
            severity: "warning".to_owned(),
            object: "-".to_owned(),
            text: gap.title.clone(),
            by: None,
            rows: 1,
            id: Some(gap.id.clone()),
            is_finding: false,
            rank: 1,
        };
        (gap.from, line)
    }));
    if let Some(over) = episode.and_then(|episode| episode.over) {
        let line = Line {
            at: over.to_string(),
            until: None,
            phase: Phase::Over,
            severity: "info".to_owned(),
            object: "-".to_owned(),
            text: "the last finding of the failure closed".to_owned(),
            by: None,
            rows: 0,
            id: None,
            is_finding: false,
            rank: 0,
        };
        lines.push((over, line));
    }
    // A change precedes what it causes in the same second.
    lines.sort_by_key(|(at, line)| (at.second(), line.phase, *at));
    lines.into_iter().map(|(_, line)| line).collect()
}

fn phase(row: &StoryRow) -> Phase {
    let reason = row.reason();
    if row.is_change() && row.row.object_kind.as_deref() != Some("Pod") {
        Phase::Change
    } else if row.relation == Relation::Attached && row.text("finding").is_some() {
        Phase::Impact
    } else if row.relation == Relation::Node && row.text("finding").is_none() && !row.is_change() {
        // What a node reports about itself; the rules find what is wrong with it.
        Phase::Note
    } else if row.is_failure_finding() || row.is_problem() && row.row.event_type == "cluster" {
        Phase::Fails
    } else if row.text("finding").is_some() || row.row.event_type != "cluster" {
        Phase::Note
    } else if row.is_change() && row.reason() != "PodEnded" {
        Phase::Change
    } else if ROUTINE.contains(&reason) || row.relation <= Relation::Part {
        Phase::Rollout
    } else {
        Phase::Note
    }
}

/// What rows of one line have in common.
fn subject(row: &StoryRow, phase: Phase) -> String {
    let kind = row.row.object_kind.as_deref().unwrap_or_default();
    let container = row.text("container").unwrap_or_default();
    match phase {
        Phase::Rollout | Phase::Fails => format!("{kind} {} {container}", row.reason()),
        _ => format!("{} {} {container}", row_object(&row.row), row.reason()),
    }
}

struct Group<'f> {
    phase: Phase,
    rows: Vec<&'f StoryRow>,
    end: Timestamp,
}

impl<'f> Group<'f> {
    fn of(row: &'f StoryRow, phase: Phase) -> Self {
        Self {
            phase,
            rows: vec![row],
            end: row.end,
        }
    }

    fn add(&mut self, row: &'f StoryRow) {
        self.rows.push(row);
        self.end = self.end.max(row.end);
    }

    fn line(&self, suspects: &BTreeSet<&str>) -> Line {
        let first = self.rows[0];
        let objects: BTreeSet<String> = self.rows.iter().map(|row| row_object(&row.row)).collect();
        let kind = first.row.object_kind.as_deref().unwrap_or("object");
        let text = if first.is_change() && self.phase == Phase::Change {
            what(&first.metadata, &first.row)
        } else {
            first.row.title.clone()
        };
        let is_open = first.is_failure_finding() && first.resolved().is_none();
        let until = (self.end > first.begin && !is_open).then(|| self.end.to_string());
        Line {
            at: first.begin.to_string(),
            until,
            phase: self.phase,
            severity: self
                .rows
                .iter()
                .map(|row| &*row.row.severity)
                .max_by_key(|severity| severity_rank(severity))
                .unwrap_or("info")
                .to_owned(),
            object: match objects.len() {
                1 => object(&first.metadata, &first.row),
                many => format!("{many} {}", crate::text::plural(kind)),
            },
            text,
            by: (self.phase == Phase::Change).then(|| by(&first.metadata)),
            rows: self.rows.len(),
            id: Some(first.row.id.clone()),
            is_finding: first.text("finding").is_some(),
            rank: self.rank(suspects),
        }
    }

    /// Which lines are shown where not all are.
    fn rank(&self, suspects: &BTreeSet<&str>) -> u8 {
        let first = self.rows[0];
        let is_error = self
            .rows
            .iter()
            .any(|row| severity_rank(&row.row.severity) >= 2);
        match self.phase {
            _ if self.rows.iter().any(|row| suspects.contains(&*row.row.id)) => 0,
            Phase::Impact | Phase::Over | Phase::Gap => 1,
            Phase::Fails if is_error && first.is_failure_finding() => 1,
            Phase::Change if first.relation == Relation::Own => 2,
            Phase::Fails if is_error => 2,
            Phase::Change => 3,
            Phase::Fails => 3,
            Phase::Rollout if !ROUTINE.contains(&first.reason()) => 4,
            Phase::Rollout => 6,
            Phase::Note => 5,
        }
    }
}

fn severity_rank(severity: &str) -> u8 {
    match severity {
        "critical" => 3,
        "error" => 2,
        "warning" => 1,
        _ => 0,
    }
}
