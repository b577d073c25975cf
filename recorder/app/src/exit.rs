//! How the process ends: its exit codes, which one an outcome has, and without a core dump.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing::{error, info};

/// It did what it was asked for.
pub const FINE: u8 = 0;
/// It failed: the cluster, the volume, the port, or a check that found something missing.
pub const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub const WRONG_USAGE: u8 = 2;
/// kube9 itself is at fault.
pub const DEFECT: u8 = 3;

/// kube9 itself is at fault: a task or a thread panicked, or ended though none does. The process must stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Defect(pub String);

/// Logs how a recorder ended; returns the exit code.
pub fn code_of(outcome: &anyhow::Result<()>) -> u8 {
    match outcome {
        Ok(()) => {
            info!("stopped");
            FINE
        }
        Err(error) => {
            error!(error = format!("{error:#}"), "failed");
            if error.is::<Defect>() { DEFECT } else { FAILED }
        }
    }
}

/// The kernel writes no core dump of this process from now on, and lets no process of the same user read its memory.
///
/// Values of ConfigMaps and of environment variables are dropped while they are decoded, but the buffers that they came
/// through hold them until they are used again, and the token is in memory for as long as it is used. None of it
/// is worth reading from a file after a crash.
///
/// # Errors
/// The kernel refuses it.
pub fn refuse_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn code_of_a_defect_is_its_own_whatever_the_context() {
        let defect = || Err(Defect("the writer panicked".to_owned()).into());
        assert_eq!(code_of(&defect()), DEFECT);
        assert_eq!(code_of(&defect().context("recording")), DEFECT);
        assert_eq!(code_of(&Err(anyhow!("no volume"))), FAILED);
        assert_eq!(code_of(&Ok(())), FINE);
    }

    #[test]
    fn this_process_cannot_be_dumped_any_more() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        refuse_core_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }
}
