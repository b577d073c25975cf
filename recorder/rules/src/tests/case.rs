//! Tables of cases: what one rule does, step by step.

use kube9_ingest::item::{Finding, Step};
use kube9_model::Severity;
use kube9_model::heard::{History, Told};
use kube9_model::label::Kind;
use serde_json::Value;

use super::captured::Scene;
use super::harness::Lab;
use crate::config::AnalysisConfig;
use crate::rules::rule::Rule;
use crate::self_status::Own;
use crate::state::Before;

/// One step of a case.
pub(crate) enum Do {
    /// Objects are there, or change.
    Apply(Vec<(Kind, Value)>),
    /// An object goes.
    Gone(Kind, Value),
    /// The objects of a captured scene are as they were at that moment, and the time is then.
    Seen(&'static str, &'static str),
    /// The writer has committed Events.
    Hear(Told),
    /// kube9 itself is like this.
    Notice(Own),
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
    Becomes,
    /// Since the last look the rule did nothing.
    Quiet,
}

/// Plays the steps in a cluster that was never recorded before, and compares what the rule does with what it should do.
pub(crate) fn run(rule: &Rule, steps: Vec<Do>) {
    run_after(rule, History::default(), steps);
}

/// The same in a cluster with a past.
pub(crate) fn run_after(rule: &Rule, history: History, steps: Vec<Do>) {
    let happens = |step: &Do| {
        matches!(
            step,
            Do::Apply(_) | Do::Seen(..) | Do::Hear(_) | Do::Notice(_)
        )
    };
    assert!(steps.iter().any(happens), "nothing happens in this case");
    let expects = |step: &Do| !happens(step) && !matches!(step, Do::Gone(..) | Do::Wait(_));
    assert!(
        steps.last().is_some_and(expects),
        "a case ends in what it expects"
    );
    let before = Before {
        findings: Vec::new(),
        history,
    };
    let mut lab = Lab::going_on(AnalysisConfig::default(), before);
    for (index, step) in steps.into_iter().enumerate() {
        let expected = match step {
            Do::Apply(objects) => {
                for (kind, object) in objects {
                    lab.apply(kind, &object);
                }
                continue;
            }
            Do::Gone(kind, object) => {
                lab.delete(kind, &object);
                continue;
            }
            Do::Seen(scene, moment) => {
                Scene::read(scene).show(moment, &mut lab);
                continue;
            }
            Do::Hear(told) => {
                lab.hear(told);
                continue;
            }
            Do::Notice(own) => {
                lab.notice(own);
                continue;
            }
            Do::Wait(seconds) => {
                lab.wait(seconds);
                continue;
            }
            Do::Opens(severity) => vec![("opens", severity)],
            Do::OpensEach(number, severity) => vec![("opens", severity); number],
            Do::Closes => vec![("closes", Severity::Info)],
            Do::ClosesEach(number) => vec![("closes", Severity::Info); number],
            Do::Becomes => vec![("becomes", Severity::Info)],
            Do::Quiet => vec![],
        };
        let findings = lab.findings();
        let of_rule = |f: &&Finding| f.fingerprint.as_str().split('/').next() == Some(rule.name);
        let found: Vec<_> = findings
            .iter()
            .filter(of_rule)
            .filter_map(|finding| {
                reads_well(finding);
                let record = finding.row.record();
                let what = match finding.step {
                    Step::Opened { .. } => "opens",
                    Step::Closed if record.title.ends_with(" resolved") => "closes",
                    Step::Closed => "becomes",
                    Step::Updated => return None,
                };
                Some((what, record.severity))
            })
            .collect();
        assert_eq!(found, expected, "step {index}");
    }
}

/// One object is there, or changes.
pub(crate) fn apply(kind: Kind, object: Value) -> Do {
    Do::Apply(vec![(kind, object)])
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
    if !matches!(finding.step, Step::Closed) {
        let since = record.extra["since"].as_str().unwrap();
        assert!(record.title.contains(&since[..10]), "{}", record.title);
    }
}
