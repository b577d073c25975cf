//! A model of the protocol between API server, source, queue and writer, small enough to be searched in full.
//!
//! ```text
//!   server: versions of two Events, compaction ── list (two pages) / watch ──▶ source ── bounded queue ──▶ writer ──▶ disk
//!   at any moment: write, delete, compact, break, 410, crash, a row of another producer that needs room
//! ```
//!
//! Every step of [`State::steps`] may happen at any time, so a breadth-first search over [`State`] sees every order of
//! them up to a bound on what the world does. The rules of the recorder are those of the watcher (kube9-k8s),
//! of queue and apply (kube9-store), without texts, times and pages beyond two.
//!
//! Invariants, checked in every state ([`State::broken`]):
//! 1. *Nothing lost*: what the server still holds and the committed position covers is on disk in that version, unless a
//!    hole, an interrupted list or a missing position makes the next start list again.
//! 2. *Nothing doubled*: no Event has two first rows while it lives, and none stands for more than happened.
//! 3. *Nothing passed*: the committed position never covers an item that is neither on disk, nor gone, nor remembered.
//!
//! [`Bug`] seeds the mistakes that the rules exist to prevent; the search must find each.

mod check;
mod state;

pub use check::{Found, Search, search};
pub use state::{Bounds, Bug, State};
