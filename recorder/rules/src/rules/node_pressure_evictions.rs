//! A node under pressure evicts pods.

use std::time::Duration;

use kube9_ingest::objects::{Condition, Phase};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, pod_names};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::{NodeEntry, PodEntry};

pub(super) const RULE: Rule = Rule {
    name: "NodePressureEvictions",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A node under pressure evicts pods",
        severity: "error",
        opens: "a node reports `MemoryPressure`, `DiskPressure` or `PIDPressure`, and has evicted two pods or more since shortly before",
        opens_after: "",
        closes: "the node reports no pressure, or is removed",
        action: "Find what uses the memory, disk or process IDs: usually a pod without limits, or logs and images on the node's disk.",
        notes: "The metadata lists the pods. They remain until they are deleted (see `PodEvicted`).",
    },
    reads: &[Kind::Node, Kind::Pod],
    check: Check::Node(check),
};

const PRESSURES: [&str; 3] = ["MemoryPressure", "DiskPressure", "PIDPressure"];

/// Evictions that make it.
const EVICTED: usize = 2;

/// The kubelet may evict before it next reports its conditions, which it does every five minutes if nothing else changes.
const BEFORE: Duration = Duration::from_secs(300);

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let name = &*entry.node.meta.name;
    let conditions = entry.node.conditions.iter();
    let pressures: Vec<&Condition> = conditions
        .filter(|c| c.is_true() && PRESSURES.contains(&&*c.kind))
        .collect();
    let began = pressures.iter().filter_map(|c| c.since).min();
    let Some(began) = began else { return };
    let evicted: Vec<&PodEntry> = context
        .world
        .pods_on(name)
        .filter(|entry| {
            let pod = &entry.pod;
            let target = Condition::of(&pod.conditions, "DisruptionTarget");
            let at = target.and_then(|c| c.since).unwrap_or(pod.meta.created);
            pod.phase == Phase::Failed && &*pod.reason == "Evicted" && at > began.minus(BEFORE)
        })
        .collect();
    if evicted.len() < EVICTED && !(context.is_open)("") {
        return;
    }
    let kinds: Vec<&str> = pressures.iter().map(|c| &*c.kind).collect();
    let kinds = kinds.join(", ");
    let description = format!(
        "Node {name} has reported {kinds} since {began} and evicted {}. It accepts no new pods in this state. \
         Find what uses the resource: usually a pod without limits, or logs and images on the node's disk.",
        count(evicted.len(), "pod")
    );
    let title = format!("Node {name} evicts pods: {kinds}");
    let symptom = output.add(Severity::Error, began, title, description);
    symptom
        .with("pressure", kinds)
        .with("evicted", evicted.len())
        .with("members", pod_names(evicted.into_iter()));
    symptom.node = Some(name.to_owned());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn under(kind: &str, status: &str, since: i64) -> Value {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", "True", 0), condition(kind, status, since)]}}),
        )
    }

    fn evicted_at(name: &str, at: i64) -> Value {
        pod(
            name,
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
                   "conditions": [condition("DisruptionTarget", "True", at)]}}),
        )
    }

    #[test]
    fn captured_memory_pressure_opens_then_closes_when_over() {
        run(
            &RULE,
            vec![
                Captured("node", "uncordoned"),
                NoChange,
                Captured("node", "pressure"),
                Opens(Error),
                Captured("node", "over"),
                Closes,
            ],
        );
    }

    #[test]
    fn second_eviction_opens_in_either_order() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, evicted_at("web-1", 10)),
                apply(Kind::Pod, evicted_at("web-2", 12)),
                NoChange,
                apply(Kind::Node, under("DiskPressure", "True", 15)),
                Opens(Error),
                Delete(Kind::Pod, evicted_at("web-2", 12)),
                NoChange,
                apply(Kind::Node, under("DiskPressure", "False", 400)),
                Closes,
            ],
        );
    }

    #[test]
    fn one_eviction_or_pressure_alone_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, under("MemoryPressure", "True", 0)),
                apply(Kind::Pod, evicted_at("web-1", 10)),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn evictions_of_long_ago_do_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, evicted_at("web-1", 10)),
                apply(Kind::Pod, evicted_at("web-2", 12)),
                apply(Kind::Node, under("MemoryPressure", "True", 5_000)),
                NoChange,
            ],
        );
    }
}
