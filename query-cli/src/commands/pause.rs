//! `pause`: what the query container runs between two `kubectl exec`.
//!
//! As the container's first process it inherits what an interrupted exec leaves behind, so it reaps; and it ends at
//! SIGTERM at once, so that the pod need not be killed.

use rustix::process::{WaitOptions, wait};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Sleeps for ever. SIGTERM and SIGINT end the process: see `main`.
pub(super) fn run() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGCHLD])?;
    loop {
        // Before waiting, too: a child may have ended before the handler was there.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        signals.wait();
    }
}
