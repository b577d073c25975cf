//! Two managers overwrite each other's value of a field.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kube9_model::commit_stats::FieldWrite;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef, Severity};

use super::format::owner_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::{FieldHistory, WRITES_KEPT, WRITES_MAX, client};

pub(super) const RULE: Rule = Rule {
    name: "ManagersFightOverField",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Two managers overwrite each other's value of a field",
        severity: "warning",
        opens: "two managers have changed one field of an object in turn, four times within 30 minutes, and one of them always to the same value",
        opens_after: "",
        closes: "neither has changed it for 30 minutes, a third manager or only one of them has, or the object is deleted",
        action: "Let one of them manage the field: remove it from the manifest of the other, or make the other ignore it.",
        notes: "The changes are those of the change history whose author is proven (`certainty` `field`). Several changes of one manager in a row count as one. A usual case is a replica count in Git that an autoscaler changes.",
    },
    reads: &[],
    check: Check::Fields(check),
};

fn check(
    context: &RuleContext<'_>,
    object: &ObjectRef,
    fields: &BTreeMap<Box<str>, FieldHistory>,
    output: &mut RuleOutput,
) {
    let is_recent = |at: Timestamp| context.now.since(at) <= WRITES_KEPT;
    for (path, field) in fields {
        let fight = fight(&field.writes).filter(|fight| is_recent(fight.until));
        let Some(fight) = fight else {
            // Its writes were before the start.
            if let Some(restored) = field.restored
                && field.writes.is_empty()
                && (context.is_open)(path)
                && is_recent(restored)
            {
                output.keep_open(path);
                output.recheck_at(restored.plus(WRITES_KEPT + Duration::from_secs(1)));
            }
            continue;
        };
        output.recheck_at(fight.until.plus(WRITES_KEPT + Duration::from_secs(1)));
        let [one, other] = fight.managers;
        let name = owner_name(object);
        let title = format!("{one} and {other} overwrite {path} of {name}");
        let [value, other_value] = fight
            .values
            .map(|value| if value.is_empty() { "(none)" } else { value });
        let description = format!(
            "{one} and {other} have changed {path} of {name} in turn since {}: {one} to {value}, {other} to {other_value}. \
             Let one of them manage the field: remove it from the manifest of the other, or make the other ignore it.",
            fight.since
        );
        let symptom = output.add(Severity::Warning, fight.since, title, description);
        symptom
            .part(&**path)
            .with("path", &**path)
            .with("managers", vec![one, other])
            .with("values", vec![value, other_value]);
    }
}

/// Changes of a field by two managers in turn.
#[derive(Debug, PartialEq)]
struct Fight<'a> {
    managers: [&'a str; 2],
    /// The last value that each of them wrote.
    values: [&'a str; 2],
    since: Timestamp,
    until: Timestamp,
}

fn fight(writes: &VecDeque<FieldWrite>) -> Option<Fight<'_>> {
    let (first, last) = (writes.front()?, writes.back()?);
    let in_turn =
        (0..writes.len()).all(|at| at < 2 || client(&writes[at]) == client(&writes[at - 2]));
    if writes.len() < WRITES_MAX || !in_turn || last.at.since(first.at) > WRITES_KEPT {
        return None;
    }
    let undoes = (1..writes.len()).all(|at| writes[at].to != writes[at - 1].to);
    let is_constant = |begin: usize| {
        writes
            .iter()
            .skip(begin)
            .step_by(2)
            .all(|one| one.to == writes[begin].to)
    };
    let before_last = &writes[writes.len() - 2];
    (undoes && (is_constant(0) || is_constant(1))).then_some(Fight {
        managers: [&last.manager, &before_last.manager],
        values: [&last.to, &before_last.to],
        since: first.at,
        until: last.at,
    })
}

#[cfg(test)]
mod tests {
    use kube9_model::commit_stats::CommitDelta;

    use super::*;
    use crate::tests::prelude::*;

    /// Writes of `spec.replicas`: manager, value and second.
    fn writes(all: &[(&str, &str, u64)]) -> Step {
        let mut delta = CommitDelta::default();
        for (manager, value, second) in all {
            delta.note_write(FieldWrite {
                object: ObjectRef {
                    kind: "Deployment".into(),
                    namespace: "shop".into(),
                    name: "web".into(),
                },
                path: "spec.replicas".into(),
                to: (*value).into(),
                manager: (*manager).into(),
                at: start().plus(Duration::from_secs(*second)),
                ..FieldWrite::default()
            });
        }
        Commit(delta)
    }

    fn runs(steps: Vec<Step>) {
        run(&RULE, steps);
    }

    #[test]
    fn autoscaler_and_git_fight_until_one_gives_up() {
        runs(vec![
            writes(&[
                ("argocd", "2", 0),
                ("hpa", "5", 20),
                ("argocd", "2", 40),
                ("hpa", "6", 60),
            ]),
            NoChange,
            writes(&[("argocd", "2", 80)]),
            Opens(Warning),
            Wait(100),
            writes(&[("hpa", "7", 100)]),
            NoChange,
            Wait(1700),
            NoChange,
            Wait(200),
            Closes,
        ]);
    }

    #[test]
    fn changes_that_are_no_fight_do_not_open() {
        for all in [
            // One of them gives up.
            &[
                ("argocd", "2", 0),
                ("kubectl", "5", 20),
                ("argocd", "2", 40),
            ][..],
            // Both count up: neither undoes the other.
            &[
                ("a", "1", 0),
                ("b", "2", 10),
                ("a", "3", 20),
                ("b", "4", 30),
                ("a", "5", 40),
            ],
            // Both want the same.
            &[
                ("a", "1", 0),
                ("b", "1", 10),
                ("a", "1", 20),
                ("b", "1", 30),
                ("a", "1", 40),
            ],
            // Three.
            &[
                ("a", "1", 0),
                ("b", "2", 10),
                ("c", "1", 20),
                ("a", "2", 30),
                ("b", "1", 40),
            ],
            // One manager alone.
            &[
                ("a", "1", 0),
                ("a", "2", 10),
                ("a", "1", 20),
                ("a", "2", 30),
                ("a", "1", 40),
            ],
            // One client.
            &[
                ("kubectl-cordon", "true", 0),
                ("kubectl-uncordon", "", 10),
                ("kubectl-cordon", "true", 20),
                ("kubectl-uncordon", "", 30),
                ("kubectl-cordon", "true", 40),
            ],
            // Every quarter of an hour.
            &[
                ("a", "1", 0),
                ("b", "2", 1000),
                ("a", "1", 2000),
                ("b", "2", 3000),
                ("a", "1", 4000),
            ],
        ] {
            runs(vec![writes(all), Wait(10), NoChange]);
        }
    }

    #[test]
    fn several_writes_in_a_row_are_one() {
        runs(vec![
            writes(&[
                ("git", "2", 0),
                ("hpa", "3", 10),
                ("hpa", "4", 20),
                ("git", "2", 30),
                ("hpa", "3", 40),
                ("hpa", "5", 50),
                ("git", "2", 60),
            ]),
            Opens(Warning),
        ]);
    }
}
