//! The rules: data and pure functions. A rule is one file with its documentation, its function and its tests.
//! `docs/rules.md` is generated from them.
//!
//! A rule evaluates one subject in the world at one moment and returns symptoms. It keeps no state: `findings` decides
//! when a finding opens and closes. To add a rule, add a file named after it, and a line in [`ALL`].
//!
//! ```text
//!   ALL ─▶ one file per rule ─▶ rule (definition, input) ─▶ symptoms (output)
//!                      └──────▶ format (phrases)
//! ```

mod changed_outside_git_ops;
mod config_map_missing;
mod container_cannot_start;
mod container_exited_with_error;
mod container_killed;
mod container_oom_killed;
mod crash_loop;
mod default_token_mounted;
mod failure_after_change;
pub mod format;
mod image_fails_on_several_nodes;
mod image_not_pinned;
mod image_pull_failing;
mod killed_by_liveness_probe;
mod kubelet_version_skew;
mod managers_fight_over_field;
mod memory_limit_too_low;
mod node_cannot_pull_images;
mod node_nearly_allocated;
mod node_pressure_evictions;
mod node_problem;
mod node_readiness_flapping;
mod node_under_pressure;
mod node_unready;
#[cfg(test)]
mod page;
mod pod_creation_refused;
mod pod_evicted;
mod pod_not_ready;
mod pod_rejected_by_node;
mod pod_stuck_creating;
mod pod_stuck_initializing;
mod pod_stuck_terminating;
mod pod_unschedulable;
mod pods_failing_alike;
mod pods_unschedulable_alike;
mod privileged_pod;
mod readiness_probe_missing;
mod recorder_database_unhealthy;
mod recorder_disk_nearly_full;
mod recorder_watch_failing;
mod replicas_on_one_node;
mod replicas_unavailable;
mod resources_not_set;
mod rollout_stuck;
pub mod rule;
mod secret_in_config_map;
mod secret_in_env_var;
mod service_has_no_ready_pod;
mod service_selects_no_pod;
mod single_replica_behind_service;
pub mod symptoms;
mod target_port_not_declared;
mod termination_message_missing;
mod warning_rate_high;

pub(super) use default_token_mounted::is_ignored as is_default_token_ignored;
use kube9_model::EventType;
use rule::{Rule, RuleDoc};

/// All rules, in the order of the documentation.
pub static ALL: &[Rule] = &[
    container_oom_killed::RULE,
    container_killed::RULE,
    crash_loop::RULE,
    container_exited_with_error::RULE,
    image_pull_failing::RULE,
    container_cannot_start::RULE,
    pod_unschedulable::RULE,
    pod_stuck_creating::RULE,
    pod_stuck_initializing::RULE,
    pod_not_ready::RULE,
    pod_stuck_terminating::RULE,
    pod_evicted::RULE,
    pod_rejected_by_node::RULE,
    node_unready::RULE,
    node_under_pressure::RULE,
    node_problem::RULE,
    rollout_stuck::RULE,
    replicas_unavailable::RULE,
    pod_creation_refused::RULE,
    service_selects_no_pod::RULE,
    service_has_no_ready_pod::RULE,
    recorder_database_unhealthy::RULE,
    recorder_watch_failing::RULE,
    recorder_disk_nearly_full::RULE,
    pods_failing_alike::RULE,
    failure_after_change::RULE,
    changed_outside_git_ops::RULE,
    managers_fight_over_field::RULE,
    memory_limit_too_low::RULE,
    node_readiness_flapping::RULE,
    image_fails_on_several_nodes::RULE,
    node_cannot_pull_images::RULE,
    pods_unschedulable_alike::RULE,
    node_nearly_allocated::RULE,
    killed_by_liveness_probe::RULE,
    warning_rate_high::RULE,
    node_pressure_evictions::RULE,
    image_not_pinned::RULE,
    resources_not_set::RULE,
    readiness_probe_missing::RULE,
    termination_message_missing::RULE,
    single_replica_behind_service::RULE,
    replicas_on_one_node::RULE,
    privileged_pod::RULE,
    default_token_mounted::RULE,
    secret_in_config_map::RULE,
    secret_in_env_var::RULE,
    config_map_missing::RULE,
    target_port_not_declared::RULE,
    kubelet_version_skew::RULE,
];

/// The rule that needs the termination messages of containers.
pub const TERMINATION_MESSAGE_MISSING: &str = termination_message_missing::RULE.name;

/// The rule whose findings stay open after a restart until the field is written again.
pub const CHANGED_OUTSIDE_GIT_OPS: &str = changed_outside_git_ops::RULE.name;

/// Whether a finding may open although some pods are not known. It may not close then.
pub fn holds_of_a_part(rule: &Rule) -> bool {
    let these = [
        image_fails_on_several_nodes::RULE,
        node_nearly_allocated::RULE,
        node_pressure_evictions::RULE,
    ];
    these.iter().any(|one| one.name == rule.name)
}

/// A finding that the analysis itself opens.
#[derive(Debug)]
pub struct Other {
    pub name: &'static str,
    pub event_type: EventType,
    pub doc: RuleDoc,
}

pub static PERMISSION: Other = Other {
    name: "RecorderPermissionMissing",
    event_type: EventType::Operator,
    doc: RuleDoc {
        summary: "kube9 may not watch a kind",
        severity: "error",
        opens: "the API server refuses (403) to list or watch a kind that the analysis reads, in a namespace or in all",
        opens_after: "four refusals in a row",
        closes: "the watch opens; kube9 retries it",
        action: "Grant `get`, `list` and `watch` on the kind that the title names, as the chart's ClusterRole or Roles do.",
        notes: "Until then, changes and findings of that kind are missing; other kinds are not affected. `RecorderWatchFailing` reports a refused watch of Events. This finding cannot be disabled, and objects cannot opt out of it.",
    },
};

pub static OTHERS: &[&Other] = &[&PERMISSION];

/// Names of all findings. Only these can open, so that each is documented and has a metric.
pub fn finding_names() -> impl Iterator<Item = &'static str> {
    let rules = ALL.iter().map(|rule| rule.name);
    rules.chain(OTHERS.iter().map(|other| other.name))
}

/// The `words` that are neither the name of a rule nor a type of rules.
pub fn unknown(words: &[String]) -> Vec<&String> {
    words
        .iter()
        .filter(|word| !ALL.iter().any(|rule| rule.is_named(word)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::rule::Check;
    use super::*;

    #[test]
    fn rule_has_unique_name_and_kinds_it_reads() {
        for (index, rule) in ALL.iter().enumerate() {
            let name = rule.name;
            assert!(
                ALL[..index].iter().all(|other| other.name != name),
                "{name}"
            );
            let reads_no_watch = matches!(rule.check, Check::Recorder(_) | Check::Fields(_));
            assert_eq!(rule.reads.is_empty(), reads_no_watch, "{name}");
        }
    }

    #[test]
    fn finding_name_is_short_and_differs_from_kubernetes_reasons() {
        let list = include_str!("../tests/kubernetes-reasons.txt");
        let list = list.lines().filter(|line| !line.starts_with('#'));
        let reasons: BTreeSet<String> = list.map(str::to_ascii_lowercase).collect();
        for known in [
            "nodenotready",
            "crashloopbackoff",
            "progressing",
            "oomkilled",
        ] {
            assert!(reasons.contains(known), "the list lacks {known}");
        }
        for name in finding_names() {
            assert!(name.len() <= 30, "{name}");
            assert!(
                name.starts_with(|first: char| first.is_ascii_uppercase()),
                "{name}"
            );
            assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
            assert!(!reasons.contains(&name.to_ascii_lowercase()), "{name}");
        }
    }

    /// Each rule has a case in which it opens, one in which it closes, and a near miss. A case ends in an expectation
    /// (`run` checks that), so its kind can be read from its source.
    #[test]
    fn rule_file_has_cases_that_open_close_and_stay_quiet() {
        for rule in ALL {
            let source = source_of(rule.name);
            let cases: Vec<&str> = source.split("#[test]").skip(1).collect();
            let opens = |case: &str| case.contains("Opens(") || case.contains("OpensEach(");
            let closes = |case: &str| case.contains("Closes,") || case.contains("ClosesEach(");
            let is_near_miss = |case: &str| {
                let end = case.trim_end_matches(|c: char| c.is_whitespace() || "}]);,".contains(c));
                !opens(case) && end.ends_with("NoChange")
            };
            let name = rule.name;
            assert!(cases.iter().any(|case| opens(case)), "{name} opens");
            assert!(cases.iter().any(|case| closes(case)), "{name} closes");
            assert!(
                cases.iter().any(|case| is_near_miss(case)),
                "{name} has no near miss"
            );
        }
    }

    /// The source of a rule: its file is named after the rule.
    fn source_of(name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_of_rule = |path: &PathBuf| {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            stem.replace('_', "") == name.to_ascii_lowercase()
        };
        let mut found: Vec<PathBuf> = files.filter(is_of_rule).collect();
        assert_eq!(found.len(), 1, "files of {name}");
        std::fs::read_to_string(found.remove(0)).unwrap()
    }
}
