//! What the recorder and the query CLI agree on: the model, the ids, the schema and the read path.
//!
//! ```text
//!   model ── plain data: event types, severities, object references
//!   time  ── Timestamp: milliseconds since 1970, RFC 3339 in and out
//!   id    ── EventKey: one integer that is id, order and time index at once
//!   schema ─ the DDL as text; no connection
//!   read  ── open read-only, Filter, page + total, one row, status
//!   visible ─ which characters a person cannot see
//! ```
//!
//! Invariant: this crate never names kube, tokio, hyper or a metrics crate, and contains no statement that writes.
//! The query binary links it and nothing else of ours, so it cannot contain write code.

// The fixture of the tests names this crate as its users do.
#[cfg(test)]
extern crate self as kube9_shared;

pub mod id;
pub mod model;
pub mod read;
pub mod schema;
pub mod time;
pub mod visible;
