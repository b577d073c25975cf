//! Breadth-first search over all states.

use std::collections::{HashMap, VecDeque};

use super::state::State;

/// A violation, with the shortest path to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The violated invariant.
    pub what: &'static str,
    /// The steps of the path.
    pub steps: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Different states seen.
    pub states: usize,
    /// Length of the longest shortest path.
    pub depth: usize,
    /// Whether every reachable state was seen.
    pub complete: bool,
    /// The first violation.
    pub found: Option<Violation>,
}

/// Visits every state reachable from `start`, until one violates an invariant or `states_max` were visited.
pub fn search(start: State, states_max: usize) -> Search {
    // For each state: its predecessor, the step, and the depth.
    let mut ways: Vec<(usize, &'static str, usize)> = vec![(0, "", 0)];
    let mut known: HashMap<State, ()> = HashMap::from([(start.clone(), ())]);
    let mut frontier = VecDeque::from([(0, start)]);
    let mut depth = 0;
    while let Some((index, state)) = frontier.pop_front() {
        depth = ways[index].2;
        let wrong = state.broken().or_else(|| {
            if state.is_quiet() {
                state.incomplete()
            } else {
                None
            }
        });
        if let Some(what) = wrong {
            let found = Violation {
                what,
                steps: way(&ways, index),
            };
            return Search {
                states: known.len(),
                depth,
                complete: false,
                found: Some(found),
            };
        }
        if known.len() > states_max {
            break;
        }
        for (name, next) in state.steps() {
            if known.insert(next.clone(), ()).is_none() {
                ways.push((index, name, depth + 1));
                frontier.push_back((ways.len() - 1, next));
            }
        }
    }
    Search {
        states: known.len(),
        depth,
        complete: frontier.is_empty(),
        found: None,
    }
}

fn way(ways: &[(usize, &'static str, usize)], mut index: usize) -> Vec<&'static str> {
    let mut steps = Vec::new();
    while index != 0 {
        let (from, name, _) = ways[index];
        steps.push(name);
        index = from;
    }
    steps.reverse();
    steps
}
