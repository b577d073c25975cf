//! The model of the protocol is searched in full, and finds every seeded mistake.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use kube9_tests::model::{Bounds, Bug, State, search};

/// More than any search below needs; what is not complete fails.
const STATES_MAX: usize = 3_000_000;

const BOUNDS: Bounds = Bounds {
    changes: 3,
    crashes: 1,
    faults: 1,
    rows: 2,
};

#[test]
fn protocol_keeps_its_invariants_in_every_reachable_state() {
    let search = search(State::new(BOUNDS, None), STATES_MAX);
    assert_eq!(search.found, None, "{search:?}");
    assert!(search.complete, "{search:?}");
    // A model that cannot move proves nothing.
    assert!(search.states > 10_000 && search.depth > 10, "{search:?}");
    print(&format!("{} states, depth {}", search.states, search.depth));
}

#[test]
fn every_seeded_mistake_is_found() {
    for bug in [
        Bug::PositionBeforeRows,
        Bug::PositionPastADrop,
        Bug::RenewalByAPartialList,
        Bug::ListClosesItsOwnHoles,
        Bug::ListForgetsWhatWasDropped,
        Bug::PositionAtFirstPage,
        Bug::NoDedup,
    ] {
        let search = search(State::new(BOUNDS, Some(bug)), STATES_MAX);
        let found = search.found.unwrap_or_else(|| panic!("{bug:?} not found"));
        print(&format!("{bug:?}: {} by {:?}", found.what, found.steps));
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are for docs/reliability.md"
)]
fn print(line: &str) {
    println!("{line}");
}
