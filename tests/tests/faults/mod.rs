//! The whole recorder against the simulated API server: each fault by name, and the database afterwards.
//!
//! Tests wait for conditions, never for a fixed time; `PATIENCE` only bounds a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

mod connection;
mod disk;
mod events;
mod flow;
pub(crate) mod harness;
mod health;
mod io;
mod objects;
mod panics;
mod watch;
