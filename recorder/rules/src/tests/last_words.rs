//! What containers said when they ended, in the rows of findings and of ended pods.

use kube9_ingest::item::FindingTransition;
use kube9_model::record::Record;

use super::harness::TestHarness;
use super::prelude::*;
use crate::config::{AnalysisConfig, LastWordsConfig};

/// A pod whose container app has ended `restarts` times and waits, or runs; `words` are its last ones.
fn crashed(restarts: i64, waits: bool, words: &str) -> Value {
    let state = if waits {
        waiting("CrashLoopBackOff")
    } else {
        running(restarts * 10)
    };
    let mut end = terminated("Error", 3, restarts * 10 - 5, restarts * 10 - 1);
    end["terminated"]["message"] = json!(words);
    pod_with("web-1", restarts, state, end)
}

/// Rows of the rule that opened or were updated.
fn rows(harness: &mut TestHarness, rule: &str) -> Vec<Record> {
    let findings = harness.findings().into_iter();
    let of_rule = findings.filter(|finding| {
        finding.transition != FindingTransition::Closed && finding.row.record().reason == rule
    });
    of_rule
        .map(|finding| finding.row.record().clone())
        .collect()
}

#[test]
fn crash_loop_has_the_first_and_the_last_words() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    harness.wait(10);
    harness.apply(Kind::Pod, &crashed(1, false, "cannot open config.yaml"));
    harness.wait(10);
    harness.apply(Kind::Pod, &crashed(1, true, "lock is held\nby pid 7"));
    let opened = rows(&mut harness, "CrashLoop");
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].extra["first_words"], "cannot open config.yaml");
    assert_eq!(opened[0].extra["last_words"], "lock is held\\nby pid 7");
    assert!(
        opened[0]
            .description
            .contains(" Its last words: \"lock is held\\nby pid 7\".")
    );
    harness.wait(70);
    harness.apply(Kind::Pod, &crashed(2, true, "third"));
    let updated = rows(&mut harness, "CrashLoop");
    assert_eq!(updated[0].extra["first_words"], "cannot open config.yaml");
    assert_eq!(updated[0].extra["last_words"], "third");
}

#[test]
fn first_words_are_not_claimed_for_a_loop_that_began_before() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &crashed(4, true, "fifth"));
    let opened = rows(&mut harness, "CrashLoop");
    assert_eq!(opened[0].extra["last_words"], "fifth");
    assert!(!opened[0].extra.contains_key("first_words"));
}

/// Two crashes within the second in which the kubelet looks: the back-off after the first restart is that of the second crash.
#[test]
fn first_words_are_not_claimed_when_the_first_crash_was_not_seen() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    harness.apply(Kind::Pod, &crashed(1, true, "second"));
    let opened = rows(&mut harness, "CrashLoop");
    assert_eq!(opened[0].extra["last_words"], "second");
    assert!(!opened[0].extra.contains_key("first_words"));
}

#[test]
fn words_of_a_crash_loop_are_in_the_row_of_its_deletion() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &crashed(3, true, "no such table: users"));
    harness.changes();
    harness.delete(Kind::Pod, &crashed(3, true, "no such table: users"));
    let rows = harness.changes();
    let row = rows.iter().find(|row| row.reason == "PodEnded").unwrap();
    let end = &row.extra["containers"][0];
    assert_eq!(end["last_words"], "no such table: users");
    assert_eq!(end["exit_code"], 3);
}

#[test]
fn first_words_begin_anew_after_a_recovery() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    harness.apply(Kind::Pod, &crashed(1, true, "old"));
    let mut end = terminated("Error", 3, 5, 9);
    end["terminated"]["message"] = json!("old");
    harness.apply(Kind::Pod, &pod_with("web-1", 2, running(20), end));
    harness.wait(5000);
    assert!(!rows(&mut harness, "CrashLoop").is_empty());
    let mut end = terminated("Error", 3, 20, 5000);
    end["terminated"]["message"] = json!("new");
    harness.apply(
        Kind::Pod,
        &pod_with("web-1", 2, waiting("CrashLoopBackOff"), end),
    );
    let opened = rows(&mut harness, "CrashLoop");
    assert_eq!(opened[0].extra["last_words"], "new");
    assert_eq!(opened[0].extra["first_words"], "new");
}

#[test]
fn words_of_an_ended_pod_are_in_its_row_after_it_is_deleted() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    let mut end = terminated("Error", 2, 0, 9);
    end["terminated"]["message"] = json!("migration 17 failed: password=hunter2hunter2");
    let ended = over(
        pod_with("web-1", 0, end, json!({})),
        json!({"status": {"phase": "Failed"}}),
    );
    harness.changes();
    harness.apply(Kind::Pod, &ended);
    harness.delete(Kind::Pod, &ended);
    let rows = harness.changes();
    let row = rows.iter().find(|row| row.reason == "PodEnded").unwrap();
    assert_eq!(
        row.extra["containers"][0]["last_words"],
        "migration 17 failed: password=[REDACTED]"
    );
}

#[test]
fn last_words_can_be_turned_off() {
    let mut harness = TestHarness::with(AnalysisConfig {
        last_words: LastWordsConfig { messages: false },
        ..AnalysisConfig::default()
    });
    harness.apply(Kind::Pod, &pod_with("web-1", 0, running(0), json!({})));
    harness.apply(Kind::Pod, &crashed(1, true, "planted"));
    harness.wait(60);
    harness.delete(Kind::Pod, &crashed(1, true, "planted"));
    let items = harness.take();
    assert!(format!("{items:?}").contains("CrashLoop"));
    assert!(!format!("{items:?}").contains("planted"));
    assert!(!format!("{items:?}").contains("TerminationMessageMissing"));
}
