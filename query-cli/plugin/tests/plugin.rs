//! Runs the plugin with a stub in place of kubectl.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// Answers from the files of its folder: `pods-CONTEXT`, `out-CONTEXT`, `err-CONTEXT`, `code-CONTEXT`, `slow-CONTEXT`; and
/// logs its arguments.
const STUB: &str = r#"#!/bin/bash
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/log"
context=default
words=()
for word in "$@"; do
  case $word in
  --context=*) context=${word#*=} ;;
  --kubeconfig=* | --as=* | --as-group=*) ;;
  *) words+=("$word") ;;
  esac
done
set -- "${words[@]}"
answer() { [[ ! -e $here/$1 ]] || cat "$here/$1"; }
case "$1 $2" in
"config get-contexts") answer contexts ;;
"config current-context") echo default ;;
"version "*) echo '{"serverVersion": {"gitVersion": "v1.35.4"}}' ;;
"auth can-i") answer can-i ;;
"get "*)
  if [[ $* == *--all-namespaces* && -e $here/forbidden ]]; then
    echo 'Error from server (Forbidden): pods is forbidden' >&2
    exit 1
  fi
  answer "pods-$context"
  ;;
"exec "*)
  [[ ! -e $here/slow-$context ]] || exec sleep 60
  if [[ ${*: -1} == --version ]]; then echo 'kube9-query 0.1.0'; exit; fi
  answer "out-$context"
  answer "err-$context" >&2
  code=$(answer "code-$context")
  exit "${code:-0}"
  ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"#;

struct Stub(tempfile::TempDir);

impl Stub {
    /// With one pod that runs, in each of the contexts.
    fn new(contexts: &[&str]) -> Self {
        let stub = Self(tempfile::tempdir().unwrap());
        stub.write("kubectl", STUB);
        let path = stub.path().join("kubectl");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        stub.write("contexts", &contexts.join("\n"));
        stub.write("can-i", "yes\n");
        for context in contexts.iter().chain(&["default"]) {
            stub.pods(context, &[pod("kube9-system", "kube9", "running")]);
        }
        stub
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn pods(&self, context: &str, pods: &[Value]) {
        self.write(
            &format!("pods-{context}"),
            &json!({ "items": pods }).to_string(),
        );
    }

    /// One row, as `--format=jsonl` prints it.
    fn row(&self, context: &str, rows: &[(&str, &str)]) {
        let line = |(id, time): &(&str, &str)| {
            let row = json!({ "id": id, "severity": "info", "title": "Scaled \u{1b}[31m", "object_kind": "Deployment",
                "object_namespace": "shop", "object_name": "web", "metadata": { "by": [{ "manager": "helm" }] },
                "created_at": time });
            format!("{row}\n")
        };
        let lines: String = rows.iter().map(line).collect();
        self.write(&format!("out-{context}"), &lines);
    }

    fn run(&self, words: &[&str]) -> Output {
        let path = format!(
            "{}:{}",
            self.path().display(),
            std::env::var_os("PATH").unwrap().display()
        );
        Command::new(env!("CARGO_BIN_EXE_kubectl-kube9"))
            .args(words)
            .env("PATH", path)
            .env_remove("KUBE9_NAMESPACE")
            .output()
            .unwrap()
    }

    /// The calls of kubectl.
    fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap()
    }
}

fn pod(namespace: &str, release: &str, state: &str) -> Value {
    json!({
        "metadata": {
            "name": format!("{release}-0"), "namespace": namespace,
            "labels": { "app.kubernetes.io/instance": release },
            "annotations": { "kubectl.kubernetes.io/default-container": "query" },
        },
        "status": { "phase": "Running", "containerStatuses": [
            { "name": "query", "state": { state: { "reason": "ImagePullBackOff" } } },
        ] },
    })
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn command_runs_in_the_pod_with_its_streams_and_exit_code() {
    let stub = Stub::new(&[]);
    stub.write("out-default", "rows\n");
    stub.write("err-default", "error: not found\n");
    stub.write("code-default", "4");
    let output = stub.run(&[
        "--as=jane",
        "--kubeconfig",
        "/a b",
        "events",
        "list",
        "-n",
        "3",
    ]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        (&*out(&output), &*err(&output)),
        ("rows\n", "error: not found\n")
    );
    let log = stub.log();
    assert!(
        log.ends_with(
            "--kubeconfig=/a b --as=jane exec -n kube9-system -c query kube9-0 -- kube9-query events list -n 3\n"
        ),
        "{log}"
    );
}

#[test]
fn stdin_is_passed_on_only_to_commands_that_read_it() {
    let stub = Stub::new(&[]);
    for (words, is_passed) in [
        (&["status"][..], false),
        (&["events", "watch"], true),
        (&["changes", "--follow"], true),
        (&["object", "diff", "deploy/web", "-f", "-"], true),
    ] {
        stub.run(words);
        let log = stub.log();
        let last = log.lines().last().unwrap();
        assert_eq!(last.contains("-c query -i kube9-0"), is_passed, "{last}");
    }
}

#[test]
fn namespace_is_looked_for_where_pods_cannot_be_listed() {
    let stub = Stub::new(&[]);
    stub.write("forbidden", "");
    assert_eq!(stub.run(&["status"]).status.code(), Some(0));
    let output = stub.run(&["-n", "monitoring", "status"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stub.log()
            .contains("kube9,app.kubernetes.io/component=recorder -n monitoring")
    );
    stub.pods("default", &[]);
    let output = stub.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("name its namespace with -n"),
        "{}",
        err(&output)
    );
}

#[test]
fn several_releases_must_be_told_apart() {
    let stub = Stub::new(&[]);
    stub.pods(
        "default",
        &[pod("a", "one", "running"), pod("b", "two", "running")],
    );
    let output = stub.run(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("  -n a --release one\n  -n b --release two"),
        "{}",
        err(&output)
    );
}

#[test]
fn pod_that_does_not_run_is_named_with_the_reason() {
    let stub = Stub::new(&[]);
    stub.pods("default", &[pod("kube9-system", "kube9", "waiting")]);
    let output = stub.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("pod kube9-0 in namespace kube9-system does not run its container query: ImagePullBackOff"),
        "{}",
        err(&output)
    );
    // While it is replaced there is another one.
    stub.pods(
        "default",
        &[
            pod("kube9-system", "kube9", "waiting"),
            pod("kube9-system", "kube9", "running"),
        ],
    );
    assert_eq!(stub.run(&["status"]).status.code(), Some(0));
}

#[test]
fn option_behind_the_command_is_an_error_that_shows_where_it_belongs() {
    let stub = Stub::new(&[]);
    for words in [
        &["status", "--context", "x"][..],
        &["status", "--context=x"],
    ] {
        let output = stub.run(words);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            err(&output).contains(
                "--context must come before the command: kubectl kube9 --context … status"
            ),
            "{}",
            err(&output)
        );
    }
    assert_eq!(stub.run(&[]).status.code(), Some(2));
    assert_eq!(stub.run(&["--help"]).status.code(), Some(0));
}

#[test]
fn rows_of_several_clusters_are_merged() {
    let stub = Stub::new(&["prod-a", "prod-b", "dev"]);
    stub.row(
        "prod-a",
        &[
            ("3", "2025-01-01T00:00:03.000Z"),
            ("1", "2025-01-01T00:00:01.000Z"),
        ],
    );
    stub.row("prod-b", &[("2", "2025-01-01T00:00:02.000Z")]);
    stub.write("code-dev", "1");
    let output = stub.run(&["--contexts=prod-*", "changes", "--since=1h", "-o", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let rows: Vec<Value> = out(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<[&str; 2]> = rows
        .iter()
        .map(|row| ["cluster", "id"].map(|key| row[key].as_str().unwrap()))
        .collect();
    assert_eq!(ids, [["prod-a", "3"], ["prod-b", "2"], ["prod-a", "1"]]);
    let log = stub.log();
    assert!(
        log.contains("--context=prod-b exec -n kube9-system -c query kube9-0 -- kube9-query changes --since=1h --format=jsonl"),
        "{log}"
    );
    let output = stub.run(&["--contexts=prod-*", "changes", "-o", "table", "--limit=2"]);
    assert_eq!(
        out(&output),
        "CLUSTER  CREATED (UTC)             SEVERITY  NAMESPACE  OBJECT          TITLE              BY\n\
         prod-a   2025-01-01T00:00:03.000Z  info      shop       Deployment/web  Scaled \\u{1b}[31m  helm\n\
         prod-b   2025-01-01T00:00:02.000Z  info      shop       Deployment/web  Scaled \\u{1b}[31m  helm\n"
    );
    assert!(err(&output).contains("the newest 2 of 3 rows"));
    let output = stub.run(&["--contexts=none-*", "changes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("the kubeconfig has: prod-a, prod-b, dev"));
}

#[test]
fn cluster_that_does_not_answer_is_named_and_the_others_are_printed() {
    let stub = Stub::new(&["a", "b", "c", "d"]);
    stub.row("a", &[("1", "2025-01-01T00:00:01.000Z")]);
    stub.write("slow-b", "");
    stub.write("err-c", "Unable to connect to the server\n");
    stub.write("code-c", "1");
    // Cut in the middle, with exit code 0.
    stub.write("out-d", "{\"id\":\"9\",\"created_at\":\"20");
    let output = stub.run(&[
        "--all-contexts",
        "--cluster-timeout=1",
        "events",
        "list",
        "-ojson",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let whole: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(whole["events"].as_array().unwrap().len(), 1);
    let errors: Vec<&Value> = whole["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cluster| &cluster["error"])
        .collect();
    assert_eq!(
        errors[..3],
        [
            &Value::Null,
            &json!("no answer within 1 s"),
            &json!("Unable to connect to the server")
        ]
    );
    assert!(
        errors[3].as_str().unwrap().contains("not complete"),
        "{errors:?}"
    );
    for name in [
        "cluster b: no answer",
        "cluster c: Unable",
        "cluster d: the answer is not complete",
    ] {
        assert!(err(&output).contains(name), "{}", err(&output));
    }
}

#[test]
fn stream_of_several_clusters_ends_with_the_last_one() {
    let stub = Stub::new(&["a", "b"]);
    stub.row(
        "a",
        &[
            ("1", "2025-01-01T00:00:01.000Z"),
            ("2", "2025-01-01T00:00:02.000Z"),
        ],
    );
    stub.row("b", &[("3", "2025-01-01T00:00:03.000Z")]);
    stub.write("code-b", "7");
    stub.write("err-b", "the pod was deleted\n");
    let output = stub.run(&["--all-contexts", "events", "watch", "--format=jsonl"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("cluster b: the pod was deleted"));
    let mut ids: Vec<String> = out(&output)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["\"1\"", "\"2\"", "\"3\""]);
}

#[test]
fn status_of_several_clusters_is_a_line_each() {
    let stub = Stub::new(&["a", "b"]);
    stub.write(
        "out-a",
        &json!({ "status": "operational", "total_events": 5, "reasons": [] }).to_string(),
    );
    stub.write(
        "out-b",
        &json!({ "status": "unavailable", "reasons": ["x", "y"] }).to_string(),
    );
    stub.write("code-b", "1");
    let output = stub.run(&["--all-contexts", "status", "-otable"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        out(&output),
        "CLUSTER  STATUS       EVENTS  OLDEST (UTC)  REASONS\n\
         a        operational  5\n\
         b        unavailable                        x; y\n"
    );
}

#[test]
fn install_check_stops_at_the_first_problem_and_says_what_to_do() {
    let stub = Stub::new(&[]);
    stub.write(
        "out-default",
        &json!({ "status": "operational", "total_events": 7, "oldest_event": "2025-01-01T00:00:00.000Z" }).to_string(),
    );
    let output = stub.run(&["install-check"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert_eq!(
        out(&output),
        "ok    context: default\n\
         ok    API server: v1.35.4\n\
         ok    pod: kube9-0 in namespace kube9-system\n\
         ok    permission: may exec into pods of the namespace\n\
         ok    exec: kube9-query 0.1.0\n\
         ok    status: operational\n\
         ok    record: 7 events since 2025-01-01T00:00:00.000Z\n"
    );
    let log = stub.log();
    let asked = "auth can-i create pods --subresource=exec -n kube9-system";
    assert!(log.contains(asked), "{log}");
    stub.write(
        "out-default",
        &json!({ "status": "degraded", "reasons": ["disk is full"] }).to_string(),
    );
    let output = stub.run(&["install-check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains(
        "FAIL  status: degraded\n      disk is full\n      → see 'kubectl kube9 status'"
    ));
    stub.write("can-i", "no\n");
    let text = out(&stub.run(&["install-check"]));
    assert!(
        text.contains("FAIL  permission: may not create pods/exec in namespace kube9-system"),
        "{text}"
    );
    assert!(!text.contains("status"), "{text}");
    stub.pods("default", &[]);
    let text = out(&stub.run(&["install-check"]));
    assert!(
        text.ends_with("ask for a RoleBinding to the Role kube9-reader\n"),
        "{text}"
    );
    assert!(text.contains("FAIL  pod: no kube9 pod found"), "{text}");
}
