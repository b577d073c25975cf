//! A container starts and ends again and again.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs, place, span, times};
use crate::analysis::failure::unsettled;
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "H2",
    event_type: EventType::Health,
    name: "crash loop",
    doc: "\
Opens when a container waits with `CrashLoopBackOff`, or was started again `restarts` times within `restart_window`; severity error.
Closes when the container has run for `settle`, or its pod is gone.
Next: `kubectl logs --previous`, and the exit code in the metadata; look for what changed before the first crash.",
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    if pod.meta.deleting.is_some() || pod.phase.is_final() {
        return;
    }
    let thresholds = context.thresholds;
    for state in &pod.containers {
        let name = &state.name;
        let trace = entry.traces.get(name);
        let window = context.now.minus(thresholds.restart_window);
        let restarts = trace.map_or(&[][..], |trace| &trace.restarts[..]);
        let recent = restarts.iter().filter(|at| **at > window).count();
        let looping =
            &*state.waiting == "CrashLoopBackOff" || recent >= thresholds.restarts as usize;
        // Between two crashes it runs; that is no recovery.
        let unrecovered = match (state.running, state.latest_end()) {
            (Some(since), _) if context.now.since(since) >= thresholds.settle => false,
            (Some(since), _) => {
                signs.look_again(since.plus(thresholds.settle));
                true
            }
            (None, end) => end.is_some() || !state.waiting.is_empty(),
        };
        if !unrecovered || !(looping || (context.is_open)(name)) {
            continue;
        }
        let end = state.latest_end();
        let place = place(entry);
        let how = end.map_or("how it ended is not known".to_owned(), |end| {
            format!(
                "it last ended at {} with exit code {} ({})",
                end.at, end.exit_code, end.reason
            )
        });
        let since = trace
            .and_then(|trace| trace.failing)
            .or(end.map(|end| end.at))
            .unwrap_or(context.now);
        let description = format!(
            "Container {name} of pod {place} was restarted {} in {}; {how}. \
             Read `kubectl logs --previous -n {} {} -c {name}`, and see what changed before {since}.",
            times(state.restarts),
            span(context.now.since(pod.meta.created)),
            pod.meta.namespace,
            pod.meta.name,
        );
        let title = format!("Container {name} of pod {place} in a crash loop");
        let sign = signs.add(Severity::Error, since, title, description);
        sign.container(name)
            .of_pod(entry)
            .with("restarts", state.restarts);
        if let Some((end, _)) = unsettled(state, context.now, thresholds.settle) {
            sign.with("exit_code", end.exit_code)
                .with("last_reason", &*end.reason);
        }
    }
}
