//! The only crate that writes SQLite. One thread owns the one writing connection (`writer`).
//!
//! ```text
//!   queue ─▶ writer (thread, retry, degraded)
//!              └─ apply (one transaction) ─ sight · stubs · dedup · gaps · holes · facts · findings · watches
//!                   └─ rows ─ keys · intern            pure: fold · gap
//!   at start: open ─ layout (made in a new file) ─ import (the original operator's rows)
//!   between batches: maintenance ─ run (trim · weigh · share · delete · evicted · leftovers · sweep) · cap · checkpoint · report
//! ```

pub mod apply;
pub mod cap;
mod checkpoint;
pub mod config;
mod dedup;
mod delete;
mod evicted;
mod facts;
mod findings;
pub mod fold;
pub mod gap;
mod gaps;
mod history;
mod holes;
mod identity;
pub mod import;
pub mod intern;
pub mod keys;
mod layout;
mod leftovers;
pub mod maintenance;
mod marks;
pub mod metrics;
pub mod open;
pub mod push;
pub mod queue;
mod report;
pub mod rows;
mod run;
mod share;
pub mod shared;
mod sight;
pub mod snapshot;
mod statements;
mod stubs;
mod sweep;
mod trim;
pub mod volume;
pub mod watches;
mod weigh;
pub mod writer;
