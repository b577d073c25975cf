//! `kube9-query`: queries a kube9 database. Read-only; also the main process of the query container (`pause`).
//!
//! ```text
//!   args ── command line → Request
//!     └─ commands/* ── one file each: query kube9_db::read, format the rows
//!          └─ output (JSON, YAML, CSV documents) · table · text (escapes untrusted text)
//!   watchdog ── time limit of every command
//! ```
//!
//! Exit codes: 0 success, 1 failed or not found, 2 invalid usage, 130 interrupted. A closed pipe is not an error.

mod args;
mod commands;
mod error;
mod output;
mod table;
mod terminal;
mod text;
mod time_arg;
mod watchdog;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a command line, whose first word is the program's name. Prints the result to stdout and errors to stderr.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match args::parse(args.into_iter()).and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
