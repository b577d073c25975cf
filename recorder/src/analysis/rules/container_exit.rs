//! A container ended with an error.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs, place, times};
use crate::analysis::failure::{is_oom, unsettled};
use crate::analysis::world::PodEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "H3",
    event_type: EventType::Health,
    name: "container exited with an error",
    doc: "\
Opens when a container ended with an exit code other than 0 and 137 (see H1); severity warning, error where the pod failed for good.
Closes when the container has run for `settle` or ended well, or its pod is gone.
Next: `kubectl logs --previous`; the exit code is in the metadata (126 and 127: the command cannot be run; 128 + n: ended by signal n).",
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    // A pod that is deleted or evicted ends by signals: that is no failure of its containers.
    if pod.meta.deleting.is_some() || !pod.reason.is_empty() {
        return;
    }
    for state in &pod.containers {
        let Some((end, settled)) = unsettled(state, context.now, context.thresholds.settle) else {
            continue;
        };
        if is_oom(end) || end.exit_code == 137 {
            continue;
        }
        if let Some(at) = settled {
            signs.look_again(at);
        }
        let (name, place, code) = (&state.name, place(entry), end.exit_code);
        let (severity, fate) = if pod.phase.is_final() {
            (
                Severity::Error,
                "Its pod failed and is not started again.".to_owned(),
            )
        } else {
            (
                Severity::Warning,
                format!("It was restarted {}.", times(state.restarts)),
            )
        };
        let meaning = match code {
            126 | 127 => " The command of the image or of the manifest cannot be run.".to_owned(),
            129..=192 => format!(" That is signal {}.", code - 128),
            _ => String::new(),
        };
        let description = format!(
            "Container {name} of pod {place} ended at {} with exit code {code} ({}).{meaning} {fate} \
             Read `kubectl logs --previous -n {} {} -c {name}`.",
            end.at, end.reason, pod.meta.namespace, pod.meta.name,
        );
        let title = format!("Container {name} of pod {place} exited with code {code}");
        let sign = signs.add(severity, end.at, title, description);
        sign.container(name).of_pod(entry);
        sign.with("exit_code", code)
            .with("restarts", state.restarts);
    }
}
