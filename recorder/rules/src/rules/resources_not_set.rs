//! A container has no memory limit or no requests.

use kube9_ingest::objects::Role;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "ResourcesNotSet",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A container has no memory limit or no requests",
        severity: "warning without a memory limit; info without requests",
        opens: "neither a container nor its pod (`spec.resources`) has a memory limit, or neither has a CPU or memory request",
        opens_after: "`assessment`",
        closes: "the newest pod has them",
        action: "Set the requests to what the container uses, and the memory limit somewhat higher.",
        notes: "Init containers do not count, except for sidecars (`restartPolicy: Always`). Without a limit, a leak can use up the memory of the node. Without requests, the scheduler may overload a node, and the pod is evicted first.",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let owner = owner_name(&newest.owner);
    for container in newest
        .pod
        .spec
        .containers
        .iter()
        .filter(|container| container.role != Role::Init)
    {
        let name = &container.name;
        // Requests and a limit of the pod as a whole hold for each of its containers.
        let all = [&container.resources, &newest.pod.spec.resources];
        let no_limit = all.iter().all(|one| one.memory_limit.is_none());
        let no_requests = all
            .iter()
            .all(|one| one.cpu_request.is_none() && one.memory_request.is_none());
        let (severity, what, why) = match (no_limit, no_requests) {
            (true, true) => (
                Severity::Warning,
                "no memory limit and no requests",
                "A leak can use up the memory of the node, and the scheduler may overload the node.",
            ),
            (true, false) => (
                Severity::Warning,
                "no memory limit",
                "A leak can use up the memory of the node.",
            ),
            (false, true) => (
                Severity::Info,
                "no requests",
                "The scheduler may overload a node, and the pod is evicted first.",
            ),
            (false, false) => continue,
        };
        let description = format!(
            "Container {name} of {owner} has {what}. {why} Set requests to what it uses, and the memory limit somewhat higher."
        );
        let title = format!("Container {name} of {owner} has {what}");
        let symptom = output.add(severity, newest.pod.meta.created, title, description);
        symptom
            .container(name)
            .for_at_least(context.thresholds.assessment);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_runs_of_a_cron_job_open_one_finding() {
        run(
            &RULE,
            vec![
                Captured("cron-job", "first"),
                Wait(31),
                Opens(Warning),
                Captured("cron-job", "second"),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_missing_resources_open_then_close_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Warning));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn missing_limit_opens_then_closes_when_set() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"resources": {"limits": null}})),
                ),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn missing_requests_open_then_close_when_set() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"resources": {"requests": null}})),
                ),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Info),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn one_request_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"resources": {"requests": {"cpu": null}}})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }

    fn bare() -> Value {
        with_container(json!({"resources": null}))
    }

    #[test]
    fn resources_of_the_pod_do_not_open() {
        for requests in [json!({"cpu": "1"}), json!({"memory": "1Gi"})] {
            let resources = json!({"requests": requests, "limits": {"memory": "1Gi"}});
            let pod = over(bare(), json!({"spec": {"resources": resources}}));
            run(&RULE, vec![apply(Kind::Pod, pod), Wait(60), NoChange]);
        }
    }

    #[test]
    fn requests_of_the_pod_without_a_limit_open() {
        let resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        let pod = over(bare(), json!({"spec": {"resources": resources}}));
        run(&RULE, vec![apply(Kind::Pod, pod), Wait(60), Opens(Warning)]);
    }

    #[test]
    fn sidecar_counts_and_init_container_does_not() {
        let pod_with = |policy: Value| {
            let init = json!([{"name": "proxy", "restartPolicy": policy}]);
            pod("web-1", json!({"spec": {"initContainers": init}}))
        };
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod_with(json!(null))),
                Wait(60),
                NoChange,
                apply(Kind::Pod, pod_with(json!("Always"))),
                Wait(60),
                Opens(Warning),
            ],
        );
    }
}
