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
pub mod client;
pub mod clock;
pub mod day;
mod due;
pub mod faulty_disk;
mod manifests;
pub mod model;
pub mod path;
pub mod picture;
pub mod recorder;
pub mod terminal;
pub mod torture;
pub mod world;
