//! A manifest holds a secret in an environment variable.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "SecretInEnvVar",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A manifest holds a secret in an environment variable",
        severity: "warning",
        opens: "an environment variable that is named like a secret has a literal value in the manifest that may be one, or a literal value is one by its form: a private key, a known token, a URL with a password",
        opens_after: "`assessment`",
        closes: "the newest pod takes the value from a Secret (`secretKeyRef`)",
        action: "Take the value from a Secret (`secretKeyRef`), and rotate it: it was readable.",
        notes: "Anyone who can read pods can read it. Paths, addresses without a password, names, numbers, durations, switches and references (`$(NAME)`, `vault:…`) are not secrets. kube9 records that there is a value, and keeps nothing of it.",
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
        .filter(|c| !c.secret_env.is_empty())
    {
        let name = &container.name;
        let names: Vec<&str> = container.secret_env.iter().map(|name| &**name).collect();
        let description = format!(
            "Container {name} of {owner} has literal values in variables that look confidential ({}). Anyone who can read \
             pods can read them. Take them from a Secret, and rotate them.",
            names.join(", ")
        );
        let title =
            format!("Container {name} of {owner} seems to have a secret in its environment");
        let symptom = output.add(
            Severity::Warning,
            newest.pod.meta.created,
            title,
            description,
        );
        symptom
            .container(name)
            .for_at_least(context.thresholds.assessment)
            .with("names", names);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_password_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Warning));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn literal_value_opens_then_closes_when_referenced() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"env": [{"name": "DB_PASSWORD", "value": "x"}]})),
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
    fn password_in_url_opens() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(
                        json!({"env": [{"name": "DB_URL", "value": "postgres://u:p@h"}]}),
                    ),
                ),
                Wait(31),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn generated_value_under_a_harmless_name_opens() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(
                        json!({"env": [{"value": "k3vN8qPz1LmW0aRt", "name": "PASSWORD_FILE"}]}),
                    ),
                ),
                Wait(31),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn settings_about_secrets_do_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"env": [
                            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"},
                            {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/var/run/secrets/gcp/key.json"},
                            {"name": "OAUTH_TOKEN_URL", "value": "https://idp.example/token"},
                            {"name": "ALLOW_EMPTY_PASSWORD", "value": "yes"},
                            {"name": "MAX_TOKENS", "value": "4096"},
                            {"name": "TLS_SECRET", "value": "web-tls"},
                            {"name": "DB_URL", "value": "postgres://app:$(DB_PASSWORD)@db/shop"}]})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn reference_or_harmless_name_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"env": [
                            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s"}}},
                            {"name": "AUTHOR", "value": "x"}]})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
