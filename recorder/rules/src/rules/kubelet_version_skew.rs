//! Kubelets are several versions behind.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::count;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "KubeletVersionSkew",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "Kubelets are several versions behind",
        severity: "warning; error from four minor versions on",
        opens: "the kubelet of a node is two minor versions or more behind the newest kubelet of the cluster",
        opens_after: "`assessment`",
        closes: "no node has that version",
        action: "Upgrade those nodes before the next upgrade of the control plane.",
        notes: "There is one finding for each version. One version behind is normal during an upgrade. A kubelet may be at most three minor versions behind the API server.",
    },
    reads: &[Kind::Node],
    check: Check::Cluster(check),
};

/// `v1.33.4-gke.1` → (1, 33).
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn check(context: &RuleContext<'_>, output: &mut RuleOutput) {
    let kubelets = context.world.kubelets();
    let Some((newest, newest_version)) = kubelets
        .keys()
        .filter_map(|version| Some((minor(version)?, version)))
        .max()
    else {
        return;
    };
    for (version, nodes) in &kubelets {
        let Some((_, old)) = minor(version).filter(|(major, _)| *major == newest.0) else {
            continue;
        };
        let behind = newest.1.saturating_sub(old);
        let (severity, what) = match behind {
            0 | 1 => continue,
            2 | 3 => (
                Severity::Warning,
                "a kubelet may be three behind the API server, so the next upgrade of the control plane may not support it",
            ),
            _ => (
                Severity::Error,
                "no API server supports both, since a kubelet may be at most three behind it",
            ),
        };
        let description = format!(
            "Kubelet {version} runs on {}, {behind} minor versions behind the newest ({newest_version}): {what}. \
             Upgrade those nodes before the control plane.",
            count(nodes.len(), "node")
        );
        let title = format!("Kubelet {version} is {behind} minor versions behind {newest_version}");
        let names: Vec<&str> = nodes.iter().take(20).map(|node| &*node.name).collect();
        let symptom = output.add(severity, context.now, title, description);
        symptom
            .part(&**version)
            .for_at_least(context.thresholds.assessment)
            .with("nodes", nodes.len())
            .with("members", names);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn of(name: &str, version: &str) -> (Kind, Value) {
        let info = json!({"status": {"nodeInfo": {"kubeletVersion": version}}});
        (Kind::Node, node(name, info))
    }

    #[test]
    fn two_versions_behind_open_then_close_with_the_last_upgrade() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    of("w1", "v1.33.1"),
                    of("w2", "v1.31.9-eks-1"),
                    of("w3", "v1.31.9-eks-1"),
                ]),
                Wait(31),
                Opens(Warning),
                Apply(vec![of("w2", "v1.33.1")]),
                NoChange,
                Apply(vec![of("w3", "v1.32.0")]),
                Closes,
            ],
        );
    }

    #[test]
    fn four_versions_behind_open_as_error_then_close_when_removed() {
        run(
            &RULE,
            vec![
                Apply(vec![of("w1", "v1.33.1"), of("w2", "v1.29.0")]),
                Wait(31),
                Opens(Error),
                Delete(Kind::Node, node("w2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn one_version_behind_does_not_open() {
        run(
            &RULE,
            vec![
                Apply(vec![of("w1", "v1.33.1"), of("w2", "v1.32.9"), of("w3", "")]),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_old_node_opens_then_closes_when_removed() {
        run(
            &RULE,
            vec![
                Captured("neighbour", "beside"),
                Wait(31),
                Opens(Warning),
                Captured("neighbour", "alone"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_single_version_does_not_open() {
        run(&RULE, vec![Captured("node", "well"), Wait(60), NoChange]);
    }
}
