//! `docs/rules.md`: a table of all rules, and the details of each.

use std::fmt::Write as _;
use std::time::Duration;

use kube9_model::EventType;
use kube9_model::label::Label;

use super::rule::{Check, RuleDoc};
use super::{ALL, OTHERS, finding_names};
use crate::config::ThresholdConfig;

const HEAD: &str = "\
# Rules

| rule | type | severity | opens after | closes when | what to do |
|---|---|---|---|---|---|
";

const INTRODUCTION: &str = "
This page is generated from `recorder/rules/src/rules`; `KUBE9_UPDATE=1 .ci/generated tests` writes it.

## Findings

A rule evaluates the objects that kube9 watches. When it detects a problem, it opens a *finding*: a row whose type is the rule's type and whose reason is the rule's name.

- A finding opens once. Its row is updated while the problem lasts.
- When the problem is over, a row of severity `info` closes the finding. Its title ends in `resolved`, or names what the problem has become if another rule reports it.
- Titles end with the time since which the problem exists (UTC).
- A finding that gets worse gets a new row, which `continues` the one before. A finding that gets better keeps its severity until it closes.
- Open findings survive a restart of the recorder, and retention does not delete their rows.
- Rows about crashes and ended pods have what the container left as its termination message, in `last_words`: redacted, with escaped line breaks, without colours, and without its middle if it is longer than 1 KiB. A crash loop also has `first_words`, those of its first crash, if that was observed. `analysis.last_words.messages: false` turns them off.
- The end of a container is not a failure if Kubernetes ends its pod (deletion, eviction, preemption, a deadline, shutdown of the node), if the node lost the container (`ContainerStatusUnknown`, or exit code 255 with the reason `Unknown` after a reboot), if it ended with the sandbox of its pod or, without the condition `PodReadyToStartContainers` (kubelets before 1.29), with code 137, 143 or 255 shortly before its node was ready again, or if it is a sidecar that is stopped after the main containers.
- While kube9 cannot watch a kind that a rule reads, the rule's findings are suspended. If a problem ended in that time, the row that closes the finding has `closed_between` in its metadata.

## Turning rules off

- `analysis.disabled_rules` takes names of rules such as `ImageNotPinned`, or a type such as `assessment`.
- `analysis.exclude_namespaces` excludes namespaces from all rules, `analysis.assessment_exclude_namespaces` from assessments.
- An object opts out with the annotation `kube9.io/ignore: \"ImageNotPinned,SingleReplicaBehindService\"`, or with the label `kube9.io/ignore: ImageNotPinned`, which takes one name. `all` means every rule.
- A rule about all pods of a controller uses the newest pod's label or annotation: set it in the pod template.

The runs of a CronJob count as one controller. Its assessments stay open between runs. They close when a newer run no longer has the problem, or 25 hours after its last pod was deleted.

Names in `code` that have a value in parentheses are [thresholds](configuration.md), with their defaults.
";

/// All thresholds with their defaults, for people.
fn thresholds() -> Vec<(&'static str, String)> {
    let time = |time: Duration| match time.as_secs() {
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    };
    let ThresholdConfig {
        stable_after,
        restarts,
        restart_window,
        exit,
        image_pull,
        unschedulable,
        creating,
        not_ready,
        terminating,
        node_start,
        node_unready,
        node_critical,
        unavailable,
        service,
        recovery,
        after_change,
        same_failure,
        flapping,
        flapping_window,
        node_full_percent,
        warnings,
        warning_factor,
        recorder_check,
        disk_free_percent,
        assessment,
    } = ThresholdConfig::default();
    vec![
        ("stable_after", time(stable_after)),
        ("restarts", restarts.to_string()),
        ("restart_window", time(restart_window)),
        ("exit", time(exit)),
        ("image_pull", time(image_pull)),
        ("unschedulable", time(unschedulable)),
        ("creating", time(creating)),
        ("not_ready", time(not_ready)),
        ("terminating", time(terminating)),
        ("node_start", time(node_start)),
        ("node_unready", time(node_unready)),
        ("node_critical", time(node_critical)),
        ("unavailable", time(unavailable)),
        ("service", time(service)),
        ("recovery", time(recovery)),
        ("after_change", time(after_change)),
        ("same_failure", same_failure.to_string()),
        ("flapping", flapping.to_string()),
        ("flapping_window", time(flapping_window)),
        ("node_full_percent", node_full_percent.to_string()),
        ("warnings", warnings.to_string()),
        ("warning_factor", warning_factor.to_string()),
        ("recorder_check", time(recorder_check)),
        ("disk_free_percent", disk_free_percent.to_string()),
        ("assessment", time(assessment)),
    ]
}

/// A text with the default after each threshold that it names.
fn with_defaults(text: &str, thresholds: &[(&'static str, String)]) -> String {
    let mut text = text.to_owned();
    for (name, default) in thresholds {
        text = text.replace(&format!("`{name}`"), &format!("`{name}` ({default})"));
    }
    text
}

struct Entry {
    name: &'static str,
    event_type: EventType,
    doc: &'static RuleDoc,
    reads: String,
}

fn entries() -> Vec<Entry> {
    let own = "kube9 itself";
    let rules = ALL.iter().map(|rule| Entry {
        name: rule.name,
        event_type: rule.event_type,
        doc: &rule.doc,
        reads: match (rule.reads, rule.check) {
            ([], Check::Fields(_)) => "the change history".to_owned(),
            ([], _) => own.to_owned(),
            (kinds, _) => kinds
                .iter()
                .map(|kind| kind.name())
                .collect::<Vec<_>>()
                .join(", "),
        },
    });
    let others = OTHERS.iter().map(|other| Entry {
        name: other.name,
        event_type: other.event_type,
        doc: &other.doc,
        reads: own.to_owned(),
    });
    rules.chain(others).collect()
}

fn page() -> String {
    let thresholds = thresholds();
    let fill = |text: &str| with_defaults(text, &thresholds);
    let entries = entries();
    let mut page = HEAD.to_owned();
    for Entry {
        name,
        event_type,
        doc,
        ..
    } in &entries
    {
        let after = match doc.opens_after {
            "" => "immediately".to_owned(),
            after => fill(after),
        };
        let (severity, closes) = (fill(doc.severity), fill(doc.closes));
        let link = name.to_ascii_lowercase();
        let action = doc.action;
        writeln!(
            page,
            "| [{name}](#{link}) | {event_type} | {severity} | {after} | {closes} | {action} |"
        )
        .unwrap();
    }
    page.push_str(INTRODUCTION);
    let mut section = None;
    for Entry {
        name,
        event_type,
        doc,
        reads,
    } in &entries
    {
        if section.replace(event_type) != Some(event_type) {
            writeln!(page, "\n## Rules of type {event_type}").unwrap();
        }
        writeln!(page, "\n### {name}\n\n{}.\n", doc.summary).unwrap();
        let opens = match doc.opens_after {
            "" => fill(doc.opens),
            after => format!("{}; after {}", fill(doc.opens), fill(after)),
        };
        writeln!(page, "- Opens when {opens}.").unwrap();
        writeln!(page, "- Severity: {}.", fill(doc.severity)).unwrap();
        writeln!(page, "- Closes when {}.", fill(doc.closes)).unwrap();
        writeln!(page, "- What to do: {}", doc.action).unwrap();
        writeln!(page, "- Reads: {reads}.").unwrap();
        if !doc.notes.is_empty() {
            writeln!(page, "\n{}", fill(doc.notes)).unwrap();
        }
    }
    page
}

#[test]
fn page_is_generated_from_the_rules() {
    crate::docs::assert_page("rules.md", &page());
}

#[test]
fn page_describes_every_finding_once() {
    let page = page();
    let headings: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    for name in finding_names() {
        let of_name = headings.iter().filter(|heading| **heading == name);
        assert_eq!(of_name.count(), 1, "{name}");
    }
    assert_eq!(headings.len(), finding_names().count());
}

#[test]
fn rule_texts_fit_table_and_sentences() {
    for Entry { name, doc, .. } in entries() {
        let RuleDoc {
            summary,
            severity,
            opens,
            opens_after,
            closes,
            action,
            notes,
        } = doc;
        for fragment in [summary, severity, opens, closes] {
            assert!(
                !fragment.is_empty() && !fragment.ends_with('.'),
                "{name}: {fragment:?}"
            );
        }
        assert!(action.ends_with('.'), "{name}: {action:?}");
        assert!(
            notes.is_empty() || notes.ends_with('.'),
            "{name}: {notes:?}"
        );
        for text in [summary, severity, opens, opens_after, closes, action, notes] {
            assert!(!text.contains(['|', '\n']), "{name}: {text:?}");
        }
    }
}
