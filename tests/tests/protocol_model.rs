//! Searches the complete protocol model, and checks that every seeded mistake is found.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fmt::Debug;

use kube9_tests::protocol_model::{
    Bounds, Bug, ChangeBounds, ChangeBug, ChangeState, Model, State, search,
};

/// More than any complete search below needs; an incomplete search fails.
const STATES_MAX: usize = 1_000_000;

const fn bounds(changes: u8, crashes: u8, faults: u8, rows: u8) -> Bounds {
    Bounds {
        changes,
        crashes,
        faults,
        rows,
    }
}

/// No state that is reachable within the bounds violates an invariant.
#[track_caller]
fn assert_holds(bounds: &impl Debug, start: impl Model) {
    let search = search(start, STATES_MAX);
    print(&format!(
        "{bounds:?}: {} states, depth {}",
        search.states, search.depth
    ));
    assert_eq!(search.found, None, "{bounds:?}");
    assert!(search.complete, "{bounds:?}: {search:?}");
    // A model without transitions would pass vacuously.
    assert!(search.states > 1_000 && search.depth > 10, "{search:?}");
}

/// The search finds a violation.
#[track_caller]
fn assert_found(bug: &impl Debug, start: impl Model) {
    let found = search(start, STATES_MAX)
        .found
        .unwrap_or_else(|| panic!("{bug:?} not found"));
    print(&format!("{bug:?}: {} by {:?}", found.what, found.steps));
}

#[test]
fn protocol_invariants_hold_in_every_reachable_state() {
    for bounds in [
        bounds(2, 1, 1, 1),
        bounds(3, 1, 1, 0),
        bounds(2, 0, 2, 1),
        bounds(1, 2, 1, 1),
        bounds(2, 1, 0, 2),
    ] {
        assert_holds(&bounds, State::new(bounds, None));
    }
}

#[test]
fn seeded_bugs_are_all_detected() {
    for bug in [
        Bug::PositionBeforeRows,
        Bug::PositionPastADrop,
        Bug::RenewalByPartialList,
        Bug::ListClosesItsOwnDrops,
        Bug::ListForgetsWhatWasDropped,
        Bug::PositionAtFirstPage,
        Bug::NoDedup,
    ] {
        assert_found(&bug, State::new(bounds(3, 1, 1, 2), Some(bug)));
    }
}

const fn change_bounds(writes: u8, crashes: u8, upgrades: u8, faults: u8) -> ChangeBounds {
    ChangeBounds {
        writes,
        crashes,
        upgrades,
        faults,
    }
}

#[test]
fn change_history_invariants_hold_in_every_reachable_state() {
    for bounds in [
        change_bounds(3, 1, 0, 1),
        change_bounds(3, 0, 0, 2),
        change_bounds(2, 1, 1, 1),
        change_bounds(2, 0, 2, 1),
        change_bounds(2, 2, 1, 0),
    ] {
        assert_holds(&bounds, ChangeState::new(bounds, None));
    }
}

#[test]
fn seeded_bugs_of_the_change_history_are_all_detected() {
    for bug in [
        ChangeBug::PositionBeforeChanges,
        ChangeBug::ComparesOtherForms,
        ChangeBug::ResumesWithOtherForm,
        ChangeBug::NoVersionCheck,
        ChangeBug::NoWalk,
    ] {
        let bounds = change_bounds(3, 1, 1, 2);
        assert_found(&bug, ChangeState::new(bounds, Some(bug)));
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are for docs/reliability.md"
)]
fn print(line: &str) {
    println!("{line}");
}
