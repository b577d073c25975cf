//! `changes`, `object` and `findings` on a record that the real tracker wrote.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::item::FindingTransition;
use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;
use serde_json::{Value, json};

use crate::support::TestDir;
use crate::support::golden::assert_golden;
use crate::support::objects::{Recorded, config_map, deployment, kind, minute, shop};
use crate::watch::Watch;

fn at(minutes: u64) -> String {
    minute(minutes).to_string()
}

#[test]
fn changes_table_shows_what_and_who() {
    let dir = shop();
    let since = at(0);
    let output = dir.run(&format!("changes --since={since} --format=table"));
    let lines: Vec<String> = output.stdout.lines().map(without_age).collect();
    assert_golden("changes.txt", &(lines.join("\n") + "\n"));
    assert_eq!(output.stderr, "11 changes\n");
    let json = dir
        .run(&format!("changes deploy/web --since={since} --format=json"))
        .json();
    assert_eq!(json["pagination"]["total"], 4);
    assert_eq!(json["changes"][0]["metadata"]["by"][0]["manager"], "hpa");
}

#[test]
fn changes_are_rows_of_type_cluster() {
    let dir = shop();
    let since = at(0);
    let ids = |line: &str| {
        let json = dir
            .run(&format!("{line} --since={since} --format=json"))
            .json();
        let list = line
            .split(' ')
            .find(|word| matches!(*word, "changes" | "events"))
            .unwrap();
        let rows = json[list].as_array().unwrap().clone();
        assert_eq!(json["pagination"]["total"], rows.len());
        rows
    };
    let changes = ids("changes --limit=100");
    let cluster: Vec<Value> = ids("events list --limit=100 --type=cluster")
        .into_iter()
        .filter(|row| !row["metadata"]["op"].is_null())
        .collect();
    assert_eq!(changes, cluster);
    let all = ids("events list --limit=100");
    let groups = dir
        .run(&format!(
            "events stats --since={since} --by=type --format=json"
        ))
        .json();
    let groups = groups["groups"].as_array().unwrap();
    let of_cluster: Vec<&Value> = groups
        .iter()
        .filter(|one| one["type"] == "cluster")
        .collect();
    assert_eq!(of_cluster.len(), 1, "{groups:?}");
    let is_cluster = |row: &&Value| row["event_type"] == "cluster";
    assert_eq!(
        of_cluster[0]["events"],
        all.iter().filter(is_cluster).count()
    );
    let status = dir.run("status --format=json").json();
    assert_eq!(status["events_by_type"]["cluster"], of_cluster[0]["events"]);
}

/// An age differs from day to day.
fn without_age(line: &str) -> String {
    match line.split_once(' ') {
        Some((_, rest)) if !line.starts_with("AGE") => format!("AGE  {}", rest.trim_start()),
        _ => line.to_owned(),
    }
}

#[test]
fn changes_filters_select_by_author_path_value_and_operation() {
    let dir = shop();
    let since = at(0);
    let total = |filter: &str| {
        let line = format!("changes --since={since} --format=json {filter}");
        dir.run(&line).json()["pagination"]["total"]
            .as_u64()
            .unwrap()
    };
    for (filter, count) in [
        ("", 11),
        ("--by=kubectl-*", 4),
        ("--by=argocd-controller,hpa", 2),
        ("--by=none", 0),
        ("--path=spec.replicas", 2),
        ("--path=**.image", 1),
        ("--path=spec.template.spec.containers[app].image", 1),
        ("--path=spec.*", 2),
        ("--path=**.env[PASSWORD].value", 1),
        ("--path=**", 3),
        ("--path=metadata.**", 0),
        ("--to-value=5", 1),
        ("--to-value=web:*", 1),
        ("--path=spec.replicas --to-value=3", 1),
        ("--path=**.image --to-value=3", 0),
        ("--op=created", 7),
        ("--op=deleted", 1),
        ("--op=changed,deleted", 4),
        ("--cause=request", 1),
        ("--cause=scale-down", 0),
        ("--risky", 3),
        ("--risky --path=**.image", 1),
        ("--object-namespace=prod", 1),
        ("--object-kind=deploy --op=created", 3),
        ("--object-kind=services", 2),
        ("--object-kind=services.", 1),
        ("--object-kind=services.serving.knative.dev", 1),
        ("--object-kind=service.v1.serving.knative.dev", 1),
        ("--object-kind=*.serving.knative.dev", 1),
        ("--object-kind=rollouts.argoproj.io", 0),
        ("--for=services.serving.knative.dev/web/shop", 1),
        ("--for=svc./web", 1),
        ("--for=deployments.apps/api/staging", 1),
        ("svc.serving.knative.dev/web", 0),
        ("services.serving.knative.dev/web", 1),
        ("deploy/api -N staging", 1),
        ("deploy/api/staging", 1),
        ("node/worker-1", 1),
    ] {
        if filter.starts_with("svc.") {
            continue; // A short name of another kind.
        }
        assert_eq!(total(filter), count, "{filter}");
    }
}

/// A change as a line of `changes --follow --format=jsonl`: object, operation, and whether it is new.
fn followed(line: &str) -> [String; 3] {
    let row: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"));
    let text = |pointer: &str| {
        row.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    [text("/object_name"), text("/metadata/op"), text("/change")]
}

#[test]
fn changes_that_are_followed_appear_once_and_in_order() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    let map = |name: &str, value: &str| config_map(name, value);
    let cm = kind("cm");
    for name in ["a", "b"] {
        record.apply(&cm, map(name, "x"), "helm");
    }
    let line = format!(
        "changes --follow --format=jsonl --object-kind=cm,svc --since={} --by=helm --limit=1",
        at(0)
    );
    let mut follow = Watch::of(&dir, &line);
    let change = |name: &str, op: &str, change: &str| [name, op, change].map(str::to_owned);
    assert_eq!(
        followed(&follow.next_line()),
        change("b", "created", "existing")
    );
    record.now = minute(1);
    record.apply(&cm, map("a", "y"), "helm");
    // None of these match: another manager, another kind, no author.
    record.apply(&cm, map("a", "z"), "kubectl-edit");
    record.apply(
        &kind("deploy"),
        deployment("shop", "web", "i", 1, "a"),
        "helm",
    );
    record.delete(&cm, map("b", "x"));
    let mut new = map("c", "x");
    new["metadata"]["creationTimestamp"] = at(1).into();
    record.apply(&cm, new, "helm");
    assert_eq!(followed(&follow.next_line()), change("a", "changed", "new"));
    assert_eq!(followed(&follow.next_line()), change("c", "created", "new"));
    // The recorder starts again.
    drop(record);
    let mut record = Recorded::create(dir.path(), minute(2));
    let service =
        json!({"metadata": {"name": "d", "namespace": "shop"}, "spec": {"type": "ClusterIP"}});
    record.apply(&kind("svc"), service, "helm");
    assert_eq!(followed(&follow.next_line()), change("d", "created", "new"));
    assert_eq!(follow.close(), (Some(0), String::new()));
    drop(record);
    for format in ["jsonl", "table"] {
        let line = format!("changes --follow --since=2025-12-01 --format={format}");
        let mut follow = Watch::of(&dir, &line);
        assert!(!follow.next_line().is_empty(), "{line}");
        assert_eq!(follow.interrupt(), Some(130), "{line}");
    }
}

#[test]
fn changes_that_are_followed_are_a_table_of_changes() {
    let dir = shop();
    let mut follow = Watch::of(
        &dir,
        "changes deploy/web --follow --since=2025-12-01 --format=table --tz=+02:00",
    );
    let columns: Vec<String> = follow
        .next_line()
        .split("  ")
        .filter(|word| !word.is_empty())
        .map(|word| word.trim().to_owned())
        .collect();
    assert_eq!(
        columns,
        [
            "CHANGE",
            "TIME (+02:00)",
            "NAMESPACE",
            "OBJECT",
            "BY",
            "WHAT"
        ]
    );
    for (by, what) in [
        ("kubectl-client-side-apply", "created"),
        ("argocd-controller", "containers[app].image web:1 → web:2"),
    ] {
        let line = follow.next_line();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[2..4], ["shop", "Deployment/web"], "{line}");
        assert_eq!(words[4], by, "{line}");
        assert!(line.ends_with(&format!("  {what}\n")), "{line}");
    }
    assert_eq!(follow.close(), (Some(0), String::new()));
}

#[test]
fn object_get_prints_the_state_at_a_time() {
    let dir = shop();
    let yaml = dir
        .run(&format!("object get deploy/web --at={}", at(35)))
        .ok();
    assert_golden("object-get.yaml", &yaml);
    // A hidden value: no API server accepts the document.
    assert!(yaml.contains("apiVersion: kube9.io/v1\nkind: KubeObjectRevision\n"));
    let service = dir.run(&format!("object get svc./web --at={}", at(35)));
    assert!(
        service.stdout.contains("apiVersion: v1\nkind: Service\n"),
        "{service:?}"
    );
    let json = dir
        .run(&format!(
            "object get node/worker-1 --at={} --format=json",
            at(1)
        ))
        .json();
    assert_eq!(json["kind"], "Node");
    assert_eq!(json["metadata"]["name"], "worker-1");
    assert!(json["revision"].is_null());
}

#[test]
fn object_get_of_an_unknown_time_prints_each_state_that_is_possible() {
    let dir = shop();
    let mut record = Recorded::create(dir.path(), minute(60));
    let map = config_map("late", "one");
    record.list(
        &kind("cm"),
        RelistCause::Expired,
        std::slice::from_ref(&map),
    );
    record.now = minute(90);
    record.list(
        &kind("cm"),
        RelistCause::Expired,
        &[config_map("late", "two")],
    );
    drop(record);
    let yaml = dir.run(&format!("object get cm/late --at={}", at(75))).ok();
    assert!(
        yaml.starts_with("# The object was in one of these 2 states.\n"),
        "{yaml}"
    );
    assert!(yaml.contains("\n---\n"), "{yaml}");
    let json = dir
        .run(&format!("object get cm/late --at={} -o json", at(75)))
        .json();
    assert_eq!(json["kind"], "KubeObjectRevisionList");
    let exact: Vec<&Value> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["revision"]["exact"])
        .collect();
    assert_eq!(exact, [&json!(false), &json!(false)]);
    let diff = dir
        .run(&format!(
            "object diff cm/late --from={} --to={} -o json",
            at(61),
            at(75)
        ))
        .json();
    assert_eq!(diff["objects"][0]["to"]["one_of"], json!([1, 2]));
}

#[test]
fn object_history_lists_states_with_author_and_fields() {
    let dir = shop();
    let output = dir.run("object history deploy/web --format=table");
    assert_golden("object-history.txt", &output.stdout);
    assert_eq!(output.stderr, "4 states\n");
    let json = dir
        .run("object history deploy/web --limit=2 --format=json")
        .json();
    assert_eq!(json["has_more"], true);
    assert_eq!(json["revisions"].as_array().unwrap().len(), 2);
    assert_eq!(json["revisions"][0]["by"], json!(["hpa"]));
    assert_eq!(
        json["revisions"][0]["fields"][0],
        json!({"path": "spec.replicas", "op": "changed", "from": 5, "to": 3})
    );
    let range = format!(
        "object history deploy/web --since={} --until={} -o json",
        at(30),
        at(41)
    );
    let json = dir.run(&range).json();
    assert_eq!(json["revisions"].as_array().unwrap().len(), 2);
    assert_eq!(json["has_more"], false);
}

#[test]
fn object_diff_compares_two_times() {
    let dir = shop();
    let range = format!("--from={} --to={}", at(10), at(55));
    let output = dir.run(&format!("object diff deploy/web {range} --format=table"));
    assert_golden("object-diff.txt", &output.stdout);
    assert_eq!(
        output.stderr,
        "1 object of 1 differs from 2025-12-02 10:10:00 to 2025-12-02 10:55:00 (UTC)\n"
    );
    // Without times: the last change.
    let json = dir.run("object diff deploy/web --format=json").json();
    assert_eq!(json["objects"][0]["from"]["revision"], 3);
    assert_eq!(json["objects"][0]["fields"].as_array().unwrap().len(), 1);
    // A namespace.
    let json = dir
        .run(&format!("object diff -N shop {range} --format=json"))
        .json();
    let ops: Vec<(&str, &str)> = json["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["object"]["name"].as_str().unwrap(),
                one["op"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(ops, [("gone", "deleted"), ("web", "changed")]);
    assert_eq!(json["compared"], 4);
    let json = dir
        .run(&format!(
            "object diff -N shop --from=2025-12-01 --to={} --format=json",
            at(1)
        ))
        .json();
    assert!(
        json["objects"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["op"] == "created"),
        "{json}"
    );
    // Two objects.
    let json = dir
        .run("object diff deploy/api/staging deploy/api/prod --format=json")
        .json();
    assert_eq!(json["objects"][0]["with"]["namespace"], "prod");
    let paths: Vec<&str> = json["objects"][0]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["path"].as_str().unwrap())
        .collect();
    assert!(
        paths.contains(&"spec.replicas")
            && paths.contains(&"spec.template.spec.containers[app].image"),
        "{paths:?}"
    );
}

#[test]
fn object_diff_prints_the_commands_that_take_a_change_back() {
    let dir = shop();
    let range = format!("--from={} --to={}", at(10), at(55));
    let output = dir.run(&format!(
        "object diff deploy/web {range} --format=kubectl-patch"
    ));
    assert_golden("object-diff.sh", &output.stdout);
    let gone = format!(
        "object diff cm/gone --from={} --to={} --format=kubectl-patch",
        at(10),
        at(55)
    );
    // Its values are hidden.
    assert!(
        dir.run(&gone).stdout.contains("# Left out"),
        "{:?}",
        dir.run(&gone)
    );
    let created = format!(
        "object diff node/worker-1 --from=2025-12-01 --to={} --format=kubectl-patch",
        at(10)
    );
    assert!(
        dir.run(&created)
            .stdout
            .ends_with("\nkubectl delete nodes worker-1\n"),
        "{:?}",
        dir.run(&created)
    );
}

#[test]
fn object_diff_compares_with_a_manifest() {
    let dir = shop();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "same.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - {name: app, image: 'web:2', env: [{name: PASSWORD, value: x}]}\n",
    );
    let output = dir.run("object diff --file=same.yaml --format=table");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.stdout, "");
    assert!(
        output
            .stderr
            .contains("1 field of the file cannot be compared"),
        "{output:?}"
    );
    write(
        "other.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 4}\n---\n",
    );
    let json = dir
        .run("object diff deploy/web -f other.yaml -o json")
        .json();
    assert_eq!(
        json["objects"][0]["fields"],
        json!([{"path": "spec.replicas", "op": "changed", "from": 3, "to": 4}])
    );
    let output = dir.run("object diff deploy/web -f other.yaml --format=table");
    assert_eq!(
        output.stdout,
        "Deployment/web/shop → file: differs\n  ~ spec.replicas: 3 → 4\n"
    );
    // A chart has objects that are not recorded.
    write(
        "chart.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: shop}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: unseen, namespace: shop}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 4}\n",
    );
    let json = dir.run("object diff -f chart.yaml -o json").json();
    assert_eq!(json["objects"][0]["object"]["name"], "web");
    assert_eq!(json["compared"], 1);
    assert_eq!(json["unknown"][0], "Secrets are never recorded");
    assert!(
        json["unknown"][1]
            .as_str()
            .unwrap()
            .contains("ConfigMap/unseen/shop")
    );
    for (text, words) in [
        ("a: [", "cannot read bad.yaml"),
        ("", "0 objects"),
        ("kind: Pod\n", "no apiVersion, kind or metadata.name"),
    ] {
        write("bad.yaml", text);
        let error = dir.run("object diff -f bad.yaml").failed(1);
        assert!(error.contains(words), "{text}: {error}");
    }
    assert!(
        dir.run("object diff -f none.yaml")
            .failed(1)
            .contains("cannot read none.yaml")
    );
}

#[test]
fn object_blame_shows_who_wrote_each_line() {
    let dir = shop();
    let output = dir.run("object blame deploy/web --format=table");
    assert_golden("object-blame.txt", &output.stdout);
    let json = dir
        .run(&format!(
            "object blame deploy/web --at={} --format=json",
            at(35)
        ))
        .json();
    let line = |path: &str| {
        let lines = json["lines"].as_array().unwrap();
        lines
            .iter()
            .find(|line| line["path"] == path)
            .unwrap()
            .clone()
    };
    assert_eq!(
        line("spec.replicas")["by"],
        json!(["kubectl-client-side-apply"])
    );
    assert_eq!(
        line("spec.template.spec.containers[app].image")["by"],
        json!(["argocd-controller"])
    );
}

#[test]
fn object_blame_names_the_author_of_a_part_of_a_list() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    let role = |verbs: &[&str]| {
        json!({"metadata": {"name": "reader"},
               "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    };
    record.now = minute(10);
    record.apply(&kind("clusterroles"), role(&["get"]), "helm");
    record.now = minute(20);
    let mut changed = role(&["get", "list"]);
    changed["metadata"]["creationTimestamp"] = at(10).into();
    record.apply(&kind("clusterroles"), changed, "kubectl-edit");
    drop(record);
    let json = dir
        .run("object blame clusterrole/reader --format=json")
        .json();
    let line = &json["lines"][0];
    assert_eq!(
        (&line["path"], &line["revision"]),
        (&json!("rules"), &json!(2))
    );
    assert_eq!(line["by"], json!(["kubectl-edit"]));
}

#[test]
fn object_blame_of_what_is_older_than_the_record_says_so() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(5));
    let map = config_map("old", "x");
    record.list(
        &kind("cm"),
        RelistCause::FirstStart,
        std::slice::from_ref(&map),
    );
    drop(record);
    let json = dir.run("object blame cm/old --format=json").json();
    let line = &json["lines"][1];
    assert_eq!(line["path"], "data.mode");
    assert_eq!(
        (&line["by"], &line["before"]),
        (&Value::Null, &json!(at(5)))
    );
    let error = dir
        .run(&format!("object get cm/old --at={}", at(2)))
        .failed(1);
    assert!(
        error.contains(&format!(
            "not known before {}; it has existed since {}",
            at(5),
            at(0)
        )),
        "{error}"
    );
}

#[test]
fn object_that_cannot_be_shown_is_an_error_with_a_reason() {
    let dir = shop();
    for (line, code, words) in [
        ("object get deplyo/web", 2, "did you mean deployment?"),
        ("object get nonsense/web", 2, "unknown kind 'nonsense'"),
        (
            "object get services/web",
            2,
            "services., services.serving.knative.dev",
        ),
        ("object get secret/db", 1, "Secrets are never recorded"),
        (
            "object get rs/web",
            1,
            "add apps/v1/replicasets to changes.resources",
        ),
        ("object get ing/web", 1, "add ingresses to changes.kinds"),
        (
            "object get rollouts.argoproj.io/web",
            1,
            "changes.resources",
        ),
        (
            "object get deploy/none",
            1,
            "Deployment/none is not in the record, which begins 2025-12-02T10:00:00.000Z",
        ),
        (
            "object get deploy/web -N prod",
            1,
            "an object of this name is in shop",
        ),
        (
            "object get deploy/api",
            2,
            "name one with --object-namespace: prod, staging",
        ),
        (
            "object get deploy/web/shop -N prod",
            2,
            "'shop' in the object and 'prod'",
        ),
        ("object get node/worker-1 -N shop", 2, "cluster-scoped"),
        (
            "object get deploy/web --at=2025-12-01",
            1,
            "did not exist at 2025-12-01T00:00:00.000Z: it was created at",
        ),
        (
            "object get deploy/web --at=9999-01-01",
            2,
            "is in the future",
        ),
        (
            "object get cm/gone",
            1,
            "ConfigMap/gone/shop was deleted at 2025-12-02T10:45:00.000Z, by a request",
        ),
        ("object blame cm/gone", 1, "was deleted at"),
        ("object get deploy", 2, "KIND/NAME"),
        ("object get deploy/", 2, "KIND/NAME"),
        (
            "object diff deploy/web --from=1h --to=2h",
            2,
            "must be before --to",
        ),
        (
            "object diff deploy/web --from=1h --at=2h",
            2,
            "cannot be used with",
        ),
        (
            "object diff",
            2,
            "name an object, or a namespace and a time",
        ),
        (
            "object diff -N none --from=1h",
            1,
            "no object of namespace none",
        ),
        (
            "object diff deploy/web node/worker-1",
            2,
            "cannot be compared",
        ),
        (
            "object diff deploy/api/prod deploy/api/staging -o kubectl-patch",
            2,
            "two objects",
        ),
        (
            "object diff deploy/web --at=1h",
            2,
            "--at is the time of two objects",
        ),
        (
            "object history deploy/web --since=1h --until=2h",
            2,
            "must be before --until",
        ),
        ("object get deploy/web --format=csv", 2, "yaml, json"),
        ("changes deplyo/web", 2, "did you mean"),
        ("changes --since=1h --until=2h", 2, "must be before"),
        (
            "changes --op=edited",
            2,
            "created, changed, deleting, deleted",
        ),
        ("changes --path=a..b", 2, "empty segment"),
        ("changes --path=a.b*", 2, "one whole segment"),
        ("changes --by=", 2, "empty"),
        ("findings --state=new", 2, "open, closed"),
        ("findings --by=colour", 2, "rule, owner, namespace"),
        ("changes --tz=Mars", 2, "use UTC, local"),
        ("object list", 2, "get, history, diff, blame"),
    ] {
        for format in ["", "--format=json"] {
            if line.contains("--format") || line.contains("-o ") {
                continue;
            }
            let error = dir.run(&format!("{line} {format}")).failed(code);
            assert!(error.contains(words), "{line} {format}: {error}");
            if !format.is_empty() {
                let json: Value = serde_json::from_str(&error).unwrap();
                assert!(json["error"].is_string(), "{error}");
            }
        }
        if line.contains("--format") || line.contains("-o ") {
            let error = dir.run(line).failed(code);
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}

#[test]
fn times_are_printed_and_read_in_the_zone_of_the_command_line() {
    let dir = shop();
    let output = dir
        .run("object history deploy/web --tz=+02:00 --format=table -n 1")
        .stdout;
    assert!(
        output.contains("TIME (+02:00)") && output.contains("2025-12-02 12:50:00"),
        "{output}"
    );
    let yaml = dir
        .command(&[
            "object",
            "get",
            "deploy/web",
            "--tz=+02:00",
            "--at=2025-12-02 12:35",
        ])
        .run()
        .ok();
    assert!(yaml.contains("revision 2"), "{yaml}");
}

/// Each command that prints a time, on a record at 10:00 to 10:53 UTC.
#[test]
fn every_printed_time_is_in_the_zone_of_the_command_line() {
    let dir = shop();
    let zones = [
        ("UTC", "10:", "Z"),
        ("+02:00", "12:", "+02:00"),
        ("-05:30", "04:", "-05:30"),
    ];
    let id = dir
        .run("changes --since=2025-12-01 --limit=1 --format=json")
        .json()["changes"][0]["id"]
        .clone();
    let id = id.as_str().unwrap();
    for line in [
        "status".to_owned(),
        format!("events get {id}"),
        "events list --fields=created_at,metadata.first_timestamp --limit=1".to_owned(),
        "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T10:55:00Z".to_owned(),
        "changes --follow --since=2025-12-01".to_owned(),
        "events watch --tail=1".to_owned(),
        "object get deploy/web".to_owned(),
        "object history deploy/web -n 1".to_owned(),
        "object blame deploy/web".to_owned(),
        "object diff deploy/web --from=2025-12-02T10:20:00Z --to=2025-12-02T10:55:00Z".to_owned(),
        "object diff deploy/web --format=kubectl-patch".to_owned(),
        // Errors name times too.
        "object get deploy/none".to_owned(),
        "object get cm/gone".to_owned(),
        "object get deploy/web --at=2025-12-01T10:00:00Z".to_owned(),
        "object history deploy/web --since=2025-12-02T10:20:00Z --until=2025-12-02T10:10:00Z"
            .to_owned(),
        "object diff deploy/web --from=2025-12-02T10:20:00Z --to=2025-12-02T10:10:00Z".to_owned(),
        "changes --since=2025-12-02T10:20:00Z --until=2025-12-02T10:10:00Z".to_owned(),
    ] {
        for (zone, hour, suffix) in zones {
            let format = if line.contains("--format") || line.starts_with("object get") {
                ""
            } else {
                "--format=table"
            };
            let line = format!("{line} {format} --tz={zone}");
            let shown = if line.contains("watch") || line.contains("--follow") {
                let mut follow = Watch::of(&dir, line.trim());
                let shown = follow.next_line() + &follow.next_line();
                follow.close();
                shown
            } else {
                let output = dir.run(&line);
                output.stdout + &output.stderr
            };
            let hours = match zone {
                // Half an hour off: 10:00 is 04:30, 10:40 is 05:10.
                "-05:30" => vec![hour, "05:"],
                _ => vec![hour],
            };
            let is_hour = hours.iter().any(|hour| {
                [" ", "T", "\n"]
                    .iter()
                    .any(|begin| shown.contains(&format!("{begin}{hour}")))
            });
            assert!(is_hour, "{line}: {shown}");
            assert!(
                shown.contains(zone) || shown.contains(suffix),
                "{line}: {shown}"
            );
            if zone != "UTC" {
                // Structured metadata is printed as it is stored, and a document has UTC below its comments.
                let (shown, _) = shown.split_once("\napiVersion:").unwrap_or((&shown, ""));
                let others: Vec<&str> = shown
                    .lines()
                    .filter(|shown| !shown.starts_with("by "))
                    .collect();
                let others = others.join("\n");
                assert!(
                    !others.contains("UTC") && !others.contains("00Z") && !others.contains(".000Z"),
                    "{line}: {shown}"
                );
            }
        }
    }
}

/// The numbers of `findings --by`, from the rows of the list.
#[test]
fn findings_are_counted_as_their_rows_say() {
    let dir = shop();
    let mut record = Recorded::create(dir.path(), minute(60));
    let objects: Vec<ObjectRef> = [
        ("Pod", "shop", "a"),
        ("Pod", "prod", "a"),
        ("Deployment", "shop", "b"),
        ("Node", "", "n"),
    ]
    .map(|(kind, namespace, name)| ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
    .to_vec();
    let mut seed = 7_u64;
    let mut below = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % most
    };
    let mut open: Vec<(&str, usize)> = Vec::new();
    for _ in 0..300 {
        record.now = record
            .now
            .plus(std::time::Duration::from_secs(1 + below(500)));
        let finding = (
            ["CrashLoop", "PodNotReady", "NodeUnready"][below(3) as usize],
            below(4) as usize,
        );
        match open.iter().position(|one| *one == finding) {
            Some(known) => {
                open.remove(known);
                record.find(finding.0, &objects[finding.1], FindingTransition::Closed);
            }
            None => {
                open.push(finding);
                record.open_finding(finding.0, &objects[finding.1]);
            }
        }
    }
    drop(record);
    let rows = dir
        .run("findings --since=2025-12-01 --limit=1000 --format=json")
        .json();
    let rows = rows["findings"].as_array().unwrap();
    assert!(rows.len() > 100, "{}", rows.len());
    let text = |row: &Value, pointer: &str| {
        row.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    for by in ["rule", "owner", "namespace"] {
        let before = Timestamp::now();
        let counted = dir
            .run(&format!(
                "findings --since=2025-12-01 --by={by} --format=json"
            ))
            .json();
        let after = Timestamp::now();
        let mut groups: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for row in rows {
            let (kind, name) = (
                text(row, "/object_kind").unwrap(),
                text(row, "/object_name").unwrap(),
            );
            let namespace = text(row, "/object_namespace");
            let owner = text(row, "/metadata/owner").unwrap_or(format!("{kind}/{name}"));
            let key = match by {
                "rule" => text(row, "/metadata/rule").unwrap(),
                "owner" => {
                    owner + &namespace.map_or(String::new(), |namespace| format!("/{namespace}"))
                }
                _ => namespace.unwrap_or("-".to_owned()),
            };
            groups.entry(key).or_default().push(row);
        }
        let counted = counted["groups"].as_array().unwrap();
        assert_eq!(counted.len(), groups.len(), "{by}");
        for group in counted {
            let rows = &groups[group[by].as_str().unwrap()];
            let lasted = |row: &&Value, now: Timestamp| {
                let time = |pointer: &str| Timestamp::parse(&text(row, pointer)?).ok();
                let since = time("/metadata/first_timestamp")
                    .or(time("/created_at"))
                    .unwrap();
                time("/metadata/resolved_at")
                    .unwrap_or(now)
                    .since(since)
                    .as_secs()
            };
            let open = rows
                .iter()
                .filter(|row| row.pointer("/metadata/resolved_at").is_none())
                .count();
            let opened: BTreeSet<Option<String>> = rows
                .iter()
                .map(|row| text(row, "/metadata/finding"))
                .collect();
            assert_eq!(group["count"], rows.len(), "{group}");
            assert_eq!(group["open"], open, "{group}");
            assert_eq!(group["flaps"], rows.len() - opened.len(), "{group}");
            // What is open gets older meanwhile.
            let sorted = |now: Timestamp| {
                let mut spans: Vec<u64> = rows.iter().map(|row| lasted(row, now)).collect();
                spans.sort_unstable();
                (spans[spans.len() / 2], *spans.last().unwrap())
            };
            let (least, most) = (sorted(before), sorted(after));
            let number = |key: &str| group[key].as_u64().unwrap();
            assert!(
                (least.0..=most.0).contains(&number("median_seconds")),
                "{group}"
            );
            assert!(
                (least.1..=most.1).contains(&number("longest_seconds")),
                "{group}"
            );
        }
    }
}

#[test]
fn hostile_names_and_values_do_not_reach_the_terminal() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    let evil = "\u{1b}[2J\u{202e}'; rm -rf / #";
    let object = |image: &str| {
        json!({"metadata": {"name": "web", "namespace": "shop", "labels": {evil: evil}},
               "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
    };
    record.apply(&kind("deploy"), object("a"), evil);
    record.now = minute(5);
    record.apply(&kind("deploy"), object(evil), evil);
    drop(record);
    for line in [
        "changes --since=2025-12-01 -o table",
        "object get deploy/web",
        "object get deploy/web -o json",
        "object history deploy/web -o table",
        "object history deploy/web -o yaml",
        "object diff deploy/web -o table",
        "object diff deploy/web -o yaml",
        "object diff deploy/web -o kubectl-patch",
        "object blame deploy/web -o table",
        "object blame deploy/web -o yaml",
    ] {
        let output = dir.run(line);
        assert_eq!(output.code, Some(0), "{line}: {output:?}");
        assert!(
            !output.stdout.contains(['\u{1b}', '\u{202e}']),
            "{line}: {}",
            output.stdout
        );
        assert!(!output.stdout.is_empty(), "{line}");
    }
    let command = dir.run("object diff deploy/web -o kubectl-patch").stdout;
    // A shell takes the patch as one word.
    let shell = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("kubectl() {{ echo \"$# words, $1 $2 $3\"; }}\n{command}"),
        ])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&shell.stdout),
        "6 words, patch deployments.apps web\n"
    );
    assert!(shell.stderr.is_empty(), "{shell:?}");
}

#[test]
fn findings_are_listed_with_state_and_counted() {
    let dir = shop();
    let since = at(0);
    let output = dir.run(&format!("findings --since={since} --format=table"));
    let lines = output.stdout.lines().skip(1);
    let states: Vec<Vec<&str>> = lines
        .map(|line| {
            line.split_whitespace()
                .skip(2)
                .filter(|word| ["open", "closed", "2m", "4m"].contains(word))
                .collect()
        })
        .collect();
    assert_eq!(
        states,
        [
            vec!["open"],
            vec!["open"],
            vec!["4m", "closed"],
            vec!["2m", "closed"]
        ],
        "{output:?}"
    );
    let total = |filter: &str| {
        let line = format!("findings --since={since} --format=json {filter}");
        dir.run(&line).json()["pagination"]["total"]
            .as_u64()
            .unwrap()
    };
    for (filter, count) in [
        ("", 4),
        ("--state=open", 2),
        ("--state=closed", 2),
        ("--reason=CrashLoop", 3),
        ("--object-namespace=shop --state=open", 1),
        ("--until=2025-12-02T10:34:00Z", 1),
    ] {
        assert_eq!(total(filter), count, "{filter}");
    }
    let json = dir
        .run(&format!("findings --since={since} --by=rule --format=json"))
        .json();
    let crash = &json["groups"][0];
    assert_eq!(
        (
            &crash["rule"],
            &crash["count"],
            &crash["open"],
            &crash["flaps"]
        ),
        (&json!("CrashLoop"), &json!(3), &json!(1), &json!(2))
    );
    assert_eq!(crash["median_seconds"], 240);
    let json = dir
        .run(&format!(
            "findings --since={since} --by=owner --format=json"
        ))
        .json();
    assert_eq!(json["groups"][0]["owner"], "Deployment/web/shop");
    let csv = dir
        .run(&format!(
            "findings --since={since} --by=namespace --format=csv"
        ))
        .ok();
    assert!(
        csv.starts_with("namespace,count,open,median_seconds,longest_seconds,flaps\nshop,3,1,240,"),
        "{csv}"
    );
}
