//! Several pods of one controller fail in the same way.

use std::collections::BTreeMap;

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Group, Rule, Signs, members, owner_words};
use crate::analysis::failure::{Way, failing};
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "I1",
    event_type: EventType::Insight,
    name: "several pods of one owner fail alike",
    doc: "\
Opens when `same_failure` pods of one controller fail in the same way (out of memory, exit with an error, image pull for `image_pull`, container config); severity error.
Pods that their node evicted are not counted, see H10.
One row with the pods in the metadata, instead of one to look at for each pod.
Closes when fewer than two of them do.
Next: the cause is in what they share: the template, the image, a ConfigMap, a dependency.",
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let mut ways: BTreeMap<Way, Vec<&PodEntry>> = BTreeMap::new();
    for entry in group.pods.iter().filter(|entry| entry.owner.kind != "Pod") {
        let failing = failing(entry, context.now, context.thresholds);
        if let Some(at) = failing.again {
            signs.look_again(at); // pods that recover by running on say nothing then
        }
        let mut fails: Vec<Way> = failing.ways.into_iter().map(|(way, _)| way).collect();
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
