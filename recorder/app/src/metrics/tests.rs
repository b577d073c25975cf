use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use kube9_k8s::metrics::RestartCause;
use kube9_model::label::{Label, Stage};
use kube9_model::{EventType, Severity};
use kube9_store::metrics::{Bound, EventCounts, Item, Observed, StateCounts};

use super::*;

fn rules() -> Rules {
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    Rules {
        filters: words(&["no-pulled", "kube-system"]),
        findings: words(&["ImageNotPinned", "ContainerExitedWithError"]),
    }
}

/// Series and value, as a scraper reads them.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render().unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Sum over all series of a family.
fn sum(scrape: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of_family = |series: &str| series.split('{').next() == Some(family);
    scrape
        .iter()
        .filter(|(series, _)| of_family(series))
        .map(|(_, value)| value)
        .sum()
}

/// received less everything that it must be equal to.
fn imbalance(scrape: &BTreeMap<String, f64>) -> f64 {
    let outcomes = [
        "stored_total",
        "folded_total",
        "duplicate_total",
        "deleted_total",
        "filtered_total",
        "skipped_total",
        "pending",
    ];
    let settled: f64 = outcomes
        .iter()
        .map(|name| sum(scrape, &format!("kube9_events_{name}")))
        .sum();
    let dropped: f64 = ["rows", "bytes"]
        .map(|bound| {
            scrape[&format!("kube9_queue_dropped_total{{bound=\"{bound}\",item=\"event\"}}")]
        })
        .iter()
        .sum();
    scrape["kube9_events_received_total"] - settled - dropped
}

#[test]
fn contract_metrics_exist_from_the_start_with_their_labels() {
    let scrape = scrape(&Metrics::new(&rules()));
    let mut expected = vec![
        "kube9_events_queue_size".to_owned(),
        "kube9_events_dropped_total".to_owned(),
        "kube9_events_storage_size_bytes".to_owned(),
    ];
    for event_type in [
        "cluster",
        "operator",
        "insight",
        "assessment",
        "health",
        "system",
    ] {
        for severity in ["info", "warning", "error", "critical"] {
            expected.push(format!(
                "kube9_events_total{{event_type=\"{event_type}\",severity=\"{severity}\"}}"
            ));
        }
    }
    for operation in ["insert", "update", "select", "delete"] {
        expected.push(format!(
            "kube9_database_operations_total{{operation=\"{operation}\"}}"
        ));
    }
    expected.sort();
    let fixed = [
        "kube9_events_total",
        "kube9_events_queue_size",
        "kube9_events_dropped_total",
        "kube9_events_storage_size_bytes",
        "kube9_database_operations_total",
    ];
    let found: Vec<&String> = scrape
        .keys()
        .filter(|s| fixed.contains(&s.split('{').next().unwrap()))
        .collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    assert!(found.iter().all(|series| scrape[*series] == 0.0));
}

#[test]
fn families_count_each_child_in_its_own_series() {
    let metrics = Metrics::new(&rules());
    let mut expected = BTreeMap::new();
    for (i, &event_type) in EventType::ALL.iter().enumerate() {
        for (j, &severity) in Severity::ALL.iter().enumerate() {
            let n = (i * 10 + j + 1) as u64;
            metrics
                .store
                .rows_inserted
                .get(event_type, severity)
                .inc_by(n);
            expected.insert(
                format!(
                    "kube9_events_total{{event_type=\"{event_type}\",severity=\"{severity}\"}}"
                ),
                n as f64,
            );
        }
    }
    for (i, &kind) in Kind::ALL.iter().enumerate() {
        for (j, &cause) in RestartCause::ALL.iter().enumerate() {
            let n = (i * 20 + j + 1) as u64;
            metrics.k8s.watch_restarts.get(kind, cause).inc_by(n);
            expected.insert(
                format!(
                    "kube9_watch_restarts_total{{cause=\"{}\",kind=\"{}\"}}",
                    cause.name(),
                    kind.name()
                ),
                n as f64,
            );
        }
        for (j, &action) in Action::ALL.iter().enumerate() {
            let n = i * 3 + j;
            (0..n).for_each(|_| metrics.received(kind, action));
            expected.insert(
                format!(
                    "kube9_watch_items_total{{action=\"{}\",kind=\"{}\"}}",
                    action.name(),
                    kind.name()
                ),
                n as f64,
            );
        }
    }
    metrics
        .findings_open("ContainerExitedWithError")
        .unwrap()
        .set(4);
    expected.insert(
        "kube9_findings_open{rule=\"ContainerExitedWithError\"}".to_owned(),
        4.0,
    );
    expected.insert(
        "kube9_findings_open{rule=\"ImageNotPinned\"}".to_owned(),
        0.0,
    );
    assert!(metrics.findings_open("unheard of").is_none());
    let scrape = scrape(&metrics);
    for (series, value) in expected {
        assert_eq!(scrape.get(&series), Some(&value), "{series}");
    }
}

#[test]
fn ledger_balances_and_counts_every_outcome() {
    let metrics = Metrics::new(&rules());
    for action in [
        Action::Listed,
        Action::Added,
        Action::Modified,
        Action::Deleted,
        Action::Undecodable,
    ] {
        (0..4).for_each(|_| metrics.received(Kind::Event, action));
    }
    metrics.received(Kind::Pod, Action::Added);
    metrics.store.dropped(Item::Event, Bound::Rows);
    metrics.store.dropped(Item::Event, Bound::Bytes);
    metrics.store.dropped(Item::Row, Bound::Rows);
    let mut outcomes = EventCounts {
        stored: 5,
        folded: 3,
        duplicate: 1,
        deleted: 2,
        ..EventCounts::default()
    };
    outcomes.add_filtered(1);
    outcomes.add_filtered(7);
    outcomes.add_skipped(Stage::Decode);
    assert_eq!(outcomes.total(), 14);
    metrics.store.account(&outcomes);
    let scrape = scrape(&metrics);
    for (series, value) in [
        ("kube9_events_received_total", 20.0),
        ("kube9_events_stored_total", 5.0),
        ("kube9_events_folded_total", 3.0),
        ("kube9_events_duplicate_total", 1.0),
        ("kube9_events_deleted_total", 2.0),
        ("kube9_events_filtered_total{rule=\"no-pulled\"}", 0.0),
        ("kube9_events_filtered_total{rule=\"kube-system\"}", 1.0),
        ("kube9_events_filtered_total{rule=\"_other\"}", 1.0),
        ("kube9_events_skipped_total{stage=\"decode\"}", 1.0),
        ("kube9_events_skipped_total{stage=\"write\"}", 0.0),
        ("kube9_events_dropped_total", 3.0),
        ("kube9_events_pending", 4.0),
    ] {
        assert_eq!(scrape.get(series), Some(&value), "{series}");
    }
    assert_eq!(imbalance(&scrape), 0.0);
}

/// States received less everything that it must be equal to.
fn imbalance_of_states(scrape: &BTreeMap<String, f64>) -> f64 {
    sum(scrape, "kube9_object_states_received_total")
        - sum(scrape, "kube9_object_states_total")
        - sum(scrape, "kube9_object_states_pending")
}

#[test]
fn ledger_of_states_balances_in_every_concurrent_scrape() {
    let metrics = Metrics::new(&rules());
    let (threads, rounds) = (4, 2_000);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    (0..4).for_each(|_| metrics.store.state_received());
                    metrics.store.state_skipped();
                    let mut counts = StateCounts::default();
                    counts.add(Observed::Changed);
                    counts.complete_item(1, 0);
                    // Two objects that a list does not show, and a state without an outcome.
                    let before = counts.total();
                    counts.add(Observed::Deleted);
                    counts.add(Observed::Deleted);
                    counts.complete_item(0, before);
                    counts.complete_item(1, counts.total());
                    metrics.store.account_states(&counts);
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(imbalance_of_states(&scrape(&metrics)), 0.0);
        }
    });
    let end = scrape(&metrics);
    let all = f64::from(threads * rounds);
    for (series, value) in [
        ("kube9_object_states_received_total", 7.0),
        ("kube9_object_states_pending", 2.0),
        ("kube9_object_states_total{outcome=\"changed\"}", 1.0),
        ("kube9_object_states_total{outcome=\"deleted\"}", 2.0),
        ("kube9_object_states_total{outcome=\"skipped\"}", 2.0),
    ] {
        assert_eq!(end[series], value * all, "{series}");
    }
}

#[test]
fn ledger_balances_in_every_concurrent_scrape() {
    let metrics = Metrics::new(&rules());
    let (threads, rounds) = (4, 5_000);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..rounds {
                    (0..3).for_each(|_| metrics.received(Kind::Event, Action::Added));
                    metrics.store.dropped(Item::Event, Bound::Rows);
                    metrics.store.account(&EventCounts {
                        stored: 1,
                        folded: 1,
                        ..EventCounts::default()
                    });
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(imbalance(&scrape(&metrics)), 0.0);
        }
    });
    let end = scrape(&metrics);
    assert_eq!(
        end["kube9_events_received_total"],
        f64::from(threads * rounds * 3)
    );
    assert_eq!(end["kube9_events_pending"], 0.0);
}

#[test]
fn before_scrape_updates_are_in_the_scrape() {
    let metrics = Metrics::new(&rules());
    let queued = Arc::new(std::sync::atomic::AtomicI64::new(3));
    let source = queued.clone();
    metrics.before_scrape(move |m| {
        m.store
            .queue_size
            .set(source.load(std::sync::atomic::Ordering::Relaxed))
    });
    metrics.before_scrape(|m| m.store.queue_bytes.set(m.store.queue_size.get() * 100));
    assert_eq!(scrape(&metrics)["kube9_events_queue_size"], 3.0);
    queued.store(5, std::sync::atomic::Ordering::Relaxed);
    let scrape = scrape(&metrics);
    assert_eq!(scrape["kube9_events_queue_size"], 5.0);
    assert_eq!(scrape["kube9_queue_bytes"], 500.0);
}

#[test]
fn watch_connected_has_a_series_for_watched_kinds_only() {
    let metrics = Metrics::new(&rules());
    let connected = |kind: Kind| {
        let series = format!("kube9_watch_connected{{kind=\"{}\"}}", kind.name());
        scrape(&metrics).get(&series).copied()
    };
    assert_eq!(connected(Kind::Event), None);
    metrics.k8s.watches.expect(Kind::Event);
    metrics.k8s.watches.expect(Kind::Event);
    assert_eq!(connected(Kind::Event), Some(0.0));
    metrics.k8s.watches.connected(Kind::Event);
    assert_eq!(connected(Kind::Event), Some(0.0), "one of two");
    metrics.k8s.watches.connected(Kind::Event);
    assert_eq!(connected(Kind::Event), Some(1.0));
    metrics.k8s.watches.disconnected(Kind::Event);
    assert_eq!(connected(Kind::Event), Some(0.0));
    assert_eq!(connected(Kind::Pod), None);
}

/// Metrics in which every family has a series.
fn complete() -> Arc<Metrics> {
    let metrics = Metrics::new(&rules());
    metrics.k8s.watches.expect(Kind::Event);
    metrics
}

/// A family as it is documented and checked: name → (type, help, label names).
fn families(metrics: &Metrics) -> BTreeMap<String, (String, String, Vec<String>)> {
    let describe = |family: &prometheus::proto::MetricFamily| {
        let labels = family.get_metric()[0]
            .get_label()
            .iter()
            .map(|l| l.name().to_owned())
            .collect();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        (
            family.name().to_owned(),
            (kind, family.help().to_owned(), labels),
        )
    };
    metrics.registry.gather().iter().map(describe).collect()
}

#[test]
fn families_follow_the_naming_rules_of_prometheus() {
    let bad_units = [
        "_ms", "_millis", "_minutes", "_hours", "_days", "_kb", "_mb", "_kib", "_mib",
    ];
    for (name, (kind, help, labels)) in families(&complete()) {
        let ours = name
            .strip_prefix("kube9_")
            .or_else(|| name.strip_prefix("process_"));
        assert!(ours.is_some(), "{name} has no prefix");
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()),
            "{name}"
        );
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name} is a {kind}"
        );
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(!bad_units.iter().any(|unit| name.ends_with(unit)), "{name}");
        for reserved in ["_bucket", "_count", "_sum"] {
            assert!(!name.ends_with(reserved), "{name}");
        }
        let known = [
            "action",
            "bound",
            "cause",
            "event_type",
            "recovery",
            "item",
            "kind",
            "operation",
            "outcome",
            "revision",
            "rule",
            "severity",
            "sqlite",
            "stage",
            "version",
        ];
        assert!(
            labels.iter().all(|label| known.contains(&label.as_str())),
            "{name}: {labels:?}"
        );
    }
}

#[test]
fn render_has_a_bounded_number_of_series() {
    let series = scrape(&Metrics::new(&rules())).len();
    assert!(series < 450, "{series} series");
}

#[test]
fn render_passes_promtool() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("SKIPPED: promtool is not installed");
        return;
    };
    let text = Metrics::new(&rules()).render().unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// `KUBE9_UPDATE=1 .ci/generated tests` writes the page.
#[test]
fn docs_list_every_metric() {
    let mut page = String::from(
        "# Metrics of kube9-recorder\n\n\
         <!-- Generated from recorder/app/src/metrics: KUBE9_UPDATE=1 .ci/generated tests -->\n\n\
         `/metrics` serves them in the Prometheus text format.\n\
         Every series exists from the start; `kube9_watch_connected` exists for the kinds that are watched.\n\
         No label contains the name or uid of an object.\n\n\
         Every Event that the recorder receives is counted once by its outcome, so that this equation holds in every scrape:\n\n\
         ```text\n\
         kube9_events_received_total\n    \
             = kube9_events_stored_total + kube9_events_folded_total + kube9_events_duplicate_total\n    \
             + kube9_events_deleted_total + sum(kube9_events_filtered_total) + sum(kube9_events_skipped_total)\n    \
             + sum(kube9_queue_dropped_total{item=\"event\"}) + kube9_events_pending\n\
         ```\n\n\
         `kube9_events_total` counts new rows of every type: Events, changes, findings and rows about kube9 itself. `kube9_events_stored_total` counts the Events among them.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for (name, (kind, help, labels)) in families(&complete()) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    crate::docs::assert_page("metrics.md", &page);
}
