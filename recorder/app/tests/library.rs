//! Tests of the parts in this process.

mod restart;
mod secrets;
