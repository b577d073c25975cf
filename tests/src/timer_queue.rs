//! A queue of timers: earliest first; timers of the same time in insertion order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// One timer.
#[derive(Debug)]
struct Timer<At, What> {
    at: At,
    order: u64,
    what: What,
}

impl<At: Ord, What> PartialEq for Timer<At, What> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<At: Ord, What> Eq for Timer<At, What> {}

impl<At: Ord, What> PartialOrd for Timer<At, What> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<At: Ord, What> Ord for Timer<At, What> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.at, self.order).cmp(&(&other.at, other.order))
    }
}

/// Timers by time.
#[derive(Debug)]
pub(crate) struct TimerQueue<At: Ord, What> {
    queue: BinaryHeap<Reverse<Timer<At, What>>>,
    planned: u64,
}

impl<At: Ord + Copy, What> TimerQueue<At, What> {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self {
            queue: BinaryHeap::new(),
            planned: 0,
        }
    }

    /// Adds a timer.
    pub(crate) fn add(&mut self, at: At, what: What) {
        self.planned += 1;
        let order = self.planned;
        self.queue.push(Reverse(Timer { at, order, what }));
    }

    /// Time of the next timer.
    pub(crate) fn next_at(&self) -> Option<At> {
        self.queue.peek().map(|Reverse(due)| due.at)
    }

    /// Removes and returns the next timer.
    pub(crate) fn pop(&mut self) -> Option<(At, What)> {
        let Reverse(due) = self.queue.pop()?;
        Some((due.at, due.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_pop_by_time_then_insertion_order() {
        let mut timers = TimerQueue::new();
        for (at, what) in [(2, "c"), (1, "a"), (2, "d"), (1, "b")] {
            timers.add(at, what);
        }
        assert_eq!(timers.next_at(), Some(1));
        let all: Vec<_> = std::iter::from_fn(|| timers.pop()).collect();
        assert_eq!(all, [(1, "a"), (1, "b"), (2, "c"), (2, "d")]);
    }
}
