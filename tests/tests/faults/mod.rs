//! The whole recorder against the simulated API server: each fault by name, and what is in the database afterwards.
//!
//! Nothing waits for a fixed time: tests wait for conditions, and `PATIENCE` only bounds a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

mod connection;
mod disk;
mod events;
mod flow;
mod harness;
mod health;
mod io;
mod objects;
mod panics;
mod watch;
