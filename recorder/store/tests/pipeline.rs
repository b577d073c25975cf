//! Bytes of an Event → `decode` → `normalize` → `sanitize`, as a whole: on Events of a real cluster, on arbitrary ones,
//! and on Events in which secrets were planted.

use std::sync::LazyLock;

use kube9_ingest::decode::{decode_event, decode_identity};
use kube9_ingest::filter::SeverityOverrides;
use kube9_ingest::normalize::normalize;
use kube9_ingest::sanitize::{
    EXTRA_BYTES_MAX, NAME_BYTES_MAX, Sanitized, TEXT_BYTES_MAX, TITLE_CHARS_MAX, WORD_BYTES_MAX,
    sanitize,
};
use kube9_model::Severity;
use kube9_model::record::{Occurred, Record};
use kube9_model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// 2026-12-01T00:00:00Z, after the real Events were captured.
const RECEIVED: Timestamp = Timestamp::from_secs(1_796_083_200);

/// Processes one item completely; `None` if it is skipped.
fn pass(bytes: &[u8]) -> Option<(Sanitized, bool)> {
    let event = decode_event(bytes).ok()?;
    let normalized = normalize(event, RECEIVED, &SeverityOverrides::default()).ok()?;
    Some((sanitize(normalized.record), normalized.unknown_reason))
}

fn real_events() -> &'static [Value] {
    static EVENTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
        serde_json::from_str(include_str!("fixtures/real-events.json"))
            .expect("the fixture is JSON")
    });
    &EVENTS
}

#[test]
fn real_events_are_recognized_and_readable() {
    let events = real_events();
    assert!(events.len() > 80, "the capture is cut: {}", events.len());
    for event in events {
        let (clean, unknown) = pass(event.to_string().as_bytes()).unwrap();
        let record = clean.record();
        assert!(!unknown, "{} of {}", record.reason, record.component);
        assert_eq!(
            record.description,
            event["message"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', "\\n")
        );
        assert!(!record.component.is_empty() && record.object.is_some());
        assert!(
            !record.extra.contains_key("time_suspect") && !record.extra.contains_key("truncated")
        );
        if record.component == "kubelet" {
            assert_eq!(
                record.node.as_deref(),
                Some("kube9-node"),
                "{}",
                record.reason
            );
        }
    }
}

#[test]
fn real_events_are_classified() {
    use Severity::{Error, Info, Warning};
    // Actions on the cluster and the expected Events: object, severity, title.
    for (object, severity, title) in [
        ("badcommand", Error, "Container crash loop"),
        ("badimage", Info, "Image pull started"),
        ("badimage", Error, "Image pull failed"),
        ("badimage", Error, "Image pull back-off"),
        ("invalidimage", Error, "Image name invalid"),
        (
            "neverpull",
            Error,
            "Image not on the node, and pulling is forbidden",
        ),
        ("badcommand", Error, "Container command not found"),
        ("badenv", Error, "Container configuration incomplete"),
        ("badkey", Error, "Container configuration incomplete"),
        ("badmount", Error, "Volume mount failed, secret not found"),
        ("badhook", Error, "Post-start hook failed"),
        (
            "badhook",
            Warning,
            "Container killed, its post-start hook failed",
        ),
        ("badprestop", Warning, "Pre-stop hook failed"),
        ("liveness", Warning, "Liveness probe failed"),
        ("liveness", Warning, "Readiness probe failed"),
        (
            "liveness",
            Warning,
            "Container restarted by its liveness probe",
        ),
        (
            "startup",
            Warning,
            "Container restarted by its startup probe",
        ),
        (
            "evicted",
            Error,
            "Pod evicted, ephemeral storage over its limit",
        ),
        (
            "unschedulable",
            Warning,
            "Pod not scheduled, not enough resources",
        ),
        ("noclaim", Warning, "Pod not scheduled, claim not found"),
        ("db-0", Warning, "Pod not scheduled, claim not bound"),
        (
            "badmount",
            Error,
            "Volume mount failed, config map not found",
        ),
        ("initfail", Error, "Container crash loop"),
        (
            "badselector",
            Warning,
            "Pod not scheduled, node affinity or selector",
        ),
        ("deadline", Warning, "Pod stopped, its deadline passed"),
        ("badjob", Error, "Job failed, back-off limit reached"),
        ("slowjob", Error, "Job failed, its deadline passed"),
        ("noclass", Error, "Storage class not found"),
        ("emptyclass", Warning, "Claim has no volume"),
        (
            "nosa-5d9d6c964",
            Error,
            "Pod not created, service account not found",
        ),
        ("over-59b7595b7f", Error, "Pod not created, quota exceeded"),
        ("web", Error, "Autoscaler has no metrics"),
        ("lone", Info, "Disruption budget matches no pods"),
        ("kube9-node", Info, "Node ready"),
        ("kube9-node", Info, "Kubelet starting"),
        ("kube9-node", Info, "Kube-proxy starting"),
    ] {
        let rows = real_events();
        let mut titles = rows.iter().filter_map(|event| {
            let record = pass(event.to_string().as_bytes())?.0.record().clone();
            (record.object.as_ref()?.name == object).then_some((record.severity, record.title))
        });
        assert!(
            titles.any(|row| row == (severity, title.to_owned())),
            "{object}: {title}"
        );
    }
}

#[test]
fn real_events_keep_container_and_count() {
    let rows = real_events();
    let passed = rows.iter().map(|event| {
        (
            event,
            pass(event.to_string().as_bytes())
                .unwrap()
                .0
                .record()
                .clone(),
        )
    });
    let (mut containers, mut repeated) = (0, 0);
    for (event, record) in passed {
        let path = event["involvedObject"]["fieldPath"]
            .as_str()
            .unwrap_or_default();
        containers += usize::from(!record.container.is_empty());
        assert_eq!(record.container.is_empty(), path.is_empty(), "{path}");
        let Occurred::Observed(seen) = record.occurred else {
            panic!("an Event is an observation")
        };
        repeated += usize::from(seen.count > 1 && seen.first < seen.last);
        assert!(seen.first <= seen.last && seen.count >= 1);
    }
    assert!(containers > 20 && repeated > 10, "{containers} {repeated}");
}

/// Invariants that store and reader rely on.
fn check_invariants(clean: &Sanitized) {
    let record = clean.record();
    let extra = Value::Object(record.extra.clone());
    let bytes = extra.to_string().len();
    assert!(bytes <= EXTRA_BYTES_MAX, "{bytes}");
    assert!(
        record.title.chars().count() <= TITLE_CHARS_MAX
            && record.description.len() <= TEXT_BYTES_MAX
    );
    let objects = record.object.iter().chain(&record.owner);
    let names = objects
        .flat_map(|o| [&o.kind, &o.namespace, &o.name])
        .chain(&record.node);
    for name in names.chain([&record.component, &record.container]) {
        assert!(
            name.len() <= NAME_BYTES_MAX && !name.chars().any(|c| c.is_control()),
            "{name:?}"
        );
    }
    assert!(record.reason.len() <= WORD_BYTES_MAX && record.kube_type.len() <= WORD_BYTES_MAX);
    let texts = [
        &record.title,
        &record.description,
        &record.reason,
        &record.kube_type,
    ];
    assert!(
        texts
            .iter()
            .all(|text| !text.chars().any(|c| c.is_control()))
    );
    assert!(!extra.to_string().contains("\\u00"), "{extra}");
    let Occurred::Observed(seen) = &record.occurred else {
        panic!("an Event is an observation")
    };
    assert!(seen.first <= seen.last && seen.count >= 1 && seen.last >= Timestamp::EPOCH);
    let uid = seen.uid.to_string();
    assert!(!uid.chars().any(char::is_control) && !uid.is_empty());
    assert!(clean.approximate_bytes() < 100_000);
    let again = sanitize(record.clone());
    assert_eq!(again.record(), record, "sanitizing twice changes something");
}

/// Arbitrary JSON, biased towards keys and texts that the pipeline handles.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((any_text(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Texts of parts that matter to the redaction and of arbitrary parts.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        2 => "\\PC{0,8}",
        2 => any::<char>().prop_map(String::from),
        4 => proptest::sample::select(vec![
            "password", "token", "auth", "secret", "key", "=", ":", ": ", " : ", " ", "\n", "\t", "\"", "'", "\\\"", "\\n", "\\",
            ",", "{", "}", "[", "]", "--", "-", "&", "?", "://", "@", "@tcp(", "Bearer ", "Basic ", "eyJ", "AKIA", "ghp_",
            "-----BEGIN", "-----END", "[REDACTED]", "[REDACTED", "REDACTED]", "…", "value", "|", "%3d", "not found", "true",
            "image ", "/", "1.2", "annotations", "metadata", "\u{202e}", "\u{1b}[31m", "name",
        ]).prop_map(str::to_owned),
        1 => ("[a-z\"\\\\ ]", 0..5000_usize).prop_map(|(part, times)| part.repeat(times)),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn any_time() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-100_000_000_000_000_i64..300_000_000_000_000)
            .prop_map(|ms| json!(Timestamp::from_millis(ms).to_string())),
        any_json(),
    ]
}

prop_compose! {
    fn any_event()(
        metadata in any_json(), named in any::<bool>(), annotations in proptest::collection::btree_map(any_text(), any_text(), 0..6),
        object in (any_text(), any_text(), any_text(), any_text()), words in (any_text(), any_text(), any_text()),
        times in (any_time(), any_time(), any_time(), any_time()), counts in (any_json(), any::<i64>()), odd in any_json(),
        reporter in (any_text(), any_text()), odd_field in 0..12_usize,
    ) -> Value {
        let mut event = json!({
            "metadata": {"uid": "u-1", "resourceVersion": "7", "creationTimestamp": times.3, "annotations": annotations},
            "involvedObject": {"kind": object.0, "namespace": object.1, "name": object.2, "fieldPath": object.3},
            "reason": words.0, "message": words.1, "type": words.2, "source": {"component": reporter.0, "host": null},
            "reportingComponent": null, "reportingInstance": reporter.1, "firstTimestamp": times.0, "lastTimestamp": times.1,
            "eventTime": times.2, "count": counts.0, "series": {"count": counts.1},
        });
        if !named {
            event["metadata"] = metadata;
        }
        let field = event.as_object().expect("made above").keys().nth(odd_field).cloned();
        if let (Some(field), true) = (field, odd.is_number() || odd.is_null()) {
            event[field] = odd;
        }
        event
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        let _ = decode_identity(&bytes);
        let _ = pass(&bytes);
        // A corrupted Event.
        let mut damaged = real_events()[at.index(80)].to_string().into_bytes();
        let after_metadata = damaged.windows(9).position(|part| part == b"\"reason\":").unwrap();
        let from = at.index(damaged.len());
        let to = (from + bytes.len() / 8).min(damaged.len());
        damaged.splice(from..to, bytes.iter().copied().take(8));
        if let Some((clean, _)) = pass(&damaged) {
            check_invariants(&clean);
        }
        let identity = decode_identity(&damaged);
        prop_assert!(identity.is_some() || from < after_metadata, "{}", String::from_utf8_lossy(&damaged));
    }

    #[test]
    fn arbitrary_events_keep_the_invariants(event in any_event()) {
        if let Some((clean, _)) = pass(event.to_string().as_bytes()) {
            check_invariants(&clean);
        }
    }

    #[test]
    fn arbitrary_metadata_stays_valid_and_bounded(extra in any_json(), description in any_text()) {
        let event = json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "eventTime": "2026-01-01T00:00:00Z"});
        let record = normalize(decode_event(event.to_string().as_bytes()).unwrap(), RECEIVED, &SeverityOverrides::default());
        let extra = Map::from_iter([("a".to_owned(), extra.clone()), ("b".to_owned(), json!([extra, 1]))]);
        check_invariants(&sanitize(Record { extra, description, ..record.unwrap().record }));
    }
}

/// Found by the property above: each round of truncation created text that redaction lengthened again.
#[test]
fn truncated_metadata_stays_bounded() {
    let quotes = |text: &str, number| format!("{text}{}", "\"".repeat(number));
    let inner = json!({
        "key[REDACTED]𑴋𑊈𜰀a0a=0 A 0 0A annotations𐀀": "",
        (format!("%3d{}", "\\".repeat(249))): 100_000_000_000_000_000_u64,
        " =@tcp(value[REDACTED]A가꒐\u{1920}0A 𞸡᥀Aܐa0secret": 0,
    });
    let extra = json!({
        "=𐀀 autheyJBasic ࠀ[REDACTED]": 3.839103835625518e-185,
        "": {"-----END": null},
        "AKIAtrue valuea𝕊a": {
            (quotes("ෘ𑑝🉀aὛ#", 238)): (quotes("annotations\\a", 1792)),
            (" ".repeat(253)): inner,
        },
    });
    for cut in 0..40 {
        let filler = "x".repeat(cut);
        let extra = Map::from_iter([
            ("a".to_owned(), extra.clone()),
            ("b".to_owned(), json!([extra, 1, filler])),
        ]);
        let event = json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "eventTime": "2026-01-01T00:00:00Z"});
        let normalized = normalize(
            decode_event(event.to_string().as_bytes()).unwrap(),
            RECEIVED,
            &SeverityOverrides::default(),
        );
        let record = normalized.unwrap().record;
        let kept = sanitize(Record { extra, ..record });
        check_invariants(&kept);
        assert!(kept.record().extra.contains_key("a"), "{cut}");
    }
}

/// A secret and a text in which a program would show it.
#[derive(Debug, Clone)]
struct Planted {
    secret: String,
    text: String,
}

fn planted() -> impl Strategy<Value = Planted> {
    let bare = "[a-zA-Z0-9!#$%()*+./:;<=>?@^_~,&-][a-zA-Z0-9!#$%()*+./:;<=>?@^_~,&{}-]{9,60}";
    let quoted = "[a-zA-Z0-9 !#$%&'()*+,./:;<=>?@^_`{|}~\\[\\]\u{e9}\u{4e2d}\n-]{10,60}";
    let plain = "[a-zA-Z0-9]{10,60}";
    let base64 = "[a-zA-Z0-9+/]{12,60}={0,2}";
    let certain = || {
        proptest::sample::select(vec![
            "password",
            "PASSWORD",
            "passwd",
            "db_password",
            "dbPassword",
            "PGPASSWORD",
            "apikey",
            "api_key",
            "apiKey",
            "X-Api-Key",
            "private_key",
            "privateKey",
            "aws_secret_access_key",
            "AccountKey",
        ])
    };
    let any_key = || {
        prop_oneof![
            certain(),
            proptest::sample::select(vec![
                "token",
                "access_token",
                "idToken",
                "secret",
                "client_secret",
                "credential",
                "credentials",
                "auth",
                "authorization",
                "Authorization",
                "X-Auth-Token",
            ]),
        ]
    };
    let form = |secret: String, text: String| Planted { secret, text };
    let json_text = |secret: &str| Value::from(secret).to_string();
    prop_oneof![
        // Pairs
        (
            any_key(),
            bare,
            proptest::sample::select(vec!["=", " = ", "==", ":=", "=>"])
        )
            .prop_map(move |(key, s, sep)| form(s.clone(), format!("{key}{sep}{s}"))),
        (any_key(), bare).prop_map(move |(key, s)| form(s.clone(), format!("{key}: {s}"))),
        (any_key(), plain).prop_map(move |(key, s)| form(s.clone(), format!("{key}:{s}"))),
        (any_key(), quoted).prop_map(move |(key, s)| form(
            s.clone(),
            format!("{{\"user\":\"u\",\"{key}\":{}}}", json_text(&s))
        )),
        (any_key(), quoted).prop_map(move |(key, s)| {
            form(
                s.clone(),
                format!(
                    "body {} end",
                    json_text(&format!("{{\"{key}\": {}, \"n\": 1}}", json_text(&s)))
                ),
            )
        }),
        (any_key(), "[a-zA-Z0-9 ,;:=]{10,40}")
            .prop_map(move |(key, s)| form(s.clone(), format!("{key}='{s}'"))),
        (any_key(), "[a-zA-Z0-9_.~%-]{10,60}")
            .prop_map(move |(key, s)| form(s.clone(), format!("https://h/p?a=1&{key}={s}&b=2"))),
        (any_key(), "[a-zA-Z0-9+/=,;][a-zA-Z0-9+/=,;-]{9,40}")
            .prop_map(move |(key, s)| form(s.clone(), format!("run --{key} {s} --x"))),
        (any_key(), plain)
            .prop_map(move |(key, s)| form(s.clone(), format!("[\"--{key}\",\"{s}\",\"x\"]"))),
        (certain(), quoted).prop_map(move |(key, s)| {
            form(
                s.clone(),
                format!("{{\"name\":\"{key}\",\"value\":{}}}", json_text(&s)),
            )
        }),
        // By themselves
        ("[a-z]{1,9}", "[a-zA-Z0-9._~%!$&'()*+,;=-]{10,60}").prop_map(move |(user, s)| form(
            s.clone(),
            format!("postgres://{user}:{s}@db.example:5432/x")
        )),
        plain.prop_map(move |s| form(s.clone(), format!("https://{s}@example.com/x.git"))),
        plain.prop_map(move |s| form(s.clone(), format!("root:{s}@tcp(db:3306)/x"))),
        "[a-zA-Z0-9._~+/-]{10,60}={0,2}".prop_map(move |s| form(s.clone(), format!("Bearer {s}"))),
        ("[a-z]{1,9}", plain).prop_map(move |(user, s)| {
            let encoded = base64_of(&format!("{user}:{s}"));
            form(encoded.clone(), format!("Basic {encoded}"))
        }),
        (
            "[a-zA-Z0-9_-]{20,60}",
            "[a-zA-Z0-9_-]{20,60}",
            "[a-zA-Z0-9_-]{20,60}"
        )
            .prop_map(move |(a, b, c)| form(
                format!("eyJ{a}.eyJ{b}.{c}"),
                format!("eyJ{a}.eyJ{b}.{c}")
            )),
        ("AKIA[A-Z2-7]{16}", "[a-zA-Z0-9+/]{40}")
            .prop_map(move |(id, s)| form(s.clone(), format!("{id} {s}"))),
        "(AKIA|ASIA)[A-Z2-7]{16}".prop_map(move |s| form(s.clone(), s)),
        "AIza[a-zA-Z0-9_-]{35}".prop_map(move |s| form(s.clone(), s)),
        (
            proptest::sample::select(vec![
                "ghp_",
                "gho_",
                "ghs_",
                "github_pat_",
                "glpat-",
                "xoxb-",
                "xoxp-",
                "sk_live_",
                "rk_test_"
            ]),
            "[a-zA-Z0-9]{20,60}",
        )
            .prop_map(move |(prefix, s)| form(s.clone(), format!("{prefix}{s}"))),
        base64.prop_map(move |s| {
            let account = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=";
            form(
                s.clone(),
                format!("{account}{s};EndpointSuffix=core.windows.net"),
            )
        }),
        "[a-zA-Z0-9%]{20,60}".prop_map(move |s| form(
            s.clone(),
            format!("https://a.blob/c?sv=2026&sig={s}&se=2027")
        )),
        (
            proptest::collection::vec("[a-zA-Z0-9+/]{64}", 1..6),
            any::<bool>()
        )
            .prop_map(move |(lines, whole)| {
                let body = lines.join("\n");
                let end = if whole {
                    "\n-----END RSA PRIVATE KEY-----"
                } else {
                    ""
                };
                form(
                    body.clone(),
                    format!("-----BEGIN RSA PRIVATE KEY-----\n{body}{end}"),
                )
            }),
        base64.prop_map(move |s| form(
            s.clone(),
            format!("{{\"auths\":{{\"r.io\":{{\"auth\":\"{s}\"}}}}}}")
        )),
        base64.prop_map(move |s| form(s.clone(), format!(".dockerconfigjson: {s}"))),
    ]
}

fn base64_of(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, b| bits << 8 | u32::from(*b))
            << (8 * (3 - chunk.len()));
        let digit = |i: usize| char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
        (0..4)
            .map(|i| if i <= chunk.len() { digit(i) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

/// Text around secrets; it ends at a word boundary.
fn around() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        proptest::sample::select(vec![
            "Error: ",
            "failed to start container ",
            "\"app\": ",
            "can't connect to ",
            "it's (",
            "[",
            "{\"x\": \"y\"} ",
            "a=b, ",
            "\n",
            "\t",
            "exec \"mysql\" ",
            "http://h:80/p ",
            "user@host ",
            "é中😀 ",
            "$ ",
            "key: ",
            "> ",
            "MountVolume.SetUp failed for volume \"x\" : ",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,8} ".prop_map(|word| word),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Fails if six characters of the secret in a row are left.
fn check_gone(planted: &Planted, clean: &Sanitized) {
    let left = format!("{:?}", clean.record());
    let secret: Vec<char> = planted.secret.chars().collect();
    for part in secret.windows(6) {
        let part: String = part.iter().collect();
        let shown = format!("{part:?}");
        assert!(
            !left.contains(shown.trim_matches('"')),
            "{part:?} of {planted:?} is left in {left}"
        );
    }
}

fn with_message(message: &str) -> Value {
    json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "eventTime": "2026-01-01T00:00:00Z", "message": message})
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    #[test]
    fn planted_secret_is_removed_from_message(
        planted in planted(), before in around(), after in around(), pad in prop_oneof![3 => 0..1_usize, 1 => 3900..4200_usize],
    ) {
        let message = format!("{}{before}{} {after}", "x ".repeat(pad / 2), planted.text);
        let (clean, _) = pass(with_message(&message).to_string().as_bytes()).unwrap();
        check_gone(&planted, &clean);
        check_invariants(&clean);
    }

    #[test]
    fn planted_secret_is_removed_from_every_other_field(planted in planted(), before in around(), size in 0..12_000_usize) {
        let text = format!("{before}{}", planted.text);
        let mut event = with_message("x");
        event["reason"] = json!(text);
        event["type"] = json!(text);
        event["metadata"]["annotations"] = json!({"filler": "x ".repeat(size / 2), "a": text, "b": format!("{} {text}", "y ".repeat(1000)), text.clone(): "z"});
        event["involvedObject"] = json!({"kind": text, "namespace": text, "name": text, "fieldPath": format!("spec.containers{{{text}}}")});
        event["source"] = json!({"component": text, "host": text});
        event["firstTimestamp"] = json!(text);
        let (clean, _) = pass(event.to_string().as_bytes()).unwrap();
        check_gone(&planted, &clean);
        check_invariants(&clean);
    }

    #[test]
    fn truncated_secret_is_removed_completely(planted in planted(), before in around(), keep in any::<prop::sample::Index>()) {
        // The reporter may have truncated the message.
        let ends: Vec<usize> = planted.text.char_indices().map(|(at, _)| at).collect();
        // Forms that are only recognized by their end cannot be recognized without it.
        prop_assume!(!planted.text.contains("@tcp(") && !planted.text.contains("@example.com"));
        // Unquoted, the beginning of such a value can read as a path, a number with a unit, or a word before a colon.
        let quoted = planted.text.contains(['"', '\'']);
        let is_ambiguous = planted.secret.starts_with(|c: char| !c.is_ascii_alphabetic()) || planted.secret.contains([':', ';']);
        prop_assume!(quoted || !is_ambiguous);
        let message = format!("{before}{}", &planted.text[..ends[keep.index(ends.len())]]);
        let (clean, _) = pass(with_message(&message).to_string().as_bytes()).unwrap();
        check_gone(&planted, &clean);
    }
}
