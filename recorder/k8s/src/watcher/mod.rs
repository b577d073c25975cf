//! Lists and watches one kind, with exact resume: one state machine for Events and for objects.
//!
//! ```text
//!  start with a position                                        start without one
//!        │                                                             │
//!        ▼    regressed (found here or by another kind)                ▼
//!    Checking ───────────────────────────────────────────────────▶ Listing ◀──┐
//!      ▲ ▲ │  410, dropped items, failed too often ──────────────▶  │ └───────┘ failed
//!      │ │ │                                                        ▼ complete
//!      │ │ ├─ start of an informer, or on request ─▶ ListingAt ─▶ Checking
//!      │ │ ├─ informer, a check failed ─▶ Comparing ─ equal ─┐
//!      │ │ │                                                 ▼
//!      │ │ └────────────────────────────────────────▶ Connecting(position)
//!      │ │                                                   │
//!      │ └── QueueFull: consumer not ready ◀──┐              ▼
//!      └──── BackingOff ◀── any outcome ──────┴────────── Watching ⟲ lines; renewal or check while idle
//! ```
//!
//! The consumer receives the events of kube-runtime's `watcher`: Init, items, InitDone, items, Bookmark (a confirmed
//! position), Connected, Disconnected. kube-runtime cannot start at a stored resourceVersion (kube issue 1419), and does
//! not bound bodies.
//!
//! Regressions: before each watch, whatever ended the last one, the watcher requests the API server's newest
//! resourceVersion. After a restore of etcd, a watch from a position above that version would be accepted and then stay
//! silent until the new history has passed the position. An idle watch checks again. After a failed check the new history
//! may have passed the position already: an informer compares uid and version of all objects at the position with those
//! that it received. The first kind that finds a regression makes all kinds relist ([`ServerHistory`]).
//!
//! The watcher gives up a position and lists when the API server no longer has it (410, by reason or code), or when
//! consecutive attempts, each after a successful check, did not advance it: see `FailureClass::tries`.
//!
//! Pace: after a watch that was open for less than `MIN_HEALTHY_WATCH`, the next attempt waits, longer each time, so that
//! no response of the API server causes a hot loop. The first list in `UNDELAYED_LIST_INTERVAL` starts immediately.
//!
//! Invariant: only the writer commits a position; the watcher knows only what its consumer has received.
//! Invariant: the position advances past an item only after the consumer has received it, or after a complete list proves
//! that nothing exists above it.
//! Invariant: the watcher passes on each item before it reads the next.

/// Logs a message about one kind. The kinds that only the change history reads are many and fail together: of these it is
/// a debug message, and [`TrackedWatches`](crate::tracked_watches::TrackedWatches) sums them up.
macro_rules! log_kind {
    ($level:ident, $machine:expr, $($message:tt)+) => {
        if $machine.watcher.resource.kind == kube9_model::label::Kind::Tracked {
            tracing::debug!($($message)+);
        } else {
            tracing::$level!($($message)+);
        }
    };
}
macro_rules! kind_warn {
    ($machine:expr, $($message:tt)+) => { log_kind!(warn, $machine, $($message)+) };
}
macro_rules! kind_info {
    ($machine:expr, $($message:tt)+) => { log_kind!(info, $machine, $($message)+) };
}

mod consumer;
mod cursor;
mod list;
mod open_watch;
mod server_history;
mod state;
mod step;

pub use consumer::{Consumer, List, ReceiverDropped, WatcherEvent};
pub use cursor::Cursor;
pub use server_history::ServerHistory;
pub use state::Watcher;
