use std::time::Duration;

use kube9_ingest::informer_event::InformerEvent;
use kube9_ingest::item::{FindingTransition, Item};
use kube9_model::commit_stats::{CommitDelta, FieldWrite};
use kube9_model::record::Record;
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, SourceMarker};

use super::harness::{KINDS, TestHarness, decoded, start, watch};
use super::prelude::*;
use crate::config::AnalysisConfig;
use crate::state::RestoredState;
use crate::subject::key;

/// What a database that committed everything would give back.
#[derive(Default)]
struct Stored {
    facts: std::collections::BTreeMap<(i64, String), String>,
    findings: std::collections::BTreeMap<String, String>,
}

impl Stored {
    fn commit(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Change(change) => {
                    let key = (change.watch.0, change.name.to_string());
                    match &change.snapshot {
                        Some(facts) => self.facts.insert(key, facts.to_string()),
                        None => self.facts.remove(&key),
                    };
                }
                Item::Finding(finding) => {
                    match &finding.transition {
                        FindingTransition::Opened { state, .. } => {
                            let before = self
                                .findings
                                .insert(finding.fingerprint.to_string(), state.to_string());
                            assert!(before.is_none(), "{} opened twice", finding.fingerprint);
                        }
                        FindingTransition::Updated => {}
                        FindingTransition::Closed => {
                            let before = self.findings.remove(finding.fingerprint.as_str());
                            assert!(
                                before.is_some(),
                                "{} closed, but not open",
                                finding.fingerprint
                            );
                        }
                    };
                }
                _ => {}
            }
        }
    }

    fn start(&self, now: Timestamp) -> TestHarness {
        let findings = self
            .findings
            .iter()
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect();
        let before = RestoredState {
            at: now,
            findings,
            ..RestoredState::default()
        };
        let mut harness = TestHarness::started(AnalysisConfig::default(), before, |kind| {
            let of_kind = self.facts.iter().filter(|((w, _), _)| *w == watch(kind).0);
            StoredObjects {
                snapshots: of_kind
                    .map(|((_, name), facts)| (name.clone(), facts.clone()))
                    .collect(),
                confirmed_at: Some(start()),
                ..StoredObjects::default()
            }
        });
        harness.now = now;
        harness
    }
}

fn oom(name: &str) -> Value {
    pod_with(
        name,
        1,
        waiting("CrashLoopBackOff"),
        terminated("OOMKilled", 137, 0, 1),
    )
}

/// Objects with a secret in every text that the API server takes as it is.
fn with_secrets() -> Vec<(Kind, Value)> {
    let image = "https://robot:hunter2hunter2@registry.example/web:1";
    vec![
        (
            Kind::Node,
            node(
                "w1",
                json!({
                    "spec": {"taints": [{"key": "team", "value": "password=hunter2hunter2", "effect": "NoSchedule"}]},
                    "status": {"nodeInfo": {"kubeletVersion": "v1.30.0 token=hunter2hunter2"}},
                }),
            ),
        ),
        (Kind::Node, node("w2", json!({}))),
        (
            Kind::Deployment,
            deployment(
                json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}),
            ),
        ),
        (
            Kind::Service,
            service(json!({"spec": {
                "selector": {"password": "hunter2hunter2"},
                "ports": [{"name": "password=hunter2hunter2", "port": 80, "targetPort": "token=hunter2hunter2"}],
            }})),
        ),
        (
            Kind::ConfigMap,
            config_map(json!({"data": {"password=hunter2hunter2": "x"}})),
        ),
        (Kind::Pod, pulling("web-1", "w1", image)),
        (Kind::Pod, pulling("web-2", "w2", image)),
        (Kind::Pod, pod("sk-password=hunter2hunter2", json!({}))),
    ]
}

#[test]
fn snapshots_and_findings_contain_no_secrets() {
    let mut stored = Stored::default();
    let mut harness = TestHarness::new();
    for (kind, object) in with_secrets() {
        harness.apply(kind, &object);
    }
    harness.wait(3600);
    let items = harness.take();
    stored.commit(&items);
    let kept = format!("{:?} {:?} {items:?}", stored.facts, stored.findings);
    assert!(!kept.contains("hunter2"), "{kept}");
    assert!(stored.facts.len() >= 4, "{:?}", stored.facts);
    let about_image = stored
        .findings
        .keys()
        .any(|found| found.starts_with("ImageFailsOnSeveralNodes/"));
    assert!(about_image, "{:?}", stored.findings);

    // After a restart, the same objects are not a change, and open findings stay open.
    let mut harness = stored.start(harness.now.plus(Duration::from_secs(60)));
    for kind in KINDS {
        let of_kind = with_secrets().into_iter().filter(|(of, _)| *of == kind);
        let objects: Vec<Value> = of_kind.map(|(_, object)| object).collect();
        harness.list_for(kind, &objects, RelistCause::Interrupted);
    }
    harness.wait(60);
    assert_eq!(harness.changes(), []);
    let items = harness.take();
    let steps = items
        .iter()
        .filter(|item| matches!(item, Item::Finding(found) if found.transition != FindingTransition::Updated));
    assert_eq!(steps.count(), 0, "{items:?}");
}

/// Shows that everything was seen by now; returns the position that is noted.
fn confirm(harness: &mut TestHarness, version: &str) -> Option<Timestamp> {
    let (at, version, is_last) = (harness.now, version.to_owned(), false);
    harness.send(
        Kind::Deployment,
        InformerEvent::Bookmark {
            version,
            at,
            is_last,
        },
    );
    harness.take().into_iter().find_map(|item| match item {
        Item::Marker {
            marker: SourceMarker::Confirmed { at, .. },
            ..
        } => Some(at),
        _ => None,
    })
}

fn rolled_out(harness: &mut TestHarness) -> Record {
    let rolling = json!({"status": {"conditions": [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}});
    harness.apply(Kind::Deployment, &deployment(rolling));
    harness.apply(Kind::Deployment, &deployment(json!({})));
    harness.changes().remove(0)
}

#[test]
fn change_in_backlog_is_observed_late() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Deployment, &deployment(json!({})));
    confirm(&mut harness, "9");
    let since = harness.now;
    // The network was away, and the position is still good: no list.
    let (why, forbidden) = ("cut".to_owned(), false);
    harness.send(
        Kind::Deployment,
        InformerEvent::Disconnected {
            message: why,
            forbidden,
        },
    );
    harness.wait(240);
    harness.send(Kind::Deployment, InformerEvent::Connected);
    harness.send(Kind::Deployment, InformerEvent::Behind(true));
    harness.wait(30);
    let row = rolled_out(&mut harness);
    assert_eq!(row.extra["observed_late"], true);
    assert_eq!(
        row.extra["between"],
        json!([since.to_string(), harness.now.to_string()])
    );
    harness.send(Kind::Deployment, InformerEvent::Behind(false));
    assert!(!rolled_out(&mut harness).extra.contains_key("observed_late"));
}

#[test]
fn clock_set_back_keeps_intervals_valid_and_the_position_moving() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Deployment, &deployment(json!({})));
    let right = harness.now;
    harness.now = right.plus(Duration::from_secs(7_200));
    assert!(confirm(&mut harness, "9").is_some());
    harness.now = right.plus(Duration::from_secs(10));
    assert_eq!(confirm(&mut harness, "9"), Some(harness.now));
    harness.send(Kind::Deployment, InformerEvent::Behind(true));
    let row = rolled_out(&mut harness);
    let now = harness.now.to_string();
    assert_eq!(row.extra["between"], json!([now, now]));
}

#[test]
fn list_at_stored_position_does_not_move_the_position() {
    let mut harness = TestHarness::new();
    harness.wait(60);
    harness.take();
    // There was no `Blind`: the analysis itself asked for the list, and the watch has been open for long.
    harness.list_for(
        Kind::Deployment,
        &[deployment(json!({}))],
        RelistCause::Resumed,
    );
    let marks = harness.take();
    let is_synced = |item: &Item| {
        matches!(
            item,
            Item::Marker {
                marker: SourceMarker::Synced { .. },
                ..
            }
        )
    };
    assert!(!marks.iter().any(is_synced), "{marks:?}");
}

#[test]
fn restart_repeats_no_rows_and_reports_missed_changes() {
    let mut stored = Stored::default();
    let mut harness = TestHarness::new();
    harness.apply(Kind::Deployment, &deployment(json!({})));
    harness.apply(Kind::Service, &service(json!({})));
    harness.apply(Kind::Pod, &oom("web-1"));
    harness.apply(Kind::Pod, &oom("web-2"));
    harness.wait(70);
    stored.commit(&harness.take());
    let open: Vec<&String> = stored.findings.keys().collect();
    assert_eq!(
        open,
        [
            "ContainerOOMKilled/uid-web-1/app",
            "ContainerOOMKilled/uid-web-2/app",
            "CrashLoop/uid-web-1/app",
            "CrashLoop/uid-web-2/app",
            "ServiceHasNoReadyPod/uid-web/"
        ]
    );

    // While the recorder is down: web-2 goes, the image changes, web-3 comes.
    let mut harness = stored.start(harness.now.plus(Duration::from_secs(300)));
    let changed = deployment(
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry/web:2"}]}}}}),
    );
    harness.list_for(Kind::Node, &[], RelistCause::Interrupted);
    harness.list_for(
        Kind::Pod,
        &[oom("web-1"), pod("web-3", json!({}))],
        RelistCause::Interrupted,
    );
    assert!(
        harness
            .items
            .iter()
            .all(|item| !matches!(item, Item::Finding(_))),
        "frozen until all is seen"
    );
    for kind in [Kind::Service, Kind::ConfigMap] {
        let objects = if kind == Kind::Service {
            vec![service(json!({}))]
        } else {
            vec![]
        };
        harness.list_for(kind, &objects, RelistCause::Interrupted);
    }
    harness.list_for(Kind::Deployment, &[changed], RelistCause::Interrupted);
    harness.wait(3);
    let items = harness.take();
    stored.commit(&items);
    let mut seen = Vec::new();
    for item in &items {
        match item {
            Item::Change(change) => {
                for row in &change.rows {
                    let row = row.record();
                    assert_eq!(row.extra["observed_late"], true, "{}", row.title);
                    assert_eq!(row.extra["between"][0], t(0));
                    seen.push(row.title.clone());
                }
            }
            Item::Finding(finding) => {
                let row = finding.row.record();
                assert!(row.extra.contains_key("closed_between"), "{}", row.title);
                seen.push(row.title.clone());
            }
            _ => {}
        }
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "Container app of pod shop/web-2 in a crash loop resolved",
            "Container app of pod shop/web-2 out of memory (OOMKilled) resolved",
            "Pod ended",
            "Service shop/web has no ready pod resolved",
        ]
    );
}

#[test]
fn unwatched_kind_suspends_its_findings() {
    let mut harness = TestHarness::new();
    harness.apply(
        Kind::Node,
        &node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", "False", -60)]}}),
        ),
    );
    assert_eq!(harness.findings().len(), 1);
    harness.send(
        Kind::Node,
        InformerEvent::Disconnected {
            message: "connection reset".into(),
            forbidden: false,
        },
    );
    harness.wait(600);
    assert_eq!(
        harness.findings().len(),
        0,
        "no change while the kind is not watched"
    );
    // The watch resumes: the node recovered meanwhile.
    harness.send(Kind::Node, InformerEvent::Connected);
    harness.apply(Kind::Node, &node("w1", json!({})));
    harness.wait(3);
    let findings = harness.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].transition, FindingTransition::Closed);
    assert!(
        findings[0]
            .row
            .record()
            .extra
            .contains_key("closed_between")
    );
}

#[test]
fn forbidden_kind_opens_one_finding_and_affects_no_other_kind() {
    let mut harness = TestHarness::new();
    for _ in 0..3 {
        harness.send(
            Kind::Service,
            InformerEvent::Disconnected {
                message: "forbidden".into(),
                forbidden: true,
            },
        );
        harness.wait(10);
    }
    let findings = harness.findings();
    let titles: Vec<&str> = findings
        .iter()
        .map(|f| f.row.record().title.as_str())
        .collect();
    assert_eq!(titles.len(), 1);
    assert!(titles[0].starts_with("Permission to watch Services is missing since "));
    assert_eq!(
        findings[0].row.record().event_type,
        kube9_model::EventType::Operator
    );
    harness.apply(Kind::Pod, &oom("web-1"));
    assert_eq!(
        harness.findings().len(),
        2,
        "rules that read no Service go on"
    );
    harness.send(Kind::Service, InformerEvent::Connected);
    let titles: Vec<String> = harness
        .findings()
        .iter()
        .map(|f| f.row.record().title.clone())
        .collect();
    assert_eq!(titles, ["Permission to watch Services is missing resolved"]);
}

#[test]
fn new_database_receives_all_snapshots_and_findings() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &oom("web-1"));
    assert_eq!(harness.findings().len(), 2);
    for kinds in [KINDS.to_vec(), KINDS.iter().rev().copied().collect()] {
        // A second report may follow immediately, and then others may arrive first.
        for kind in kinds {
            harness.send(kind, InformerEvent::StoreReplaced);
            let objects = if kind == Kind::Pod {
                vec![oom("web-1")]
            } else {
                vec![]
            };
            harness.list_for(kind, &objects, RelistCause::FirstStart);
        }
        harness.wait(5);
        let mut stored = Stored::default();
        let items = harness.take();
        stored.commit(&items);
        assert_eq!(stored.findings.len(), 2);
        assert_eq!(stored.facts.len(), 1);
        let changes = items.iter().filter_map(|item| {
            if let Item::Change(c) = item {
                Some(c.rows.len())
            } else {
                None
            }
        });
        assert_eq!(changes.sum::<usize>(), 0, "nothing of it is news");
    }
}

#[test]
fn rules_are_disabled_by_name_type_and_namespace() {
    for config in [
        AnalysisConfig {
            disabled_rules: vec!["containerOomKilled".into(), "CrashLoop".into()],
            ..AnalysisConfig::default()
        },
        AnalysisConfig {
            disabled_rules: vec!["health".into()],
            ..AnalysisConfig::default()
        },
        AnalysisConfig {
            exclude_namespaces: vec!["shop".into()],
            ..AnalysisConfig::default()
        },
    ] {
        let mut harness = TestHarness::with(config);
        harness.apply(Kind::Pod, &oom("web-1"));
        assert_eq!(harness.findings().len(), 0);
    }
}

fn field_write(manager: &str, former: &str, to: &str, at: Timestamp) -> CommitDelta {
    let mut delta = CommitDelta::default();
    delta.note_write(FieldWrite {
        object: kube9_model::ObjectRef {
            kind: "Rollout.argoproj.io".into(),
            namespace: "shop".into(),
            name: "web".into(),
        },
        path: "spec.template.spec.containers[app/x].image".into(),
        from: "old".into(),
        to: to.into(),
        manager: manager.into(),
        via: "Argo CD: shop".into(),
        former: former.into(),
        at,
        ..FieldWrite::default()
    });
    delta
}

#[test]
fn findings_about_fields_stay_open_after_a_restart_until_something_proves_their_end() {
    let mut harness = TestHarness::new();
    for manager in [
        "argocd-controller",
        "kubectl-edit",
        "argocd-controller",
        "kubectl-edit",
        "argocd-controller",
        "kubectl-edit",
    ] {
        let (former, to) = match manager {
            "kubectl-edit" => ("argocd-controller", "new"),
            _ => ("", "old"),
        };
        let write = field_write(manager, former, to, harness.now);
        harness.commit(write);
        harness.wait(10);
    }
    harness.wait(310);
    let mut stored = Stored::default();
    stored.commit(&harness.take());
    assert_eq!(stored.findings.len(), 2, "{:?}", stored.findings.keys());
    let mut harness = stored.start(harness.now.plus(Duration::from_secs(100)));
    for kind in KINDS {
        harness.list_for(kind, &[], RelistCause::Resumed);
    }
    harness.wait(1700);
    stored.commit(&harness.take());
    assert_eq!(stored.findings.len(), 2, "nothing is known of their end");
    harness.wait(200);
    stored.commit(&harness.take());
    let open: Vec<&String> = stored.findings.keys().collect();
    assert_eq!(
        open.len(),
        1,
        "no write of the field for 30 minutes: {open:?}"
    );
    assert!(open[0].starts_with("ChangedOutsideGitOps/"));
    let write = field_write("argocd-controller", "", "old", harness.now);
    harness.commit(write);
    stored.commit(&harness.take());
    assert_eq!(stored.findings.len(), 0);
}

#[test]
fn change_outside_that_is_taken_back_after_a_restart_closes() {
    let mut harness = TestHarness::new();
    harness.commit(field_write(
        "kubectl-edit",
        "argocd-controller",
        "new",
        harness.now,
    ));
    harness.wait(310);
    let mut stored = Stored::default();
    stored.commit(&harness.take());
    let mut harness = stored.start(harness.now.plus(Duration::from_secs(100)));
    for kind in KINDS {
        harness.list_for(kind, &[], RelistCause::Resumed);
    }
    for (to, open) in [("newer", 1), ("old", 0)] {
        let write = field_write("kubectl-edit", "", to, harness.now);
        harness.commit(write);
        harness.wait(10);
        stored.commit(&harness.take());
        assert_eq!(stored.findings.len(), open, "{to}");
    }
}

#[test]
fn first_words_of_a_crash_loop_survive_a_restart() {
    let crashed = |restarts: i64, words: &str| {
        let mut end = terminated("Error", 3, 0, 1);
        end["terminated"]["message"] = json!(words);
        pod_with("web-1", restarts, waiting("CrashLoopBackOff"), end)
    };
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    harness.apply(Kind::Pod, &crashed(0, "first"));
    let mut stored = Stored::default();
    stored.commit(&harness.take());
    let mut harness = stored.start(harness.now.plus(Duration::from_secs(100)));
    for kind in KINDS {
        let pods = [crashed(5, "fifth")];
        let objects = if kind == Kind::Pod { &pods[..] } else { &[] };
        harness.list_for(kind, objects, RelistCause::Resumed);
    }
    harness.wait(70);
    let findings = harness.findings();
    let row = findings.last().unwrap().row.record();
    assert_eq!(row.reason, "CrashLoop");
    assert_eq!(row.extra["first_words"], "first");
    assert_eq!(row.extra["last_words"], "fifth");
}

#[test]
fn finding_is_updated_at_most_once_a_minute() {
    let mut harness = TestHarness::new();
    let pods = |restarts: i64| {
        pod_with(
            "web-1",
            restarts,
            waiting("CrashLoopBackOff"),
            terminated("Completed", 0, 0, 1),
        )
    };
    harness.apply(Kind::Pod, &pods(1));
    harness.take();
    for restarts in 2..30 {
        harness.apply(Kind::Pod, &pods(restarts));
        harness.wait(2);
    }
    harness.wait(70);
    let findings = harness.findings();
    assert!(
        findings
            .iter()
            .all(|f| f.transition == FindingTransition::Updated),
        "{findings:?}"
    );
    let crash_loop: Vec<_> = findings
        .iter()
        .filter(|f| f.fingerprint.as_str().starts_with("CrashLoop/"))
        .collect();
    assert!(crash_loop.len() <= 3, "{}", crash_loop.len());
    assert_eq!(
        crash_loop.last().unwrap().row.record().extra["restarts"],
        29,
        "the last state is not lost"
    );
}

/// Invariant: the work after a change does not grow with the cluster.
#[test]
fn change_evaluates_only_its_dependents() {
    let mut harness = TestHarness::new();
    let mut objects = Vec::new();
    for n in 0..2000 {
        let labels = json!({"app": format!("app-{}", n / 10), "pod-template-hash": "1a"});
        let owner = json!([{"kind": "ReplicaSet", "name": format!("app-{}-1a", n / 10), "controller": true}]);
        objects.push(pod(
            &format!("p-{n}"),
            json!({"metadata": {"labels": labels, "ownerReferences": owner}}),
        ));
    }
    harness.list(Kind::Pod, &objects);
    harness.wait(60);
    let mut dirty = std::collections::BTreeSet::new();
    let changed = decoded(Kind::Pod, &objects[77]);
    harness.analysis.world.apply(
        key("Pod", "shop", "p-77"),
        changed,
        harness.now,
        Duration::from_secs(600),
        &mut dirty,
    );
    let names: Vec<_> = dirty.iter().map(|subject| subject.text()).collect();
    assert_eq!(names, ["shop/p-77", "w1", "Deployment/shop/app-7"]);
}
