//! The recorder: watches a cluster and writes what happens to SQLite. docs/ARCHITECTURE.md draws the whole.

pub mod pipeline;
pub mod source;
