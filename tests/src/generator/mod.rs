//! Generates cluster data from a seed: a history for benchmarks and tests, a live cluster for the rest.
//!
//! ```text
//!   cluster ── state: nodes, workloads, pods
//!      │
//!   engine ─── a queue of actions: rollouts, jobs, crashes, node faults
//!      │ EventDraft (messages: the components' texts)
//!   event_correlator ─ as client-go: counts, series, combined Events, spam filter
//!      │ observations
//!      ├─ history   an iterator over weeks, without a server
//!      └─ live      into a simulated API server, with the objects
//! ```
//!
//! The seed determines everything, in every version: nothing depends on a clock, on hash order or on an external crate.

mod actions;
mod cluster;
mod engine;
mod event;
mod event_correlator;
mod history;
mod live;
mod messages;
pub(crate) mod names;
mod objects;
mod rng;
mod scenarios;
mod setup;

pub use actions::{Cause, Probe, Shortage};
pub use cluster::{Cluster, PodOutcome, Size};
pub use event::{Change, Event, Involved, InvolvedKind, Observation, Reporter, Uid};
pub(crate) use event_correlator::random_uid;
pub use history::History;
pub use live::{LiveCluster, NotFound, burst, deliver};
pub(crate) use names::safe_string;
pub use names::{suffix_of, uuid_text};
pub use rng::Rng;
