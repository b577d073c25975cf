//! A ConfigMap seems to hold a secret.

use kube9_ingest::objects::ConfigMap;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "SecretInConfigMap",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A ConfigMap seems to hold a secret",
        severity: "warning",
        opens: "a key of a ConfigMap is named like a secret (password, token, API key, …) and its value may be one, or a value is one by its form: a private key, a known token, a URL with a password",
        opens_after: "`assessment`",
        closes: "the key is removed, or its value is not a secret",
        action: "Move the value to a Secret, and rotate it: it was readable.",
        notes: "Many accounts can read ConfigMaps, and they are often not encrypted at rest. Paths, addresses without a password, names, numbers, durations, switches, placeholders and references to a secret store are not secrets; of a file of settings, only private keys and generated values beside a name of a secret (`password: …`) are found, unless its key is named like a secret. kube9 checks a value while it decodes the object, and keeps nothing of it.",
    },
    reads: &[Kind::ConfigMap],
    check: Check::ConfigMap(check),
};

fn check(context: &RuleContext<'_>, map: &ConfigMap, output: &mut RuleOutput) {
    let keys: Vec<&str> = map
        .keys
        .iter()
        .filter(|(_, facts)| facts.looks_secret)
        .map(|(key, _)| &**key)
        .collect();
    if keys.is_empty() {
        return;
    }
    let full_name = format!("{}/{}", map.meta.namespace, map.meta.name);
    let description = format!(
        "ConfigMap {full_name} has keys whose values look confidential ({}). Move them to a Secret, and rotate them: they were \
         readable.",
        keys.join(", ")
    );
    let title = format!("ConfigMap {full_name} seems to hold a secret");
    let symptom = output.add(Severity::Warning, map.meta.created, title, description);
    symptom
        .for_at_least(context.thresholds.assessment)
        .with("names", keys);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn secret() -> Value {
        config_map(json!({"data": {"db-password": "hunter2hunter2"}}))
    }

    #[test]
    fn captured_password_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Warning));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn password_opens_then_closes_when_key_is_removed() {
        run(
            &RULE,
            vec![
                apply(Kind::ConfigMap, secret()),
                Wait(31),
                Opens(Warning),
                apply(Kind::ConfigMap, config_map(json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn password_in_url_opens() {
        let map = config_map(json!({"data": {"DB_URL": "postgres://app:hunter2hunter2@db/shop"}}));
        run(
            &RULE,
            vec![apply(Kind::ConfigMap, map), Wait(31), Opens(Warning)],
        );
    }

    #[test]
    fn generated_value_under_a_harmless_key_opens() {
        let map = config_map(json!({"data": {"DB_PASSWORD_FILE": "k3vN8qPz1LmW0aRt"}}));
        run(
            &RULE,
            vec![apply(Kind::ConfigMap, map), Wait(31), Opens(Warning)],
        );
    }

    #[test]
    fn settings_about_secrets_do_not_open() {
        let map = config_map(json!({"data": {
            "passwd": "root:x:0:0:root:/root:/bin/sh\n", "AUTH_ENABLED": "true", "TOKEN_TTL": "3600",
            "DB_PASSWORD_FILE": "/run/secrets/db", "auth.conf": "# auth settings\nmode=oidc\n",
            "secretName": "db-creds", "password-policy.json": "{\"min\": 12}", "max_tokens": "128000"}}));
        run(&RULE, vec![apply(Kind::ConfigMap, map), Wait(60), NoChange]);
    }

    #[test]
    fn opted_out_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::ConfigMap,
                    over(
                        secret(),
                        json!({"metadata": {"labels": {"kube9.io/ignore": "SecretInConfigMap"}}}),
                    ),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn kube_system_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::ConfigMap,
                    over(secret(), json!({"metadata": {"namespace": "kube-system"}})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
