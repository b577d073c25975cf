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
use rule::Rule;

/// All rules, in the order of the documentation.
pub static ALL: &[Rule] = &[
    oom_killed::RULE,
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
    /// What it says, in a few words.
    pub summary: &'static str,
    /// Its paragraph of documentation.
    pub doc: &'static str,
}

/// A kind may not be read.
pub static PERMISSION: Other = Other {
    name: "RecorderPermissionMissing",
    event_type: EventType::Operator,
    summary: "permission to watch a kind is missing",
    doc: "\
Opens when the API server refuses (403) lists or watches of a kind that the analysis reads four times in a row, in a namespace or in all; severity error.
Changes and findings about that kind are missing meanwhile; everything else goes on. A refused watch of Events is `RecorderWatchFailing`'s.
Closes when the watch opens: the recorder tries again by itself.
It cannot be switched off, and objects cannot opt out of it.
Next: grant `get`, `list` and `watch` on the kind that the title names; the chart's ClusterRole or Roles do.",
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

/// `docs/rules.md`.
#[cfg(test)]
pub(crate) fn page() -> String {
    use kube9_model::label::Label;
    let mut page = String::from(
        "# Rules\n\nGenerated from the recorder's source; do not edit.\n\n\
         A rule looks at the objects that kube9 watches and opens a *finding*: a row with the rule's type.\n\
         A finding opens once, is updated while it lasts, and closes with an `info` row whose title ends in `resolved`, or in what it has become where another rule says more.\n\
         Titles say since when (UTC); a finding that gets worse has a new row that `continues` the one before, one that gets better stays as bad as it was until it closes.\n\
         Open findings survive restarts of the recorder; their rows are kept whatever their age.\n\
         While a kind that a rule reads cannot be watched, its findings are frozen; one that turns out to be over afterwards says so with `closed_between`.\n\n\
         Switch rules off with `analysis.disabled_rules` (names such as `ImageNotPinned`, or a whole type such as `assessment`).\n\
         Exclude namespaces with `analysis.exclude_namespaces`, and from assessments alone with `analysis.assessment_exclude_namespaces`.\n\
         An object opts out with the annotation `kube9.io/ignore: \"ImageNotPinned,SingleReplicaBehindService\"` or, for one rule, with the label `kube9.io/ignore: ImageNotPinned`; `all` means every rule.\n\
         For rules about all pods of a controller, the newest pod's label or annotation counts, so it belongs in the pod template.\n\
         The runs of a CronJob are one controller: its assessments stay open between runs, and close when a run shows better or a day and an hour after its last pod is gone.\n\
         Times are those of `analysis.thresholds` in [configuration.md](configuration.md).\n",
    );
    let has_rules = |of: &&EventType| ALL.iter().any(|rule| rule.event_type == **of);
    for event_type in [EventType::Health, EventType::Insight, EventType::Assessment]
        .iter()
        .chain(EventType::ALL.iter().filter(|of| !has_rules(of)))
    {
        let others: Vec<_> = OTHERS
            .iter()
            .filter(|other| other.event_type == *event_type)
            .collect();
        if !has_rules(&event_type) && others.is_empty() {
            continue;
        }
        page.push_str(&format!("\n## {event_type}\n"));
        for other in others {
            let Other {
                name, summary, doc, ..
            } = other;
            page.push_str(&format!(
                "\n### {name}\n\n{summary}.\n\n{}\n\nReads: kube9 itself.\n",
                doc.trim()
            ));
        }
        for rule in ALL.iter().filter(|rule| rule.event_type == *event_type) {
            let reads = match rule.reads {
                [] => "kube9 itself".to_owned(),
                kinds => {
                    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                    names.join(", ")
                }
            };
            page.push_str(&format!("\n### {}\n\n{}.\n\n", rule.name, rule.summary));
            page.push_str(&format!("{}\n\nReads: {reads}.\n", rule.doc.trim(),));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::rule::Check;
    use super::*;
    use crate::analysis::tests::table::Case;

    #[test]
    fn page_is_what_the_rules_say() {
        crate::docs::assert_page("rules.md", &page());
    }

    #[test]
    fn page_describes_every_finding_once() {
        let page = page();
        let headings: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("### "))
            .collect();
        for name in finding_names() {
            let of_name = headings.iter().filter(|line| line[4..] == *name);
            assert_eq!(of_name.count(), 1, "{name}");
        }
        assert_eq!(headings.len(), finding_names().count());
    }

    #[test]
    fn rule_is_complete_and_has_a_name_of_its_own() {
        for (index, rule) in ALL.iter().enumerate() {
            let name = rule.name;
            assert!(
                ALL[..index].iter().all(|other| other.name != name),
                "{name}"
            );
            assert!(!rule.doc.is_empty(), "{name}");
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
