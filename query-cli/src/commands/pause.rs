//! `pause`: the main process of the query container.
//!
//! As PID 1 it inherits the orphans of interrupted execs and reaps them. It exits immediately on SIGTERM, so that the pod does
//! not have to be killed.

use rustix::process::{WaitOptions, wait};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use crate::error::CliError;

/// Never returns on its own. SIGTERM and SIGINT end the process: see `main`.
pub(super) fn run() -> Result<(), CliError> {
    let mut signals = Signals::new([SIGCHLD])?;
    loop {
        // Also before the first wait: a child may have exited before the handler was installed.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        signals.wait();
    }
}
