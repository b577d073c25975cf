//! A wall clock that jumps: its offset is read from a file, which chaos rewrites while the recorder runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube9_base::clock::TimeSource;
use kube9_model::time::Timestamp;

/// How often the file is read.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Name of the file in the working folder.
const FILE: &str = "clock-offset";

/// The machine's clocks, with the offset added to the wall clock.
pub(super) struct SkewedTime {
    file: PathBuf,
    origin: Instant,
    seen: Mutex<(Option<Instant>, i64)>,
}

impl SkewedTime {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            file: folder.join(FILE),
            origin: Instant::now(),
            seen: Mutex::default(),
        }
    }

    fn offset(&self) -> i64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0.is_none_or(|at| at.elapsed() >= POLL_EVERY) {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            // A file that is being rewritten is empty.
            *seen = (Some(Instant::now()), text.trim().parse().unwrap_or(seen.1));
        }
        seen.1
    }
}

impl TimeSource for SkewedTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().millis() + self.offset())
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Sets the offset of the recorder's clock.
pub(super) fn set(folder: &Path, offset_ms: i64) -> std::io::Result<()> {
    fs::write(folder.join(FILE), offset_ms.to_string())
}
