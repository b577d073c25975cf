//! Memory limits: which namespaces are turned off, and which findings remain.

use std::time::Duration;

use kube9_base::settings::ByteSize;
use kube9_ingest::informer_event::InformerEvent;
use kube9_ingest::item::{FindingTransition, Item};
use kube9_model::ObjectRef;
use kube9_model::commit_stats::{BreakingChange, CommitDelta, RecentChanges};
use kube9_model::resume::StoredObjects;
use kube9_model::watch::RelistCause;

use super::harness::{KINDS, TestHarness};
use super::prelude::*;
use crate::config::AnalysisConfig;
use crate::state::RestoredState;

/// 400 KiB for all, half of it for a namespace.
fn small() -> AnalysisConfig {
    AnalysisConfig {
        max_bytes: Some(ByteSize::kib(400)),
        ..AnalysisConfig::default()
    }
}

fn large_map(namespace: &str, n: usize) -> Value {
    let keys = (0..200).map(|key| (format!("key-{key}"), json!("v")));
    let data: serde_json::Map<String, Value> = keys.collect();
    let name = format!("large-{n}");
    json!({"metadata": over(metadata(&name), json!({"namespace": namespace})), "data": data})
}

fn fill(harness: &mut TestHarness, namespace: &str) {
    for n in 0..20 {
        harness.apply(Kind::ConfigMap, &large_map(namespace, n));
    }
}

fn commit_changes(harness: &mut TestHarness, namespace: &str) {
    let mut delta = CommitDelta::default();
    for n in 0..100 {
        delta.note_change(BreakingChange {
            object: ObjectRef {
                kind: "StatefulSet".to_owned(),
                namespace: namespace.to_owned(),
                name: format!("db-{n}"),
            },
            at: harness.now,
            to: "x".repeat(100).into(),
            ..BreakingChange::default()
        });
    }
    harness.commit(delta);
}

#[test]
fn changes_are_counted_and_forgotten_with_their_namespace() {
    let mut harness = TestHarness::with(small());
    let (before, _) = harness.analysis.bytes();
    commit_changes(&mut harness, "shop");
    let (first, _) = harness.analysis.bytes();
    assert!(first > before + 100 * RecentChanges::NAMESPACE_MAX);
    commit_changes(&mut harness, "shop");
    assert_eq!(harness.analysis.bytes().0, first);
    fill(&mut harness, "shop");
    assert!(is_off(&harness, "shop"));
    assert_eq!(harness.analysis.bytes().0, before);
    commit_changes(&mut harness, "shop");
    assert_eq!(harness.analysis.bytes().0, before);
}

/// A Service without pods, which is a finding after a minute.
fn lonely(namespace: &str) -> Value {
    over(
        service(json!({})),
        json!({"metadata": {"namespace": namespace}}),
    )
}

fn is_off(harness: &TestHarness, namespace: &str) -> bool {
    let trouble = harness.analysis.trouble().unwrap_or_default();
    trouble.contains(&format!(" {namespace} ("))
}

#[test]
fn namespace_over_its_limit_is_off_and_others_are_analysed() {
    let mut harness = TestHarness::with(small());
    harness.apply(Kind::Service, &lonely("other"));
    fill(&mut harness, "shop");
    assert!(is_off(&harness, "shop"), "{:?}", harness.analysis.trouble());
    assert_eq!(harness.analysis.left_out().0, 1);
    let (held, max) = harness.analysis.bytes();
    assert!(held <= max / 4, "{held} of {max}");
    harness.wait(70);
    let opened: Vec<_> = harness
        .findings()
        .into_iter()
        .map(|f| f.fingerprint.to_string())
        .collect();
    assert!(
        opened.iter().any(|f| f.starts_with("ServiceSelectsNoPod/")),
        "{opened:?}"
    );
}

#[test]
fn total_over_its_limit_turns_off_the_largest_namespace() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::ConfigMap, &large_map("shop", 1));
    let one = harness.analysis.bytes().0 as u64;
    let mut harness = TestHarness::with(AnalysisConfig {
        max_bytes: Some(ByteSize::bytes(10 * one + one / 2)),
        ..AnalysisConfig::default()
    });
    for (namespace, maps) in [("small", 2), ("large", 4), ("middle", 3), ("other", 1)] {
        for n in 0..maps {
            harness.apply(Kind::ConfigMap, &large_map(namespace, n));
        }
    }
    assert_eq!(
        harness.analysis.trouble(),
        None,
        "all are within the bounds"
    );
    harness.apply(Kind::ConfigMap, &large_map("other", 2));
    assert!(
        is_off(&harness, "large"),
        "{:?}",
        harness.analysis.trouble()
    );
    assert_eq!(harness.analysis.left_out().0, 1);
}

#[test]
fn service_with_left_out_pods_opens_no_finding() {
    let mut harness = TestHarness::with(small());
    fill(&mut harness, "shop");
    harness.take();
    harness.apply(Kind::Pod, &pod("web-1", json!({})));
    harness.apply(Kind::Service, &lonely("shop"));
    harness.wait(100);
    assert_eq!(harness.findings().len(), 0);
}

#[test]
fn namespace_with_too_large_object_is_off() {
    let labels = (0..3000).map(|n| (format!("l{n}"), json!("v")));
    let labels: serde_json::Map<String, Value> = labels.collect();
    let mut harness = TestHarness::new();
    harness.apply(Kind::Service, &lonely("shop"));
    harness.apply(
        Kind::Pod,
        &pod("web-1", json!({"metadata": {"labels": labels}})),
    );
    assert!(is_off(&harness, "shop"), "{:?}", harness.analysis.trouble());
    harness.wait(100);
    assert_eq!(harness.findings().len(), 0);
}

#[test]
fn findings_of_namespace_that_is_off_close_with_reason() {
    let mut harness = TestHarness::with(small());
    harness.apply(Kind::Service, &lonely("shop"));
    harness.wait(70);
    assert_eq!(harness.findings().len(), 1);
    fill(&mut harness, "shop");
    let closed = harness.findings();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].transition, FindingTransition::Closed);
    let description = &closed[0].row.record().description;
    assert!(
        description.contains("off for lack of memory"),
        "{description}"
    );
    assert_eq!(harness.analysis.open_by_rule().len(), 0);
}

#[test]
fn snapshots_of_namespace_that_is_off_are_deleted() {
    let mut harness = TestHarness::with(small());
    fill(&mut harness, "shop");
    let mut stored = std::collections::BTreeMap::new();
    for item in harness.take() {
        if let Item::Change(change) = item {
            match change.snapshot {
                Some(facts) => _ = stored.insert(change.name.to_string(), facts),
                None => _ = stored.remove(change.name.as_str()),
            }
        }
    }
    assert_eq!(stored.into_keys().collect::<Vec<_>>(), ["shop/"]);
}

#[test]
fn retried_namespace_is_on_after_all_lists_without_rows() {
    let mut harness = TestHarness::with(small());
    fill(&mut harness, "shop");
    harness.take();
    assert!(!harness.analysis.take_relist_request());
    harness.now = harness.now.plus(Duration::from_secs(31 * 60));
    harness.evaluate_all();
    assert!(harness.analysis.take_relist_request());
    assert!(!harness.analysis.take_relist_request(), "asked once");
    // It was cleaned up meanwhile.
    for kind in KINDS {
        assert!(is_off(&harness, "shop"));
        let objects = match kind {
            Kind::ConfigMap => vec![large_map("shop", 1)],
            Kind::Service => vec![lonely("shop")],
            _ => Vec::new(),
        };
        harness.list_for(kind, &objects, RelistCause::Resumed);
    }
    assert_eq!(harness.analysis.trouble(), None);
    assert_eq!(harness.changes().len(), 0);
    harness.wait(70);
    assert_eq!(harness.findings().len(), 1, "its rules look again");
}

#[test]
fn list_begun_before_the_retry_does_not_count() {
    let mut harness = TestHarness::with(small());
    fill(&mut harness, "shop");
    for kind in KINDS {
        harness.send(
            kind,
            InformerEvent::Init {
                cause: RelistCause::Resumed,
            },
        );
    }
    harness.apply(Kind::ConfigMap, &large_map("shop", 1)); // left out: it is still off
    harness.now = harness.now.plus(Duration::from_secs(31 * 60));
    harness.evaluate_all();
    assert!(harness.analysis.take_relist_request());
    harness.take();
    for kind in KINDS {
        harness.send(
            kind,
            InformerEvent::InitDone {
                version: "1".into(),
                at: harness.now,
                server_time: harness.now,
                objects: 1,
            },
        );
    }
    assert!(is_off(&harness, "shop"));
    for kind in KINDS {
        let objects = match kind {
            Kind::ConfigMap => vec![large_map("shop", 1)],
            _ => Vec::new(),
        };
        harness.list_for(kind, &objects, RelistCause::Resumed);
    }
    assert_eq!(harness.analysis.trouble(), None);
    assert_eq!(harness.changes().len(), 0);
}

#[test]
fn node_rules_wait_while_pods_are_left_out() {
    let full = |harness: &mut TestHarness| {
        harness.apply(
            Kind::Node,
            &node(
                "worker-1",
                json!({"status": {"allocatable": {"cpu": "1", "memory": "8Gi", "pods": "110"}}}),
            ),
        );
        let asks = json!({"spec": {"nodeName": "worker-1", "containers": [container(json!({"resources": {"requests": {"cpu": "990m"}}}))]}});
        harness.apply(Kind::Pod, &pod("web-1", asks));
        harness.wait(700);
        let found = harness.findings().into_iter();
        found
            .map(|f| (f.fingerprint.to_string(), f.transition))
            .collect::<Vec<_>>()
    };
    let mut harness = TestHarness::with(small());
    let found = full(&mut harness);
    assert!(
        found
            .iter()
            .any(|(f, _)| f.starts_with("NodeNearlyAllocated/")),
        "{found:?}"
    );
    // The pod's namespace goes off: that its node is full is not over.
    fill(&mut harness, "shop");
    assert!(is_off(&harness, "shop"));
    harness.wait(700);
    let closed = harness.findings();
    assert!(
        closed.iter().all(|f| !f
            .fingerprint
            .to_string()
            .starts_with("NodeNearlyAllocated/")),
        "{closed:?}"
    );
}

/// While pods of another namespace are left out, what is known of these is enough to open; to close it is not.
#[test]
fn rules_that_need_only_some_pods_open_while_others_are_left_out() {
    let of_rule = |harness: &mut TestHarness, rule: &str| {
        let found = harness.findings().into_iter();
        let found = found.filter(|f| f.fingerprint.as_str().starts_with(rule));
        found.map(|f| f.transition).collect::<Vec<_>>()
    };
    let mut harness = TestHarness::with(small());
    for name in ["w1", "w2"] {
        harness.apply(Kind::Node, &node(name, json!({})));
    }
    fill(&mut harness, "other");
    assert!(is_off(&harness, "other"));
    let both = [pulling("web-1", "w1", "i:1"), pulling("web-2", "w2", "i:1")];
    for pod in &both {
        harness.apply(Kind::Pod, pod);
    }
    harness.wait(70);
    let steps = of_rule(&mut harness, "ImageFailsOnSeveralNodes/");
    assert!(
        matches!(steps[..], [FindingTransition::Opened { .. }]),
        "{steps:?}"
    );
    // A pod less that waits for it: one of those that are left out may wait for it as well.
    harness.apply(Kind::Pod, &pod("web-2", json!({})));
    harness.wait(70);
    assert_eq!(of_rule(&mut harness, "ImageFailsOnSeveralNodes/"), []);
    // Two images that fail on a node may fail elsewhere, too.
    harness.apply(Kind::Pod, &pulling("web-3", "w1", "j:1"));
    harness.wait(70);
    assert_eq!(of_rule(&mut harness, "NodeCannotPullImages/"), []);
    harness.now = harness.now.plus(Duration::from_secs(31 * 60));
    harness.evaluate_all();
    for kind in KINDS {
        let objects = match kind {
            Kind::Node => vec![node("w1", json!({})), node("w2", json!({}))],
            Kind::Pod => vec![both[0].clone()],
            _ => Vec::new(),
        };
        harness.list_for(kind, &objects, RelistCause::Resumed);
    }
    assert_eq!(harness.analysis.trouble(), None);
    assert_eq!(
        of_rule(&mut harness, "ImageFailsOnSeveralNodes/"),
        [FindingTransition::Closed]
    );
}

#[test]
fn image_findings_are_charged_to_a_namespace_that_uses_the_image() {
    let mut harness = TestHarness::with(AnalysisConfig {
        disabled_rules: vec!["health".to_owned(), "assessment".to_owned()],
        ..small()
    });
    for n in 0..20 {
        for on in ["w1", "w2"] {
            let image = format!("{}:{n}", "i".repeat(400));
            let pod = pulling(&format!("p{n}-{on}"), on, &image);
            let pod = over(pod, json!({"metadata": {"namespace": "many"}}));
            harness.apply(Kind::Pod, &pod);
        }
    }
    let bytes = harness.analysis.bytes().0;
    assert!(harness.analysis.trouble().is_none(), "{bytes}");
    harness.wait(70);
    let found = harness.analysis.bytes().0;
    assert!(is_off(&harness, "many"), "{bytes} and then {found}");
    // What was found goes with what it was found in.
    harness.wait(10);
    assert!(
        !harness
            .analysis
            .open_by_rule()
            .contains_key("ImageFailsOnSeveralNodes")
    );
    assert_eq!(harness.analysis.bytes().0, 0);
}

#[test]
fn namespaces_named_like_tokens_stay_distinct() {
    let [one, other] = ["glpat-abcdefghij0123456789", "glpat-abcdefghij0123456780"];
    let mut harness = TestHarness::with(small());
    harness.apply(Kind::Service, &lonely(other));
    fill(&mut harness, one);
    assert_eq!(
        harness.analysis.left_out().0,
        1,
        "{:?}",
        harness.analysis.trouble()
    );
    harness.wait(70);
    let opened = harness.findings();
    assert!(
        opened
            .iter()
            .any(|f| f.fingerprint.as_str().starts_with("ServiceSelectsNoPod/")),
        "{opened:?}"
    );
    let trouble = harness.analysis.trouble().unwrap_or_default();
    assert!(!trouble.contains(one), "{trouble}");
}

#[test]
fn keys_of_truncated_config_map_are_neither_added_nor_removed() {
    let map = |from: usize| {
        let keys = (from..2000).map(|key| (format!("key-{key:05}"), json!("v")));
        let data: serde_json::Map<String, Value> = keys.collect();
        json!({"metadata": metadata("large"), "data": data})
    };
    let mut harness = TestHarness::new();
    harness.apply(Kind::ConfigMap, &map(0));
    harness.take();
    harness.apply(Kind::ConfigMap, &map(1));
    assert_eq!(harness.changes().len(), 0);
}

#[test]
fn namespace_still_too_large_is_off_again_without_finding() {
    let mut harness = TestHarness::with(small());
    fill(&mut harness, "shop");
    harness.now = harness.now.plus(Duration::from_secs(31 * 60));
    harness.evaluate_all();
    harness.take();
    let maps: Vec<Value> = (0..20).map(|n| large_map("shop", n)).collect();
    harness.list_for(Kind::Service, &[lonely("shop")], RelistCause::Resumed);
    harness.wait(100);
    harness.list_for(Kind::ConfigMap, &maps, RelistCause::Resumed);
    for kind in [Kind::Node, Kind::Pod, Kind::Deployment] {
        harness.list_for(kind, &[], RelistCause::Resumed);
    }
    harness.wait(100);
    assert!(is_off(&harness, "shop"));
    assert_eq!(harness.findings().len(), 0);
}

#[test]
fn namespace_off_at_the_stop_makes_no_rows_at_the_start() {
    let mut harness = TestHarness::started(small(), RestoredState::default(), |_| StoredObjects {
        confirmed_at: Some(start()),
        left_out: ["shop".to_owned()].into(),
        ..StoredObjects::default()
    });
    for kind in KINDS {
        let objects = match kind {
            Kind::ConfigMap => vec![large_map("shop", 1)],
            Kind::Deployment => vec![deployment(json!({}))],
            _ => Vec::new(),
        };
        harness.list_for(kind, &objects, RelistCause::Interrupted);
    }
    assert_eq!(harness.analysis.trouble(), None);
    assert_eq!(harness.changes().len(), 0);
}

#[test]
fn memory_is_zero_after_all_objects_are_deleted() {
    let mut harness = TestHarness::new();
    let failing = pod_with(
        "web-2",
        3,
        waiting("CrashLoopBackOff"),
        terminated("Error", 1, 0, 1),
    );
    let failing_to_pull = pod_with("web-3", 0, waiting("ImagePullBackOff"), json!({}));
    let mounts = json!({"spec": {"volumes": [{"configMap": {"name": "large-1"}}]}});
    let objects = [
        (Kind::Pod, pod("web-1", mounts)),
        (Kind::Pod, failing),
        (Kind::Pod, failing_to_pull),
        (Kind::Service, service(json!({}))),
        (
            Kind::Deployment,
            deployment(json!({"spec": {"replicas": 0}})),
        ),
        (Kind::ConfigMap, large_map("shop", 1)),
    ];
    for (kind, object) in &objects {
        harness.apply(*kind, object);
    }
    assert!(harness.analysis.bytes().0 > 10_000);
    harness.wait(100);
    let changed = pod(
        "web-1",
        json!({"metadata": {"labels": {"app": "other"}}, "spec": {"containers": [container(json!({"image": "r:2"}))]}}),
    );
    harness.apply(Kind::Pod, &changed);
    harness.apply(
        Kind::Service,
        &service(json!({"spec": {"selector": {"app": "else"}}})),
    );
    harness.wait(100);
    for (kind, object) in &objects {
        harness.delete(*kind, object);
    }
    harness.wait(1000);
    assert_eq!(harness.analysis.bytes().0, 0);
}

#[test]
fn service_with_truncated_pods_opens_no_port_finding() {
    let ports = (1..5000).map(|n| json!({"containerPort": n, "name": format!("port-{n}")}));
    let ports: Vec<Value> = ports.collect();
    let containers = json!({"spec": {"containers": [container(json!({"ports": ports}))]}});
    let target = json!({"spec": {"ports": [{"port": 80, "targetPort": "port-4999"}]}});
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod("web-1", containers));
    harness.apply(Kind::Service, &service(target));
    harness.wait(100);
    assert_eq!(harness.analysis.trouble(), None);
    let opened: Vec<_> = harness
        .findings()
        .into_iter()
        .map(|f| f.fingerprint.to_string())
        .collect();
    assert!(
        !opened
            .iter()
            .any(|f| f.starts_with("TargetPortNotDeclared/")),
        "{opened:?}"
    );
}

#[test]
fn findings_of_one_evaluation_are_returned_before_the_next() {
    let mut harness = TestHarness::new();
    for n in 0..40 {
        let containers = (0..60).map(|n| json!({"name": format!("c{n}"), "image": "registry/web"}));
        let containers: Vec<Value> = containers.collect();
        let owner = json!([{"kind": "Thing", "name": format!("thing-{n}"), "controller": true}]);
        let pod = pod(
            &format!("web-{n}"),
            json!({"metadata": {"ownerReferences": owner}, "spec": {"containers": containers}}),
        );
        let items = harness
            .analysis
            .handle(harness.news(Kind::Pod, &pod), harness.now);
        harness.items.extend(items);
    }
    harness.now = harness.now.plus(Duration::from_secs(60));
    harness.analysis.evaluate(1, harness.now);
    let mut most = 0;
    while harness.analysis.has_pending() {
        most = most.max(harness.analysis.evaluate(1000, harness.now).len());
    }
    assert!((64..2000).contains(&most), "{most}");
}
