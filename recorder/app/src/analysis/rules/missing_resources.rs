//! A container without bounds on what it takes.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Group, Rule};
use super::signs::Signs;
use super::words::owner_words;

pub(super) const RULE: Rule = Rule {
    name: "ResourcesNotSet",
    event_type: EventType::Assessment,
    summary: "memory limit or requests missing",
    doc: "\
Opens when a container has no memory limit (severity warning), or no CPU and memory requests (severity info); init containers do not count.
Without a limit a leak takes the whole node; without requests the scheduler packs blindly and the pod is evicted first.
Closes when the newest pod has them.
Next: set requests to what it uses and the memory limit somewhat above.",
    reads: &[Kind::Pod],
    check: Check::Owner(check),
    #[cfg(test)]
    cases: tests::cases,
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let newest = group.newest();
    let owner = owner_words(&newest.owner);
    for container in newest
        .pod
        .spec
        .containers
        .iter()
        .filter(|container| !container.init)
    {
        let name = &container.name;
        let no_limit = container.memory_limit.is_none();
        let no_requests = container.cpu_request.is_none() && container.memory_request.is_none();
        let (severity, what, why) = match (no_limit, no_requests) {
            (true, true) => (
                Severity::Warning,
                "no memory limit and no requests",
                "A leak takes the whole node, and the scheduler packs blindly.",
            ),
            (true, false) => (
                Severity::Warning,
                "no memory limit",
                "A leak takes the whole node.",
            ),
            (false, true) => (
                Severity::Info,
                "no requests",
                "The scheduler packs blindly, and the pod is evicted first.",
            ),
            (false, false) => continue,
        };
        let description = format!(
            "Container {name} of {owner} has {what}. {why} Set requests to what it uses and the memory limit somewhat above."
        );
        let title = format!("Container {name} of {owner} has {what}");
        let sign = signs.add(severity, newest.pod.meta.created, title, description);
        sign.container(name).hold(context.thresholds.assessment);
    }
}

#[cfg(test)]
mod tests {
    use crate::analysis::tests::prelude::*;

    pub(super) fn cases() -> Vec<Case> {
        vec![
            case(
                "captured: the runs of a CronJob are one finding",
                vec![
                    Seen("cron-job", "first"),
                    Wait(31),
                    Opens(Warning),
                    Seen("cron-job", "second"),
                    Wait(60),
                    Quiet,
                ],
            ),
            case(
                "captured: neither limit nor requests, then a careful manifest",
                vec![
                    Seen("careless", "bad"),
                    Wait(31),
                    Opens(Warning),
                    Seen("careless", "repaired"),
                    Wait(60),
                    Closes,
                ],
            ),
            case(
                "captured: the careful manifest alone",
                vec![Seen("careless", "repaired"), Wait(60), Quiet],
            ),
            case(
                "no limit",
                vec![
                    apply(
                        Kind::Pod,
                        with_container(json!({"resources": {"limits": null}})),
                    ),
                    Wait(25),
                    Quiet,
                    Wait(10),
                    Opens(Warning),
                    apply(Kind::Pod, pod("web-1", json!({}))),
                    Closes,
                ],
            ),
            case(
                "no requests",
                vec![
                    apply(
                        Kind::Pod,
                        with_container(json!({"resources": {"requests": null}})),
                    ),
                    Wait(25),
                    Quiet,
                    Wait(10),
                    Opens(Info),
                    apply(Kind::Pod, pod("web-1", json!({}))),
                    Closes,
                ],
            ),
            case(
                "one of the requests is enough",
                vec![
                    apply(
                        Kind::Pod,
                        with_container(json!({"resources": {"requests": {"cpu": null}}})),
                    ),
                    Wait(60),
                    Quiet,
                ],
            ),
        ]
    }
}
