//! Several pods of one controller fail in the same way.

use std::collections::BTreeMap;

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Group, Rule, Signs, members, owner_words};
use crate::analysis::failure::{Way, way};
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "I1",
    event_type: EventType::Insight,
    name: "several pods of one owner fail alike",
    doc: "\
Opens when `same_failure` pods of one controller fail in the same way (out of memory, exit with an error, image pull, container config); severity error.
One row with the pods in the metadata, instead of one to look at for each pod.
Closes when fewer than two of them do.
Next: the cause is in what they share: the template, the image, a ConfigMap, a dependency.",
    reads: &[Kind::Pod],
    check: Check::Owner(check),
    #[cfg(test)]
    cases: tests::cases,
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let settle = context.thresholds.settle;
    let mut ways: BTreeMap<Way, Vec<&PodEntry>> = BTreeMap::new();
    for entry in &group.pods {
        if entry.pod.meta.deleting.is_some() || entry.owner.kind == "Pod" {
            continue;
        }
        let mut fails: Vec<Way> = entry
            .pod
            .containers
            .iter()
            .filter_map(|state| way(state, context.now, settle))
            .collect();
        fails.sort();
        fails.dedup();
        for way in fails {
            ways.entry(way).or_default().push(entry);
        }
    }
    for (way, pods) in ways {
        let enough = if (context.is_open)(way.as_str()) {
            2
        } else {
            context.thresholds.same_failure as usize
        };
        if pods.len() < enough {
            continue;
        }
        let owner = owner_words(&pods[0].owner);
        let since = pods
            .iter()
            .flat_map(|entry| entry.traces.values().filter_map(|trace| trace.failing))
            .min()
            .unwrap_or(context.now);
        let nodes: std::collections::BTreeSet<&str> =
            pods.iter().filter_map(|e| e.pod.node.as_deref()).collect();
        let description = format!(
            "{} of {} pods of {owner} {}, on {} nodes, the first since {since}. \
             Look for the cause in what they share: the template, the image, a ConfigMap, a dependency.",
            pods.len(),
            group.pods.len(),
            way.words(),
            nodes.len(),
        );
        let title = format!("{} pods of {owner} {}", pods.len(), way.words());
        let sign = signs.add(Severity::Error, since, title, description);
        sign.part(way.as_str())
            .with("failure", way.as_str())
            .with("pods", pods.len());
        sign.with("nodes", nodes.len())
            .with("members", members(pods.into_iter()));
    }
}

#[cfg(test)]
mod tests {
    use crate::analysis::tests::prelude::*;

    fn crashing(name: &str, at: i64) -> Value {
        pod_with(
            name,
            1,
            waiting("CrashLoopBackOff"),
            terminated("Error", 1, at - 1, at),
        )
    }

    pub(super) fn cases() -> Vec<Case> {
        vec![
            case(
                "captured: three pods in a crash loop, repaired by a new template",
                vec![
                    Seen("crash-loop", "bad"),
                    Opens(Error),
                    Seen("crash-loop", "repaired"),
                    Closes,
                ],
            ),
            case(
                "three of one owner; closes when fewer than two are left",
                vec![
                    Apply(vec![
                        (Kind::Pod, crashing("web-1", 2)),
                        (Kind::Pod, crashing("web-2", 2)),
                    ]),
                    Quiet,
                    apply(Kind::Pod, crashing("web-3", 2)),
                    Opens(Error),
                    apply(Kind::Pod, pod("web-3", json!({}))),
                    Quiet,
                    apply(Kind::Pod, pod("web-2", json!({}))),
                    Closes,
                ],
            ),
            case(
                "three in different ways are no one thing",
                vec![
                    apply(Kind::Pod, crashing("web-1", 2)),
                    apply(
                        Kind::Pod,
                        pod_with(
                            "web-2",
                            1,
                            waiting("CrashLoopBackOff"),
                            terminated("OOMKilled", 137, 1, 2),
                        ),
                    ),
                    apply(Kind::Pod, pulling("web-3", "w1", "i:1")),
                    Quiet,
                ],
            ),
            case(
                "captured: one pod is not several",
                vec![Seen("config-change", "failing"), Quiet],
            ),
        ]
    }
}
