//! `kube9-query`: asks a kube9 database. Reads only; runs anywhere, as a container's main process too.
//!
//! ```text
//!   args ── words → typed requests; does no work
//!     └─ commands/* ── one file each: ask shared::read, hand rows to output
//!          └─ output (wire types, json, yaml, csv) · table · text (nothing hostile reaches the terminal)
//!   watchdog ── the time limit, whatever a command does
//! ```
//!
//! Exit codes: 0 fine, 1 failed or not found, 2 usage, 130 interrupted. A closed pipe is not an error.

mod args;
mod commands;
mod failure;
mod moment;
mod output;
mod screen;
mod table;
mod text;
mod watchdog;

use std::ffi::OsString;
use std::process::ExitCode;

/// Does what the words of a command line ask for (the first one is the program's name); prints the result to stdout,
/// errors to stderr, and gives the exit code.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::parse(words.into_iter()).and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
