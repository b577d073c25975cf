//! From the sources to the writer.

pub mod push;
pub mod queue;
