//! What the writer shares with the rest of the process.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube9_base::clock::Clock;
use kube9_base::health::Health;

use crate::metrics::Metrics;
use crate::queue::Queue;

/// What the writer shares with the rest.
#[derive(Clone)]
pub struct Shared {
    /// Where items come from.
    pub queue: Arc<Queue>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// What it reports.
    pub health: Health,
    /// Time.
    pub clock: Clock,
    /// Set when the grace period is over: give up, whatever is left.
    pub abandon: Arc<AtomicBool>,
}
