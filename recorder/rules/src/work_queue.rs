//! The subjects to evaluate, and when.

use std::collections::{BTreeSet, VecDeque};

use kube9_ingest::maps::{Map, Set};
use kube9_model::time::Timestamp;

use super::subject::Subject;

/// A queue of subjects, each at most once, and one timer per subject. An evaluation asks all rules of a subject, so its
/// timer replaces the previous one.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    queue: VecDeque<Subject>,
    queued: Set<Subject>,
    timers: BTreeSet<(Timestamp, Subject)>,
    /// The timers by subject.
    times: Map<Subject, Timestamp>,
}

impl WorkQueue {
    /// Adds subjects that are not queued yet.
    pub(super) fn enqueue(&mut self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            if self.queued.insert(subject.clone()) {
                self.queue.push_back(subject);
            }
        }
    }

    /// Replaces the timer of a subject; `None` removes it.
    pub(super) fn schedule(&mut self, at: Option<Timestamp>, subject: &Subject) {
        let before = self.times.get(subject).copied();
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.timers.remove(&(before, subject.clone()));
        }
        match at {
            Some(at) => {
                self.timers.insert((at, subject.clone()));
                self.times.insert(subject.clone(), at);
            }
            None => _ = self.times.remove(subject),
        }
    }

    /// Enqueues the subjects whose timer has expired.
    pub(super) fn promote_due(&mut self, now: Timestamp) {
        let mut due = BTreeSet::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, subject)) = self.timers.pop_first()
        {
            self.times.remove(&subject);
            due.insert(subject);
        }
        self.enqueue(due);
    }

    pub(super) fn pop(&mut self) -> Option<Subject> {
        let subject = self.queue.pop_front()?;
        self.queued.remove(&subject);
        Some(subject)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::{SubjectKind, key};

    fn pod(name: &str) -> Subject {
        Subject::new(SubjectKind::Pod, key("Pod", "n", name))
    }

    #[test]
    fn subject_has_one_timer_the_last_one_set() {
        let (one, other) = (pod("one"), pod("other"));
        let at = |second| Some(Timestamp::from_secs(second));
        let mut work_queue = WorkQueue::default();
        for second in 1..1_000 {
            work_queue.schedule(at(second), &one);
        }
        work_queue.schedule(at(500), &other);
        assert_eq!((work_queue.timers.len(), work_queue.times.len()), (2, 2));
        work_queue.promote_due(Timestamp::from_secs(500));
        assert_eq!(work_queue.pop(), Some(other.clone()));
        assert_eq!(work_queue.pop(), None);
        work_queue.schedule(None, &one);
        work_queue.schedule(None, &other);
        assert!(work_queue.timers.is_empty() && work_queue.times.is_empty());
    }
}
