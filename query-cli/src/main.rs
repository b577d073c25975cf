//! The binary: signals, then [`kube9_query::run`].

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
    kube9_query::run(std::env::args_os())
}
