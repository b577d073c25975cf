//! A secret written into a pod's template.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Group, Rule};
use super::signs::Signs;
use super::words::owner_words;

pub(super) const RULE: Rule = Rule {
    name: "SecretInEnvVar",
    event_type: EventType::Assessment,
    summary: "secret in an environment variable's literal",
    doc: "\
Opens when an environment variable that is named like a secret has a literal value in the manifest; severity warning.
Whoever may read pods reads it.
kube9 sees that there is a value and keeps nothing of it.
Closes when the newest pod takes it from a Secret (`secretKeyRef`).",
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
        .filter(|c| !c.secret_env.is_empty())
    {
        let name = &container.name;
        let names: Vec<&str> = container.secret_env.iter().map(|name| &**name).collect();
        let description = format!(
            "Container {name} of {owner} has literal values in variables that look confidential ({}). Whoever may read \
             pods reads them: take them from a Secret, and change them.",
            names.join(", ")
        );
        let title =
            format!("Container {name} of {owner} seems to have a secret in its environment");
        let sign = signs.add(
            Severity::Warning,
            newest.pod.meta.created,
            title,
            description,
        );
        sign.container(name)
            .hold(context.thresholds.assessment)
            .with("names", names);
    }
}

#[cfg(test)]
mod tests {
    use crate::analysis::tests::prelude::*;

    pub(super) fn cases() -> Vec<Case> {
        vec![
            case(
                "captured: a password in the manifest, then a careful manifest",
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
                "a literal",
                vec![
                    apply(
                        Kind::Pod,
                        with_container(json!({"env": [{"name": "DB_PASSWORD", "value": "x"}]})),
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
                "a reference, and a name that only sounds like one",
                vec![
                    apply(
                        Kind::Pod,
                        with_container(json!({"env": [
                            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s"}}},
                            {"name": "AUTHOR", "value": "x"}]})),
                    ),
                    Wait(60),
                    Quiet,
                ],
            ),
        ]
    }
}
