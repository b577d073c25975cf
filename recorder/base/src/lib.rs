//! The foundation of the recorder's crates. Knows nothing about Events, the database or the Kubernetes API.
//!
//! ```text
//!   clock      wall clock and monotonic clock, which tests control
//!   backoff    delay between attempts
//!   health     checks and watchdogs, and what the probes report
//!   metrics    metric families whose labels are enums
//!   settings   sections of the configuration, and the sources of each setting
//!   relist     requests to a watcher to list again
//!   throttle   rate limit for log messages
//! ```

pub mod backoff;
pub mod clock;
pub mod health;
pub mod metrics;
pub mod relist;
pub mod settings;
pub mod throttle;
