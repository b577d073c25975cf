//! The bounded queue between the sources and the writer.
//!
//! ```text
//!   producers ── push ──▶ [ front … back ] ── take_batch ──▶ writer (one thread)
//!                             │ full: the oldest goes
//!                             ▼
//!                         drop log ─────────────────────────▶ a durable hole, in the same transaction
//! ```
//!
//! Invariant: `push` never blocks. A full queue drops its oldest Event item (a relist brings it back), else its oldest row.
//! Marks, changes and findings are never dropped: only producers that wait for room push them, one after the other.
//! Invariant: `take_batch` hands over the drop log together with the items, so no position passes a dropped item
//! without the hole being opened in the same transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Mark, WatchId};
use tokio::sync::Notify;

/// Bounds of the queue.
#[derive(Debug, Clone)]
pub struct QueueLimits {
    /// Most items held.
    pub capacity: usize,
    /// Most bytes held, by the items' own estimate.
    pub bytes_max: usize,
    /// Sources that can wait stop above this many items.
    pub high_water: usize,
}

/// Most (uid, resourceVersion) pairs remembered between two takes; beyond it drops are only counted and the hole can
/// no longer be proven healed. 4 × the default capacity: one whole queue of drops while a batch is retried, with room.
const DROPS_REMEMBERED_MAX: usize = 4000;

/// What a full queue threw away since the last take, for one watch (or `None`: rows of kube9's own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drops {
    /// Whose items; `None` for rows that no list can bring back.
    pub watch: Option<WatchId>,
    /// Number of the last list that its source had begun by then; 0: none in this process. That list may miss what was
    /// dropped here, a later one cannot.
    pub listing: i64,
    /// When the first of them went.
    pub since: Timestamp,
    /// How many.
    pub items: u64,
    /// (uid, resourceVersion) of those that are remembered.
    pub known: Vec<(String, String)>,
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of their arrival.
    pub items: Vec<Item>,
    /// What was dropped before or between them.
    pub drops: Vec<Drops>,
}

impl Batch {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.drops.is_empty()
    }
}

/// The queue; shared by reference between producers and the writer.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    state: Mutex<State>,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes sources that wait for room.
    drained: Notify,
}

/// An item and the memory it holds, asked for once and outside the lock.
#[derive(Debug)]
struct Held {
    bytes: usize,
    item: Item,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Held>,
    bytes: usize,
    drops: Vec<Drops>,
    /// The last list that each source has begun.
    listings: BTreeMap<WatchId, i64>,
    dropped_total: u64,
    dropped_events_total: u64,
    /// Inside a burst of drops (one warning a burst).
    bursting: bool,
    closed: bool,
    /// A push wakes the writer once so many items are there: a wake is a system call, and most would find the writer
    /// waiting for company or at work.
    wake_at: usize,
    /// The writer's last batch held something: more is likely to come soon.
    active: bool,
}

/// What one push did beside adding its item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pushed {
    /// Items dropped to make room.
    pub dropped: u64,
    /// Of these, sights of Events.
    pub dropped_events: u64,
    /// This push began a burst of drops.
    pub burst_began: bool,
    /// The bytes were the bound that was reached, not the number of items.
    pub by_bytes: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            filled: Condvar::new(),
            drained: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if one ever did, the queue's data would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item at the back; drops the oldest if there is no room. Never blocks.
    /// Only for [`super::push::push`], which counts what was dropped.
    pub(super) fn push(&self, item: Item, now: Timestamp) -> Pushed {
        let mut pushed = Pushed::default();
        let bytes = item.bytes();
        let mut state = self.lock();
        while state.items.len() >= self.limits.capacity
            || (state.bytes + bytes > self.limits.bytes_max && !state.items.is_empty())
        {
            pushed.by_bytes = state.items.len() < self.limits.capacity;
            let Some(dropped) = state.drop_oldest(now) else {
                break;
            };
            pushed.dropped += 1;
            pushed.dropped_events += u64::from(dropped == Dropped::Sight);
        }
        if pushed.dropped > 0 {
            pushed.burst_began = !state.bursting;
            state.bursting = true;
        }
        if let Item::Mark {
            watch,
            mark: Mark::ListBegun { listing, .. },
        } = &item
        {
            state.listings.insert(*watch, *listing);
        }
        state.bytes += bytes;
        state.items.push_back(Held { bytes, item });
        let wake = state.items.len() >= state.wake_at;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        pushed
    }

    /// Whether a source that can wait should read on.
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        state.items.len() < self.limits.high_water && state.bytes < self.limits.bytes_max / 4 * 3
    }

    /// Waits until [`Self::has_room`].
    pub async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            if self.has_room() {
                return;
            }
            drained.await;
        }
    }

    /// Takes what is there, up to these bounds; waits up to `wait` for a first item.
    /// After a first item it lingers up to `linger` for more, so that a trickle shares commits.
    /// Returns an empty batch after `wait`, and at once when the queue is closed and empty.
    pub fn take_batch(
        &self,
        rows_max: usize,
        bytes_max: usize,
        wait: Duration,
        linger: Duration,
    ) -> Batch {
        let mut state = self.lock();
        let mut lingered = false;
        if state.active && !wait.is_zero() && !linger.is_zero() && !state.closed {
            // In a steady stream the writer looks by itself, so that no push has to wake it.
            lingered = true;
            state = self.wait_for(state, rows_max, linger, |s| {
                s.items.len() < rows_max && s.bytes < bytes_max && s.drops.is_empty() && !s.closed
            });
        }
        if state.items.is_empty() {
            lingered = false;
            state = self.wait_for(state, 1, wait, |s| {
                s.items.is_empty() && s.drops.is_empty() && !s.closed
            });
        }
        if !lingered && !state.closed && !linger.is_zero() && !state.items.is_empty() {
            state = self.wait_for(state, rows_max, linger, |s| {
                s.items.len() < rows_max && s.bytes < bytes_max && !s.closed
            });
        }
        state.wake_at = usize::MAX; // at work: it looks again by itself
        let (mut rows, mut bytes) = (0, 0);
        for held in state.items.iter().take(rows_max) {
            if bytes >= bytes_max && rows > 0 {
                break;
            }
            rows += 1;
            bytes += held.bytes;
        }
        let mut batch = Batch {
            items: state.items.drain(..rows).map(|held| held.item).collect(),
            drops: Vec::new(),
        };
        state.bytes -= bytes;
        state.active = !batch.items.is_empty();
        batch.drops = std::mem::take(&mut state.drops);
        if state.items.len() < self.limits.high_water {
            state.bursting = false;
        }
        drop(state);
        self.drained.notify_waiters();
        batch
    }

    fn wait_for<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        wake_at: usize,
        at_most: Duration,
        unready: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        state.wake_at = wake_at;
        let deadline = Instant::now() + at_most;
        while unready(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .filled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state
    }

    /// No more items will come; the writer drains what is there and ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Whether [`Self::close`] was called and everything was taken.
    pub fn is_finished(&self) -> bool {
        let state = self.lock();
        state.closed && state.items.is_empty() && state.drops.is_empty()
    }

    /// Items and bytes held now.
    pub fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }

    /// Items held now.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// No item is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Items dropped since the start.
    pub fn dropped_total(&self) -> u64 {
        self.lock().dropped_total
    }

    /// Most items held.
    pub fn capacity(&self) -> usize {
        self.limits.capacity
    }
}

/// What a full queue dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// A sight of an Event.
    Sight,
    /// A row of kube9's own.
    Row,
}

impl State {
    /// Drops the oldest sight of an Event, else the oldest row. `None`: nothing here may be dropped.
    fn drop_oldest(&mut self, now: Timestamp) -> Option<Dropped> {
        let oldest = self
            .items
            .iter()
            .position(|held| matches!(held.item, Item::Observed { .. }))
            .or_else(|| {
                self.items
                    .iter()
                    .position(|held| matches!(held.item, Item::Row(_)))
            })?;
        let Held { bytes, item } = self.items.remove(oldest)?;
        self.bytes -= bytes;
        self.dropped_total += 1;
        let identity = item.identity();
        self.dropped_events_total += u64::from(identity.is_some());
        let watch = identity.as_ref().map(|(watch, _, _)| *watch);
        let listing = watch
            .and_then(|watch| self.listings.get(&watch).copied())
            .unwrap_or(0);
        let index = self
            .drops
            .iter()
            .position(|d| (d.watch, d.listing) == (watch, listing))
            .unwrap_or_else(|| {
                self.drops.push(Drops {
                    watch,
                    listing,
                    since: now,
                    items: 0,
                    known: Vec::new(),
                });
                self.drops.len() - 1
            });
        let drops = &mut self.drops[index];
        drops.items += 1;
        if let Some((_, uid, version)) = identity
            && drops.known.len() < DROPS_REMEMBERED_MAX
        {
            drops.known.push((uid.to_string(), version.to_string()));
        }
        Some(match watch {
            Some(_) => Dropped::Sight,
            None => Dropped::Row,
        })
    }
}

#[cfg(test)]
mod tests {
    use kube9_ingest::sanitize::sanitize;
    use kube9_model::identity::{Uid, Version};
    use kube9_model::record::{Observation, Occurred, Record};
    use kube9_model::watch::{Passed, RelistCause, Via};
    use kube9_model::{EventType, Severity};

    use super::*;

    const WATCH: WatchId = WatchId(7);
    const NOW: Timestamp = Timestamp::EPOCH;

    fn queue(capacity: usize) -> Queue {
        Queue::new(QueueLimits {
            capacity,
            bytes_max: 1 << 20,
            high_water: capacity,
        })
    }

    fn row(occurred: Occurred) -> Box<kube9_ingest::sanitize::Sanitized> {
        Box::new(sanitize(Record {
            event_type: EventType::Cluster,
            severity: Severity::Info,
            title: "t".into(),
            description: String::new(),
            object: None,
            owner: None,
            reason: String::new(),
            component: String::new(),
            container: String::new(),
            kube_type: String::new(),
            node: None,
            extra: serde_json::Map::new(),
            occurred,
        }))
    }

    fn seen(version: &str) -> Item {
        Item::Observed {
            watch: WATCH,
            via: Via::List,
            received: NOW,
            row: row(Occurred::Observed(Observation {
                uid: Uid::new("u"),
                version: Version::new(version),
                count: 1,
                first: NOW,
                last: NOW,
            })),
        }
    }

    fn own() -> Item {
        Item::Row(row(Occurred::At(NOW)))
    }

    fn list_begun(listing: i64) -> Item {
        Item::Mark {
            watch: WATCH,
            mark: Mark::ListBegun {
                listing,
                cause: RelistCause::Expired,
                at: NOW,
            },
        }
    }

    fn take(queue: &Queue) -> Batch {
        queue.take_batch(100, usize::MAX, Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn drops_name_the_last_list_that_was_begun_before_them() {
        let queue = queue(2);
        for item in [
            seen("1"),
            own(),
            own(),
            list_begun(4),
            seen("2"),
            own(),
            own(),
        ] {
            queue.push(item, NOW);
        }
        let drops = take(&queue).drops;
        let events: Vec<_> = drops
            .iter()
            .filter(|drops| drops.watch == Some(WATCH))
            .map(|drops| (drops.listing, drops.items, drops.known[0].1.as_str()))
            .collect();
        assert_eq!(events, [(0, 1, "1"), (4, 1, "2")]);
    }

    #[test]
    fn full_queue_drops_sights_first_and_marks_and_passed_items_never() {
        let queue = queue(2);
        let passed = Item::Passed {
            watch: WATCH,
            via: Via::Watch,
            received: NOW,
            uid: "u".into(),
            version: "3".into(),
            why: Passed::Deleted,
        };
        queue.push(own(), NOW);
        queue.push(seen("2"), NOW);
        let pushed = queue.push(passed, NOW);
        assert_eq!((pushed.dropped, pushed.dropped_events), (1, 1));
        assert!(pushed.burst_began && !pushed.by_bytes);
        let pushed = queue.push(list_begun(1), NOW);
        assert_eq!((pushed.dropped, pushed.dropped_events), (1, 0));
        let pushed = queue.push(list_begun(2), NOW);
        assert_eq!(pushed.dropped, 0, "nothing left that may go");
        assert_eq!(take(&queue).items.len(), 3);
        assert_eq!(queue.dropped_total(), 2);
    }
}
