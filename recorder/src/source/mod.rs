//! Where observations come from. The only room that talks to the Kubernetes API.
//!
//! ```text
//!   connect ─▶ api (GET, bounded) ─▶ pages (lists, watch lines) ─┬─▶ events (state machine) ─▶ intake ─▶ queue
//!                                                                └─▶ objects (informers) ─▶ analysis ─▶ queue
//! ```

pub mod access;
pub mod api;
pub mod connect;
pub mod events;
pub mod intake;
pub mod objects;
pub mod pages;
pub mod report;

use std::time::Duration;

/// A watch that lived this long was a good one: the next attempt after it does not wait. After one that ended sooner,
/// however it ended, the wait is longer each time, so that no answer of the API server makes a hot loop.
const SETTLED: Duration = Duration::from_secs(5);
