//! Collects the errors of all rules.

use std::fmt;

/// Rules of one kind; each costs time on every Event.
pub const RULES_MAX: usize = 100;

/// A value in the configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadRule {
    /// Where, e.g. `filters[2].match.names[0]`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Collects all errors, so that one start reports all of them.
pub(super) struct Problems(Vec<BadRule>);

impl Problems {
    pub(super) fn new(list: &str, rules: usize) -> Self {
        let mut problems = Self(Vec::new());
        if rules > RULES_MAX {
            problems.add(
                list.to_owned(),
                format_args!("has {rules} rules; at most {RULES_MAX} are possible"),
            );
        }
        problems
    }

    pub(super) fn add(&mut self, path: String, problem: impl fmt::Display) {
        self.0.push(BadRule {
            path,
            problem: problem.to_string(),
        });
    }

    pub(super) fn none_or<T>(self, value: T) -> Result<T, Vec<BadRule>> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self.0)
        }
    }
}
