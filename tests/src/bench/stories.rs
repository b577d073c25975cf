//! Stories of planted faults: is the planted cause the first suspect, and is none named where nothing changed?

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::report::{Limit, Report};
use crate::cluster_sim::Ms;
use crate::cluster_sim::ground_truth::{Cause, GroundTruth, Planted};

const MINUTE: Ms = 60_000;
/// A story is asked this long after its fault: the slowest finding has closed.
const AFTER: Ms = 17 * MINUTE;
/// No suspect is older than this.
const BEFORE: Ms = 60 * MINUTE;

const FIRST_MIN: f64 = 0.9;
const LISTED_MIN: f64 = 0.95;
const NONE_MIN: f64 = 0.95;
const ONSET_MIN: f64 = 0.95;

/// Which change caused a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Of the object that the story is about.
    Own,
    /// Of an object of this kind.
    Of(&'static str),
    /// None.
    Nothing,
}

/// `None`: a fault that has no story, or of which a change is neither the cause nor innocent.
fn expected(cause: Cause) -> Option<Expected> {
    Some(match cause {
        Cause::ImageMissing
        | Cause::CrashAfterRollout
        | Cause::ConfigKeyMissing
        | Cause::Unschedulable
        | Cause::VolumeNotMounted
        | Cause::InitWaits
        | Cause::NeverReady => Expected::Own,
        Cause::CrashAfterConfigChange => Expected::Of("ConfigMap"),
        Cause::SelectorMatchesNothing => Expected::Of("Service"),
        Cause::OutOfMemory
        | Cause::MemoryLimitTooLow
        | Cause::LivenessProbe
        | Cause::ExitWithError
        | Cause::Rejected
        | Cause::Unready
        | Cause::Finalizer
        | Cause::QuotaExceeded
        | Cause::NodeDown
        | Cause::NodeFlapping
        | Cause::MemoryPressure
        | Cause::KernelDeadlock => Expected::Nothing,
        // On purpose: nothing fails.
        Cause::ScaledToZero => return None,
        Cause::RegistryDown
        | Cause::JobFailed
        | Cause::NodeCannotPull
        | Cause::NodeFull
        | Cause::Evicted
        | Cause::ChangedOutsideGit
        | Cause::ManagersFight
        | Cause::Manifest => return None,
    })
}

/// Faults whose first failure is in the moment in which they were planted.
const fn is_immediate(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::OutOfMemory | Cause::ExitWithError | Cause::Rejected | Cause::Unready
    )
}

struct StoryClient<'a> {
    query: &'a Path,
    database: &'a Path,
}

impl StoryClient<'_> {
    /// `None`: the object is of a kind that the simulated API server does not have.
    fn ask(&self, words: &[&str]) -> anyhow::Result<Option<Value>> {
        let answer = Command::new(self.query)
            .args(words)
            .arg("--format=json")
            .arg("--db")
            .arg(self.database)
            .output()
            .with_context(|| format!("cannot run {}", self.query.display()))?;
        if answer.status.code() == Some(1) {
            return Ok(None);
        }
        let error = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status.success(), "{words:?}: {error}");
        Ok(Some(serde_json::from_slice(&answer.stdout)?))
    }
}

fn time(at: Ms) -> String {
    Timestamp::from_millis(at).to_string()
}

/// `Kind/name/namespace` of the workload or node that the story of a fault is about.
fn target(truth: &GroundTruth, planted: &Planted) -> Option<String> {
    let of_pod = truth.pods.iter().find(|pod| pod.pod == planted.object);
    let object = match (of_pod, planted.object.strip_prefix("Service/")) {
        (Some(pod), _) => pod.workload.clone(),
        (None, Some(place)) => {
            let is_it = |workload: &str| {
                workload
                    .split_once('/')
                    .is_some_and(|(_, own)| own == place)
            };
            let pod = truth.pods.iter().find(|pod| is_it(&pod.workload))?;
            pod.workload.clone()
        }
        (None, None) => planted.object.clone(),
    };
    match object.split('/').collect::<Vec<_>>()[..] {
        [kind, namespace, name] => Some(format!("{kind}/{name}/{namespace}")),
        [kind, name] => Some(format!("{kind}/{name}")),
        _ => None,
    }
}

#[derive(Default)]
struct Score {
    right: usize,
    all: usize,
}

impl Score {
    fn add(&mut self, is_right: bool) {
        self.right += usize::from(is_right);
        self.all += 1;
    }

    fn share(&self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }
}

/// Asks for the story of each planted fault, and compares it with the truth.
pub(super) fn score(
    truth: &GroundTruth,
    slack: Ms,
    (query, database): (&Path, &Path),
    report: &mut Report,
) -> anyhow::Result<()> {
    let asked = StoryClient { query, database };
    let (mut first, mut listed, mut none, mut onset) = (
        Score::default(),
        Score::default(),
        Score::default(),
        Score::default(),
    );
    let mut untracked = 0;
    let mut misses = Vec::new();
    for planted in &truth.planted {
        let Some(expected) = expected(planted.cause) else {
            continue;
        };
        let Some(target) = target(truth, planted) else {
            continue;
        };
        let (since, until) = (time(planted.from - BEFORE), time(planted.to + AFTER));
        let range = [format!("--since={since}"), format!("--until={until}")];
        let Some(story) = asked.ask(&["story", &target, &range[0], &range[1]])? else {
            untracked += 1;
            continue;
        };
        let what = format!("{:?} of {target} at {}", planted.cause, time(planted.from));
        let Some(begin) = story["failure"]["onset"].as_str() else {
            misses.push(format!("no failure: {what}"));
            match expected {
                Expected::Nothing => onset.add(false),
                _ => {
                    first.add(false);
                    listed.add(false);
                }
            }
            continue;
        };
        // A fault that comes again soon belongs to the same failure.
        let is_again = truth.planted.iter().any(|one| {
            one.object == planted.object
                && (planted.from - BEFORE..planted.from).contains(&one.from)
        });
        if is_immediate(planted.cause) && !is_again {
            let begin = Timestamp::parse(begin).map_or(0, Timestamp::millis);
            let is_right = (begin - planted.from).abs() <= slack.max(1000);
            onset.add(is_right);
            if !is_right {
                misses.push(format!("onset {begin}: {what}"));
            }
        }
        let suspects = story["suspects"].as_array().map_or(&[][..], Vec::as_slice);
        let is_cause = |suspect: &Value| {
            let object = suspect["object"].as_str().unwrap_or_default();
            let at = suspect["at"]
                .as_str()
                .and_then(|at| Timestamp::parse(at).ok());
            let is_then =
                at.is_some_and(|at| (at.millis() - planted.from).abs() <= slack.max(2000));
            is_then
                && match expected {
                    Expected::Own => object == target,
                    Expected::Of(kind) => object.starts_with(kind),
                    Expected::Nothing => false,
                }
        };
        let named: Vec<String> = suspects
            .iter()
            .map(|one| format!("{} {} ({})", one["object"], one["what"], one["score"]))
            .collect();
        if expected == Expected::Nothing {
            // Another change of the workload in the hour before is a suspect with reason.
            let changes = asked.ask(&[
                "changes",
                &target,
                &range[0],
                &format!("--until={}", time(planted.from + 1000)),
                "--path=**.image",
            ])?;
            let is_quiet =
                changes.is_some_and(|found| found["changes"].as_array().is_some_and(Vec::is_empty));
            if is_quiet {
                none.add(named.is_empty());
                if !named.is_empty() {
                    misses.push(format!(
                        "suspects without a change: {what}: {}",
                        named.join("; ")
                    ));
                }
            }
            continue;
        }
        first.add(suspects.first().is_some_and(is_cause));
        listed.add(suspects.iter().any(is_cause));
        if !suspects.first().is_some_and(is_cause) {
            misses.push(format!("not first: {what}: {}", named.join("; ")));
        }
    }
    report.group(format!(
        "stories of planted faults ({untracked} of kinds that are not tracked)"
    ));
    for (name, score, limit) in [
        ("planted cause is the first suspect", &first, FIRST_MIN),
        ("planted cause is a suspect", &listed, LISTED_MIN),
        ("no suspect where nothing changed", &none, NONE_MIN),
        ("onset is that of the fault", &onset, ONSET_MIN),
    ] {
        report.add(
            format!("{name} ({} of {})", score.right, score.all),
            score.share(),
            "",
            Limit::AtLeast(limit),
        );
    }
    for miss in misses {
        report.note(miss);
    }
    Ok(())
}
