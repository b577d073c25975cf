//! The one generator of cluster data: history for benches and tests, a living cluster for the rest.
//!
//! ```text
//!   cluster ── the cast: nodes, workloads, pods, and their state
//!      │
//!   engine ─── a queue of acts; acts/ what happens: rollouts, jobs, crashes, node trouble
//!      │ said (says: the components' own words)
//!   correlate ─ client-go's libraries: counts, series, combined Events, spam filter
//!      │ observations
//!      ├─ history   an iterator over weeks, nothing kept
//!      └─ live      into a simulated API server, with the objects themselves (objects: as crate::manifests has them)
//! ```
//!
//! Everything follows from a seed, and a seed means the same for ever: no clock, no hash order, no outside crate
//! decides anything.

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
