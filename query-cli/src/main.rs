//! The binary: signals, then [`kube9_query::run`].

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube9_query::exit_code::{INTERRUPTED, TERMINATED};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    // PID 1 of a container has no default action for these signals.
    for (signal, code) in [(SIGINT, INTERRUPTED), (SIGTERM, TERMINATED)] {
        let armed = Arc::new(AtomicBool::new(true));
        // Fails only for signals that cannot be caught, whose default action ends the process.
        let _ = signal_hook::flag::register_conditional_shutdown(signal, code.into(), armed);
    }
    kube9_query::run(std::env::args_os())
}
