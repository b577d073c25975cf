//! The recorder: watches a cluster and writes what happens to SQLite. docs/ARCHITECTURE.md draws the whole.

pub mod check;
pub mod cli;
pub mod config;
#[cfg(test)]
mod docs;
pub mod engine;
pub mod exit;
#[cfg(test)]
#[path = "../../k8s/src/fake_api.rs"]
mod fake_api;
pub mod life;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod panics;
pub mod serve;
pub mod source;
mod tasks;

pub use tasks::{run, runtime};

/// Version of the recorder.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit it was built from, where the build says so.
pub const REVISION: &str = match option_env!("KUBE9_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
