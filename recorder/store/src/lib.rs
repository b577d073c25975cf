//! The only crate that writes SQLite. One thread owns the only writing connection (`writer`).
//!
//! ```text
//!   queue ─▶ writer (thread, retries, degraded state)
//!              └─ apply (one transaction) ─ incoming_event · stubs · dedup · gap_table · dropped_ranges ·
//!                   │                       object_snapshots · tracked · findings · watches
//!                   └─ rows ─ key_allocator · intern            pure: fold · gap
//!   at start: open ─ layout (creates the schema in a new file) ─ import (rows of the original operator)
//!   between batches: maintenance ─ retention_run (trim · weigh · share · delete · evictions · orphans · sweep) ·
//!                    size_limit · checkpoint · report · purge
//! ```

pub mod apply;
mod checkpoint;
pub mod config;
pub mod context;
mod dedup;
mod delete;
mod dropped_ranges;
mod evictions;
mod findings;
pub mod fold;
pub mod gap;
mod gap_table;
mod identity;
pub mod import;
mod incoming_event;
pub mod intern;
pub mod key_allocator;
mod layout;
pub mod maintenance;
mod mark_bitmap;
pub mod metrics;
mod object_snapshots;
pub mod open;
mod orphans;
pub mod purge;
pub mod queue;
mod report;
mod retention_run;
pub mod rows;
mod server_versions;
mod share;
pub mod size_limit;
pub mod snapshot;
mod statements;
mod stubs;
mod sweep;
mod tracked;
mod trim;
pub mod volume;
mod warning_history;
pub mod watches;
mod weigh;
pub mod writer;
