//! Events, from their watch to the queue.

pub mod events;
pub mod intake;
