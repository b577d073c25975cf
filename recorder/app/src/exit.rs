//! How the process ends: the exit codes, and no core dump.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing::{error, info};

/// Success.
pub const SUCCESS: u8 = 0;
/// A failure: the cluster, the volume, the port, or a failed check.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const WRONG_USAGE: u8 = 2;
/// A bug in kube9.
pub const DEFECT: u8 = 3;

/// A bug in kube9: a task or a thread panicked or exited unexpectedly. The process must stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Defect(pub String);

/// Logs how the recorder ended; returns the exit code.
pub fn exit_code(outcome: &anyhow::Result<()>) -> u8 {
    match outcome {
        Ok(()) => {
            info!("stopped");
            SUCCESS
        }
        Err(error) => {
            error!(error = format!("{error:#}"), "failed");
            if error.is::<Defect>() { DEFECT } else { FAILED }
        }
    }
}

/// Disables core dumps of this process, and access to its memory by other processes of the same user.
///
/// Values of ConfigMaps and of environment variables are dropped while they are decoded, but they remain in the buffers
/// that they were read into until these are reused. The token is in memory as long as it is used.
///
/// # Errors
/// The kernel does not allow it.
pub fn disable_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn exit_code_of_a_defect_ignores_the_context() {
        let defect = || Err(Defect("the writer panicked".to_owned()).into());
        assert_eq!(exit_code(&defect()), DEFECT);
        assert_eq!(exit_code(&defect().context("recording")), DEFECT);
        assert_eq!(exit_code(&Err(anyhow!("no volume"))), FAILED);
        assert_eq!(exit_code(&Ok(())), SUCCESS);
    }

    #[test]
    fn disable_core_dumps_makes_the_process_not_dumpable() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        disable_core_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }
}
