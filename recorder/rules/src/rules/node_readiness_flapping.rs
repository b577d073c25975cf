//! A node alternates between ready and not ready.

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::human_duration;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::node_life;
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeReadinessFlapping",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A node alternates between ready and not ready",
        severity: "error",
        opens: "a node changed between ready and not ready `flapping` times within `flapping_window`",
        opens_after: "",
        closes: "the node has not changed for half of `flapping_window`, or is removed",
        action: "Check the node's network to the API server, and the load of the machine.",
        notes: "The first two minutes of a node and the restarts of a cordoned node do not count.",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let window = context.thresholds.flapping_window;
    let registered = node_life::registered_at(&entry.node);
    let recent: Vec<_> = entry
        .flaps
        .iter()
        .filter(|at| context.now.since(**at) < window && **at >= registered)
        .collect();
    let ready = Condition::of(&entry.node.conditions, "Ready");
    let quiet_at = ready
        .and_then(|c| c.since)
        .map(|since| since.plus(window / 2));
    let restless = quiet_at.is_some_and(|at| context.now < at);
    if let Some(at) = quiet_at.filter(|_| restless) {
        output.recheck_at(at);
    }
    let opens = recent.len() >= context.thresholds.flapping as usize && restless;
    let stays = (context.is_open)("") && restless;
    if !opens && !stays {
        return;
    }
    let name = &entry.node.meta.name;
    let since = recent.first().copied().copied().unwrap_or(context.now);
    let description = format!(
        "Node {name} changed between ready and not ready {} times within {}. \
         Check its network to the API server, and the load of the machine.",
        recent.len(),
        human_duration(window)
    );
    let symptom = output.add(
        Severity::Error,
        since,
        format!("Node {name} alternates between ready and not ready"),
        description,
    );
    symptom.with("changes", recent.len());
    symptom.node = Some(name.to_string());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn is(status: &str, since: i64) -> Value {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", status, since)]}}),
        )
    }

    #[test]
    fn four_changes_within_an_hour_open_then_close_after_half_an_hour() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, is("True", 0)),
                apply(Kind::Node, is("False", 10)),
                apply(Kind::Node, is("True", 20)),
                apply(Kind::Node, is("False", 30)),
                NoChange,
                apply(Kind::Node, is("True", 40)),
                Opens(Error),
                Wait(1700),
                NoChange,
                Wait(200),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_two_outages_open_then_close() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                Captured("node", "lost"),
                Captured("node", "back"),
                Captured("node", "lost-again"),
                NoChange,
                Captured("node", "back-again"),
                Opens(Error),
                Wait(1_900),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_one_outage_does_not_open() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                Captured("node", "lost"),
                Captured("node", "back"),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn changes_of_a_new_or_cordoned_node_do_not_open() {
        let new = json!({"metadata": {"creationTimestamp": t(0)}});
        let cordoned = json!({"spec": {"unschedulable": true}});
        for patch in [new, cordoned] {
            let states = ["True", "False", "True", "False", "True", "False", "True"];
            let states = states.iter().zip((0..).step_by(10));
            let mut steps: Vec<_> = states
                .map(|(status, at)| apply(Kind::Node, over(is(status, at), patch.clone())))
                .collect();
            steps.extend([Wait(60), NoChange]);
            run(&RULE, steps);
        }
    }
}
