//! The measurements behind docs/performance.md; `kube9-bench` runs them.
//!
//! ```text
//!   data ── generator::History ─▶ decoded Events, batches, the deletions that the API server's TTL brings
//!   populate ── through normalize, sanitize and the store's transactions into a database, timed
//!     ├─ storage   bytes by table and index
//!     ├─ ingest    compared with plain inserts of the same rows (baseline)
//!     ├─ query     in process, and whole processes compared with an empty static C program
//!     ├─ latency   queue push, and time until a row is readable, at a steady rate
//!     ├─ memory    peaks of both programs, and the recorder's CPU time through the API server
//!     ├─ retention a large retention run and a pinned reader, while Events arrive
//!     └─ size_limit  reached while Events arrive (integrity: the checks afterwards)
//!   changes ── tracked objects ─▶ bytes of a revision, CPU of a write, rebuilding, memory with all kinds
//!   churn ── a day of what controllers write: rows and bytes of the change history by kind, path and author
//!   findings ── cluster_sim ─▶ the analysis: findings compared with planted faults; memory and cost by cluster size
//!   report ── measured values and their limits: text, JSON, plots
//! ```
//!
//! Every figure is measured in the run that prints it; a missed limit is marked.

pub mod baseline;
pub mod changes;
pub mod churn;
pub mod data;
pub mod findings;
pub mod ingest;
pub mod integrity;
pub mod latency;
pub mod memory;
pub mod plot;
pub mod populate;
pub mod process;
pub mod query;
pub mod report;
pub mod retention;
pub mod size_limit;
pub mod storage;
mod stories;
