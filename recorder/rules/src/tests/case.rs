//! Cases of a rule: steps, and what the rule does.

use kube9_ingest::item::{Finding, FindingTransition as Transition};
use kube9_model::Severity;
use kube9_model::commit_stats::{CommitDelta, WarningHistory};
use kube9_model::label::Kind;
use serde_json::Value;

use super::captured::CapturedObjects;
use super::harness::TestHarness;
use crate::config::AnalysisConfig;
use crate::rules::rule::Rule;
use crate::self_status::SelfStatus;
use crate::state::RestoredState;

/// One step of a case.
pub(crate) enum Step {
    /// Adds or changes objects.
    Apply(Vec<(Kind, Value)>),
    /// Deletes an object.
    Delete(Kind, Value),
    /// Sets the objects and the time to a moment of a captured scenario.
    Captured(&'static str, &'static str),
    /// The writer commits Events.
    Commit(CommitDelta),
    SetSelfStatus(SelfStatus),
    /// Advances the clock by seconds.
    Wait(u64),
    /// Expects that the rule opened one finding of this severity since the last expectation, and nothing else.
    Opens(Severity),
    /// Expects that many opened findings, and nothing else.
    OpensEach(usize, Severity),
    /// Expects one closed finding, and nothing else.
    Closes,
    /// Expects that many closed findings, and nothing else.
    ClosesEach(usize),
    /// Expects one finding that another rule replaced, and nothing else.
    Superseded,
    /// Expects that the rule did nothing.
    NoChange,
}

/// A workload that was captured with a careless manifest and then with a careful one: the rule opens, then closes.
pub(crate) fn careless_then_careful_manifest(severity: Severity) -> Vec<Step> {
    vec![
        Step::Captured("careless", "bad"),
        Step::Wait(31),
        Step::Opens(severity),
        Step::Captured("careless", "repaired"),
        Step::Wait(60),
        Step::Closes,
    ]
}

/// The careful manifest alone: the rule does nothing.
pub(crate) fn careful_manifest() -> Vec<Step> {
    vec![
        Step::Captured("careless", "repaired"),
        Step::Wait(60),
        Step::NoChange,
    ]
}

/// Runs the steps on a cluster that was never recorded before, and compares the rule's findings with the expectations.
pub(crate) fn run(rule: &Rule, steps: Vec<Step>) {
    run_after(rule, WarningHistory::default(), steps);
}

/// The same with recorded history.
pub(crate) fn run_after(rule: &Rule, history: WarningHistory, steps: Vec<Step>) {
    let happens = |step: &Step| {
        matches!(
            step,
            Step::Apply(_) | Step::Captured(..) | Step::Commit(_) | Step::SetSelfStatus(_)
        )
    };
    assert!(steps.iter().any(happens), "nothing happens in this case");
    let expects = |step: &Step| !happens(step) && !matches!(step, Step::Delete(..) | Step::Wait(_));
    assert!(
        steps.last().is_some_and(expects),
        "a case ends in what it expects"
    );
    let before = RestoredState {
        history,
        ..RestoredState::default()
    };
    let mut harness = TestHarness::restored(AnalysisConfig::default(), before);
    for (index, step) in steps.into_iter().enumerate() {
        let expected = match step {
            Step::Apply(objects) => {
                for (kind, object) in objects {
                    harness.apply(kind, &object);
                }
                continue;
            }
            Step::Delete(kind, object) => {
                harness.delete(kind, &object);
                continue;
            }
            Step::Captured(scene, moment) => {
                CapturedObjects::read(scene).show(moment, &mut harness);
                continue;
            }
            Step::Commit(delta) => {
                harness.commit(delta);
                continue;
            }
            Step::SetSelfStatus(own) => {
                harness.set_self_status(own);
                continue;
            }
            Step::Wait(seconds) => {
                harness.wait(seconds);
                continue;
            }
            Step::Opens(severity) => vec![("opens", severity)],
            Step::OpensEach(number, severity) => vec![("opens", severity); number],
            Step::Closes => vec![("closes", Severity::Info)],
            Step::ClosesEach(number) => vec![("closes", Severity::Info); number],
            Step::Superseded => vec![("becomes", Severity::Info)],
            Step::NoChange => vec![],
        };
        let findings = harness.findings();
        let of_rule = |f: &&Finding| f.fingerprint.as_str().split('/').next() == Some(rule.name);
        let found: Vec<_> = findings
            .iter()
            .filter(of_rule)
            .filter_map(|finding| {
                reads_well(finding);
                let record = finding.row.record();
                let what = match finding.transition {
                    Transition::Opened { .. } => "opens",
                    Transition::Closed if record.title.ends_with(" resolved") => "closes",
                    Transition::Closed => "becomes",
                    Transition::Updated => return None,
                };
                Some((what, record.severity))
            })
            .collect();
        assert_eq!(found, expected, "step {index}");
    }
}

/// Adds or changes one object.
pub(crate) fn apply(kind: Kind, object: Value) -> Step {
    Step::Apply(vec![(kind, object)])
}

/// Checks that a text has no traces of empty format arguments.
fn reads_well(finding: &Finding) {
    let record = finding.row.record();
    for text in [&record.title, &record.description] {
        for slip in [
            "  ",
            "()",
            "{}",
            " .",
            ": .",
            "..",
            " ,",
            "1970-01-01",
            "0001-01-01",
            ".000Z",
            " 1 pods",
            " 1 nodes",
            "1 node run ",
        ] {
            assert!(!text.contains(slip), "{slip:?} in {text:?}");
        }
    }
    assert!(record.title.len() <= 200, "{}", record.title);
    assert!(
        record.description.ends_with(['.', '`', '?']),
        "{}",
        record.description
    );
    assert_ne!(record.title, record.description);
    if !matches!(finding.transition, Transition::Closed) {
        let since = record.extra["since"].as_str().unwrap();
        assert!(record.title.contains(&since[..10]), "{}", record.title);
    }
}
