//! Whether a literal of a manifest is a secret: the value of an environment variable, or of a key of a ConfigMap.
//!
//! Redaction hides what may be a secret; this reports what is one. So a name alone is not enough: a path, an address, a
//! number, a switch, a reference to a secret store or the name of an object is none. Nor does a harmless name clear a
//! value: `PASSWORD_FILE` with a generated value is a secret, and so is an address with a password.

use super::char_class::Kinds;
use super::harmless::{
    is_harmless_text, is_plain_address, is_sentence, looks_secret, names_objects,
};
use super::stopwords::is_state;
use super::token_patterns;
use super::value_shape::{
    is_object_name, is_path, is_plain_word, is_quantity, is_random, is_stand_in, is_uuid,
};
use super::{ByteRange, NEAR_BYTES, Scan};
use crate::sensitive_key::{Sensitivity, describes_secret, sensitivity};

/// Bytes of a file that are scanned. ConfigMaps hold up to 1 MiB and are decoded at each change.
const SCANNED_BYTES_MAX: usize = 16 << 10;

/// Values of a secret store, and encrypted values.
#[rustfmt::skip]
const REFERENCES: &[&str] = &[
    "@Microsoft.KeyVault(", "ENC(", "ENC[", "akeyless:", "arn:", "aws:", "awsps", "awssm", "azure:", "azurekeyvault", "azurekv",
    "berglas://", "doppler://", "env:", "file:", "gcp:", "gcpsm", "gsm:", "keyvault:", "op://", "projects/", "ref+", "secret://",
    "secretref:", "secretsmanager:", "sm://", "ssm:", "vault:", "{cipher}",
];

/// Ends of file names, which name the format and not the value.
#[rustfmt::skip]
const EXTENSIONS: &[&str] = &[
    "cfg", "cnf", "conf", "config", "csv", "env", "html", "ini", "js", "json", "list", "lua", "md", "properties", "py", "sh", "sql",
    "template", "tmpl", "toml", "tpl", "txt", "xml", "yaml", "yml",
];

/// Words before `secret` where the value is the secret itself (`JWT_SECRET`), and not the name of a Secret.
#[rustfmt::skip]
const SECRETS_OF: &[&str] = &[
    "access", "api", "app", "application", "auth", "client", "consumer", "cookie", "encryption", "hmac", "jwt", "master", "oauth",
    "refresh", "session", "shared", "signing", "token", "webhook",
];

/// Whether the value of this variable or key is a secret.
pub fn is_secret_literal(key: &str, value: &str) -> bool {
    let value = value.trim();
    if value.is_empty() {
        return false;
    }
    if value.contains("PRIVATE KEY-----") {
        return true;
    }
    let key = without_extension(key);
    if let Some(default) = default_of(value) {
        return is_secret_literal(key, default);
    }
    if is_reference(value) {
        return false;
    }
    let sensitivity = sensitivity(key);
    if is_file(value) {
        return if sensitivity >= Sensitivity::Likely {
            quotes_secret(value) || sensitivity == Sensitivity::Certain && lists_secret(value)
        } else {
            sets_secret(value)
        };
    }
    let named = match sensitivity {
        Sensitivity::Certain | Sensitivity::Likely => !is_harmless(sensitivity, key, value),
        Sensitivity::Key => looks_secret(value) && !is_uuid(value) && !ends_with(key, "id"),
        Sensitivity::Parameter | Sensitivity::None => {
            let ends = |words: &[&str]| words.iter().any(|end| ends_with(key, end));
            let format = [
                "algorithm",
                "alg",
                "algo",
                "class",
                "alphabet",
                "chars",
                "charset",
                "characters",
            ];
            // Names of objects have no capitals.
            let name = ends(&["name", "names", "ref", "user", "id", "namespace"])
                && !value.bytes().any(|byte| byte.is_ascii_uppercase());
            describes_secret(key) && !ends(&format) && !name && is_out_of_place(value)
        }
    };
    // Longer, it is encoded data, in which any prefix of a token occurs by chance.
    named || value.len() <= NEAR_BYTES && quotes_secret(value)
}

/// The default of `${NAME:-default}` and `${NAME:default}`; empty if there is none.
fn default_of(value: &str) -> Option<&str> {
    let inner = value.strip_prefix("${")?.strip_suffix('}')?;
    let end = inner
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-'))
        .unwrap_or(inner.len());
    let operator = inner[end..].trim_start_matches(':');
    // `?` begins an error message.
    let default = match operator.strip_prefix('?') {
        Some(_) => "",
        None => operator.trim_start_matches(['-', '=']),
    };
    (end > 0 && !inner[end..].contains("${")).then_some(default)
}

/// `password-policy.json` → `password-policy`.
fn without_extension(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((name, end)) if EXTENSIONS.iter().any(|one| end.eq_ignore_ascii_case(one)) => name,
        _ => key,
    }
}

/// Several lines, or an object.
fn is_file(value: &str) -> bool {
    value.contains('\n')
        || value.starts_with('{') && value.ends_with('}') && !value.starts_with("{{")
        || value.starts_with('[') && value.ends_with(']')
        || value.starts_with('<') && value.contains("</")
}

fn is_harmless(sensitivity: Sensitivity, key: &str, value: &str) -> bool {
    /// `1000` may be a password; `90` is a number of days.
    const PASSWORD_DIGITS_MIN: usize = 4;
    let rest = without_expressions(value);
    if rest.len() < value.len() {
        return !is_out_of_place(&rest);
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let number = digits == value.len();
    if is_switch(value)
        || is_plain_address(value)
        || is_account(value)
        || is_file_name(value)
        || is_quantity(value) && !(number && digits >= PASSWORD_DIGITS_MIN)
    {
        return true;
    }
    if sensitivity == Sensitivity::Certain {
        return is_harmless_text(sensitivity, key, value);
    }
    let default = ["auto", "default", "external", "internal", "unlimited"];
    if number || default.iter().any(|one| value.eq_ignore_ascii_case(one)) {
        return true;
    }
    // The name of a cookie.
    if ends_with(key, "cookie") {
        return !value.contains('=') && !looks_secret(value);
    }
    if names_objects(key) && is_object_name(value) {
        return is_state(value) || is_name_under(key, value);
    }
    is_harmless_text(sensitivity, key, value)
}

/// Whether a value that is written as a name is one: `TLS_SECRET=web-tls`, but not `JWT_SECRET=too-short`,
/// `NEO4J_AUTH=neo4j/hunter2` or `CREDENTIALS=admin:hunter2`.
fn is_name_under(key: &str, value: &str) -> bool {
    if value.contains(':') {
        return false;
    }
    if ends_with(key, "auth") {
        return !value.contains('/') || value.starts_with("auth/");
    }
    let lower = key.to_ascii_lowercase();
    let before = lower
        .trim_end_matches('s')
        .strip_suffix("secret")
        .unwrap_or_default()
        .trim_end_matches(['_', '-', '.']);
    let itself = SECRETS_OF.iter().any(|word| before.ends_with(word));
    !itself && (value.contains(['-', '/', '.']) || is_plain_word(value))
}

/// Whether a value does not belong under a name that only describes a secret (`PASSWORD_FILE`, `TOKEN_TTL`): it is
/// generated, or letters and digits that are neither a name nor a path.
fn is_out_of_place(value: &str) -> bool {
    const BYTES_MIN: usize = 10;
    let has = |which: fn(&u8) -> bool| value.bytes().any(|byte| which(&byte));
    value.len() >= BYTES_MIN
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !value.contains(|c: char| {
            c.is_whitespace() || matches!(c, '/' | '\\' | '.' | ':' | ',' | '=')
        })
        && !(is_object_name(value) || is_quantity(value) || is_uuid(value) || is_stand_in(value))
        && (is_random(value) || value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether a value is generated although its key only describes a secret. Names of objects and commits have no capitals.
pub(super) fn is_displaced(key: &str, value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && value.bytes().any(|byte| byte.is_ascii_uppercase())
        && is_out_of_place(value)
        && describes_secret(key)
}

/// A boolean, as programs write them.
fn is_switch(value: &str) -> bool {
    ["y", "n", "t", "f", "enable", "disable", "always"]
        .iter()
        .any(|one| value.eq_ignore_ascii_case(one))
}

/// What names a secret in a store, and what is encrypted.
fn is_reference(value: &str) -> bool {
    let encrypted = ["ENC(", "ENC[", "{cipher}"];
    REFERENCES.iter().any(|start| value.starts_with(start))
        && (encrypted.iter().any(|start| value.starts_with(start))
            || !value.contains(['@', '?'])
                && value.contains(['/', '#', ':'])
                && !value.split(['/', '#', ':']).any(is_random)
            || value.starts_with('@'))
}

/// `tls.key`, `certs/db.pem`; or a path of a store, `secret/data/db`.
fn is_file_name(value: &str) -> bool {
    #[rustfmt::skip]
    const ENDS: &[&str] = &[
        ".asc", ".crt", ".der", ".gpg", ".jks", ".json", ".key", ".p12", ".pem", ".pfx", ".pub", ".txt", ".yaml", ".yml",
    ];
    let name = ENDS.iter().find_map(|end| value.strip_suffix(end));
    name.is_some_and(|name| is_object_name(name) || is_plain_word(name))
        || value.matches('/').count() > 1 && is_object_name(value)
}

/// A line of `/etc/passwd`, whose password is elsewhere.
fn is_account(line: &str) -> bool {
    let fields: Vec<&str> = line.splitn(8, ':').collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(fields.as_slice(), [_, "" | "x" | "*" | "!" | "!!", user, group, ..] if fields.len() == 7 && number(user) && number(group))
}

/// Whether a line of a file is a lone secret.
fn lists_secret(file: &str) -> bool {
    let lines = file.lines().map(str::trim);
    lines.take(64).any(|line| {
        line.bytes().any(|byte| byte.is_ascii_digit())
            && line.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !line.contains([' ', '\t', '=', ':', '#'])
            && !is_path(line)
    })
}

/// Whether a file of any name sets a secret: `password: …` with a generated value. A value that may be a word is left
/// out: files of settings are full of defaults and examples.
fn sets_secret(file: &str) -> bool {
    let end = file.floor_char_boundary(SCANNED_BYTES_MAX);
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '-' | '[' | ']');
    let settings = file[..end].split(['\n', ',', '{', '}', ';', '<', '>']);
    settings
        .filter_map(|setting| setting.split_once(['=', ':']))
        .map(|(key, value)| (key.trim_matches(around), value.trim_matches(around)))
        .any(|(key, value)| {
            value.len() <= NEAR_BYTES
                && !key.contains(char::is_whitespace)
                && is_random(value)
                && sensitivity(key) >= Sensitivity::Likely
                && is_secret_literal(key, value)
        })
}

/// The value without `$(NAME)`, `${NAME}` and `{{ .name }}`.
fn without_expressions(value: &str) -> String {
    let mut rest = value.to_owned();
    for (open, close) in [("$(", ")"), ("${", "}"), ("{{", "}}")] {
        while let Some(at) = rest.find(open) {
            let Some(length) = rest[at..].find(close) else {
                break;
            };
            rest.replace_range(at..at + length + close.len(), "");
        }
    }
    rest
}

/// Whether redaction finds a secret in the text, apart from placeholders, users without a password and what is public.
fn quotes_secret(text: &str) -> bool {
    let mut end = text.floor_char_boundary(SCANNED_BYTES_MAX);
    if end < text.len() {
        // A value that is cut off looks like a secret.
        end = text[..end].rfind('\n').unwrap_or(end);
    }
    let text = &text[..end];
    Scan::of(text, Kinds::of(text))
        .spans()
        .into_iter()
        .any(|span| is_secret_span(text, span))
}

fn is_secret_span(text: &str, (from, to): ByteRange) -> bool {
    /// base64 of `-----BEGIN CERTIFICATE` and of `-----BEGIN PUBLIC KEY`.
    const PUBLIC: [&str; 2] = ["LS0tLS1CRUdJTiBDRVJU", "LS0tLS1CRUdJTiBQVUJM"];
    let (Some(span), Some(before), Some(after)) =
        (text.get(from..to), text.get(..from), text.get(to..))
    else {
        return true;
    };
    let is_user = after.starts_with('@') && !span.contains('@');
    let secret = match span.split_once(':') {
        Some((_, password)) if is_user => password,
        None if is_user && before.ends_with("//") => {
            return token_patterns::token(span, 0).is_some();
        }
        _ => span,
    };
    let rest = without_expressions(secret);
    !(is_stand_in(secret)
        || rest.len() < secret.len() && !is_out_of_place(&rest)
        || PUBLIC.iter().any(|start| secret.starts_with(start))
        || is_sentence(secret))
}

fn ends_with(key: &str, end: &str) -> bool {
    let key = key.as_bytes();
    key.len() >= end.len() && key[key.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The literals that are not judged so.
    fn misjudged<'a>(secret: bool, literals: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let wrong = literals.iter().copied();
        wrong
            .filter(|(key, value)| is_secret_literal(key, value) != secret)
            .collect()
    }

    #[test]
    fn literal_that_only_describes_a_secret_is_none() {
        let literals = [
            // Files and directories; identity webhooks inject the first ones.
            (
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
            ),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
            ),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://169.254.170.23/v1/credentials",
            ),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                "/var/run/secrets/azure/tokens/azure-identity-token",
            ),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
            (
                "GOOGLE_APPLICATION_CREDENTIALS",
                "/var/run/secrets/gcp/key.json",
            ),
            (
                "GOOGLE_APPLICATION_CREDENTIALS",
                "/etc/workload-identity/credential-configuration.json",
            ),
            (
                "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
                "/etc/gcp/creds.json",
            ),
            (
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
                "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token",
            ),
            ("POSTGRES_PASSWORD_FILE", "/run/secrets/pg"),
            ("PASSWORD_FILE", "./password.txt"),
            ("TOKEN_DIR", "tokens"),
            ("SSH_PRIVATE_KEY", "/keys/id_rsa"),
            ("SSL_KEYSTORE_PASSWORD", "/opt/app/keystore.password"),
            ("passwordFile", "C:\\secrets\\db"),
            ("PRIVATE_KEY", "tls.key"),
            ("SIGNING_KEY", "certs/web_signing.pem"),
            ("DB_PASSWORD", "secret/data/shop/db"),
            ("ENCRYPTION_KEY_ALIAS", "alias/prod"),
            ("PASSWORD_CHARSET", "abcdefghijklmnopqrstuvwxyz0123456789"),
            ("SSH_PRIVATE_KEY_BITS", "4096"),
            ("MAX_TOKENS", "unlimited"),
            ("tls.privateKeyPath", "/etc/tls/tls.key"),
            // Addresses.
            ("AUTH_SERVICE_URL", "http://auth:8080"),
            ("OAUTH_TOKEN_URL", "https://idp.example/token"),
            ("PASSWORD_RESET_URL", "https://x/reset"),
            ("PASSWORD_RESET", "https://x/reset"),
            (
                "oauth2.tokenEndpoint",
                "https://idp.example/oauth2/v1/token",
            ),
            ("TOKEN_HOST", "auth.shop.svc.cluster.local"),
            ("AUTH_PORT", "8443"),
            // Names.
            ("KUBECONFIG_SECRET_NAME", "kc"),
            ("SECRET_NAME", "db-creds"),
            ("SECRET_NAME", "db2026creds01"),
            ("TLS_SECRET", "web-tls"),
            ("IMAGE_PULL_SECRET", "regcred"),
            ("existingSecret", "shop-db"),
            ("secretName", "web-tls-x7zqk"),
            ("passwordSecretKey", "admin-password"),
            ("credentialsSecretRef", "shop/db-creds"),
            ("TOKEN_ISSUER", "kubernetes/serviceaccount"),
            ("TOKEN_AUDIENCE", "api.example"),
            ("SESSION_COOKIE", "_oauth2_proxy"),
            ("CLIENT_ID", "0oa1b2c3d4e5f6g7h8i9"),
            ("TOKEN_ID", "0a1b2c3d-1234-4abc-8def-0123456789ab"),
            ("TOPOLOGY_KEY", "kubernetes.io/hostname"),
            // Kinds and switches.
            ("AUTH_TYPE", "oidc"),
            ("AUTH_MODE", "ldap"),
            ("AUTH", "kubernetes"),
            ("NEO4J_AUTH", "none"),
            ("SECRETS_BACKEND", "vault"),
            ("PASSWORD_ENCRYPTION", "scram-sha-256"),
            ("JWT_TOKEN_ALGORITHM", "HS256"),
            ("PASSWORD_HASH_ALGORITHM", "PBKDF2WithHmacSHA256"),
            ("AUTH_ENABLED", "true"),
            ("DISABLE_AUTH", "false"),
            ("ALLOW_EMPTY_PASSWORD", "yes"),
            ("ALLOW_EMPTY_PASSWORD", "1"),
            ("GF_AUTH_ANONYMOUS_ENABLED", "True"),
            ("PASSWORD_AUTH", "enable"),
            ("REQUIRE_PASSWORD", "N"),
            // Numbers and durations.
            ("MAX_TOKENS", "4096"),
            ("MAX_OUTPUT_TOKENS", "128000"),
            ("tokensPerMinute", "100000"),
            ("TOKEN_TTL", "3600"),
            ("REFRESH_TOKEN_LIFETIME", "1209600s"),
            ("TOKEN_EXPIRY", "P30D"),
            ("PASSWORD_MIN_LENGTH", "12"),
            ("PASSWORD_MAX_AGE_DAYS", "90"),
            ("ROTATE_PASSWORD", "720h"),
            ("BCRYPT_SALT_ROUNDS", "10"),
            ("PASSWORD_REGEX", "^[a-zA-Z0-9]{8,}$"),
            ("PASSWORD_POLICY", "{\"min\":12}"),
            // What is filled in, or held, elsewhere.
            ("DB_PASSWORD", "$(POSTGRES_PASSWORD)"),
            ("DB_PASSWORD", "${DB_PASSWORD}"),
            ("DB_PASSWORD", "${DB_PASSWORD:-}"),
            ("DB_PASSWORD", "${vault.db-password}"),
            ("DB_PASSWORD", "${DB_PASSWORD:?no password}"),
            ("API_TOKEN", "{{ .Values.token }}"),
            ("API_TOKEN", "$(PREFIX)-$(SUFFIX)"),
            ("DB_PASSWORD", "vault:secret/data/db#password"),
            ("DB_PASSWORD", "ref+awssecretsmanager://prod/db#/password"),
            (
                "DB_PASSWORD",
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
            ),
            ("DB_PASSWORD", "op://prod/db/password"),
            ("DB_PASSWORD", "{cipher}4f1a9c7be2d05836"),
            ("DB_PASSWORD", "projects/shop/secrets/db/versions/3"),
            ("DB_PASSWORD", ""),
            ("DATABASE_URL", "postgres://app:$(DB_PASSWORD)@db:5432/shop"),
            (
                "DATABASE_URL",
                "postgres://app@db:5432/shop?sslmode=require",
            ),
            ("AMQP_URL", "amqp://app:${RABBIT_PASSWORD}@rabbit:5672"),
            (
                "SENTRY_DSN",
                "https://4f1a9c7be2d058364f1a9c7be2d05836@sentry.example/2",
            ),
            ("GIT_URL", "ssh://git@github.com/acme/shop.git"),
            (
                "JAVA_OPTS",
                "-Xmx512m -Djavax.net.ssl.trustStore=/etc/ssl/cacerts",
            ),
            ("GIT_COMMIT", "4e1c9f2b7a0d3c5e6f8a9b0c1d2e3f4a5b6c7d8e"),
            // Files.
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            (
                "passwd",
                "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/app:/sbin/nologin\n",
            ),
            ("password-rules.txt", "at least 12 characters\n"),
            ("htpasswd-readme", "see the wiki"),
            ("PASSWORD_ENCODER", "argon2"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry"),
            (
                "application.yaml",
                "password: changeme\ntoken: ${TOKEN}\nsecretName: web-tls-x7zqk\nid: k3vN8qPz1LmW0aRt\n",
            ),
            (
                "app.properties",
                "db.password=vault:secret/data/db#k3vN8qPz\ntoken.ttl=3600\n",
            ),
            (
                "dashboard.json",
                "{\"uid\":\"k3vN8qPz1LmW0aRt\",\"key\":\"k3vN8qPz1LmW0aRt\"}",
            ),
            (
                "kubeconfig",
                "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=\nuser: x\n",
            ),
            ("auth.conf", "# auth settings\nmode=oidc\n"),
            ("auth.yaml", "auth:\n  mode: oidc\n  tokenTTL: 1h\n"),
            ("password-policy.json", "{\"min\": 12}"),
            ("password-policy.yaml", "min: 12\nmax: 64\n"),
            ("token-config.json", "{\"tokenFile\": \"/run/token\"}"),
            (
                "ca-bundle.b64",
                "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=",
            ),
        ];
        assert!(
            misjudged(false, &literals).is_empty(),
            "{:#?}",
            misjudged(false, &literals)
        );
    }

    #[test]
    fn literal_secret_is_found_whatever_its_key() {
        let literals = [
            ("DB_PASSWORD", "hunter2hunter2"),
            ("DB_PASSWORD", "x"),
            ("DB_PASSWORD", "changeit"),
            ("DB_PASSWORD", "123456"),
            ("DB_PASSWORD", "1234"),
            ("PASSWORD", "correct horse battery staple"),
            ("API_TOKEN", "abcdef123456"),
            ("spring.datasource.password", "s3cr3t!"),
            ("dbPassword", "Tr0ub4dor&3"),
            ("JWT_SECRET", "my-super-secret"),
            ("API_TOKEN", "K K x Uunn"),
            ("CLIENT_SECRET", "correcthorse"),
            ("clientSecret", "k3vN8qPz1LmW"),
            ("SECRET", "k3vN8qPz1LmW"),
            ("MINIO_ROOT_PASSWORD", "minioadmin"),
            ("NEO4J_AUTH", "neo4j/hunter2"),
            ("DB_PASSWORD", "${DB_PASSWORD:hunter2hunter2}"),
            ("DB_PASSWORD", "${DB_PASSWORD:-hunter2}"),
            ("CREDENTIALS", "admin:hunter2"),
            ("BASIC_AUTH", "admin:hunter2"),
            ("DD_APP_KEY", "4f1a9c7be2d058364f1a9c7be2d058364f1a9c7b"),
            ("STRIPE_KEY", "sk_live_4f1a9c7be2d05836"),
            ("VAULT_SECRET_ID", "0a1b2c3d-1234-4abc-8def-0123456789ab"),
            // Under a harmless name.
            ("PASSWORD_FILE", "hunter2xyz9"),
            ("POSTGRES_PASSWORD_FILE", "k3vN8qPz1LmW0aRt"),
            ("TOKEN_PATH", "Zx81kQm2Vw7Ls0Tb"),
            ("SECRET_NAME", "Zx81kQm2Vw7Ls0Tb9"),
            ("TOKEN_TTL", "a8Kd02LmQz7Xw4"),
            ("AUTH_ENABLED", "Zx81kQm2Vw7Ls0Tb"),
            ("DB_URL", "postgres://u:p@h"),
            ("DATABASE_URL", "mysql://root:hunter2@tcp(db:3306)/shop"),
            ("REDIS_URL", "redis://:hunter2@redis:6379/0"),
            ("SENTRY_DSN", "https://4f1a9c7b:e2d05836@sentry.example/2"),
            (
                "REPO",
                "https://ghp_k3vN8qPz1LmW0aRtk3vN8qPz1LmW0aRtaaaa@github.com/acme/shop",
            ),
            (
                "JDBC_URL",
                "jdbc:postgresql://db/shop?user=app&password=hunter2hunter2",
            ),
            (
                "ALERT_URL",
                "https://hooks.slack.com/services/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",
            ),
            (
                "JAVA_OPTS",
                "-Xmx512m -Djavax.net.ssl.keyStorePassword=hunter2hunter2",
            ),
            ("MODE", "ghp_k3vN8qPz1LmW0aRtk3vN8qPz1LmW0aRtaaaa"),
            // In files.
            (
                "application.yaml",
                "db:\n  password: \"k3vN8qPz1LmW0aRt\"\n",
            ),
            (
                "APP_CONFIG",
                "{\"db\":{\"user\":\"a\",\"password\":\"k3vN8qPz1LmW\"}}",
            ),
            (
                "aws",
                "[default]\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPL3K3Y\n",
            ),
            ("token.txt", "k3vN8qPz1LmW0aRt\n"),
            ("password", "hunter2hunter2\nother3other3\n"),
            (
                "credentials",
                "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
            ),
            (
                "htpasswd",
                "admin:$2y$05$k3vN8qPz1LmW0aRtk3vN8uPz1LmW0aRtk3vN8qPz1LmW0aRtk3vN8\n",
            ),
            ("auth.yaml", "auth:\n  password: hunter2hunter2\n"),
            (
                ".dockerconfigjson",
                "{\"auths\":{\"ghcr.io\":{\"auth\":\"dXNlcjpodW50ZXIyaHVudGVyMg==\"}}}",
            ),
            (
                "key.json",
                "{\"type\":\"service_account\",\"private_key\":\"-----BEGIN PRIVATE KEY-----\\nMII\"}",
            ),
            ("tls.key", "-----BEGIN EC PRIVATE KEY-----\nMII\n"),
        ];
        assert!(
            misjudged(true, &literals).is_empty(),
            "{:#?}",
            misjudged(true, &literals)
        );
    }
}
