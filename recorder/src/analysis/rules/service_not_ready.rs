//! A Service has pods, but none that is ready.

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;

use super::{Check, Context, Rule, Signs, members};
use crate::analysis::changes::is_ready;
use crate::metrics::Kind;
use crate::source::objects::{Condition, Service};

pub(super) const RULE: Rule = Rule {
    id: "H18",
    event_type: EventType::Health,
    name: "Service has no ready pod",
    doc: "\
Opens when none of the pods that a Service selects has been ready for `service`; severity critical.
Closes when one has been ready for `recovery`, none is left (see H17), or the Service is deleted.
Pods that have ended, such as those of a finished Job, do not count.
Next: the findings of the pods, listed in the metadata, say why.",
    reads: &[Kind::Service, Kind::Pod],
    check: Check::Service(check),
};

fn check(context: &Context<'_>, service: &Service, signs: &mut Signs) {
    if service.selector.is_empty() || &*service.kind == "ExternalName" {
        return;
    }
    let open = (context.is_open)("");
    let mut pods = Vec::new();
    let mut well: Option<Timestamp> = None;
    for entry in context.world.selected(service) {
        if is_ready(&entry.pod) {
            if !open {
                return; // one is enough: a large Service costs no more than a small one while it works
            }
            let since = Condition::of(&entry.pod.conditions, "Ready").and_then(|c| c.since);
            let at = since.map_or(context.now, |since| since.plus(context.thresholds.recovery));
            well = Some(well.map_or(at, |well| well.min(at)));
        } else if !entry.pod.phase.is_final() {
            pods.push(entry);
        }
    }
    if let Some(well) = well {
        if context.now < well {
            signs.keep("");
            signs.look_again(well);
        }
        return;
    }
    if pods.is_empty() {
        return;
    }
    // Since the last of them stopped being ready.
    let since = pods
        .iter()
        .map(|entry| {
            let ready = Condition::of(&entry.pod.conditions, "Ready");
            ready
                .and_then(|c| c.since)
                .unwrap_or(entry.pod.meta.created)
        })
        .fold(Timestamp::EPOCH, Timestamp::max);
    let meta = &service.meta;
    let place = format!("{}/{}", meta.namespace, meta.name);
    let count = pods.len();
    let description = format!(
        "Service {place} selects {} and none is ready since {since}: its clients get no answer. \
         See the findings of the pods.",
        super::count(count, "pod")
    );
    let title = format!("Service {place} has no ready pod");
    let sign = signs.add(Severity::Critical, since, title, description);
    sign.hold(context.thresholds.service).with("pods", count);
    sign.with("members", members(pods.into_iter()));
}
