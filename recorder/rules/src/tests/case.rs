//! Tables of cases: what one rule does, step by step.

use kube9_ingest::item::{Finding, Step as Transition};
use kube9_model::Severity;
use kube9_model::heard::{History, Told};
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
    /// Objects are there, or change.
    Apply(Vec<(Kind, Value)>),
    /// An object goes.
    Delete(Kind, Value),
    /// The objects of a captured scene are as they were at that moment, and the time is then.
    Captured(&'static str, &'static str),
    /// The writer has committed Events.
    Commit(Told),
    /// kube9 itself is like this.
    SetSelfStatus(SelfStatus),
    /// Seconds pass.
    Wait(u64),
    /// Since the last look the rule opened a finding of this severity, and did nothing else.
    Opens(Severity),
    /// As many findings of this severity, and nothing else.
    OpensEach(usize, Severity),
    /// Since the last look the rule closed a finding, and did nothing else.
    Closes,
    /// As many findings, and nothing else.
    ClosesEach(usize),
    /// Since the last look a finding went on as another rule's, and nothing else.
    Superseded,
    /// Since the last look the rule did nothing.
    NoChange,
}

/// Plays the steps in a cluster that was never recorded before, and compares what the rule does with what it should do.
pub(crate) fn run(rule: &Rule, steps: Vec<Step>) {
    run_after(rule, History::default(), steps);
}

/// The same in a cluster with a past.
pub(crate) fn run_after(rule: &Rule, history: History, steps: Vec<Step>) {
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
        findings: Vec::new(),
        history,
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
            Step::Commit(told) => {
                harness.commit(told);
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
                let what = match finding.step {
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

/// One object is there, or changes.
pub(crate) fn apply(kind: Kind, object: Value) -> Step {
    Step::Apply(vec![(kind, object)])
}

/// What people read has no trace of how it was put together.
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
    if !matches!(finding.step, Transition::Closed) {
        let since = record.extra["since"].as_str().unwrap();
        assert!(record.title.contains(&since[..10]), "{}", record.title);
    }
}
