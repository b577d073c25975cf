//! Size and free space of the database's volume.

use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Bytes.
    pub total: u64,
    /// Bytes that this process may still write.
    pub available: u64,
}

/// Kept free on a large volume for the write-ahead log and the steps of retention (one writes some hundred KiB of log).
const RESERVE: u64 = 16 << 20;

impl Volume {
    /// Bytes to keep free for the recorder; an eighth of a small volume is enough.
    pub fn reserve(self) -> u64 {
        RESERVE.min(self.total / 8)
    }
}

/// The volume of `directory`; `None` if the operating system does not report it.
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
    fn statvfs_root_has_space() {
        let volume = statvfs(Path::new("/")).unwrap();
        assert!(volume.total >= volume.available && volume.total > 0);
    }
}
