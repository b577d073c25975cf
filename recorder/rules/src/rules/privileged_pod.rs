//! A pod has privileged access to its node.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "PrivilegedPod",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A pod has privileged access to its node",
        severity: "error for access to the whole node; else warning",
        opens: "a pod has a privileged container, the node's network, process or IPC namespace, a directory of the node, added capabilities, or a container that runs as user 0",
        opens_after: "`assessment`",
        closes: "the newest pod has none of these",
        action: "Remove what the pod does not need. Opt out with the label if it is intended, as for network plugins.",
        notes: "Access to the whole node is a privileged container, `hostPID`, the node's root directory, or a capability such as `SYS_ADMIN`.",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

/// Capabilities that the runtime gives to every container, or that do no harm.
const HARMLESS: [&str; 2] = ["NET_BIND_SERVICE", "CHOWN"];

/// Capabilities that are as good as all of them.
const TOTAL: [&str; 4] = ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE"];

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let spec = &newest.pod.spec;
    let mut found: Vec<String> = spec
        .host_namespaces
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let mut whole = spec.host_namespaces.contains(&"hostPID");
    for path in &spec.host_paths {
        whole |= &**path == "/";
        found.push(format!("hostPath {path}"));
    }
    for container in &spec.containers {
        let name = &container.name;
        if container.privileged {
            whole = true;
            found.push(format!("privileged container {name}"));
        }
        if container.root {
            found.push(format!("container {name} runs as user 0"));
        }
        for capability in container
            .capabilities
            .iter()
            .filter(|c| !HARMLESS.contains(&&***c))
        {
            whole |= TOTAL.contains(&&**capability);
            found.push(format!("capability {capability} of container {name}"));
        }
    }
    if found.is_empty() {
        return;
    }
    let owner = owner_name(&newest.owner);
    let severity = if whole {
        Severity::Error
    } else {
        Severity::Warning
    };
    let description = format!(
        "Pods of {owner} have access to their node: {}. An attacker who takes over such a pod has that access too. Remove what the pod does not need.",
        found.join(", ")
    );
    let title = format!("Pods of {owner} have privileged access to their node");
    let symptom = output.add(severity, newest.pod.meta.created, title, description);
    symptom
        .for_at_least(context.thresholds.assessment)
        .with("access", found);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_privileged_pod_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Error));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn privileged_container_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"securityContext": {"privileged": true}})),
                ),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Error),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn host_pid_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod("web-1", json!({"spec": {"hostPID": true}}))),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Error),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn host_path_opens_as_warning_then_closes() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    pod(
                        "web-1",
                        json!({"spec": {"volumes": [{"hostPath": {"path": "/var/log"}}]}}),
                    ),
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
    fn user_0_opens_as_warning_then_closes() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"securityContext": {"runAsUser": 0}})),
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
    fn sys_admin_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(
                        json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
                    ),
                ),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Error),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn other_user_and_harmless_capability_do_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(
                        json!({"securityContext": {"runAsUser": 1000, "capabilities": {"add": ["NET_BIND_SERVICE"]}}}),
                    ),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
