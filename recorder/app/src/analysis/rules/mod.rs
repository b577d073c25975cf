//! The rules: data and pure functions. A rule is one file with its paragraph of documentation and its table of cases;
//! `docs/rules.md` is generated from them.
//!
//! A rule looks at one subject in the world at one moment and says what signs of trouble it sees. It keeps nothing: when
//! a finding opens and closes follows from the signs (`findings`). To add one: a file here, and its line in [`ALL`].
//!
//! ```text
//!   ALL ─▶ one file a rule ─▶ rule (what it is, what it is given) ─▶ signs (what it says)
//!                      └────▶ words (what the texts share)
//! ```

mod config_error;
mod config_map_secret;
mod container_exit;
mod container_killed;
mod crash_loop;
mod default_token;
mod env_secret;
mod evicted;
mod failing;
mod failure_after_change;
mod image_pull;
mod image_registry;
mod liveness_kills;
mod missing_config_map;
mod missing_probe;
mod missing_resources;
mod node_condition;
mod node_evictions;
mod node_flapping;
mod node_full;
mod node_images;
mod node_not_ready;
mod node_pressure;
mod not_ready;
mod one_node;
mod oom_killed;
mod own_database;
mod own_disk;
mod own_watch;
#[cfg(test)]
mod page;
mod privileged;
mod repeated_oom;
mod replica_failure;
mod rollout_stuck;
pub mod rule;
mod same_failure;
mod service_no_pods;
mod service_not_ready;
pub mod signs;
mod single_replica;
mod stuck_creating;
mod stuck_terminating;
mod target_port;
mod unavailable;
mod unpinned_image;
mod unschedulable;
mod unschedulable_group;
mod version_skew;
mod warning_rate;
pub mod words;

pub(super) use default_token::is_ignored as is_default_token_ignored;
use kube9_model::EventType;
use rule::{Rule, RuleDoc};

/// All rules, in the order of the documentation.
pub static ALL: &[Rule] = &[
    oom_killed::RULE,
    container_killed::RULE,
    crash_loop::RULE,
    container_exit::RULE,
    image_pull::RULE,
    config_error::RULE,
    unschedulable::RULE,
    stuck_creating::RULE,
    not_ready::RULE,
    stuck_terminating::RULE,
    evicted::RULE,
    node_not_ready::RULE,
    node_pressure::RULE,
    node_condition::RULE,
    rollout_stuck::RULE,
    unavailable::RULE,
    replica_failure::RULE,
    service_no_pods::RULE,
    service_not_ready::RULE,
    own_database::RULE,
    own_watch::RULE,
    own_disk::RULE,
    same_failure::RULE,
    failure_after_change::RULE,
    repeated_oom::RULE,
    node_flapping::RULE,
    image_registry::RULE,
    node_images::RULE,
    unschedulable_group::RULE,
    node_full::RULE,
    liveness_kills::RULE,
    warning_rate::RULE,
    node_evictions::RULE,
    unpinned_image::RULE,
    missing_resources::RULE,
    missing_probe::RULE,
    single_replica::RULE,
    one_node::RULE,
    privileged::RULE,
    default_token::RULE,
    config_map_secret::RULE,
    env_secret::RULE,
    missing_config_map::RULE,
    target_port::RULE,
    version_skew::RULE,
];

/// Whether a rule about what pods of several namespaces have in common is right when it fires though some of them are not
/// known: with more pods it fires all the more. It may not close then.
pub fn holds_of_a_part(rule: &Rule) -> bool {
    let these = [image_registry::RULE, node_full::RULE, node_evictions::RULE];
    these.iter().any(|one| one.name == rule.name)
}

/// A finding that no rule makes, but the analysis itself.
#[derive(Debug)]
pub struct Other {
    /// Its name, as a rule's.
    pub name: &'static str,
    /// Its type.
    pub event_type: EventType,
    /// Its documentation.
    pub doc: RuleDoc,
}

/// A kind may not be read.
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

/// All findings that no rule makes.
pub static OTHERS: &[&Other] = &[&PERMISSION];

/// Names of all findings there can be. Only these can be opened, so that each is documented and counted.
pub fn finding_names() -> impl Iterator<Item = &'static str> {
    let rules = ALL.iter().map(|rule| rule.name);
    rules.chain(OTHERS.iter().map(|other| other.name))
}

/// Those of `words` that name neither a rule nor a type of rules.
pub fn unknown(words: &[String]) -> Vec<&String> {
    words
        .iter()
        .filter(|word| !ALL.iter().any(|rule| rule.is_named(word)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::rule::Check;
    use super::*;
    use crate::analysis::tests::table::Case;

    #[test]
    fn rule_is_complete_and_has_a_name_of_its_own() {
        for (index, rule) in ALL.iter().enumerate() {
            let name = rule.name;
            assert!(
                ALL[..index].iter().all(|other| other.name != name),
                "{name}"
            );
            let about_kube9 = matches!(rule.check, Check::Recorder(_));
            assert_eq!(rule.reads.is_empty(), about_kube9, "{name}");
        }
    }

    #[test]
    fn finding_name_is_a_short_reason_that_kubernetes_does_not_use() {
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

    #[test]
    fn every_rule_has_a_case_of_each_kind() {
        for rule in ALL {
            let cases = (rule.cases)();
            assert!(cases.iter().any(Case::fires), "{} fires", rule.name);
            assert!(cases.iter().any(Case::closes), "{} closes", rule.name);
            let near = cases.iter().any(Case::is_near_miss);
            assert!(near, "{} does nothing in a near miss", rule.name);
        }
    }

    #[test]
    fn every_rule_does_what_its_cases_say() {
        let mut played = 0;
        let mut failed = Vec::new();
        for rule in ALL {
            for case in (rule.cases)() {
                played += 1;
                let play = std::panic::AssertUnwindSafe(|| case.play(rule));
                if std::panic::catch_unwind(play).is_err() {
                    failed.push(rule.name);
                }
            }
        }
        assert_eq!(failed, Vec::<&str>::new(), "of {played} cases");
    }
}
