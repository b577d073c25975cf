//! How large the volume is that the database lies on.

use std::path::Path;

/// Size of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// All of it, in bytes.
    pub total: u64,
    /// What we may still write, in bytes.
    pub available: u64,
}

/// What is kept free on a large volume: the steps of a clean-up still fit (one writes some hundred KiB of log), and so
/// does the write-ahead log.
const RESERVE: u64 = 16 << 20;

impl Volume {
    /// What is to be kept free for the recorder; of a small volume an eighth is enough.
    pub fn reserve(self) -> u64 {
        RESERVE.min(self.total / 8)
    }
}

/// Asks the operating system for the volume of `directory`; `None` when it does not say.
pub fn statvfs(directory: &Path) -> Option<Volume> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(Volume {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        available: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_can_be_measured() {
        let volume = statvfs(Path::new("/")).unwrap();
        assert!(volume.total >= volume.available && volume.total > 0);
    }
}
