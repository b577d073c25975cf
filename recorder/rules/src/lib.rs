//! Rows of changes and findings, computed from the objects that the informers deliver. Pure: no I/O, no clock.
//!
//! ```text
//!   informers ─▶ engine (one task) ─▶ changes ── facts differ ──▶ rows          ─┐
//!   committed Events, health ─▶ │                                                 │
//!                   │                                                            ├─▶ queue ─▶ writer
//!                   └─ world ── dirty subjects, timers ─▶ rules ─▶ findings ─▶ rows ─┘
//! ```
//!
//! Invariant: what the engine believes to be stored is stored or before the writer: it pushes facts and findings only
//! with room in the queue, the queue never drops them, and the writer gives none up but when the process ends. A new
//! process reads what was committed and sees the rest again in its first list.
//! Invariant: the work after a change depends on what the change touches (its pod, owner, node, Services), not on the
//! size of the cluster.

pub mod changes;
pub mod config;
pub mod controller;
#[cfg(test)]
#[path = "../../app/src/docs.rs"]
mod docs;
pub mod failure_mode;
pub mod findings;
mod freshness;
mod ledger;
pub mod node_life;
pub mod rules;
pub mod self_status;
pub mod state;
pub mod subject;
mod target;
#[cfg(test)]
mod tests;
pub mod warnings;
mod work_queue;
pub mod world;
