//! Breadth-first search over all states.

use std::collections::{HashMap, VecDeque};

use super::state::State;

/// A violation, with the shortest way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is wrong.
    pub what: &'static str,
    /// The steps that lead there.
    pub steps: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Different states seen.
    pub states: usize,
    /// Steps of the longest of all shortest ways.
    pub depth: usize,
    /// Whether every reachable state was seen.
    pub complete: bool,
    /// The first violation.
    pub found: Option<Found>,
}

/// Looks at every state that can be reached from `start`, until one is wrong or `states_max` were seen.
pub fn search(start: State, states_max: usize) -> Search {
    // Where each state was first reached from, and by which step; indices into `states`.
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
            let found = Found {
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
