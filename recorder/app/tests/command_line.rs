//! The command line: exit codes, output, side effects.

// clippy.toml allows it in tests, but does not count the helpers of a test file among them.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::support::{Workspace, signal, stderr};

#[test]
fn invalid_configuration_reports_every_problem_before_side_effects() {
    let workspace = Workspace::new();
    let config = workspace.path().join("config.yaml");
    std::fs::write(&config, "queue: {capacity: none}\ncolour: red\n").unwrap();
    let output = workspace
        .command(&["--config", "config.yaml", "--log-level", "loud"])
        .env("EVENT_RETENTION_INFO_WARNING_DAYS", "soon")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for path in [
        "config.yaml",
        "queue.capacity",
        "colour",
        "log.level",
        "retention.info_warning",
    ] {
        assert!(text.contains(path), "{path} is not named in {text}");
    }
    assert!(!workspace.path().join("kube9-data").exists());
}

#[test]
fn exit_code_is_2_for_usage_and_0_for_help_and_version() {
    let workspace = Workspace::new();
    assert_eq!(workspace.run(&["--colour"]).status.code(), Some(2));
    assert_eq!(workspace.run(&["record"]).status.code(), Some(2));
    assert_eq!(workspace.run(&["--help"]).status.code(), Some(0));
    let version = workspace.run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(version.stdout.starts_with(b"kube9-recorder "));
}

#[test]
fn port_in_use_fails_with_its_address() {
    let workspace = Workspace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = workspace.run(&["--listen", &address]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
}

#[test]
fn check_prints_config_file_and_fails_without_api_server() {
    let workspace = Workspace::new();
    let output = workspace.run(&["check", "--namespace", "shop", "--listen", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let printed = workspace.path().join("printed.yaml");
    std::fs::write(&printed, &output.stdout).unwrap();
    let again = workspace.run(&["check", "--config", "printed.yaml"]);
    assert_eq!(config_of(&again), config_of(&output));
    assert!(config_of(&output).contains("127.0.0.1:1") && config_of(&output).contains("shop"));
}

/// The output without comments.
fn config_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn stop_signals_shut_down_cleanly() {
    for name in ["-TERM", "-INT"] {
        let workspace = Workspace::new();
        let (mut recorder, log) = workspace.start();
        log.address();
        signal(&recorder, name);
        assert_eq!(recorder.wait().unwrap().code(), Some(0), "{name}");
    }
}

#[test]
fn check_with_url_prints_health_of_running_recorder() {
    let workspace = Workspace::new();
    let (mut recorder, log) = workspace.start();
    let address = log.address();
    let output = workspace.run(&["check", "--url", &format!("http://{address}")]);
    signal(&recorder, "-TERM");
    recorder.wait().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let healthy = text.starts_with("healthy\n");
    assert!(healthy || text.starts_with("degraded\n"), "{text}");
    // It listens before it has a database.
    let checks = ["\n  start: ", "\n  database: "];
    assert!(checks.iter().any(|check| text.contains(check)), "{text}");
    assert_eq!(output.status.code(), Some(if healthy { 0 } else { 1 }));
    let url = format!("http://{address}");
    for setting in [
        ["--kubeconfig", "/dev/stdin"],
        ["--config", "x"],
        ["--listen", "0.0.0.0:1"],
    ] {
        let refused = workspace.run(&["check", "--url", &url, setting[0], setting[1]]);
        assert_eq!(refused.status.code(), Some(2), "{setting:?}");
    }
    let gone = workspace.run(&["check", "--url", &format!("http://{address}")]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains(&address));
}

/// A running recorder erases what another process asks for.
#[test]
fn purge_is_answered_by_the_running_recorder() {
    let workspace = Workspace::new();
    for args in [
        &["purge"][..],
        &["purge", "deployments"],
        &["purge", "/web"],
        &["purge", "cm/app", "-N", "shop", "--path=a..b"],
        &["purge", "-N", "shop", "--path=data.a"],
    ] {
        let refused = workspace.run(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
    }
    let (mut recorder, log) = workspace.start();
    log.address();
    // It listens before it has a data directory.
    let has_none = |done: &Output| stderr(done).contains("cannot request a purge");
    let ask = || workspace.run(&["purge", "gadgets/web", "-N", "shop"]);
    let mut attempts = std::iter::repeat_with(ask).take(500);
    let unknown = attempts.find(|done| !has_none(done)).unwrap();
    let text = stderr(&unknown);
    assert_eq!(unknown.status.code(), Some(1), "{text}");
    assert!(text.contains("\"gadgets\" is not in the record"), "{text}");
    let purged = workspace.run(&["purge", "-N", "shop"]);
    assert_eq!(purged.status.code(), Some(0), "{}", stderr(&purged));
    assert_eq!(
        String::from_utf8_lossy(&purged.stdout),
        "erased 0 rows and 0 past states of 0 objects\n"
    );
    signal(&recorder, "-TERM");
    recorder.wait().unwrap();
}

/// Backups next to a running recorder: into a file, and to stdout.
#[test]
fn snapshot_writes_to_file_or_stdout_without_overwriting() {
    let workspace = Workspace::new();
    let (mut recorder, log) = workspace.start();
    log.address();
    // It listens before it has a database.
    let has_none = |done: &Output| {
        [
            "cannot read the database",
            "is not a complete kube9 database",
        ]
        .iter()
        .any(|words| stderr(done).contains(words))
    };
    let mut attempts = std::iter::repeat_with(|| workspace.run(&["snapshot", "copy.db"])).take(500);
    let done = attempts.find(|done| !has_none(done)).unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let copy = std::fs::read(workspace.path().join("copy.db")).unwrap();
    let streamed = workspace.run(&["snapshot", "-"]);
    assert_eq!(streamed.status.code(), Some(0), "{}", stderr(&streamed));
    for bytes in [&copy, &streamed.stdout] {
        assert!(bytes.starts_with(b"SQLite format 3\0") && bytes.len() > 60_000);
    }
    let again = workspace.run(&["snapshot", "copy.db"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("copy.db already exists"),
        "{}",
        stderr(&again)
    );
    assert_eq!(
        std::fs::read(workspace.path().join("copy.db")).unwrap(),
        copy
    );
    signal(&recorder, "-TERM");
    recorder.wait().unwrap();
}

#[test]
fn missing_config_file_is_reported() {
    let workspace = Workspace::new();
    let output = workspace.run(&["--config", "missing.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("missing.yaml"));
    assert!(!Path::new("missing.yaml").exists());
}

/// Inputs that a user with `exec` into the recorder's container controls.
#[test]
fn path_flags_variables_and_stdin_are_refused_in_pod() {
    const SECRET: &str = "planted-0123456789";
    let workspace = Workspace::new();
    let own = workspace.path().join("own.yaml");
    std::fs::write(&own, format!("{SECRET}: {SECRET}\n")).unwrap();
    let (own, kubeconfig) = (
        own.to_str().unwrap(),
        workspace.kubeconfig().to_str().unwrap(),
    );
    let flags = [
        ["--config", own],
        ["--config", "/dev/stdin"],
        [
            "--config",
            "/var/run/secrets/kubernetes.io/serviceaccount/token",
        ],
        ["--kubeconfig", kubeconfig],
        ["--kubeconfig", "/dev/stdin"],
        ["--context", "c"],
        ["--data-dir", "/tmp"],
        ["--listen", "127.0.0.1:0"],
    ];
    let variables = [
        ("KUBE9_CONFIG", own),
        ("KUBE9_KUBECONFIG", kubeconfig),
        ("KUBE9_KUBE_KUBECONFIG", kubeconfig),
        ("KUBE9_CONTEXT", "c"),
        ("KUBE9_KUBE_CONTEXT", "c"),
        ("KUBE9_DATA_DIR", "/tmp"),
        ("KUBE9_LISTEN", "127.0.0.1:0"),
    ];
    let in_pod = |args: &[&str]| {
        let mut command = workspace.command(args);
        command.env_remove("KUBE9_KUBE_KUBECONFIG");
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", "1");
        command
    };
    for command in ["serve", "check", "snapshot", "purge"] {
        let args = match command {
            "snapshot" => vec![command, "-"],
            "purge" => vec![command, "-N", "shop"],
            _ => vec![command],
        };
        let by_flag = flags
            .iter()
            .map(|flag| in_pod(&[&args[..], &flag[..]].concat()));
        let by_variable = variables.iter().map(|(name, value)| {
            let mut command = in_pod(&args);
            command.env(name, value);
            command
        });
        for mut one in by_flag.chain(by_variable) {
            let output = one.output().unwrap();
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{one:?}: {text}");
            assert!(
                text.contains("inside a pod") && text.contains("/etc/kube9/config.yaml"),
                "{text}"
            );
            assert!(!text.contains(SECRET) && output.stdout.is_empty(), "{text}");
        }
    }
    // No file remains on the volume or in /dev/shm, which counts as memory of the container.
    for target in ["copy.db", "/dev/shm/kube9-copy.db", "/dev/stdout"] {
        let output = in_pod(&["snapshot", target]).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{target}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("inside a pod, snapshot writes to stdout only"),
            "{target}"
        );
        assert!(target == "/dev/stdout" || !workspace.path().join(target).exists());
    }
    // `KUBECONFIG` and the home directory are also ignored.
    let output = in_pod(&["check"])
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", workspace.path())
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("the pod's service account cannot be used"),
        "{text}"
    );
}

/// Outside a pod it is the user's choice, with a warning.
#[test]
fn plain_http_connection_and_ignored_proxy_log_warnings() {
    let workspace = Workspace::new();
    let kubeconfig = workspace.path().join("weak");
    // Nothing is sent: the name does not resolve.
    let text = "{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {token: t}}],\
        clusters: [{name: c, cluster: {server: 'http://kube9.invalid:1'}}],\
        contexts: [{name: c, context: {cluster: c, user: u}}]}";
    std::fs::write(&kubeconfig, text).unwrap();
    let output = workspace
        .command(&["check"])
        .env("KUBE9_KUBE_KUBECONFIG", &kubeconfig)
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert!(
        text.contains("connection to the API server is not protected"),
        "{text}"
    );
    assert!(text.contains("HTTPS_PROXY is ignored"), "{text}");
    assert!(!text.contains("sets a proxy"), "{text}");
}
