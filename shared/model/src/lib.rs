//! Plain data that the recorder and the query share. No I/O.
//!
//! ```text
//!   row     event types, severities, object references
//!   time    Timestamp: milliseconds since 1970, RFC 3339 in and out
//!   id      EventKey: one integer that is id, order and time index in one
//!   invisible  which characters must be escaped
//!   record  a row as its producer wrote it; identity: uid and resourceVersion
//!   change  how an object changes: tracked kinds, stored bodies, field changes, patches
//!   watch   watch ids, origins and markers; resume: where a source resumes
//!   commit_stats  counts of committed Events for the rules
//!   label   closed sets of words for metrics
//! ```

#![warn(missing_docs)]

pub mod change;
pub mod commit_stats;
pub mod hash;
pub mod id;
pub mod identity;
pub mod invisible;
pub mod label;
pub mod placeholder;
pub mod record;
pub mod resume;
mod row;
pub mod time;
pub mod watch;

pub use row::{CHANGE_CODE, EventType, ObjectRef, Severity, Tenant, UnknownWord};
