//! `kube9-query`: queries a kube9 database. Read-only; also the main process of the query container (`pause`).
//!
//! ```text
//!   args ── command line → Request
//!     └─ commands/* ── one file each: query kube9_db::read, format the rows
//!          ├─ answers ── what several rows mean together: values, no printing
//!          └─ output (JSON, YAML, CSV documents) · table · text (escapes untrusted text)
//!   watchdog ── time limit of every command
//! ```

mod answers;
mod args;
mod commands;
mod error;
mod output;
mod table;
mod target;
mod terminal;
mod text;
mod time_arg;
mod watchdog;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

/// Exit codes. A closed pipe is a success.
pub mod exit_code {
    /// The command succeeded.
    pub const SUCCESS: u8 = 0;
    /// The command failed, or the event was not found, or the status is unavailable.
    pub const FAILED: u8 = 1;
    /// The command line is invalid; no query was run.
    pub const USAGE: u8 = 2;
    /// SIGINT ended the process.
    pub const INTERRUPTED: u8 = 130;
    /// SIGTERM ended the process.
    pub const TERMINATED: u8 = 143;
}

/// Environment variables.
pub mod env {
    /// Path of the database file.
    pub const DATABASE: &str = "KUBE9_DB";
    /// Directory of the database, as in the original operator.
    pub const DATABASE_DIR: &str = "DB_PATH";
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    args::command()
}

/// Runs a command line, whose first word is the program's name. Prints the result to stdout and errors to stderr.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = args::parse(args.into_iter()).and_then(commands::run);
    watchdog::stop();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
