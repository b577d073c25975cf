//! Breadth-first search over all states.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A model: its states, and what must hold in each.
pub trait Model: Clone + Eq + Hash {
    /// Every state that can follow, with the name of the step.
    fn steps(&self) -> Vec<(&'static str, Self)>;
    /// The violated invariant, if any.
    fn broken(&self) -> Option<&'static str>;
    /// Whether the recorder has nothing left to do.
    fn is_quiet(&self) -> bool;
    /// In a quiet state: what is missing.
    fn incomplete(&self) -> Option<&'static str>;
}

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
pub fn search<M: Model>(start: M, states_max: usize) -> Search {
    // For each state: its predecessor, the step, and the depth.
    let mut ways: Vec<(usize, &'static str, usize)> = vec![(0, "", 0)];
    let mut known: HashMap<M, ()> = HashMap::from([(start.clone(), ())]);
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
