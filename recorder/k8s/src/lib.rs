//! Talks to the Kubernetes API: the client, the one list+watch state machine, the informers. No other crate names kube.
//!
//! ```text
//!   connect ─▶ api (bounded GET) ─▶ pages (lists, watch lines) ─▶ watcher (list and watch) ─▶ a consumer, e.g. informer
//! ```
//!
//! Invariant: this crate knows neither the store nor the rules. A watcher passes what it receives to its consumer; the
//! caller passes in the position to resume from.

pub mod access;
pub mod api;
pub mod config;
pub mod connect;
pub mod discovery;
#[cfg(test)]
mod fake_api;
pub mod informer;
pub mod known_objects;
pub mod metrics;
pub mod pages;
pub mod resource;
pub mod server_version;
pub mod status_document;
pub mod tracked_watches;
pub mod walk;
pub mod watch_status;
pub mod watcher;

pub use kube::Client;
