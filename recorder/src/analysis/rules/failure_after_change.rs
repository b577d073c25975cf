//! Pods fail soon after something they depend on changed.

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;

use super::{Check, Context, Group, Rule, Signs, count, members, owner_words, span};
use crate::analysis::changes::LastChange;
use crate::analysis::failure::failing;
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "I2",
    event_type: EventType::Insight,
    name: "failure after a change",
    doc: "\
Opens when pods of a controller begin to fail (in the ways of I1) within `after_change` after the image of their Deployment, or a ConfigMap that they read, changed; severity error.
The metadata names the change and the pods.
Closes when none of them fails.
Next: the change is the first suspect, not a proof; take it back if in doubt.",
    reads: &[Kind::Pod, Kind::Deployment, Kind::ConfigMap],
    check: Check::Owner(check),
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let owner = &group.pods[0].owner;
    let mut failing_pods: Vec<(&PodEntry, Timestamp)> = Vec::new();
    for entry in &group.pods {
        let failing = failing(entry, context.now, context.thresholds);
        if let Some(at) = failing.again {
            signs.look_again(at); // pods that recover by running on say nothing then
        }
        let since = failing.ways.iter().filter_map(|(_, since)| *since).min();
        failing_pods.extend(since.map(|since| (*entry, since)));
    }
    let failing = failing_pods;
    if failing.is_empty() {
        return;
    }
    let open = (context.is_open)("");
    let window = context.thresholds.after_change;
    let fits = |change: &LastChange, since: Timestamp| {
        // Times of containers are whole seconds: a crash in the second of the change is after it.
        since.millis() >= change.at - 1000 && since.since(change.time()) <= window
    };
    let mut suspects: Vec<LastChange> = changes(context, group);
    suspects.sort_by_key(|change| std::cmp::Reverse(change.at));
    let found = suspects
        .iter()
        .find(|change| failing.iter().any(|(_, since)| fits(change, *since)));
    // Restarts of the recorder lose when a failure began; what was found once stays found while they fail.
    let Some(change) = found.or(if open { suspects.first() } else { None }) else {
        return;
    };
    let pods: Vec<&PodEntry> = failing.iter().map(|(entry, _)| *entry).collect();
    let since = failing
        .iter()
        .map(|(_, since)| *since)
        .min()
        .unwrap_or(context.now);
    let owner = owner_words(owner);
    let description = format!(
        "{} of {owner} failing since {since}, {} after a change at {}: {}. \
         The change is the first suspect: compare with the state before it, or take it back.",
        count(pods.len(), "pod"),
        span(since.since(change.time())),
        change.time(),
        change.what
    );
    let title = format!("Pods of {owner} fail after a change: {}", change.what);
    let sign = signs.add(Severity::Error, since, title, description);
    sign.with("change", change.what.as_str())
        .with("changed_at", change.time().to_string());
    sign.with("pods", pods.len())
        .with("members", members(pods.into_iter()));
}

/// The latest changes of what the group depends on.
fn changes(context: &Context<'_>, group: &Group<'_>) -> Vec<LastChange> {
    let world = context.world;
    let mut found: Vec<LastChange> = world
        .last_changes
        .get(group.name)
        .cloned()
        .into_iter()
        .collect();
    let newest = group.newest();
    let spec = &newest.pod.spec;
    for map in spec.config_maps.iter().chain(&spec.optional_config_maps) {
        let key = format!("ConfigMap/{}/{map}", newest.pod.meta.namespace);
        found.extend(world.last_changes.get(key.as_str()).cloned());
    }
    found
}
