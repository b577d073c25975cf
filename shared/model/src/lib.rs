//! Plain data that the recorder and the query share. No I/O.
//!
//! ```text
//!   row     event types, severities, object references
//!   time    Timestamp: milliseconds since 1970, RFC 3339 in and out
//!   id      EventKey: one integer that is id, order and time index at once
//!   visible which characters a person cannot see
//! ```

pub mod id;
mod row;
pub mod time;
pub mod visible;

pub use row::{EventType, Holder, ObjectRef, Severity, UnknownWord};
