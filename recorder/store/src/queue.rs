//! The bounded queue between the sources and the writer.
//!
//! ```text
//!   producers ── push ──▶ [ front … back ] ── take_batch ──▶ writer (one thread)
//!                             │ full: the oldest is dropped
//!                             ▼
//!                         drop log ─────────────────────────▶ a row of `dropped_range`, in the same transaction
//! ```
//!
//! Invariant: `push` never blocks. A full queue drops its oldest Event (a relist recovers it), else its oldest
//! internal row. Markers, changes and findings are never dropped: their producers wait until the queue is ready.
//! Invariant: `take_batch` returns the drop log together with the items, so no position moves past a dropped item without
//! a dropped range in the same transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;
use kube9_model::watch::{SourceMarker, WatchId};
use tokio::sync::Notify;
use tracing::warn;

use crate::metrics::{self, Metrics};

/// Bounds of the queue.
#[derive(Debug, Clone)]
pub struct QueueLimits {
    /// Items held at most.
    pub capacity: usize,
    /// Bytes held at most, as the items estimate them.
    pub bytes_max: usize,
    /// Sources that can wait stop above this many items.
    pub high_water: usize,
}

/// (uid, resourceVersion) pairs kept between two takes; further drops are only counted, and the range cannot be proven
/// recovered. 4 × the default capacity: a whole queue of drops while a batch is retried, with a margin.
const DROPS_REMEMBERED_MAX: usize = 4000;

/// What a full queue has dropped since the last take, for one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedItems {
    /// `None`: internal rows, which no list recovers.
    pub watch: Option<WatchId>,
    /// Generation of the last list that its source had begun; 0: none in this process. That list may miss what was
    /// dropped here, a later one cannot.
    pub list_generation: i64,
    /// When the first item was dropped.
    pub since: Timestamp,
    pub items: u64,
    /// (uid, resourceVersion) of the first [`DROPS_REMEMBERED_MAX`].
    pub known: Vec<(String, String)>,
}

/// What the writer takes in one call.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order of arrival.
    pub items: Vec<Item>,
    /// What was dropped before or between the items.
    pub drops: Vec<DroppedItems>,
}

impl Batch {
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
    /// Wakes sources that wait for [`Queue::ready`].
    drained: Notify,
}

/// An item and its memory, computed once outside the lock.
#[derive(Debug)]
struct Slot {
    bytes: usize,
    item: Item,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Slot>,
    bytes: usize,
    drops: Vec<DroppedItems>,
    /// Generation of the last list that each source has begun.
    list_generations: BTreeMap<WatchId, i64>,
    dropped_total: u64,
    dropped_events_total: u64,
    /// In a burst of drops (one warning per burst).
    bursting: bool,
    closed: bool,
    /// A push wakes the writer at this many items: a wake is a system call, and the writer is usually busy or lingering.
    wake_at: usize,
    /// The writer's last batch was not empty: more items are likely to follow soon.
    active: bool,
}

/// What one push dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PushOutcome {
    /// Items dropped.
    pub dropped: u64,
    /// Of these, Events.
    pub dropped_events: u64,
    /// This push began a burst of drops.
    pub burst_began: bool,
    /// The bound on bytes was reached, not the number of items.
    pub by_bytes: bool,
}

impl Queue {
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

    /// Adds an item at the back; drops the oldest if the queue is full. Never blocks.
    /// Only for [`push`], which counts what was dropped.
    pub(super) fn push(&self, item: Item, now: Timestamp) -> PushOutcome {
        let mut pushed = PushOutcome::default();
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
            pushed.dropped_events += u64::from(dropped == DroppedKind::Event);
        }
        if pushed.dropped > 0 {
            pushed.burst_began = !state.bursting;
            state.bursting = true;
        }
        if let Item::Marker {
            watch,
            marker: SourceMarker::Init {
                list_generation, ..
            },
        } = &item
        {
            state.list_generations.insert(*watch, *list_generation);
        }
        state.bytes += bytes;
        state.items.push_back(Slot { bytes, item });
        let wake = state.items.len() >= state.wake_at;
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        pushed
    }

    /// Whether a source that can wait should continue to read.
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        state.items.len() < self.limits.high_water && state.bytes < self.limits.bytes_max / 4 * 3
    }

    /// Waits until [`Self::is_ready`].
    pub async fn ready(&self) {
        loop {
            let drained = self.drained.notified();
            if self.is_ready() {
                return;
            }
            drained.await;
        }
    }

    /// Takes items up to these bounds; waits up to `wait` for the first item.
    /// After the first item it lingers up to `linger` for more, so that a trickle shares commits.
    /// Returns an empty batch after `wait`, and immediately if the queue is closed and empty.
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
            // In a steady stream the writer polls, so that no push has to wake it.
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
        state.wake_at = usize::MAX; // busy: the writer polls again when it is done
        let (mut rows, mut bytes) = (0, 0);
        for slot in state.items.iter().take(rows_max) {
            if bytes >= bytes_max && rows > 0 {
                break;
            }
            rows += 1;
            bytes += slot.bytes;
        }
        let mut batch = Batch {
            items: state.items.drain(..rows).map(|slot| slot.item).collect(),
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

    /// No more items will follow; the writer drains the queue and ends.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Whether [`Self::close`] was called and everything was taken.
    pub fn is_finished(&self) -> bool {
        let state = self.lock();
        state.closed && state.items.is_empty() && state.drops.is_empty()
    }

    /// Items and bytes.
    pub fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.bytes)
    }

    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since the start.
    pub fn dropped_total(&self) -> u64 {
        self.lock().dropped_total
    }

    pub fn capacity(&self) -> usize {
        self.limits.capacity
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DroppedKind {
    Event,
    /// An internal row.
    Row,
}

impl State {
    /// Drops the oldest Event, else the oldest row. `None`: nothing may be dropped.
    fn drop_oldest(&mut self, now: Timestamp) -> Option<DroppedKind> {
        let oldest = self
            .items
            .iter()
            .position(|slot| matches!(slot.item, Item::Event { .. }))
            .or_else(|| {
                self.items
                    .iter()
                    .position(|slot| matches!(slot.item, Item::Row(_)))
            })?;
        let Slot { bytes, item } = self.items.remove(oldest)?;
        self.bytes -= bytes;
        self.dropped_total += 1;
        let identity = item.identity();
        self.dropped_events_total += u64::from(identity.is_some());
        let watch = identity.as_ref().map(|(watch, _, _)| *watch);
        let list_generation = watch
            .and_then(|watch| self.list_generations.get(&watch).copied())
            .unwrap_or(0);
        let index = self
            .drops
            .iter()
            .position(|d| (d.watch, d.list_generation) == (watch, list_generation))
            .unwrap_or_else(|| {
                self.drops.push(DroppedItems {
                    watch,
                    list_generation,
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
            Some(_) => DroppedKind::Event,
            None => DroppedKind::Row,
        })
    }
}

/// Adds an item to the queue; counts and logs what was dropped for it.
pub fn push(queue: &Queue, metrics: &Metrics, item: Item, now: Timestamp) {
    if let Item::Tracked { event, .. } = &item
        && event.is_state()
    {
        metrics.state_received();
    }
    let pushed = queue.push(item, now);
    let bound = if pushed.by_bytes {
        metrics::Bound::Bytes
    } else {
        metrics::Bound::Rows
    };
    for dropped in 0..pushed.dropped {
        let item = if dropped < pushed.dropped_events {
            metrics::Item::Event
        } else {
            metrics::Item::Row
        };
        metrics.dropped(item, bound);
    }
    if pushed.burst_began {
        warn!("queue full, oldest items dropped; dropped Events are listed again");
    }
}

#[cfg(test)]
mod tests {
    use kube9_ingest::sanitize::sanitize;
    use kube9_model::identity::{ResourceVersion, Uid};
    use kube9_model::record::{Observation, Occurred, Record};
    use kube9_model::watch::{Origin, RelistCause, UnstoredReason};
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
            api_group: String::new(),
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
        Item::Event {
            watch: WATCH,
            origin: Origin::List,
            received: NOW,
            row: row(Occurred::Observed(Observation {
                uid: Uid::new("u"),
                version: ResourceVersion::new(version),
                count: 1,
                first: NOW,
                last: NOW,
            })),
        }
    }

    fn own() -> Item {
        Item::Row(row(Occurred::At(NOW)))
    }

    fn list_begun(list_generation: i64) -> Item {
        Item::Marker {
            watch: WATCH,
            marker: SourceMarker::Init {
                list_generation,
                cause: RelistCause::Expired,
                at: NOW,
            },
        }
    }

    fn take(queue: &Queue) -> Batch {
        queue.take_batch(100, usize::MAX, Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn push_drops_record_the_last_list_generation() {
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
            .map(|drops| {
                (
                    drops.list_generation,
                    drops.items,
                    drops.known[0].1.as_str(),
                )
            })
            .collect();
        assert_eq!(events, [(0, 1, "1"), (4, 1, "2")]);
    }

    #[test]
    fn push_full_queue_drops_events_first_and_markers_never() {
        let queue = queue(2);
        let passed = Item::Unstored {
            watch: WATCH,
            origin: Origin::Watch,
            received: NOW,
            uid: "u".into(),
            version: "3".into(),
            why: UnstoredReason::Deleted,
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
