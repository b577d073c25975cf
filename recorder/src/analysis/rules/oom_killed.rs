//! A container ran out of memory, or was killed.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs, place, times};
use crate::analysis::failure::{is_evicted, is_oom, unsettled};
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "H1",
    event_type: EventType::Health,
    name: "container killed for memory",
    doc: "\
Opens when a container ended with the reason `OOMKilled`, or with exit code 137 (SIGKILL), which also comes from a failed liveness probe or a full node; severity error.
A pod that its node evicted is H10's.
Closes when the container has run for `settle`, or its pod is gone.
Kubernetes makes no Event for it.
Next: compare the container's memory limit with what it uses; raise the limit or find the leak.",
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    if pod.meta.deleting.is_some() || is_evicted(pod) {
        return; // H10 names the node that did it
    }
    for state in &pod.containers {
        let Some((end, settled)) = unsettled(state, context.now, context.thresholds.settle) else {
            continue;
        };
        let oom = is_oom(end);
        if !oom && end.exit_code != 137 {
            continue;
        }
        if let Some(at) = settled {
            signs.look_again(at);
        }
        let (name, place) = (&state.name, place(entry));
        let limit = pod
            .spec
            .named(name)
            .and_then(|c| c.memory_limit)
            .map(|limit| limit / 1000);
        let (title, why) = if oom {
            let why = match limit {
                Some(bytes) => format!("used more than its memory limit of {} Mi", bytes >> 20),
                None => "has no memory limit, so the node itself ran out of memory".to_owned(),
            };
            (
                format!("Container {name} of pod {place} out of memory (OOMKilled)"),
                why,
            )
        } else {
            let why = "was killed by SIGKILL: by the kubelet after a failed liveness probe, or by the node for want of memory";
            (
                format!("Container {name} of pod {place} killed (exit code 137)"),
                why.to_owned(),
            )
        };
        let description = format!(
            "Container {name} of pod {place} {why}, last at {}. It was restarted {}. \
             Compare its memory limit with what it uses; raise the limit or find the leak.",
            end.at,
            times(state.restarts)
        );
        let sign = signs.add(Severity::Error, end.at, title, description);
        sign.container(name).of_pod(entry);
        sign.with("exit_code", end.exit_code)
            .with("restarts", state.restarts);
        if let Some(limit) = limit {
            sign.with("memory_limit_bytes", limit);
        }
    }
}
