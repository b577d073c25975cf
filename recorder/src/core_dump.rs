//! Refuses core dumps of this process.
//!
//! Values of ConfigMaps and of environment variables are dropped while they are decoded, but the buffers that they came
//! through hold them until they are used again, and the token is in memory for as long as it is used. Nobody needs to read
//! them from a file after a crash.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// The kernel writes no core dump of this process from now on, and lets no process of the same user read its memory.
///
/// # Errors
/// The kernel refuses it.
pub fn refuse() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_cannot_be_dumped_any_more() {
        let now = rustix::process::dumpable_behavior;
        assert_eq!(now().unwrap(), DumpableBehavior::Dumpable);
        refuse().unwrap();
        assert_eq!(now().unwrap(), DumpableBehavior::NotDumpable);
        set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
    }
}
