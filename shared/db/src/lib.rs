//! The database as the recorder and the query agree on it.
//!
//! ```text
//!   schema ─ the DDL as text; no connection
//!   read  ── open read-only, Filter, page + total, one row, status
//! ```
//!
//! Invariant: this crate contains no statement that writes. Of ours the query binary links it and kube9-model only, so
//! the query cannot contain write code.

#![warn(missing_docs)]

// The fixture of the tests names this crate as its users do.
#[cfg(test)]
extern crate self as kube9_db;

pub mod read;
pub mod schema;
