//! The measurements behind docs/performance.md; `kube9-bench` runs them.
//!
//! ```text
//!   data ── world::History ─▶ decoded Events, batches, the deletions that the API server's TTL brings
//!   fill ── through normalize, sanitize and the store's own transactions into a database, timed
//!     ├─ storage   bytes by table and index
//!     ├─ ingest    against bare inserts of the same rows (bare)
//!     ├─ query     in process, and whole processes beside an empty static C program
//!     ├─ live      queue push, and how soon a row can be read, at a steady rate
//!     ├─ memory    peaks of both programs, and the recorder's CPU time through the API server
//!     ├─ retention a large clean-up and a pinned reader, while Events arrive
//!     └─ cap       the size cap, reached while Events arrive; sound: what must hold afterwards
//!   day ── cluster_sim::Day ─▶ the analysis: what is found beside what was planted; memory and cost by the size of the cluster
//!   sheet ── what was measured beside its limit: text, JSON, plots
//! ```
//!
//! Every figure is measured in the run that prints it; a limit that was not met is printed as such.

pub mod baseline;
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
