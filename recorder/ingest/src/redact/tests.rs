use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(redact(text), expected, "{text}");
    assert_eq!(redact(expected), expected, "again: {expected}");
}

#[test]
fn values_of_secret_keys() {
    check(
        "login password=hunter2 failed",
        "login password=[REDACTED] failed",
    );
    check("PASSWORD = hunter2", "PASSWORD = [REDACTED]");
    check("password=a,b;c&d/e failed", "password=[REDACTED] failed");
    check("token: abc123def", "token: [REDACTED]");
    check("token:abc123def", "token:[REDACTED]");
    check("token:=0.A#A!a!(a", "token:=[REDACTED]");
    check("token:1.k3vN8qPz1LmW0aRt9", "token:[REDACTED]");
    check("token:v2", "token:v2");
    check("host/auth:1.25.3-alpine", "host/auth:1.25.3-alpine");
    check("password: pods", "password: [REDACTED]");
    check("password='it is long' x", "password='[REDACTED]' x");
    check("password=it's-long x", "password=[REDACTED] x");
    check("'x --password=it's-long' x", "'x --password=[REDACTED]' x");
    check(
        r#"{"user":"u","password":"a\"b","n":1}"#,
        r#"{"user":"u","password":"[REDACTED]","n":1}"#,
    );
    check(
        r#"{\"token\":\"a\\\"b\",\"n\":1}"#,
        r#"{\"token\":\"[REDACTED]\",\"n\":1}"#,
    );
    check(
        r#"{"My Password": 12345678, "n": 1}"#,
        r#"{"My Password": [REDACTED], "n": 1}"#,
    );
    check(
        r#"{"auth":{"user":"u","x":["k3vN8qPz1LmW"]},"n":1}"#,
        r#"{"auth":[REDACTED],"n":1}"#,
    );
    check(
        "{\"token\":\n  \"abcdefgh\"}",
        "{\"token\":\n  \"[REDACTED]\"}",
    );
    check(r#"{"password":"broken off"#, r#"{"password":"[REDACTED]"#);
    check(
        "https://x/y?a=1&token=abcdef&b=2",
        "https://x/y?a=1&token=[REDACTED]&b=2",
    );
    check(
        "https://x.blob/y?sv=1&sig=ab%2Bcd&se=2",
        "https://x.blob/y?sv=1&sig=[REDACTED]&se=2",
    );
    check(
        "AccountName=a;AccountKey=abc/def==;EndpointSuffix=x",
        "AccountName=a;AccountKey=[REDACTED]",
    );
    check("curl --password hunter2 x", "curl --password [REDACTED] x");
    check("run -token hunter2 x", "run -token [REDACTED] x");
    check(
        r#"["--password","hunter2","x"]"#,
        r#"["--password","[REDACTED]","x"]"#,
    );
    check("password%3Dhunter2 x", "password%3D[REDACTED] x");
    check("password := hunter2", "password := [REDACTED]");
    check(
        "Authorization: Bearer abc.def x",
        "Authorization: [REDACTED] x",
    );
    check(
        "authorization: token abcdefgh x",
        "authorization: [REDACTED] x",
    );
    check(
        "password: |\n  line one\n  line two\nuser: x",
        "password: [REDACTED]\nuser: x",
    );
    check(
        "{Name:DB_PASSWORD Value:hunter2 ValueFrom:nil}",
        "{Name:DB_PASSWORD Value:[REDACTED] ValueFrom:nil}",
    );
    check(
        r#"{"name":"DB_PASSWORD","value":"hunter2"}"#,
        r#"{"name":"DB_PASSWORD","value":"[REDACTED]"}"#,
    );
    check(
        "- name: API_TOKEN\n  value: hunter2\n",
        "- name: API_TOKEN\n  value: [REDACTED]\n",
    );
    check("password=[REDACTED]tail x", "password=[REDACTED] x");
    check("password=[odd]tail x", "password=[REDACTED] x");
    check(
        "password: token: hunter2 x",
        "password: token: [REDACTED] x",
    );
    check("password = --token hunter2 x", "password = [REDACTED] x");
    check("run --token abc x", "run --token [REDACTED] x");
    check("run --password -Xy12345 z", "run --password [REDACTED] z");
    check("spec.token: abc123def", "spec.token: [REDACTED]");
    check("password:1.25x7 x", "password:[REDACTED] x");
    check("token:12345678 x", "token:[REDACTED] x");
    check("token:abcdef x", "token:[REDACTED] x");
    // Too short for a secret if a sentence may omit the space.
    check("token:abcde x", "token:abcde x");
    check("token:abc x", "token:abc x");
    check(
        "run `x --password=hunter2` now",
        "run `x --password=[REDACTED]` now",
    );
    check("password='it'\"'\"'s-long' x", "password=[REDACTED] x");
}

#[test]
fn secrets_that_show_by_themselves() {
    check("pull https://u:p@host/x", "pull https://[REDACTED]@host/x");
    check(
        "https://token@github.com/x",
        "https://[REDACTED]@github.com/x",
    );
    check(
        "postgres://u:p@ss/word@db:5432/x",
        "postgres://[REDACTED]@db:5432/x",
    );
    check("dial postgres://u:hunter2", "dial postgres://[REDACTED]");
    check("postgres://u:pa/ss@db/x", "postgres://[REDACTED]@db/x");
    // Truncated before the `@`: punctuation and many digits are not a port.
    for password in ["!_$$$~", "_", "12345678", "80......", "80_"] {
        check(
            &format!("dial postgres://u:{password}"),
            "dial postgres://[REDACTED]",
        );
    }
    for same in [
        "dial http://h:8080",
        "dial http://h:",
        "(dial http://h:80).",
        "http://h:80...",
    ] {
        check(same, same);
    }
    check("root:hunter2@tcp(db:3306)/x", "[REDACTED]@tcp(db:3306)/x");
    check("Bearer abcdefgh.ijk x", "Bearer [REDACTED] x");
    check("using Basic dXNlcjpwYXNz now", "using Basic [REDACTED] now");
    check(
        "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_def, bad",
        "got [REDACTED], bad",
    );
    check("xeyJhbGciOiJIUzI1NiJ9.eyJz", "x[REDACTED]");
    check("key AKIAIOSFODNN7EXAMPLE used", "key [REDACTED] used");
    check(
        "AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "[REDACTED]:[REDACTED]",
    );
    check("AIzaSyA1234567890abcdefghijklmnopqrstuv x", "[REDACTED] x");
    check(
        "ghp_abcdefghijklmnop and github_pat_11AAA_bbb",
        "[REDACTED] and [REDACTED]",
    );
    check("xoxb-1234-5678-abc xoxp-1-2-34567", "[REDACTED] [REDACTED]");
    check(
        "sk_live_4eC39HqLyj rk_test_4eC39HqLyj",
        "[REDACTED] [REDACTED]",
    );
    check(
        "a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b",
        "a [REDACTED] b",
    );
    check("a -----BEGIN PRIVATE KEY-----\nMIIabcdef", "a [REDACTED]");
    check(
        r#"{"auths":{"r.io":{"auth":"dXNlcjpwYXNz"}}}"#,
        r#"{"auths":{"r.io":{"auth":"[REDACTED]"}}}"#,
    );
    // A possible object name is the beginning of a secret if the text is truncated.
    check(
        r#"{"auths":{"r.io":{"auth":"yvy9jd"#,
        r#"{"auths":{"r.io":{"auth":"[REDACTED]"#,
    );
    // As far as it goes, the first reads as weeks, the second as a path.
    for start in ["18745w", "/etc/s", "12.5Gi"] {
        check(
            &format!(r#"{{"auths":{{"r.io":{{"auth":"{start}"#),
            r#"{"auths":{"r.io":{"auth":"[REDACTED]"#,
        );
    }
    check(r#"{"auth":"yvy9jd","n":1}"#, r#"{"auth":"yvy9jd","n":1}"#);
    check(
        ".dockerconfigjson: eyJhdXRocyI6e30",
        ".dockerconfigjson: [REDACTED]",
    );
}

#[test]
fn sentences_of_kubernetes_stay_readable() {
    for text in [
        r#"secret "db-creds" not found"#,
        r#"Error: secret "kube-creds" not found"#,
        r#"MountVolume.SetUp failed for volume "kube-api-access-x" : failed to fetch token: pod "x" not found"#,
        r#"MountVolume.SetUp failed for volume "db-secret" : secret "db-secret" not found"#,
        r#"MountVolume.SetUp failed for volume "db-secret" : 3 errors occurred"#,
        r#"MountVolume.SetUp failed for volume "db-secret" : references non-existent secret key: tls.crt"#,
        "MountVolume.SetUp failed for volume \"c\" : configmap references non-existent config key: token",
        "Error: couldn't find key password in Secret ns/name",
        "couldn't find key token in Secret ns/name",
        r#"serviceaccount "x" not found"#,
        "configmap references non-existent secret key: password",
        r#"Error creating: pods "nosa-5d9-" is forbidden: error looking up service account ns/absent: serviceaccount "absent" not found"#,
        "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token?scope=repository%3Alibrary%2Fnope%3Apull&service=registry.docker.io: 401 Unauthorized",
        r#"Failed to pull image "reg.io/acme/auth:v2.1": rpc error: code = NotFound desc = failed to pull and unpack image "reg.io/acme/auth:v2.1": failed to resolve reference"#,
        r#"Pulling image "token-server:20240101""#,
        r#"Successfully pulled image "reg.io/secrets:deadbeef" in 1.2s"#,
        "Unable to attach or mount volumes: unmounted volumes=[auth-token], unattached volumes=[kube-api-access-x auth-token]: timed out waiting for the condition",
        "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
        "no basic auth credentials",
        "basic authentication failed",
        r#"Www-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
        "bearer token is invalid",
        r#"User "system:serviceaccount:ns:token-reader" cannot get resource "secrets" in API group """#,
        r#"clusterroles.rbac.authorization.k8s.io "x" not found"#,
        r#"spec.containers[0].env[0].valueFrom.secretKeyRef.name: Required value"#,
        "create Pod auth-0 in StatefulSet auth successful",
        "Created pod: auth-service-6f7d8c9b-x2k4v",
        "Scaled up replica set token-api-75874f6c75 from 0 to 2",
        "author: Jane Doe, authority: x509",
        "pull registry.io/repo:tag@sha256:0123456789abcdef0123456789abcdef",
        "Get https://10.96.0.1:443: dial http://[fe80::1]:80 npm ERR 404 https://registry.npmjs.org/@scope/pkg https://host:8080/@x",
        r#"Get "https://10.96.0.1:443/api/v1": dial tcp 10.96.0.1:443: connect: connection refused"#,
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "Access denied for user 'root'@'10.0.0.1' (using password: YES)",
        "error getting credentials: exec: \"docker-credential-x\": executable file not found in $PATH",
    ] {
        assert!(
            matches!(redact(text), Cow::Borrowed(same) if same == text),
            "{text}\n{}",
            redact(text)
        );
    }
}

#[test]
fn hostile_texts_take_linear_time() {
    // A quadratic scan of any of these would take minutes.
    for part in [
        "://",
        "://a@",
        "@tcp(",
        "password=",
        "token: \"",
        "-----BEGIN",
        "\\",
        "\"",
        "eyJ",
        "{[",
        "--token ,",
    ] {
        let text = part.repeat(20_000);
        assert!(!redact(&text).is_empty());
    }
}

#[test]
fn every_form_of_token_is_known_by_its_beginning() {
    for (beginning, least) in [
        ("AGE-SECRET-KEY-", 6),
        ("AIza", 16),
        ("SG.", 20),
        ("dop_v1_", 6),
        ("ghs_", 6),
        ("github_pat_", 6),
        ("glpat-", 6),
        ("hf_", 20),
        ("hvb.", 16),
        ("hvs.", 16),
        ("npm_", 20),
        ("pypi-A", 16),
        ("shpat_", 20),
        ("sk-ant-", 6),
        ("sk-proj-", 6),
        ("whsec_", 6),
        ("xapp-", 6),
        ("ya29.", 16),
    ] {
        let with = |follow: usize| format!("{beginning}{}", "k7".repeat(follow).split_at(follow).0);
        check(&format!("got {} x", with(least)), "got [REDACTED] x");
        // Too short for one, and not broken off either.
        let short = format!("got {} x", with(least - 1));
        check(&short, &short);
        // At the end of the text it may have been broken off.
        check(&format!("got {}", with(1)), "got [REDACTED]");
    }
}

#[test]
fn a_secret_of_aws_goes_with_its_id_wherever_that_stands() {
    let secret = "k3vN8qPz1LmW0aRt9xYb/c+DfGhJ4sKw7uEiOoPp";
    let id = "AKIAIOSFODNN7EXAMPLE";
    check(&format!("{id} {secret} x"), "[REDACTED] [REDACTED] x");
    check(&format!("pw {id} {secret} x"), "pw [REDACTED] [REDACTED] x");
}

#[test]
fn a_parameter_is_not_the_name_of_an_object() {
    check(
        "https://h/p?secret=ab-0-cd&b=2",
        "https://h/p?secret=[REDACTED]&b=2",
    );
    check("synced secret=ab-0-cd now", "synced secret=ab-0-cd now");
}

#[test]
fn a_pair_in_base64_is_known_by_its_colon() {
    // user1:pw, ab~:pw, ab?:pw: digits, + and / of base64 stand before the colon.
    for pair in ["dXNlcjE6cHc=", "YWJ+OnB3", "YWI/OnB3"] {
        check(
            &format!("sent Basic {pair} to it"),
            "sent Basic [REDACTED] to it",
        );
    }
}

#[test]
fn structures_and_blocks_go_whole() {
    // A bracket in quotes is text, also behind a quote that is escaped.
    check(
        r#"{"auth":{"a\"}":"k3vN8qPz1LmW"},"n":1}"#,
        r#"{"auth":[REDACTED],"n":1}"#,
    );
    check(
        r#"{"auth":{"a{":"k3vN8qPz1LmW"},"n":1}"#,
        r#"{"auth":[REDACTED],"n":1}"#,
    );
    check(r#"{"auth":{"user":"k3vN8qPz1LmW""#, r#"{"auth":[REDACTED]"#);
    // If line breaks are escaped, the end of a block is unknown.
    check(r"password: |\n  hunter2\nnext: 1", "password: [REDACTED]");
}

#[test]
fn a_flag_without_a_value_hides_nothing() {
    for text in [
        "run --password --verbose x",
        "run --password -v x",
        "run --password\nnext line",
        "run --password",
        "the flags --password, x and y",
    ] {
        check(text, text);
    }
}

#[test]
fn what_is_beside_a_secret_stays() {
    for text in [
        // The @ has no user before it, and the text after a port is not a password.
        "http://@/x@y",
        "http://[::1]:8080/a@b",
        // Only a word that begins with "value" names one; %20 separates nothing.
        "the token whale: blue",
        "the token%20whalebone here",
    ] {
        check(text, text);
    }
    check("http://user@host/a@b", "http://[REDACTED]@host/a@b");
    // Where the text breaks off it may be a password with an @ in it.
    check("http://@h:pw", "http://[REDACTED]");
    check("dsn=u:hunter2@tcp(h:1)/db", "dsn=[REDACTED]@tcp(h:1)/db");
    check(
        "password=x1 and u:hunter2@tcp(h:1)/db",
        "password=[REDACTED] and [REDACTED]@tcp(h:1)/db",
    );
    check("password%3Dhunter2 x", "password%3D[REDACTED] x");
    check("password%3Ahunter2 x", "password%3A[REDACTED] x");
    // The whole value of such a key is redacted, also a plain word.
    check(
        r#"{"name":"AUTH_TOKEN","value":"pods"}"#,
        r#"{"name":"AUTH_TOKEN","value":"[REDACTED]"}"#,
    );
}

#[test]
fn a_named_value_is_hidden_in_every_spelling() {
    check(
        r#"{\"name\":\"DB_PASSWORD\",\"value\":\"hunter2\"}"#,
        r#"{\"name\":\"DB_PASSWORD\",\"value\":\"[REDACTED]\"}"#,
    );
    // What is not quoted ends where its structure does.
    check(
        r#"{"name":"DB_PASSWORD","value":12345678}"#,
        r#"{"name":"DB_PASSWORD","value":[REDACTED]}"#,
    );
    check(
        "DB_PASSWORD ,value=hunter2",
        "DB_PASSWORD ,value=[REDACTED]",
    );
    // A word of the language is a value here like any other.
    check(
        "{Name:AUTH_TOKEN Value:pods ValueFrom:nil}",
        "{Name:AUTH_TOKEN Value:[REDACTED] ValueFrom:nil}",
    );
    // Nothing is in it.
    check(r#"{"password":"","n":1}"#, r#"{"password":"","n":1}"#);
}

#[test]
fn a_value_that_is_a_key_takes_its_own_value_along_and_no_more() {
    check(
        "token: password: hunter2 x",
        "token: password: [REDACTED] x",
    );
    check("password: hunter2: bad", "password: [REDACTED] bad");
    check(
        r#"password: token: "hunter2 is long" x"#,
        r#"password: token: "[REDACTED]" x"#,
    );
    check(
        r#"{\"m\": password: token: \"hunter2 is long\" x"#,
        r#"{\"m\": password: token: \"[REDACTED]\" x"#,
    );
    check(
        r#"password: token: "hunter2 breaks o"#,
        r#"password: token: "[REDACTED]"#,
    );
    // Longer than a key: text that has such a word in it by chance.
    let chained = |length: usize| format!("password: {}_token: hunter2 x", "k".repeat(length - 6));
    check(&chained(64), "password: [REDACTED] x");
    check(&chained(65), "password: [REDACTED] hunter2 x");
}

#[test]
fn a_version_behind_a_colon_is_that_of_an_image() {
    for text in ["using auth:1.25.3 now", "using auth:v1.25.3 now"] {
        check(text, text);
    }
    // Not one: no number, no full stop, more than one letter.
    for value in ["v.abcdef", "12345678", "vv1.25.3", "x1.25.3"] {
        check(
            &format!("using auth:{value} now"),
            "using auth:[REDACTED] now",
        );
    }
}

#[test]
fn what_only_begins_like_a_token_stays() {
    for text in [
        "see AGE-RESTRICTED-LISTING of it",
        "-----BETA notes----- of it",
        "tokens of it begin with ghp_",
        // Not credentials: no colon.
        "sent Basic dXNlcm5hbWU to it",
    ] {
        check(text, text);
    }
    // At the end of the text the colon may have been cut off.
    check("sent Basic dXNlcm5hbWU", "sent Basic [REDACTED]");
    // Beside a key id of AWS 40 characters are its secret; beside another token they are a commit.
    check(
        "AIzaSyA1234567890abcdefghijklmnopqrstuv at 0123456789abcdef0123456789abcdef01234567 x",
        "[REDACTED] at 0123456789abcdef0123456789abcdef01234567 x",
    );
}

#[test]
fn flags_of_clients_hide_what_they_take_and_no_other_flag() {
    for (text, expected) in [
        (
            "mysqladmin -uroot -phunter2 ping",
            "mysqladmin -uroot -p[REDACTED] ping",
        ),
        (
            r#"["redis-cli","-a","hunter2","ping"]"#,
            r#"["redis-cli","-a","[REDACTED]","ping"]"#,
        ),
        (
            "sshpass -p hunter2 ssh -p 22 u@h",
            "sshpass -p [REDACTED] ssh -p 22 u@h",
        ),
        (
            "sqlcmd -U sa -P hunter2 -Q x",
            "sqlcmd -U sa -P [REDACTED] -Q x",
        ),
        (
            "curl -u elastic:hunter2 http://x",
            "curl -u elastic:[REDACTED] http://x",
        ),
        (
            "curl -sku elastic:hunter2 https://x",
            "curl -sku elastic:[REDACTED] https://x",
        ),
        (
            "mc alias set m http://m:9000 admin k3vN8qPz1LmW0aRt9: exit status 1",
            "mc alias set m http://m:9000 admin [REDACTED] exit status 1",
        ),
        (
            "docker login -u u -p hunter2 r.x",
            "docker login -u u -p [REDACTED] r.x",
        ),
        (
            "mount -t cifs -o username=u%hunter2,vers=3",
            "mount -t cifs -o username=u%[REDACTED]",
        ),
        (
            "rabbitmqctl add_user app hunter2",
            "rabbitmqctl add_user app [REDACTED]",
        ),
        (
            "echo hunter2 | docker login --password-stdin",
            "echo [REDACTED] | docker login --password-stdin",
        ),
        ("redis-cli -a\n- x", "redis-cli -a\n- [REDACTED]"),
        // Not a known client, but a credential by its shape.
        ("tool -p k3vN8qPz1LmW0aRt", "tool -p [REDACTED]"),
    ] {
        check(text, expected);
    }
    for text in [
        "mkdir -p /var/lib/app && ssh -p 22 host && ps -p 1",
        "docker run -p 8080:80 -u 1000:1000 nginx",
        "redis-cli -p 6379 ping",
        "mysqladmin -P 3306 ping",
        "psql -h db -p 5432 -w",
        "mysql -p \"$MYSQL_ROOT_PASSWORD\" -u root",
        "curl -u $USER:$PASS http://x",
        "cp -a a b; tar -p -x -f a.tar",
    ] {
        check(text, text);
    }
}

#[test]
fn no_rest_of_a_value_stands_beside_the_marker() {
    for (text, expected) in [
        ("password=a\\ b c", "password=[REDACTED] c"),
        ("password='a b' c", "password='[REDACTED]' c"),
        ("password='a'\"'\"'b' c", "password=[REDACTED] c"),
        ("Password=a{b;c}d;User=x", "Password=[REDACTED]"),
        ("Cookie: a=1; b=2; c=3\nx", "Cookie: [REDACTED]\nx"),
        (
            "Authorization: Digest username=\"u\", response=\"k3vN8qPz\" x",
            "Authorization: [REDACTED] x",
        ),
        (
            "https://hooks.slack.com/services/T0/B0/k3vN8qPz1LmW x",
            "https://hooks.slack.com/services/[REDACTED] x",
        ),
        (
            "<password>a b</password>",
            "<password>[REDACTED]</password>",
        ),
        ("ghp_k3vN8qPz1LmW-x_y z", "[REDACTED] z"),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_a_reader_does_not_see_separates_no_key_from_its_value() {
    for (text, expected) in [
        (
            "password\u{1b}[31m=hunter2",
            "password\u{1b}[31m=[REDACTED]",
        ),
        ("pass\u{200b}word: hunter2", "pass\u{200b}word: [REDACTED]"),
        ("password\\u003dhunter2", "password\\u003d[REDACTED]"),
        (
            "%22password%22%3A%22hunter2%22",
            "%22password%22%3A%22[REDACTED]%22",
        ),
        (
            "&quot;password&quot;:&quot;hunter2&quot;",
            "&quot;password&quot;:&quot;[REDACTED]&quot;",
        ),
        ("password\u{ff1d}hunter2", "password\u{ff1d}[REDACTED]"),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_quoted_secret_is_hidden_whatever_its_keys() {
    check(
        r#"{"kind":"Secret","data":{"a":"eA==","b":"eQ=="},"type":"Opaque"}"#,
        r#"{"kind":"Secret","data":[REDACTED],"type":"Opaque"}"#,
    );
    check(
        "kind: Secret\ndata:\n  a: eA==\n  b: eQ==\ntype: Opaque",
        "kind: Secret\ndata:\n  [REDACTED]\ntype: Opaque",
    );
    check(
        "stringData:\n  a: x\nkind: Secret",
        "stringData:\n  [REDACTED]\nkind: Secret",
    );
    let config_map = r#"{"kind":"ConfigMap","data":{"a":"x"}}"#;
    check(config_map, config_map);
}

#[test]
fn validation_shows_a_value_only_where_its_field_is_not_secret() {
    check(
        r#"spec.password: Invalid value: "hunter2": too short"#,
        r#"spec.password: Invalid value: "[REDACTED]": too short"#,
    );
    for text in [
        r#"spec.type: Invalid value: "Recreate": must not be set"#,
        "spec.password: Required value",
        "data[token]: Too long: must have at most 1048576 bytes",
        r#"spec.secretName: Invalid value: "Web_TLS": a lowercase subdomain"#,
    ] {
        check(text, text);
    }
}

#[test]
fn certificates_and_marks_of_pem_that_are_talked_about_stay() {
    for text in [
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ\n-----END CERTIFICATE-----",
        "PEM does not contain -----BEGIN PRIVATE KEY----- so it is not used at all",
    ] {
        check(text, text);
    }
}

/// Words that redaction looks for, and that are not sensitive keys.
const OTHER_WORDS: &[&str] = &[
    "AUTH",
    "Basic",
    "GenieKey",
    "LOGIN",
    "SSWS",
    "Splunk",
    "apikey",
    "argument",
    "bearer",
    "bindpw",
    "by",
    "character",
    "community",
    "db.auth",
    "key",
    "keys",
    "masterauth",
    "phrase",
    "port",
    "requirepass",
    "rootpw",
    "share",
    "value",
    "word",
    "x.value",
];

/// What is found if every word is examined as if it might be a key.
fn spans_of_all_words(text: &str) -> Vec<ByteRange> {
    let scan = Scan {
        of_all_words: true,
        ..Scan::of(text, Kinds::of(text))
    };
    scan.spans()
}

fn spans(text: &str) -> Vec<ByteRange> {
    Scan::of(text, Kinds::of(text)).spans()
}

#[test]
fn words_that_redaction_looks_for_have_rare_letters() {
    for word in OTHER_WORDS {
        for word in [word.to_ascii_lowercase(), word.to_ascii_uppercase()] {
            assert!(may_matter(word.as_bytes()), "{word}");
        }
    }
}

#[test]
fn words_without_rare_letters_are_never_keys() {
    for table in [
        include_str!("../../tests/data/secret-forms.txt"),
        include_str!("../../tests/data/held-out-forms.txt"),
        include_str!("../../tests/data/benign.txt"),
        include_str!("../../tests/data/held-out-benign.txt"),
    ] {
        for line in table.lines() {
            assert_eq!(spans(line), spans_of_all_words(line), "{line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn words_without_rare_letters_are_never_keys_in_any_text(pieces in prop::collection::vec((
        prop_oneof![
            prop::sample::select(OTHER_WORDS).prop_map(str::to_owned),
            "(pass|key|auth|token|secret|cred|data|pw|salt|path|name|Secret|kind|is|to|for|from){1,3}",
            "[a-zA-Z]{1,8}",
            "[a-z]{1,4}[_.-][A-Z0-9a-z]{1,5}",
            "[A-Za-z0-9]{10,24}",
        ],
        prop::sample::select(&[
            " ", ": ", ":", "=", "\"", "\":\"", "\", \"", ", ", "/", "://", "@", "(\"", "[", "]: Invalid value: \"", "</", ">",
            "\n", " -", " --", " is ", "\\\"", " 'x' ", " \"value\":\"", "{", ";", "\\n", "&", "?",
        ][..]),
    ), 1..12)) {
        let text: String = pieces.into_iter().map(|(word, mark)| word + mark).collect();
        prop_assert_eq!(spans(&text), spans_of_all_words(&text), "{:?}", text);
    }
}
