//! Which subjects are to be looked at, and when.

use std::collections::{BTreeSet, VecDeque};

use kube9_shared::time::Timestamp;

use super::subject::Subject;
use crate::maps::Set;

/// Subjects in the order in which they were touched, each once; and those whose time is yet to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: VecDeque<Subject>,
    queued: Set<Subject>,
    timers: BTreeSet<(Timestamp, Subject)>,
}

impl Agenda {
    /// To be looked at next, unless they are already.
    pub(super) fn add(&mut self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            if self.queued.insert(subject.clone()) {
                self.queue.push_back(subject);
            }
        }
    }

    /// To be looked at then.
    pub(super) fn later(&mut self, at: Timestamp, subject: Subject) {
        self.timers.insert((at, subject));
    }

    /// Those whose time has come are to be looked at next.
    pub(super) fn wake(&mut self, now: Timestamp) {
        let mut due = BTreeSet::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.timers.pop_first().map(|(_, subject)| subject));
        }
        self.add(due);
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Option<Subject> {
        let subject = self.queue.pop_front()?;
        self.queued.remove(&subject);
        Some(subject)
    }

    /// Whether none is to be looked at now.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
