//! What several rows mean together. Values, without printing: the command line shows them, and other outputs may.
//!
//! ```text
//!   change, fields_text   a row about a change in words
//!   impact                what depends on an object, at a time
//!   story                 what happened to a workload: failures, what preceded them, what they hit, suspects
//! ```

pub(crate) mod change;
pub(crate) mod fields_text;
pub(crate) mod impact;
pub(crate) mod story;
