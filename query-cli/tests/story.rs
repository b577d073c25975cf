//! `story`: what happened to a workload.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use kube9_ingest::item::FindingTransition;
use kube9_model::ObjectRef;
use kube9_model::watch::RelistCause;
use serde_json::{Value, json};

use crate::support::TestDir;
use crate::support::objects::{Recorded, deployment, kind, minute, shop};

fn story(dir: &TestDir, words: &str) -> Value {
    dir.run(&format!("story {words} --format=json")).json()
}

fn at(minutes: u64) -> String {
    minute(minutes).to_string()
}

fn texts<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one[key].as_str().unwrap()).collect()
}

/// A failure from minute 31 to 33.
fn failing(record: &mut Recorded, pod: &str) {
    let pod = ObjectRef {
        kind: "Pod".to_owned(),
        namespace: "shop".to_owned(),
        name: pod.to_owned(),
    };
    record.now = minute(31);
    record.open_finding("CrashLoop", &pod);
    record.now = minute(33);
    record.find("CrashLoop", &pod, FindingTransition::Closed);
}

/// A Deployment with a template that refers to a ConfigMap.
fn web(image: &str, replicas: u64) -> Value {
    let mut web = deployment("shop", "web", image, replicas, "a");
    web["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    let created = minute(0).minus(std::time::Duration::from_secs(7200));
    web["metadata"]["creationTimestamp"] = created.to_string().into();
    web["spec"]["template"]["metadata"] = json!({"labels": {"app": "web"}});
    web
}

fn settings(mode: &str) -> Value {
    json!({"metadata": {"name": "settings", "namespace": "shop"}, "data": {"mode": mode}})
}

#[test]
fn last_failure_has_the_change_before_it_as_first_suspect() {
    let story = story(&shop(), "deploy/web --until=2025-12-02T10:40:00Z");
    assert_eq!(story["object"], "Deployment/web/shop");
    assert_eq!(story["failure"]["onset"], at(31));
    assert_eq!(story["failure"]["over"], at(39));
    assert_eq!(story["failure"]["findings"], json!(["CrashLoop"]));
    assert_eq!(
        story["since"],
        minute(31)
            .minus(std::time::Duration::from_secs(3600))
            .to_string()
    );
    let first = &story["suspects"][0];
    assert_eq!(
        (&first["at"], &first["by"]),
        (&json!(at(30)), &json!("argocd-controller"))
    );
    assert_eq!(first["what"], "containers[app].image web:1 → web:2");
    let reasons = first["reasons"].as_array().unwrap();
    assert!(
        reasons.contains(&json!("of the workload itself")),
        "{reasons:?}"
    );
    assert!(
        reasons.contains(&json!("60s before the failure")),
        "{reasons:?}"
    );
    let text = story.to_string();
    assert!(!text.contains("root cause"));
}

#[test]
fn change_of_what_the_template_refers_to_is_a_suspect_and_its_revert_a_reason() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    record.now = minute(0).minus(std::time::Duration::from_secs(7200));
    record.apply(&kind("cm"), settings("a"), "helm");
    record.apply(
        &kind("cm"),
        json!({"metadata": {"name": "other", "namespace": "shop"}, "data": {"x": "1"}}),
        "helm",
    );
    record.apply(&kind("deploy"), web("web:1", 2), "helm");
    record.now = minute(29);
    record.apply(&kind("deploy"), web("web:1", 3), "hpa");
    record.apply(
        &kind("cm"),
        json!({"metadata": {"name": "other", "namespace": "shop"}, "data": {"x": "2"}}),
        "helm",
    );
    record.now = minute(30);
    record.apply(&kind("cm"), settings("b"), "kubectl-edit");
    failing(&mut record, "web-5d9-abcde");
    drop(record);
    let mut record = Recorded::create(dir.path(), minute(40));
    record.apply(&kind("cm"), settings("b"), "kubectl-edit");
    drop(record);
    let found = story(&dir, "deploy/web");
    // Neither the number of replicas nor a ConfigMap that nothing refers to.
    assert_eq!(
        texts(&found["suspects"], "object"),
        ["ConfigMap/settings/shop"]
    );
    assert_eq!(found["suspects"][0]["by"], "kubectl-edit");
    assert_eq!(found["suspects_note"], Value::Null);
    let phases = texts(&found["lines"], "phase");
    assert_eq!(
        phases.iter().filter(|phase| **phase == "over").count(),
        1,
        "{phases:?}"
    );
}

#[test]
fn change_that_is_taken_back_before_the_end_weighs_more() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    record.now = minute(0).minus(std::time::Duration::from_secs(7200));
    record.apply(&kind("deploy"), web("web:1", 2), "helm");
    record.now = minute(30);
    record.apply(&kind("deploy"), web("web:2", 2), "kubectl-set");
    let pod = ObjectRef {
        kind: "Pod".to_owned(),
        namespace: "shop".to_owned(),
        name: "web-7c9d8-abcde".to_owned(),
    };
    record.now = minute(31);
    record.open_finding("CrashLoop", &pod);
    record.now = minute(32);
    record.apply(&kind("deploy"), web("web:1", 2), "kubectl-rollout");
    record.now = minute(33);
    record.find("CrashLoop", &pod, FindingTransition::Closed);
    drop(record);
    let found = story(&dir, "deploy/web");
    let first = &found["suspects"][0];
    assert_eq!(first["by"], "kubectl-set");
    let reasons = first["reasons"].to_string();
    assert!(
        reasons.contains(&format!(
            "taken back at {}, 60s before the end of the failure",
            at(32)
        )),
        "{reasons}"
    );
    assert!(
        reasons.contains("only pods of the new template fail"),
        "{reasons}"
    );
}

#[test]
fn new_limit_weighs_more_than_the_creation_of_the_workload() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(29));
    let mut young = web("web:1", 2);
    young["metadata"]["creationTimestamp"] = minute(29).to_string().into();
    record.apply(&kind("deploy"), young, "helm");
    record.apply(
        &kind("no"),
        json!({"metadata": {"name": "worker-1"}, "spec": {}}),
        "kubelet",
    );
    record.now = minute(30);
    record.apply(
        &kind("quota"),
        json!({"metadata": {"name": "few", "namespace": "shop", "creationTimestamp": minute(30).to_string()},
               "spec": {"hard": {"pods": "2"}}}),
        "kubectl-create",
    );
    failing(&mut record, "web-5d9-abcde");
    drop(record);
    let found = story(&dir, "deploy/web");
    assert_eq!(
        texts(&found["suspects"], "object"),
        ["ResourceQuota/few/shop", "Deployment/web/shop"]
    );
}

#[test]
fn failure_without_a_change_has_no_suspect() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    record.now = minute(0).minus(std::time::Duration::from_secs(7200));
    record.apply(&kind("deploy"), web("web:1", 2), "helm");
    failing(&mut record, "web-5d9-abcde");
    drop(record);
    let found = story(&dir, "deploy/web");
    assert_eq!(found["failure"]["onset"], at(31));
    assert_eq!(found["suspects"], json!([]));
    assert_eq!(
        found["suspects_note"],
        "no change of the workload or what it depends on is recorded in the 60m before the failure"
    );
}

#[test]
fn gap_before_the_failure_names_no_suspect() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    record.now = minute(0).minus(std::time::Duration::from_secs(7200));
    record.relist(&kind("deploy"), RelistCause::FirstStart, &[web("web:1", 2)]);
    record.confirm(&kind("deploy"));
    record.now = minute(32);
    record.relist(&kind("deploy"), RelistCause::Expired, &[web("web:2", 2)]);
    failing(&mut record, "web-5d9-abcde");
    drop(record);
    let found = story(&dir, "deploy/web");
    assert_eq!(found["suspects"], json!([]), "{found:#}");
    let note = found["suspects_note"].as_str().unwrap();
    assert!(
        note.starts_with("changes before the failure are not recorded"),
        "{note}"
    );
    assert!(texts(&found["lines"], "phase").contains(&"gap"));
}

#[test]
fn record_that_begins_shortly_before_says_so() {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(20));
    let mut web = web("web:1", 2);
    web["metadata"]["creationTimestamp"] = minute(20).to_string().into();
    record.apply(&kind("deploy"), web, "helm");
    failing(&mut record, "web-5d9-abcde");
    drop(record);
    let found = story(&dir, "deploy/web");
    let note = found["suspects_note"].as_str().unwrap();
    assert_eq!(
        note,
        format!(
            "changes may be missing: not everything was observed before {}, when the record begins",
            at(20)
        )
    );
}

#[test]
fn story_without_a_failure_is_of_the_last_day() {
    let found = story(&shop(), "deploy/api/prod");
    assert_eq!(found["failure"], Value::Null);
    assert_eq!(found["suspects"], json!([]));
    let text = shop().run("story deploy/api/prod --format=table").ok();
    assert!(
        text.contains("FAILURE     none is recorded in this range"),
        "{text}"
    );
}

#[test]
fn story_of_an_object_that_cannot_be_told_is_an_error() {
    let dir = shop();
    for (line, code, words) in [
        ("story deploy/none", 1, "is not in the record"),
        (
            "story deploy/api",
            2,
            "name one with --object-namespace: prod, staging",
        ),
        (
            "story rs/web",
            1,
            "add apps/v1/replicasets to changes.resources",
        ),
        ("story deplyo/web", 2, "did you mean deployment?"),
        ("story deploy/web --since=1h --until=2h", 2, "--since"),
        (
            "story deploy/web --format=csv",
            2,
            "valid values: json, yaml, table, md",
        ),
        ("story", 2, "KIND/NAME"),
    ] {
        let error = dir.run(line).failed(code);
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn markdown_and_table_have_the_same_facts() {
    let dir = shop();
    let words = "story deploy/web --until=2025-12-02T10:40:00Z";
    let table = dir.run(&format!("{words} --format=table")).ok();
    let markdown = dir.run(&format!("{words} --format=md")).ok();
    for fact in [
        "FAILURE     from 2025-12-02T10:31:00.000Z to 2025-12-02T10:39:00.000Z, 8m, 1 pod",
        "SUSPECT     1. 2025-12-02T10:30:00.000Z",
    ] {
        assert!(table.contains(fact), "{fact}\n{table}");
    }
    assert!(
        markdown.starts_with("# Deployment/web/shop\n"),
        "{markdown}"
    );
    assert!(
        markdown
            .contains("- **failure** from 2025-12-02T10:31:00.000Z to 2025-12-02T10:39:00.000Z"),
        "{markdown}"
    );
    assert!(markdown.contains("| change | Deployment/web | containers\\[app\\].image web:1 → web:2 | argocd-controller |"), "{markdown}");
}
