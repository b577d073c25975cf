//! Talks to the Kubernetes API: the client, the one list+watch state machine, the informers. No other crate names kube.
//!
//! ```text
//!   connect ─▶ api (GET, bounded) ─▶ pages (lists, watch lines) ─▶ watcher (list and watch) ─▶ a consumer: informer ─▶ news
//! ```
//!
//! Invariant: this side knows neither the store nor the rules. What a watch shows goes to its consumer; a position is
//! handed in at the start.

pub mod access;
pub mod api;
pub mod config;
pub mod connect;
#[cfg(test)]
mod fake_api;
pub mod held;
pub mod informer;
pub mod metrics;
pub mod pages;
pub mod report;
pub mod status_document;
pub mod watcher;

pub use kube::Client;
