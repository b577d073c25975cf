//! Tests that run the program.

mod bounds;
mod docs;
mod ends;
mod golden;
mod hostile;
mod states;
mod support;
mod watch;
