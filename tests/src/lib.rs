//! What all whole-system tests, the demo, the bench and the torture share.
//!
//! ```text
//!   world ───── the one generator of cluster data: history for benches, a living cluster for the rest
//!   day ─────── a day of a cluster with its ground truth, for the rules; both with the API forms of manifests
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
