//! The recorder: watches a cluster and records it in SQLite. See docs/ARCHITECTURE.md.

pub mod check;
pub mod cli;
pub mod config;
#[cfg(test)]
mod docs;
pub mod engine;
pub mod events;
pub mod exit;
#[cfg(test)]
#[path = "../../k8s/src/fake_api.rs"]
mod fake_api;
pub mod lifecycle;
pub mod logging;
mod mark_key;
pub mod memory;
pub mod metrics;
pub mod panics;
pub mod serve;
mod supervisor;
mod tracked_consumer;
mod tracked_task;
mod version_task;

pub use supervisor::{run, runtime};

/// Version of the recorder.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that it was built from, if the build sets it.
pub const REVISION: &str = match option_env!("KUBE9_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
