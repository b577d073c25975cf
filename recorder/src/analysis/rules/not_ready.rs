//! A pod runs, but is not ready.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs, place};
use crate::analysis::failure::way;
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;
use crate::source::objects::{Condition, Phase};

pub(super) const RULE: Rule = Rule {
    id: "H8",
    event_type: EventType::Health,
    name: "pod not ready",
    doc: "\
Opens when a running pod has not been ready for `not_ready` and no container of it fails in a way that H1 to H5 report; severity warning.
Closes when it is ready, or gone.
Next: its readiness probe fails: the pod's Events show the probe's answer.",
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    if pod.phase != Phase::Running || pod.meta.deleting.is_some() {
        return;
    }
    let Some(ready) = Condition::of(&pod.conditions, "Ready").filter(|c| &*c.status == "False")
    else {
        return;
    };
    let settle = context.thresholds.settle;
    let fails = pod
        .containers
        .iter()
        // Also while it runs between two crashes.
        .any(|state| way(state, context.now, settle).is_some());
    if fails || &*ready.reason == "PodCompleted" {
        return;
    }
    let waiting: Vec<&str> = pod
        .containers
        .iter()
        .filter(|c| c.running.is_some() && !c.ready)
        .map(|c| &*c.name)
        .collect();
    let place = place(entry);
    let since = ready.since.unwrap_or(pod.meta.created);
    let description = format!(
        "Pod {place} runs but is not ready since {since} ({}): {}. No Service sends traffic to it. \
         Its Events show what the readiness probe answers.",
        ready.reason,
        if waiting.is_empty() {
            ready.message.to_string()
        } else {
            format!("containers {}", waiting.join(", "))
        },
    );
    let sign = signs.add(
        Severity::Warning,
        since,
        format!("Pod {place} is not ready"),
        description,
    );
    sign.of_pod(entry).hold(context.thresholds.not_ready);
}
