//! A few hours of a small cluster that knows its truth; `kube9-bench day` plays the large one.

use std::collections::BTreeSet;

use kube9_tests::bench::day::untold;
use kube9_tests::day::replay::Replay;
use kube9_tests::day::verdict::judge;
use kube9_tests::day::{Day, Plan};

#[test]
fn a_day_is_found_as_it_was() {
    let plan = Plan {
        nodes: 30,
        pods: 300,
        hours: 4,
        seed: 1,
    };
    let mut day = Day::new(plan, false);
    let mut replay = Replay::begin(&day).unwrap();
    replay.run(&mut day).unwrap();
    let expected = day.expected();
    let verdict = judge(&expected, &replay.found, 1000);
    assert!(verdict.is_clean(), "{verdict}");
    // A story that leaves no trace would make this test say less than it seems to.
    let untold = untold(day.headlines(), &expected);
    assert!(untold.is_empty(), "{untold:?}");
    let rules: BTreeSet<&str> = expected.iter().map(|one| one.rule).collect();
    assert!(rules.len() >= 30, "{rules:?}");
    assert!(verdict.close_calls * 50 <= verdict.expected, "{verdict}");
}
