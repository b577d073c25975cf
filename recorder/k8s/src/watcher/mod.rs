//! List and watch of one kind, with exact resume: the one state machine for Events and for objects.
//!
//! ```text
//!  start with a position                                       start without one
//!        │                                                            │
//!        ▼   history went back (here or at another kind)              ▼
//!      Check ───────────────────────────────────────────────────▶   List ◀──┐
//!      ▲ ▲ │  410, hole, failed too often ─────────────────────────▶ │ └────┘ failed
//!      │ │ │                                                         ▼ done
//!      │ │ ├─ objects at a start, or asked to ─▶ Exact ─ done ──▶  Check
//!      │ │ ├─ objects, a check failed ─▶ Compare ─ the same ─┐
//!      │ │ │                                                 ▼
//!      │ │ └────────────────────────────────────────▶ Connect(position)
//!      │ │                                                   │
//!      │ └── Full: the queue has no room ◀───┐               ▼
//!      └──── Wait ◀── ended, in any way ─────┴──────────── Live ⟲ lines, renewal or check while idle
//! ```
//!
//! The consumer hears what kube-runtime's `watcher` would say: Init, its items, InitDone, items, Bookmark (here: a proof),
//! Connected, Disconnected. That one cannot start at a stored resourceVersion (kube issue 1419), nor bound a body.
//!
//! Before each watch, whatever ended the last one, the API server is asked for its newest resourceVersion: one above it
//! (etcd was restored) would be accepted and then wait in silence until the new history has passed it. An idle watch
//! asks again. After a check that failed the new history may have passed it already: of objects, uid and version of all
//! that there was at the position are compared with what the watch has shown. The kind that finds a history that went back
//! recalls all kinds ([`History`]).
//!
//! A position is given up for a list when the API server no longer has it (410, by reason or code), or when attempts in
//! a row, each after a check that went well, did not move it: see `Trouble::tries`.
//!
//! Pace: whatever ends a watch that lived for less than `SETTLED`, the next attempt waits, longer each time, so that
//! no answer of the API server makes a hot loop; but a list that is the first in `LIST_EVERY` begins immediately.
//!
//! Invariant: only the writer commits a position; this side knows only what its consumer has taken.
//! Invariant: the position moves past an item only once the consumer has it, or by a complete list which shows that
//! nothing lies above it.
//! Invariant: what arrives is handed on before anything later is read.

mod consumer;
mod cursor;
mod history;
mod list;
mod live;
mod state;
mod step;

pub use consumer::{Closed, Consumer, List, Told};
pub use cursor::Cursor;
pub use history::History;
pub use state::Watcher;
