//! A pod refers to a ConfigMap that does not exist.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "ConfigMapMissing",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A pod refers to a ConfigMap that does not exist",
        severity: "error",
        opens: "a pod refers to a ConfigMap that does not exist, and the reference is not optional",
        opens_after: "`assessment`",
        closes: "the ConfigMap exists, or the newest pod does not refer to it",
        action: "Create the ConfigMap, or correct its name.",
        notes: "Running pods continue, but no new pod can start. A pod that is being deleted does not need it any more, nor does one of a Job that has ended.",
    },
    reads: &[Kind::Pod, Kind::ConfigMap],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let is_repeated = newest.owner.kind == "CronJob";
    if newest.pod.meta.deleting.is_some() || (newest.pod.phase.is_final() && !is_repeated) {
        return;
    }
    let namespace = &newest.pod.meta.namespace;
    let owner = owner_name(&newest.owner);
    for map in &newest.pod.spec.config_maps {
        if context.world.config_map(namespace, map).is_some() {
            continue;
        }
        let name = format!("{namespace}/{map}");
        let description = format!(
            "Pods of {owner} need ConfigMap {name}, which does not exist. Running pods continue, but no new pod can \
             start. Create it, or correct its name."
        );
        let title = format!("ConfigMap {name}, needed by {owner}, is missing");
        let symptom = output.add(Severity::Error, context.now, title, description);
        symptom
            .part(&**map)
            .for_at_least(context.thresholds.assessment)
            .with("config_map", name);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn needs(optional: bool) -> Value {
        pod(
            "web-1",
            json!({"spec": {"volumes": [{"configMap": {"name": "conf", "optional": optional}}]}}),
        )
    }

    #[test]
    fn captured_missing_config_map_opens_then_closes_when_created() {
        run(
            &RULE,
            vec![
                Captured("config-error", "bad"),
                Wait(31),
                Opens(Error),
                Captured("config-error", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn deleted_config_map_opens_again() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, needs(false)),
                Wait(31),
                Opens(Error),
                apply(Kind::ConfigMap, config_map(json!({}))),
                Closes,
                Delete(Kind::ConfigMap, config_map(json!({}))),
                Wait(31),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn optional_reference_does_not_open() {
        run(
            &RULE,
            vec![apply(Kind::Pod, needs(true)), Wait(60), NoChange],
        );
    }

    #[test]
    fn captured_existing_config_map_does_not_open() {
        run(
            &RULE,
            vec![Captured("config-change", "well"), Wait(60), NoChange],
        );
    }

    #[test]
    fn release_that_is_uninstalled_does_not_open() {
        for patch in [
            json!({"metadata": {"deletionTimestamp": t(90)}}),
            json!({"status": {"phase": "Succeeded"}}),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::ConfigMap, config_map(json!({}))),
                    apply(Kind::Pod, needs(false)),
                    apply(Kind::Pod, over(needs(false), patch)),
                    Delete(Kind::ConfigMap, config_map(json!({}))),
                    Wait(80),
                    NoChange,
                ],
            );
        }
    }
}
