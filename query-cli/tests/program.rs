//! Tests that run the binary.

mod blame;
mod database_states;
mod docs_examples;
mod exit_and_errors;
mod golden;
mod impact;
mod memory_limits;
mod objects;
mod story;
mod support;
mod untrusted_input;
mod watch;
