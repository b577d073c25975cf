//! The only room that writes SQLite. One thread owns the one writing connection (`writer`).
//!
//! ```text
//!   queue ─▶ writer (thread, retry, degraded)
//!              └─ apply (one transaction: sight · passed · list · gaps) ─ fold (pure) · gap (pure) · facts · findings
//!                   └─ rows ─ keys · intern
//!   at start: open ─ layout (made, or brought up to date)
//!   between batches: maintenance ─ run (trim · weigh · share · delete · evicted · leftovers · sweep) · cap · checkpoint · report
//! ```

pub mod apply;
pub mod cap;
mod checkpoint;
mod delete;
mod evicted;
pub mod facts;
pub mod findings;
pub mod fold;
pub mod gap;
mod history;
mod identity;
pub mod intern;
pub mod keys;
mod layout;
mod leftovers;
pub mod maintenance;
mod marks;
pub mod open;
mod report;
pub mod rows;
mod run;
mod share;
pub mod shared;
pub mod snapshot;
pub mod statements;
mod sweep;
mod trim;
pub mod watches;
mod weigh;
pub mod writer;
