//! What the whole-system tests, the demo, the benchmarks and the chaos runs share.
//!
//! ```text
//!   generator ─── cluster data from a seed: a history for benchmarks, a live cluster for the rest
//!   cluster_sim ─ a simulated cluster with its ground truth, for the rules (both use manifests for API objects)
//!     │ objects and Events
//!   apiserver ─ a simulated kube-apiserver on loopback that serves them, and misbehaves on command
//!     │ HTTP
//!   the recorder, as users run it
//! ```

pub mod apiserver;
pub mod bench;
pub mod chaos;
pub mod client;
pub mod clock;
pub mod cluster_sim;
pub mod faulty_disk;
pub mod generator;
pub mod ingest_path;
mod manifests;
pub mod picture;
pub mod protocol_model;
pub mod recorder;
pub mod terminal;
mod timer_queue;
