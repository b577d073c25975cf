//! What the crates of the recorder are built with. Knows nothing of Events, the database or Kubernetes' API.
//!
//! ```text
//!   clock      wall clock and steady clock, which tests own
//!   backoff    waiting between attempts
//!   health     the board on which tasks report, and what probes conclude from it
//!   metrics    families whose labels are closed sets
//!   settings   sections of the configuration, and where a setting may come from
//!   relist     the call to a source to list again
//!   throttle   log messages that others can cause at will
//! ```

pub mod backoff;
pub mod clock;
pub mod health;
pub mod metrics;
pub mod relist;
pub mod settings;
pub mod throttle;
