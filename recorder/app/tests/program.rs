//! Tests that run the program, or a process of their own.

mod command_line;
mod http;
mod import;
mod panics;
mod support;
