//! The only room that writes SQLite. One thread owns the one writing connection (`writer`).
//!
//! ```text
//!   queue ─▶ writer (thread, retry, degraded)
//!              └─ apply (one transaction) ─ fold (pure) · gap (pure) · facts · findings
//!                   └─ rows ─ keys · intern · template (pure)
//! ```

pub mod apply;
pub mod facts;
pub mod findings;
pub mod fold;
pub mod gap;
pub mod intern;
pub mod keys;
pub mod maintenance;
pub mod open;
pub mod rows;
pub mod snapshot;
pub mod statements;
pub mod template;
pub mod version;
pub mod watches;
pub mod writer;
