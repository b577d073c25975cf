//! A few hours of a small cluster that knows its truth; `kube9-bench findings` plays the large one.

use kube9_rules::rules;
use kube9_tests::cluster_sim::diff::diff;
use kube9_tests::cluster_sim::replay::Replay;
use kube9_tests::cluster_sim::{ClusterSim, Plan};

/// Rules that the day gives nothing to find: kube9's own trouble, and what needs Events or versions that it does not vary.
const NOT_PLAYED: [&str; 6] = [
    "RecorderDatabaseUnhealthy",
    "RecorderWatchFailing",
    "RecorderDiskNearlyFull",
    "KilledByLivenessProbe",
    "WarningRateHigh",
    "KubeletVersionSkew",
];

#[test]
fn findings_of_simulated_cluster_match_ground_truth() {
    let plan = Plan {
        nodes: 30,
        pods: 300,
        hours: 4,
        seed: 1,
    };
    let mut sim = ClusterSim::new(plan, false);
    let mut replay = Replay::begin(&sim).unwrap();
    replay.run(&mut sim).unwrap();
    let end = sim.end();
    let diff = diff(&sim.into_ground_truth(), &replay.found, end, 1000);
    assert!(diff.is_clean(), "{diff}");
    // Of two rules that find one trouble, one could fall silent unnoticed.
    let played = rules::ALL.iter().map(|rule| rule.name);
    let silent: Vec<&str> = played
        .filter(|id| !NOT_PLAYED.contains(id) && !diff.by_rule.contains_key(*id))
        .collect();
    assert!(silent.is_empty(), "rules that found nothing: {silent:?}");
}
