//! Rows of changes and findings, computed from the objects that the informers deliver. Pure: no I/O, no clock.
//!
//! ```text
//!   informers ─▶ engine (one task) ─▶ changes ── snapshots differ ▶ rows         ─┐
//!   committed Events, health ─▶ │                                                 │
//!                   │                                                            ├─▶ queue ─▶ writer
//!                   └─ world ── dirty subjects, timers ─▶ rules ─▶ findings ─▶ rows ─┘
//! ```
//!
//! Invariant: what the engine takes for stored is stored, or is in the queue. It pushes snapshots and findings only when
//! the queue has space, the queue never drops them, and the writer keeps them until they are committed or the process
//! ends. A new process reads what was committed, and receives the rest again in its first list.
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
