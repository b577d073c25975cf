//! Into the queue, and an account of what had to go for it.

use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;
use tracing::warn;

use super::queue::Queue;
use crate::metrics::{self, Metrics};

/// Puts an item into the queue; counts and logs what had to go for it.
pub fn push(queue: &Queue, metrics: &Metrics, item: Item, now: Timestamp) {
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
