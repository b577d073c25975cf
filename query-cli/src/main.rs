//! `kube9-query`: asks a kube9 database. Reads only; runs anywhere, as a container's main process too.
//!
//! ```text
//!   args ── words → typed requests; does no work
//!     └─ commands/* ── one file each: ask shared::read, hand rows to output
//!          └─ output (wire types, json, yaml, csv) · table · text (nothing hostile reaches the terminal)
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

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    // As a container's first process nobody else gives these signals an effect.
    for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
        let armed = Arc::new(AtomicBool::new(true));
        // Fails only for signals that cannot be caught; then the default action stays, which ends the process too.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, code, armed);
    }
    match args::parse(std::env::args_os()).and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
