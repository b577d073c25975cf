//! A model of the protocol between API server, source, queue and writer, small enough to be searched in full.
//!
//! ```text
//!   server: versions of two Events, compaction ── list (two pages) / watch ──▶ source ── bounded queue ──▶ writer ──▶ disk
//!   at any time: write, delete, compact, disconnect, 410, crash, a row of another producer
//! ```
//!
//! Every step of [`State::steps`] may happen at any time, so a breadth-first search over [`State`] covers every order
//! of them, up to [`Bounds`]. The rules of the recorder are those of the watcher (kube9-k8s), of queue and apply
//! (kube9-store), without texts, times and pages beyond two.
//!
//! Invariants, checked in every state ([`State::broken`]):
//! 1. *Nothing lost*: what the server still holds and the committed position covers is on disk in that version, unless ann
//!    unrecovered drop, an interrupted list or a missing position makes the next start list again.
//! 2. *Nothing duplicated*: no existing Event has two first rows, and none has more occurrences than happened.
//! 3. *Nothing skipped*: the committed position never covers an item that is neither on disk, nor deleted, nor a known drop.
//!
//! [`Bug`] seeds the mistakes that the protocol prevents; the search must find each. `changes` is the same for the change
//! history.

mod changes;
mod check;
mod state;

pub use changes::{ChangeBounds, ChangeBug, ChangeState};
pub use check::{Model, Search, Violation, search};
pub use state::{Bounds, Bug, State};
