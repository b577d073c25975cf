//! No pod matches the selector of a Service.

use kube9_ingest::objects::Service;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::subject::{clean_key, path};

pub(super) const RULE: Rule = Rule {
    name: "ServiceSelectsNoPod",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "No pod matches the selector of a Service",
        severity: "error; warning or info if that may be intended",
        opens: "no pod has the labels of a Service's selector",
        opens_after: "`service`",
        closes: "a pod has the labels, the selector is removed, or the Service is deleted",
        action: "Compare the selector with the labels in the pod template.",
        notes: "Services without a selector are left out: their endpoints come from elsewhere. Info: a Deployment that it would select is scaled to 0; its last pod was one of a Job or a DaemonSet; it selects a role, such as `replica`, that no member of a database has now; it selects a component of the control plane in `kube-system`, which may run elsewhere; a mesh balances it over several clusters. Warning: its last pod was deleted by another controller than a Deployment, such as a StatefulSet that is scaled to 0; it is headless; an operator owns it.",
    },
    reads: &[Kind::Service, Kind::Pod, Kind::Deployment],
    check: Check::Service(check),
};

/// The part of a finding about a Service whose last pod its controller deleted: only then is that known after a restart.
const IDLE: &str = "idle";

fn check(context: &RuleContext<'_>, service: &Service, output: &mut RuleOutput) {
    if service.selector.is_empty() || &*service.kind == "ExternalName" {
        return;
    }
    if context.world.selected(service).next().is_some() {
        return;
    }
    let meta = &service.meta;
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let selector: Vec<String> = service
        .selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let selector = selector.join(",");
    let (part, severity, hint) = match intention(context, service) {
        Some(intended) => intended,
        None => (
            "",
            Severity::Error,
            format!(
                "Compare it with `kubectl get pods -n {} --show-labels`.",
                meta.namespace
            ),
        ),
    };
    let description = format!(
        "No pod of namespace {} has the labels that Service {full_name} selects ({selector}), so its clients get no answer. {hint}",
        meta.namespace
    );
    let title = format!("Service {full_name} selects no pod");
    output
        .add(severity, context.now, title, description)
        .part(part)
        .for_at_least(context.thresholds.service)
        .with("selector", selector);
}

/// Why the Service may select nothing on purpose.
fn intention(
    context: &RuleContext<'_>,
    service: &Service,
) -> Option<(&'static str, Severity, String)> {
    let (world, meta) = (context.world, &service.meta);
    if let Some(key) = world.scaled_to_zero(service) {
        let text = format!("Deployment {} is scaled to 0.", path(key));
        return Some(("", Severity::Info, text));
    }
    if meta.is_global {
        let text = "A mesh balances it over several clusters: its pods may be in another one.";
        return Some(("", Severity::Info, text.to_owned()));
    }
    if is_control_plane(service) {
        let text = "The control plane may run outside of the cluster, or without pods.";
        return Some(("", Severity::Info, text.to_owned()));
    }
    if let Some(text) = role_without_member(context, service) {
        return Some(("", Severity::Info, text));
    }
    let key = clean_key("Service", &meta.namespace, &meta.name);
    match world.emptied_by(&key) {
        Some(kind @ ("Job" | "CronJob" | "DaemonSet")) => {
            let text = format!("The last pod that it selected was one of a {kind}.");
            return Some((IDLE, Severity::Info, text));
        }
        Some("Pod" | "Deployment") | None => {}
        Some(kind) => {
            let text =
                format!("A {kind} deleted the last pod that it selected: it may be scaled to 0.");
            return Some((IDLE, Severity::Warning, text));
        }
    }
    if (context.is_open)(IDLE) {
        let text = "Its last pod was deleted by its controller, which may be scaled to 0.";
        return Some((IDLE, Severity::Info, text.to_owned()));
    }
    if let Some(owner) = &meta.owner {
        let text = format!("{} {} manages it: see its status.", owner.kind, owner.name);
        return Some(("", Severity::Warning, text));
    }
    if service.is_headless {
        let text =
            "It is headless: it may be there for metrics, or for pods that no node needs now.";
        return Some(("", Severity::Warning, text.to_owned()));
    }
    None
}

/// Components that Services of monitoring stacks select in `kube-system`. A managed control plane has no pods in the
/// cluster, k3s runs it in one process, and Cilium replaces kube-proxy.
const CONTROL_PLANE: [&str; 7] = [
    "cloud-controller-manager",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
];

fn is_control_plane(service: &Service) -> bool {
    &*service.meta.namespace == "kube-system"
        && service
            .selector
            .values()
            .any(|value| CONTROL_PLANE.contains(&&**value))
}

/// Roles that a database or another elected group has always.
const LEADERS: [&str; 7] = [
    "primary", "master", "leader", "writer", "active", "main", "rw",
];

/// Roles that it may have: a group of one member has none of them.
const FOLLOWERS: [&str; 11] = [
    "replica",
    "replicas",
    "slave",
    "slaves",
    "standby",
    "secondary",
    "secondaries",
    "follower",
    "followers",
    "read",
    "readonly",
];

/// Further ones, as values of a label that is named a role. Elsewhere, they may be parts of an application.
const RARE_FOLLOWERS: [&str; 10] = [
    "arbiter", "async", "backup", "hidden", "learner", "observer", "passive", "reader", "sync",
    "witness",
];

/// Whether a text names one of the roles: `sync_standby`, `PRIMARY`, `instanceRole`.
fn names_one_of(roles: &[&str], text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .map(str::to_ascii_lowercase)
        .any(|word| roles.contains(&&*word))
}

/// A role that members take in turn, and that none of those with the other labels has. Not the role of the leader:
/// without one, writes fail.
fn role_without_member(context: &RuleContext<'_>, service: &Service) -> Option<String> {
    let (label, value, others) = service.selector.iter().find_map(|(label, value)| {
        let key = label.rsplit('/').next().unwrap_or_default();
        let is_no = matches!(&**value, "false" | "no" | "0");
        let is_yes = matches!(&**value, "true" | "yes" | "1");
        let is_role = key.to_ascii_lowercase().contains("role");
        let of_followers = FOLLOWERS.contains(&&*value.to_ascii_lowercase())
            || (is_role && names_one_of(&FOLLOWERS, value))
            || (is_role && names_one_of(&RARE_FOLLOWERS, value))
            // `vault-active: "false"`
            || (is_no && names_one_of(&LEADERS, key))
            || (is_yes && names_one_of(&FOLLOWERS, key));
        let of_leader = names_one_of(&LEADERS, value);
        if !of_followers && !of_leader {
            return None;
        }
        let others = context.world.other_values(service, label);
        // A standby cluster has a leader of its own kind, which follows another cluster.
        let stands_by =
            |other: &&str| names_one_of(&["standby"], other) && names_one_of(&LEADERS, other);
        let intended = if of_followers {
            !others.is_empty()
        } else {
            others.iter().any(stands_by)
        };
        intended.then_some((label, value, others.len()))
    })?;
    Some(format!(
        "{} with its other labels, but none has {label}={value} now.",
        super::format::count(others, "pod")
    ))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_wrong_selector_opens_then_closes_when_corrected() {
        run(
            &RULE,
            vec![
                Captured("service-no-pods", "bad"),
                Wait(59),
                NoChange,
                Wait(2),
                Opens(Error),
                Captured("service-no-pods", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn last_pod_deleted_opens_then_closes() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, pod("web-1", json!({}))),
                    (Kind::Service, service(json!({}))),
                ]),
                Wait(100),
                NoChange,
                Delete(Kind::Pod, pod("web-1", json!({}))),
                Wait(61),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn scaled_to_zero_opens_as_info() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Deployment,
                    deployment(json!({"spec": {"replicas": 0}})),
                ),
                apply(Kind::Service, service(json!({}))),
                Wait(61),
                Opens(Info),
            ],
        );
    }

    #[test]
    fn missing_selector_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Service, service(json!({"spec": {"selector": null}}))),
                Wait(100),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_unready_pods_do_not_open() {
        run(
            &RULE,
            vec![Captured("not-ready", "bad"), Wait(100), NoChange],
        );
    }

    #[test]
    fn pod_with_other_label_or_namespace_does_not_count() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    pod("web-1", json!({"metadata": {"labels": {"app": "other"}}})),
                ),
                apply(
                    Kind::Pod,
                    pod("web-2", json!({"metadata": {"namespace": "else"}})),
                ),
                apply(Kind::Service, service(json!({}))),
                Wait(61),
                Opens(Error),
            ],
        );
    }

    /// A member of a database with a role.
    fn member(name: &str, label: &str, role: &str) -> Step {
        apply(
            Kind::Pod,
            pod(
                name,
                json!({"metadata": {"labels": {"app": "db", label: role}}}),
            ),
        )
    }

    fn selecting(label: &str, role: &str) -> Step {
        apply(
            Kind::Service,
            service(json!({"spec": {"selector": {"app": "db", label: role}}})),
        )
    }

    #[test]
    fn role_that_no_member_has_opens_as_info() {
        for (label, has, selects) in [
            ("cnpg.io/instanceRole", "primary", "replica"),
            ("spilo-role", "master", "replica"),
            ("role", "master", "slave"),
            ("mysql.oracle.com/cluster-role", "PRIMARY", "SECONDARY"),
            ("app.kubernetes.io/component", "primary", "read"),
            ("vault-active", "true", "false"),
            ("role", "standby_leader", "primary"),
            ("role", "primary", "sync_standby"),
        ] {
            run(
                &RULE,
                vec![
                    member("db-1", label, has),
                    selecting(label, selects),
                    Wait(61),
                    Opens(Info),
                    member("db-2", label, selects),
                    Closes,
                ],
            );
        }
    }

    #[test]
    fn role_of_an_application_or_of_the_leader_opens_as_error() {
        for (label, has, selects) in [
            ("cnpg.io/instanceRole", "replica", "primary"),
            ("role", "replica", "master"),
            ("vault-active", "false", "true"),
            ("role", "backend", "frontend"),
            ("tier", "web", "read-model"),
            ("app.kubernetes.io/component", "api", "backup"),
        ] {
            run(
                &RULE,
                vec![
                    member("db-1", label, has),
                    selecting(label, selects),
                    Wait(61),
                    Opens(Error),
                ],
            );
        }
    }

    #[test]
    fn role_without_any_member_opens_as_error() {
        run(
            &RULE,
            vec![selecting("role", "replica"), Wait(61), Opens(Error)],
        );
    }

    #[test]
    fn control_plane_outside_of_the_cluster_opens_as_info() {
        for (label, value) in [
            ("component", "kube-scheduler"),
            ("component", "etcd"),
            ("k8s-app", "kube-proxy"),
        ] {
            run(
                &RULE,
                vec![
                    apply(
                        Kind::Service,
                        service(
                            json!({"metadata": {"namespace": "kube-system"}, "spec": {"selector": {"app": null, label: value}}}),
                        ),
                    ),
                    Wait(61),
                    Opens(Info),
                ],
            );
        }
    }

    #[test]
    fn other_service_of_kube_system_opens_as_error() {
        for (namespace, value) in [("kube-system", "kube-dns"), ("shop", "etcd")] {
            run(
                &RULE,
                vec![
                    apply(
                        Kind::Service,
                        service(
                            json!({"metadata": {"namespace": namespace}, "spec": {"selector": {"app": value}}}),
                        ),
                    ),
                    Wait(61),
                    Opens(Error),
                ],
            );
        }
    }

    #[test]
    fn service_of_several_clusters_opens_as_info() {
        for metadata in [
            json!({"annotations": {"service.cilium.io/global": "true"}}),
            json!({"annotations": {"io.cilium/global-service": "true"}}),
            json!({"labels": {"istio.io/global": "true"}}),
            json!({"labels": {"solo.io/service-scope": "global"}}),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Service, service(json!({"metadata": metadata}))),
                    Wait(61),
                    Opens(Info),
                ],
            );
        }
    }

    #[test]
    fn mesh_annotation_that_is_off_opens_as_error() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Service,
                    service(
                        json!({"metadata": {"annotations": {"service.cilium.io/global": "false"}}}),
                    ),
                ),
                Wait(61),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn last_pod_of_another_controller_opens_milder() {
        for (kind, severity) in [("StatefulSet", Warning), ("Job", Info), ("DaemonSet", Info)] {
            let owner = json!([{"kind": kind, "name": "db", "controller": true}]);
            let last = pod("db-0", json!({"metadata": {"ownerReferences": owner}}));
            run(
                &RULE,
                vec![
                    apply(Kind::Service, service(json!({}))),
                    apply(Kind::Pod, last.clone()),
                    Wait(10),
                    Delete(Kind::Pod, last.clone()),
                    Wait(61),
                    Opens(severity),
                    apply(Kind::Pod, last),
                    Closes,
                ],
            );
        }
    }

    #[test]
    fn service_that_is_headless_or_of_an_operator_opens_as_warning() {
        let owner = json!([{"kind": "Cluster", "name": "pg", "controller": true}]);
        for patch in [
            json!({"spec": {"clusterIP": "None"}}),
            json!({"metadata": {"ownerReferences": owner}}),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Service, service(patch)),
                    Wait(61),
                    Opens(Warning),
                ],
            );
        }
    }
}
