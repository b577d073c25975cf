//! Pods request nearly all CPU or memory of a node.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::count;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::{NodeEntry, ResourceRequests};

pub(super) const RULE: Rule = Rule {
    name: "NodeNearlyAllocated",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Pods request nearly all CPU or memory of a node",
        severity: "warning; info while another node is ready and schedulable",
        opens: "the requests of a node's pods reach `node_full_percent` percent of its allocatable CPU or memory",
        opens_after: "",
        closes: "the requests fall 5 percentage points below that, or the node is removed",
        action: "Add a node, or lower requests that are far above use.",
        notes: "Requests decide where pods are scheduled. What the pods use may be much less. Autoscalers and the scheduler fill nodes on purpose, as long as there are others.",
    },
    reads: &[Kind::Node, Kind::Pod],
    check: Check::Node(check),
};

/// It closes this far below the limit, so that one pod more or less does not open and close it.
const BAND: i64 = 5;

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let node = &entry.node;
    let name = &*node.meta.name;
    let requests = context.world.on_node(name).map(|on| on.requests);
    let ResourceRequests { pods, cpu, memory } = requests.unwrap_or_default();
    for (part, requests, has) in [("CPU", cpu, node.cpu), ("memory", memory, node.memory)] {
        let Some(has) = has.filter(|has| *has > 0) else {
            continue;
        };
        let percent = i64::try_from(requests * 100 / i128::from(has)).unwrap_or(i64::MAX);
        let limit = i64::from(context.thresholds.node_full_percent);
        let limit = if (context.is_open)(part) {
            limit - BAND
        } else {
            limit
        };
        if percent < limit {
            continue;
        }
        let pods = count(pods, "pod");
        let description = format!(
            "The pods on node {name} ({pods}) request {percent} % of its allocatable {part}. Further pods are scheduled to \
             other nodes or wait. Add a node, or lower requests that are far above use."
        );
        let title = format!("Pods request nearly all {part} of node {name}");
        let severity = if context.world.another_node_is_schedulable(name) {
            Severity::Info
        } else {
            Severity::Warning
        };
        let symptom = output.add(severity, context.now, title, description);
        symptom.part(part).with("percent", percent);
        symptom.node = Some(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn asks(name: &str, cpu: &str) -> Value {
        pod(
            name,
            json!({"spec": {"containers": [container(json!({"resources": {"requests": {"cpu": cpu}}}))]}}),
        )
    }

    #[test]
    fn captured_cpu_requests_open_then_close_when_lowered() {
        run(
            &RULE,
            vec![
                Captured("full-node", "bad"),
                Wait(60),
                Opens(Warning), // 96 %
                Captured("full-node", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn requests_open_at_the_limit_then_close_well_below() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node("w1", json!({}))),
                apply(Kind::Pod, asks("web-1", "3700m")),
                NoChange,
                apply(Kind::Pod, asks("web-1", "3800m")),
                Opens(Warning),
                apply(Kind::Pod, asks("web-1", "3700m")),
                NoChange,
                apply(Kind::Pod, asks("web-1", "3500m")),
                Closes,
            ],
        );
    }

    #[test]
    fn ended_pods_do_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node("w1", json!({}))),
                apply(
                    Kind::Pod,
                    over(
                        asks("web-1", "3900m"),
                        json!({"status": {"phase": "Succeeded"}}),
                    ),
                ),
                NoChange,
            ],
        );
    }

    fn requesting(spec: Value) -> Value {
        pod("web-1", json!({"spec": spec}))
    }

    fn one(cpu: &str) -> Value {
        container(json!({"resources": {"requests": {"cpu": cpu}}}))
    }

    #[test]
    fn sidecar_pod_resources_and_overhead_open() {
        let sidecar = over(
            one("2"),
            json!({"name": "proxy", "restartPolicy": "Always"}),
        );
        for spec in [
            json!({"containers": [one("1900m")], "initContainers": [sidecar]}),
            json!({"containers": [one("100m")], "initContainers": [one("3900m")]}),
            json!({"containers": [one("100m")], "resources": {"requests": {"cpu": "3900m"}}}),
            json!({"containers": [one("3500m")], "overhead": {"cpu": "400m"}}),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Node, node("w1", json!({}))),
                    apply(Kind::Pod, requesting(spec)),
                    Opens(Warning),
                ],
            );
        }
    }

    #[test]
    fn pod_resources_below_the_sum_and_small_init_container_do_not_open() {
        for spec in [
            json!({"containers": [one("3900m")], "resources": {"requests": {"cpu": "1"}}}),
            json!({"containers": [one("2")], "initContainers": [one("3")]}),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Node, node("w1", json!({}))),
                    apply(Kind::Pod, requesting(spec)),
                    NoChange,
                ],
            );
        }
    }

    #[test]
    fn full_node_among_others_opens_as_info() {
        run(
            &RULE,
            vec![
                two_nodes(),
                apply(Kind::Pod, asks("web-1", "3900m")),
                Opens(Info),
            ],
        );
    }
}
