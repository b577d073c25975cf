//! What the writer shares with the rest of the process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube9_base::clock::Clock;
use kube9_base::health::Health;

use crate::metrics::Metrics;
use crate::queue::Queue;

#[derive(Clone)]
pub struct WriterContext {
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
    pub health: Health,
    pub clock: Clock,
    /// Set when the grace period is over: the writer abandons uncommitted items.
    pub abandon: Arc<AtomicBool>,
}
