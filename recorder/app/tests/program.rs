//! Tests that run the program or need their own process.

mod command_line;
mod http;
mod import;
mod panics;
mod support;
