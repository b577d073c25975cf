use std::collections::BTreeMap;
use std::path::Path;

use kube9_base::settings::days;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::load::parse_yaml;
use super::*;

type Vars = BTreeMap<&'static str, &'static str>;

fn load(
    yaml: &str,
    flags: &[(&'static str, &str)],
    vars: &[(&'static str, &'static str)],
) -> Result<Config, Vec<String>> {
    let flags: Flags = flags
        .iter()
        .map(|(path, text)| (*path, (*text).to_owned()))
        .collect();
    let vars: Vars = vars.iter().copied().collect();
    Config::from_text(yaml, &flags, &vars)
        .map(|loaded| loaded.config)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn load_without_settings_has_the_defaults_of_its_location() {
    let pod = load("", &[], &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).unwrap();
    assert_eq!(pod, Config::default());
    assert_eq!(pod.data_dir, Path::new("/data"));
    assert_eq!(pod.log.format, LogFormat::Json);
    let elsewhere = load("# only a comment\n", &[], &[]).unwrap();
    assert_eq!(elsewhere.data_dir, Path::new("./kube9-data"));
    assert_eq!(elsewhere.log.format, LogFormat::Text);
    assert_eq!(elsewhere.queue, QueueConfig::default());
}

const POD: (&str, &str) = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");

/// Also the next setting: its type or its declaration says which it is.
#[test]
fn load_in_a_pod_takes_addresses_and_files_from_the_mounted_file_only() {
    let mut locked = Vec::new();
    for setting in Config::settings() {
        let path: &'static str = Box::leak(setting.path.clone().into_boxed_str());
        // Lists of entries are given in the file only.
        if setting.default.starts_with('[') && path.matches('.').count() == 0 {
            continue;
        }
        let says_where = |problems: Result<Config, Vec<String>>| {
            let problems = problems.err().unwrap_or_default();
            assert!(
                !problems.iter().any(|p| p.contains("planted")),
                "{problems:?}"
            );
            problems
                .iter()
                .any(|p| p.contains("inside a pod this can only be set in /etc/kube9/config.yaml"))
        };
        let flags: &[_] = &[(path, "planted")];
        if setting.origin == Origin::Mounted {
            locked.push(path);
            assert!(says_where(load("", flags, &[POD])), "flag {path}");
        }
        let by_flag = load("", flags, &[]).err().unwrap_or_default();
        assert!(
            !by_flag.iter().any(|p| p.contains("inside a pod")),
            "{path} elsewhere"
        );
        let aliases = kube9_base::settings::ALIASES
            .iter()
            .filter(|(p, _, _)| *p == path);
        let names = aliases.map(|(_, name, _)| (*name).to_owned());
        for name in names.chain([kube9_base::settings::variable(path)]) {
            let name: &'static str = Box::leak(name.into_boxed_str());
            let refused = load("", &[], &[POD, (name, "planted")])
                .err()
                .unwrap_or_default();
            let refused = refused
                .iter()
                .any(|p| p.contains("inside a pod this can only be set in"));
            assert_eq!(refused, setting.origin == Origin::Mounted, "{name}");
        }
    }
    // A setting that joins them is named here; none leaves.
    assert_eq!(
        locked,
        ["data_dir", "listen", "kube.kubeconfig", "kube.context"]
    );
}

#[test]
fn settings_of_type_text_declare_their_origin() {
    const SUSPICIOUS: [&str; 16] = [
        "url",
        "uri",
        "host",
        "addr",
        "listen",
        "server",
        "endpoint",
        "proxy",
        "file",
        "path",
        "_dir",
        "token",
        "password",
        "secret",
        "cert",
        "kubeconfig",
    ];
    let mut free = Vec::new();
    for setting in Config::settings() {
        let path = setting.path.as_str();
        assert!(
            setting.origin_declared,
            "{path}: declare `anywhere` or `mounted` beside it"
        );
        if setting.origin == Origin::Anywhere {
            assert!(
                !SUSPICIOUS.iter().any(|word| path.contains(word)),
                "{path} sounds like an address or a file"
            );
            free.push(path.to_owned());
        }
    }
    assert!(free.len() > 50 && free.iter().any(|path| path == "kube.namespaces"));
}

#[test]
fn load_in_a_pod_takes_everything_from_the_mounted_file() {
    let yaml = "{data_dir: /d, listen: '[::1]:9', kube: {kubeconfig: /k, context: c}}";
    let config = load(yaml, &[], &[POD]).unwrap();
    assert_eq!(config.kube.kubeconfig.as_deref(), Some(Path::new("/k")));
    assert_eq!(config.listen.port(), 9);
    let problems = load("kube: {context: c}", &[], &[POD]).unwrap_err();
    assert_eq!(
        problems,
        [
            "kube.context (all sources together): needs kube.kubeconfig: no other kubeconfig is read inside a pod"
        ]
    );
}

#[test]
fn load_in_a_pod_rejects_another_config_file() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.yaml");
    std::fs::write(&own, "planted_key: planted-value\n").unwrap();
    let name: &'static str = Box::leak(own.display().to_string().into_boxed_str());
    let none = Flags::new();
    for (flag, vars) in [
        (Some(name), Vars::from([POD])),
        (None, Vars::from([POD, ("KUBE9_CONFIG", name)])),
        (Some("/dev/stdin"), Vars::from([POD])),
        (Some("/etc/kube9/../kube9/config.yaml"), Vars::from([POD])),
        (Some("/no/such/file"), Vars::from([POD])),
        // A flag that names the mounted file wins over the variable, as elsewhere; a wrong flag is not made good by it.
        (Some(name), Vars::from([POD, ("KUBE9_CONFIG", MOUNTED)])),
    ] {
        let error = Config::load(flag.map(Path::new), &none, &vars)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("inside a pod no config file is read but /etc/kube9/config.yaml"),
            "{error}"
        );
        assert!(
            !error.contains("planted") && !error.contains("cannot read"),
            "{error}"
        );
    }
    // No file of that name on this machine: what is named must be there, what is not named need not be.
    if !Path::new(MOUNTED).exists() {
        assert!(Config::load(None, &none, &Vars::from([POD])).is_ok());
        let named = Config::load(Some(Path::new(MOUNTED)), &none, &Vars::from([POD]));
        assert!(named.unwrap_err().to_string().contains("cannot read it"));
    }
}

#[test]
fn load_prefers_flags_to_environment_to_file_to_default() {
    let yaml = "listen: 127.0.0.1:1\nqueue: {capacity: 7}\nlog: {level: warn}\nretention: {info_warning: 1d}";
    let vars = [
        ("KUBE9_LISTEN", "127.0.0.1:2"),
        ("KUBE9_LOG_LEVEL", "debug"),
        ("KUBE9_RETENTION_INFO_WARNING", "48h"),
        ("EVENT_RETENTION_INFO_WARNING_DAYS", "3"),
        ("EVENT_RETENTION_ERROR_CRITICAL_DAYS", "90"),
    ];
    let config = load(yaml, &[("listen", "127.0.0.1:3")], &vars).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log.level.as_str(), "debug");
    assert_eq!(config.queue.capacity, 7);
    assert_eq!(config.retention.info_warning, days(2));
    assert_eq!(config.retention.error_critical, days(90));
    assert_eq!(config.retention.interval, hours(6));
    let alias_over_file = load(yaml, &[], &vars[3..]).unwrap();
    assert_eq!(alias_over_file.retention.info_warning, days(3));
}

#[test]
fn load_reports_all_problems_with_path_and_source() {
    let yaml = "
listen: 8080
colour: red
queue:
  capcity: 5
  max_bytes: lots
  high_water_percent: 101
writer: 7
source: {backoff: {initial: 50s}}
kube: {namespaces: [ok, Not_Ok, ok, 7], status_configmap: status}
http: {header_timeout: 20s, connection_timeout: 10s}
analysis: {disabled_rules: [CrashLoop, health, CrashLop]}
filters: [{name: LOUD, action: exclude, match: {reasons: [a]}}]
";
    let flags = [("log.level", "loud")];
    let vars = [
        ("KUBE9_QUEUE_CAPACITY", "none"),
        ("KUBE9_LOG_FORMAT", "xml"),
        ("EVENT_RETENTION_INFO_WARNING_DAYS", "a week"),
        ("KUBE9_KUBE_NAMESPACES", "ok,Not_Ok,ok"),
        ("KUBE9_WRITER_RETRY_INITIAL", "9s"),
    ];
    let problems = load(yaml, &flags, &vars).unwrap_err();
    let expected = [
        "listen (config file): 8080 is not an address such as 0.0.0.0:8080 or [::]:8080",
        "log.level (flag): \"loud\" is not a log level",
        "log.format (environment KUBE9_LOG_FORMAT): \"xml\" is not a log format (json, text)",
        "kube.namespaces (config file): [\"ok\",\"Not_Ok\",\"ok\",7] is not a list of texts",
        "queue.capacity (environment KUBE9_QUEUE_CAPACITY): \"none\" is not a whole number",
        "queue.max_bytes (config file): \"lots\" is not a size such as",
        "queue.high_water_percent (config file): 101 is not between 10 and 100",
        "writer (config file): 7 is not a mapping of settings",
        "retention.info_warning (environment EVENT_RETENTION_INFO_WARNING_DAYS): \"a week\" is not a duration",
        "colour (config file): unknown key; known here: data_dir, listen,",
        "queue.capcity (config file): unknown key; known here: capacity, max_bytes, high_water_percent, max_wait",
        "filters[0].name (all sources together): ",
        "analysis.disabled_rules (all sources together): \"CrashLop\" is neither a rule nor a type of rules",
        "source.backoff.initial (all sources together): is longer than source.backoff.max",
        "writer.retry_initial (all sources together): is longer than writer.retry_max",
        "http.header_timeout (all sources together): is longer than http.connection_timeout",
        "kube.status_configmap (all sources together): needs kube.pod_namespace: the ConfigMap's namespace",
        "kube.namespaces[1] (all sources together): \"Not_Ok\" is not the name of a namespace",
        "kube.namespaces[2] (all sources together): \"ok\" is listed twice",
    ];
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(
            problem.starts_with(expected),
            "{problem}\n  should begin with\n{expected}"
        );
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

/// The problems of these settings.
fn problems_of(yaml: &str) -> Vec<String> {
    load(yaml, &[], &[]).err().unwrap_or_default()
}

#[test]
fn tracked_kinds_are_all_the_named_or_all_but_some() {
    let names = |yaml: &str| -> Vec<String> {
        let tracked = load(yaml, &[], &[]).unwrap().tracked();
        let kinds = tracked.kinds.iter().map(|kind| kind.resource.to_string());
        let resources = tracked.resources.iter().map(ToString::to_string);
        kinds.chain(resources).collect()
    };
    let all = names("{}");
    assert_eq!(all.len(), 35);
    assert_eq!(
        names("changes: {kinds: [jobs, pods, jobs]}"),
        ["pods", "jobs"]
    );
    assert_eq!(names("changes: {kinds: [jobs, pods, -jobs]}"), ["pods"]);
    assert_eq!(names("changes: {kinds: [-configmaps]}").len(), 34);
    assert_eq!(
        names("changes: {kinds: [jobs], resources: [vpa, batch.example.com/v1/jobs]}"),
        [
            "jobs",
            "autoscaling.k8s.io/v1/verticalpodautoscalers",
            "batch.example.com/v1/jobs"
        ]
    );
    assert_eq!(
        names("changes: {enabled: false, resources: [vpa]}"),
        [""; 0]
    );
    let namespaced = names("kube: {namespaces: [a]}");
    assert_eq!(namespaced.len(), 16, "{namespaced:?}");
    assert!(
        !namespaced
            .iter()
            .any(|name| name == "nodes" || name.starts_with("role"))
    );
    assert_eq!(
        names("{kube: {namespaces: [a]}, changes: {kinds: [roles]}}"),
        ["roles"]
    );
}

#[test]
fn secrets_cannot_be_tracked() {
    for word in ["secrets", "Secret", "SECRETS", "-secrets", "v1/secrets"] {
        let problems = problems_of(&format!("changes: {{kinds: [{word}]}}"));
        assert!(
            problems[0].contains("secrets are never tracked"),
            "{problems:?}"
        );
    }
    for word in [
        "v1/secrets",
        "v1/Secrets",
        "/v1/secrets",
        "core/v1/secret",
        "x.io/v1/secrets",
    ] {
        let problems = problems_of(&format!("changes: {{resources: [{word}]}}"));
        assert!(
            problems[0].contains("secrets are never tracked"),
            "{problems:?}"
        );
    }
    for word in ["'*'", "v1/*", "'*/*/*'"] {
        let problems = problems_of(&format!("changes: {{resources: [{word}]}}"));
        assert!(problems[0].contains("wildcard"), "{problems:?}");
    }
}

#[test]
fn tracked_kinds_are_validated_together_with_the_namespaces() {
    assert_eq!(
        problems_of("{kube: {namespaces: [a]}, changes: {kinds: [jobs, nodes]}}"),
        [
            "changes.kinds[1] (all sources together): kind \"nodes\" is cluster-scoped, and kube.namespaces records namespaces only; remove it"
        ]
    );
    assert_eq!(
        problems_of("{changes: {kinds: [Deployment], resources: [batch/v1/jobs]}}"),
        [
            "changes.kinds[0] (all sources together): kind \"Deployment\" is not a plural name; write deployments",
            "changes.resources[0] (all sources together): resource \"batch/v1/jobs\" is a default kind; name jobs in changes.kinds"
        ]
    );
    assert_eq!(
        problems_of("kube: {namespaces: [a, b, c, d, e, f, g]}"),
        [
            "changes.kinds (all sources together): 16 kinds in 7 namespaces are 112 watches, more than 100; name fewer kinds, or record the whole cluster"
        ]
    );
    for yaml in [
        "kube: {namespaces: [a, b, c, d, e, f]}",
        "{kube: {namespaces: [a, b, c, d, e, f, g]}, changes: {kinds: [-services, -jobs]}}",
        "{kube: {namespaces: [a, b, c, d, e, f, g]}, changes: {enabled: false}}",
    ] {
        assert_eq!(problems_of(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn load_reports_a_wrong_value_that_is_overridden() {
    let problems = load(
        "queue: {capacity: 0}",
        &[],
        &[("KUBE9_QUEUE_CAPACITY", "5")],
    )
    .unwrap_err();
    assert_eq!(
        problems,
        ["queue.capacity (config file): 0 is not between 1 and 1000000"]
    );
}

#[test]
fn load_treats_an_empty_key_or_variable_as_unset() {
    let config = load(
        "queue:\nlog: {level: }\nstorage: {max_bytes: ''}",
        &[],
        &[("KUBE9_LISTEN", "")],
    );
    let config = config.unwrap();
    assert_eq!(config.queue, QueueConfig::default());
    assert_eq!(config.log.level.as_str(), "info");
    assert_eq!(config.storage.max_bytes, None);
    assert_eq!(config.listen.port(), 8080);
}

#[test]
fn load_rejects_a_malformed_file() {
    assert_eq!(
        load("- a", &[], &[]).unwrap_err(),
        ["config file: the file is not a mapping of settings"]
    );
    for yaml in ["queue: {", "log: {level: info}\nlog: {level: warn}"] {
        let problems = load(yaml, &[], &[]).unwrap_err();
        assert!(
            problems[0].starts_with("config file: not valid YAML: "),
            "{problems:?}"
        );
    }
}

#[test]
fn load_names_a_file_that_cannot_be_read() {
    let none = Vars::new();
    let error = Config::load(Some(Path::new("/no/such/file")), &Flags::new(), &none).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/no/such/file") && text.contains("cannot read it"),
        "{text}"
    );
}

#[test]
fn load_prefers_the_file_of_the_flag_to_that_of_the_variable() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    std::fs::write(&one, "queue: {capacity: 1}").unwrap();
    std::fs::write(&two, "queue: {capacity: 2}").unwrap();
    let name: &'static str = Box::leak(one.display().to_string().into_boxed_str());
    let vars: Vars = [("KUBE9_CONFIG", name)].into();
    let flags = Flags::new();
    assert_eq!(
        Config::load(None, &flags, &vars)
            .unwrap()
            .config
            .queue
            .capacity,
        1
    );
    assert_eq!(
        Config::load(Some(&two), &flags, &vars)
            .unwrap()
            .config
            .queue
            .capacity,
        2
    );
}

#[test]
fn load_warns_about_unknown_variables_except_service_links() {
    let vars: Vars = [
        ("KUBE9_QUEUE_CAPCITY", "5"),
        ("KUBE9_CONFIG", ""),
        ("KUBE9_LISTEN", "127.0.0.1:0"),
        ("KUBE9_PORT", "tcp://10.0.0.1:8080"),
        ("KUBE9_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("KUBE9_SERVICE_HOST", "10.0.0.1"),
        ("KUBE9_SERVICE_PORT_HTTP", "8080"),
        ("PATH", "/bin"),
    ]
    .into();
    let loaded = Config::from_text("", &Flags::new(), &vars).unwrap();
    assert_eq!(
        loaded.warnings,
        ["unknown environment variable KUBE9_QUEUE_CAPCITY"]
    );
}

#[test]
fn variables_are_distinct_from_service_links() {
    for setting in Config::settings() {
        let name = kube9_base::settings::variable(&setting.path);
        let vars: BTreeMap<&str, &str> = [(name.as_str(), "x")].into();
        let unread = Layers::new(&Vec::new(), &vars, Value::Null).unknown_variables();
        assert_eq!(
            unread,
            std::slice::from_ref(&name),
            "{name} looks like a service link"
        );
    }
}

#[test]
fn to_yaml_text_loads_as_the_same_configuration() {
    let yaml = "
data_dir: '/007'
listen: '[::1]:99'
kube: {kubeconfig: /k, context: 'true', namespaces: ['1', a]}
queue: {max_bytes: 100000, max_wait: 90s}
storage: {max_bytes: 1Gi}
writer: {linger: 0s}
";
    let config = load(yaml, &[], &[]).unwrap();
    assert_eq!(
        load(&config.to_yaml_text(), &[], &[]).unwrap(),
        config,
        "{}",
        config.to_yaml_text()
    );
    let default = Config::default();
    assert_eq!(
        load(&default.to_yaml_text(), &[], &[]).unwrap(),
        default,
        "{}",
        default.to_yaml_text()
    );
}

#[test]
fn defaults_are_within_their_bounds() {
    // Read as a file, each default passes through the same check as a given value.
    load(&Config::default().to_yaml_text(), &[], &[]).unwrap();
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    reason: String,
}

#[test]
fn load_names_wrong_list_entries_by_index() {
    let (flags, none) = (Flags::new(), Vars::new());
    let read = |yaml: &str| {
        let mut layers = Layers::new(&flags, &none, parse_yaml(yaml).unwrap());
        let rules = Entries::<Rule>::read(&mut layers, "filters", Entries::default(), None, None);
        layers.finish();
        (
            rules.0,
            layers
                .problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )
    };
    let good = Rule {
        reason: "Pulled".to_owned(),
    };
    assert_eq!(read("filters: [{reason: Pulled}]"), (vec![good], vec![]));
    let (_, problems) = read("filters: [{reason: Pulled}, {raeson: x}, 7]");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].starts_with("filters[1] (config file): unknown field `raeson`"),
        "{problems:?}"
    );
    assert!(
        problems[1].starts_with("filters[2] (config file): "),
        "{problems:?}"
    );
    assert_eq!(
        read("filters: 7").1,
        ["filters (config file): 7 is not a list"]
    );
}

/// Heading of a setting without a section.
fn top_level(path: &str) -> &'static str {
    match path {
        "filters" | "severity_overrides" => "Events",
        _ => "general",
    }
}

/// `KUBE9_UPDATE=1 .ci/generated tests` writes the page.
#[test]
fn docs_list_every_setting_with_its_default() {
    let mut page = String::from(
        "# Configuration of kube9-recorder\n\n\
         <!-- Generated from recorder/app/src/config: KUBE9_UPDATE=1 .ci/generated tests -->\n\n\
         The value of a setting comes from the first of these that contains it:\n\n\
         1. a flag (`kube9-recorder --help` lists them);\n\
         2. an environment variable: `KUBE9_` and the path of the setting in capitals, with `_` instead of `.`;\n\
         3. the YAML config file named by `--config FILE` or `KUBE9_CONFIG`;\n\
         4. the default.\n\n\
         An empty variable or key counts as not set.\n\
         Unknown keys and invalid values are errors: all of them are reported together, before anything starts.\n\
         An unknown environment variable that begins with `KUBE9_` only logs a warning.\n\
         `kube9-recorder check` prints the effective configuration; no setting contains a secret.\n\n\
         Durations are written as `250ms`, `30s`, `5m`, `6h` or `7d`; sizes as `512Mi`, `2Gi` or a number of bytes.\n\
         A list in an environment variable is comma-separated.\n\n\
         ## In a pod\n\n\
         In a pod, the config file is `/etc/kube9/config.yaml`, which the chart mounts; no other file is read.\n\
         Settings that name an address, a credential or a file must be in that file.\n\
         As a flag or a variable they cause exit code 2, because anyone who can exec into the container chooses the flags of the process they start.\n\
         kube9 assumes that it runs in a pod if `KUBERNETES_SERVICE_HOST` is set or a service account is mounted.\n\n\
         ## Filter rules\n\n\
         `filters` decides which Events are recorded, and `severity_overrides` sets the severity of those that are:\n\n\
         ```yaml\n\
         filters:\n  \
           - name: keep-failures        # 1 to 63 characters a-z, 0-9 or -, unique\n    \
             action: include\n    \
             match: {types: [Warning]}\n  \
           - name: no-leases            # kube9_events_filtered_total{rule=\"no-leases\"} counts what it excludes\n    \
             action: exclude\n    \
             match: {reasons: [LeaderElection], namespaces: [\"kube-*\"]}\n\
         severity_overrides:\n  \
           - match: {reasons: [Unhealthy], namespaces: [\"staging-*\"]}\n    \
             severity: info\n\
         ```\n\n\
         - The first rule that matches applies. An Event that no filter matches is recorded.\n\
         - `match` has at least one of `namespaces`, `kinds`, `names`, `reasons` and `types`. Every field that is present must match, and a field matches if one of its patterns does.\n\
         - In a pattern, `*` matches any text, including none (the namespace of a cluster-scoped object is empty), and `?` matches one character.\n\
         - Kinds, reasons and types are compared without regard to case; names and namespaces are compared exactly.\n",
    );
    let mut section = None;
    for setting in Config::settings() {
        let here = setting
            .path
            .rsplit_once('.')
            .map_or_else(|| top_level(&setting.path), |(section, _)| section);
        if section.as_deref() != Some(here) {
            page += &format!("\n## {here}\n");
            section = Some(here.to_owned());
        }
        page += &format!("\n### `{}`\n\n", setting.path);
        page += &setting.doc.trim().replace(". ", ".\n");
        let default = match setting.default.as_str() {
            "null" => "unset".to_owned(),
            text => format!("`{text}`"),
        };
        page += &format!("\n\nDefault: {default}.\n");
        if !setting.bounds.is_empty() {
            page += &format!("Allowed: {}.\n", setting.bounds);
        }
        page += &format!(
            "Variable: `{}`",
            kube9_base::settings::variable(&setting.path)
        );
        for (_, alias, unit) in kube9_base::settings::ALIASES
            .iter()
            .filter(|(path, _, _)| *path == setting.path)
        {
            let unit = if *unit == "d" {
                " (a number of days)"
            } else {
                ""
            };
            page += &format!(", or `{alias}`{unit}");
        }
        page += ".\n";
        if setting.origin == Origin::Mounted {
            page += "In a pod: only in the mounted config file.\n";
        }
    }
    crate::docs::assert_page("configuration.md", &page);
}
