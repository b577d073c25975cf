//! A small simulated cluster with ground truth; `kube9-bench findings` runs a large one.

use kube9_rules::rules;
use kube9_tests::cluster_sim::diff::diff;
use kube9_tests::cluster_sim::replay::Replay;
use kube9_tests::cluster_sim::{ClusterSim, Plan};

/// Rules without a scenario: about kube9 itself, or needing Events or versions that the simulation does not vary.
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
    // If two rules find the same fault, one of them could stop working unnoticed.
    let played = rules::ALL.iter().map(|rule| rule.name);
    let silent: Vec<&str> = played
        .filter(|id| !NOT_PLAYED.contains(id) && !diff.by_rule.contains_key(*id))
        .collect();
    assert!(silent.is_empty(), "rules that found nothing: {silent:?}");
}
