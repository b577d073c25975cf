//! Pods mount the token of the default service account.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, owner_name};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "DefaultTokenMounted",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "Pods mount the token of the default service account",
        severity: "info",
        opens: "pods of a namespace run as its `default` service account and do not disable its token",
        opens_after: "`assessment`",
        closes: "each running pod has its own service account or `automountServiceAccountToken: false`",
        action: "Disable the token in the account (`kubectl patch serviceaccount default -p '{\"automountServiceAccountToken\": false}'`), and exclude the namespace or opt its pods out: kube9 does not read service accounts.",
        notes: "All these pods have the permissions that `default` has. One finding for each namespace lists the controllers in its metadata. Pods of Jobs are left out.",
    },
    reads: &[Kind::Pod],
    check: Check::Namespace(check),
};

/// Controllers named.
const NAMED_MAX: usize = 20;

/// Whether a pod with these words in its label or annotation is left out.
pub(crate) fn is_ignored(words: &[Box<str>]) -> bool {
    words.iter().any(|word| RULE.is_named(word))
}

fn check(context: &RuleContext<'_>, namespace: &str, output: &mut RuleOutput) {
    let Some(mounting) = context.world.default_tokens.of(namespace) else {
        return;
    };
    let Some(since) = mounting.since() else {
        return;
    };
    let owners = mounting.controllers();
    let controllers = owners.len();
    let names = owners.take(NAMED_MAX);
    let names: Vec<String> = names.map(|owner| owner_name(owner)).collect();
    let first = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let description = format!(
        "Pods of {} in namespace {namespace} mount the token of the default service account: {first}{}. All of them have the \
         permissions of `default`. Set `automountServiceAccountToken: false`, or give them their own service accounts.",
        count(controllers, "controller"),
        if controllers > 3 { " and others" } else { "" }
    );
    let title = format!("Pods of namespace {namespace} mount the default service account's token");
    let symptom = output.add(Severity::Info, since, title, description);
    symptom.for_at_least(context.thresholds.assessment);
    symptom
        .with("controllers", controllers)
        .with("members", names);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn token(name: &str, patch: Value) -> Value {
        let labels = json!({"metadata": {"labels": {"pod-template-hash": "1a"}, "ownerReferences":
            [{"kind": "ReplicaSet", "name": format!("{name}-1a"), "controller": true}]},
            "spec": {"automountServiceAccountToken": null}});
        pod(name, over(labels, patch))
    }

    #[test]
    fn captured_default_token_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Info));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn several_workloads_open_one_finding_that_closes_with_the_last() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, token("web", json!({}))),
                apply(Kind::Pod, token("api", json!({}))),
                Wait(31),
                Opens(Info),
                Delete(Kind::Pod, token("web", json!({}))),
                Wait(31),
                NoChange,
                Delete(Kind::Pod, token("api", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn own_service_account_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    token("web", json!({"spec": {"serviceAccountName": "web"}})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn pod_of_a_job_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    token(
                        "nightly",
                        json!({"metadata": {"ownerReferences":
                            [{"kind": "Job", "name": "nightly", "controller": true}]}}),
                    ),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn opted_out_or_ended_pod_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    token(
                        "web",
                        json!({"metadata": {"labels": {"kube9.io/ignore": "DefaultTokenMounted"}}}),
                    ),
                ),
                apply(
                    Kind::Pod,
                    token("job", json!({"status": {"phase": "Succeeded"}})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
