//! What a soak found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::super::comparison::{Comparison, write_faults};
use super::super::process::ShortRetention;
use super::Options;
use super::sample::{RunMemory, Sample};

/// Memory is flat if, in every run except the first, the mean of the second half is at most this multiple of the first
/// half.
const GROWTH_MAX: f64 = 1.10;

/// The log is cut to 16 MiB after a checkpoint; a disk whose syncs fail for six seconds, or a start, adds to that.
const WAL_BYTES_MAX: u64 = 32 << 20;

/// Retention starts below the limit; a fault can delay it while rows are written.
const USED_PERCENT_MAX: u64 = 105;

/// A file is shrunk once an eighth of it, or a MiB, is free.
const FILE_PERCENT_MAX: u64 = 150;

/// What a soak found.
#[derive(Debug)]
pub struct Report {
    /// How it was run.
    pub options: Options,
    /// For how long rows were kept.
    pub retention: ShortRetention,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Runs of the recorder.
    pub runs: u64,
    /// What was measured.
    pub samples: Vec<Sample>,
    /// Memory by run of the recorder.
    pub memory: Vec<RunMemory>,
    /// Scrapes of `/metrics` whose event counts were checked.
    pub scrapes: u64,
    /// Scrapes whose event counts did not balance.
    pub unbalanced: u64,
    /// Runs of `kube9-query`.
    pub queries: usize,
    /// Runs without a valid answer.
    pub failed_queries: Vec<String>,
    /// The longest time that a query process took.
    pub slowest: Duration,
    /// Rows of Events deleted because of their age.
    pub expired: usize,
    /// Rows of Events deleted because of the size.
    pub evicted: usize,
    /// Events with a row that was deleted after an unseen change: excluded from the comparison.
    pub excluded: usize,
    /// Rows created and deleted between two polls whose Event is unknown; those Events look lost.
    pub unseen: usize,
    /// Rows that were deleted or shrank against the rules.
    pub wrongly_deleted: Vec<String>,
    /// The comparison with what the API server accepted, over the whole time.
    pub comparison: Comparison,
}

impl Report {
    fn most(&self, of: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(of).max().unwrap_or(0)
    }

    fn is_flat(&self) -> bool {
        let flat = |run: &RunMemory| run.late_kib <= run.early_kib * GROWTH_MAX;
        // The first run starts with an empty database and a cluster without a history, so its memory grows.
        let mut settled = self.memory.iter().filter(|run| run.run > 1);
        self.memory.len() > 1 && settled.all(flat)
    }

    fn is_bounded(&self) -> bool {
        self.most(|s| s.used_bytes) <= self.options.max_bytes / 100 * USED_PERCENT_MAX
            && self.most(|s| s.file_bytes) <= self.options.max_bytes / 100 * FILE_PERCENT_MAX
            && self.most(|s| s.wal_bytes) <= WAL_BYTES_MAX
    }

    /// No errors, and everything that should happen happened.
    pub fn is_clean(&self) -> bool {
        self.comparison.is_clean()
            && self.is_flat()
            && self.is_bounded()
            && self.unbalanced == 0
            && self.scrapes > 0
            && self.failed_queries.is_empty()
            && self.queries > 0
            && self.expired > 0
            && self.evicted > 0
            && self.wrongly_deleted.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = |is_fine: bool| if is_fine { "yes" } else { "NO" };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let writes = self.samples.last().map_or(0, |last| last.writes);
        writeln!(
            f,
            "soak: {} s, seed {}, {writes} writes to Events, {} faults, {} runs of the recorder",
            self.options.duration.as_secs(),
            self.options.seed,
            self.faults.values().sum::<u64>(),
            self.runs
        )?;
        for (name, times) in &self.faults {
            writeln!(f, "  {name:<32}{times}")?;
        }
        writeln!(f, "memory flat       {}", comparison(self.is_flat()))?;
        for run in &self.memory {
            writeln!(
                f,
                "  run {} {:>6.0} s: early {:.0} KiB, late {:.0} KiB ({:+.1} %), peak {} KiB, slope {:+.1} KiB per minute",
                run.run,
                run.seconds,
                run.early_kib,
                run.late_kib,
                (run.late_kib / run.early_kib - 1.0) * 100.0,
                run.peak_kib,
                run.slope_kib
            )?;
        }
        writeln!(
            f,
            "files bounded     {}: used at most {:.2} MiB of {:.2}, file {:.2} MiB, log {:.2} MiB",
            comparison(self.is_bounded()),
            mib(self.most(|s| s.used_bytes)),
            mib(self.options.max_bytes),
            mib(self.most(|s| s.file_bytes)),
            mib(self.most(|s| s.wal_bytes))
        )?;
        writeln!(
            f,
            "retention         {} rows by age ({} and {} s), {} by size ({} Events excluded, {} rows never seen), {} wrongly",
            self.expired,
            self.retention.info_warning.as_secs(),
            self.retention.error_critical.as_secs(),
            self.evicted,
            self.excluded,
            self.unseen,
            self.wrongly_deleted.len()
        )?;
        write_faults(f, &self.wrongly_deleted)?;
        writeln!(
            f,
            "queue and lag     at most {} items, {} ms",
            self.most(|s| s.queue),
            self.most(|s| s.lag_ms)
        )?;
        writeln!(
            f,
            "event counts      {} scrapes, {} unbalanced",
            self.scrapes, self.unbalanced
        )?;
        writeln!(
            f,
            "query processes   {}, {} failed, slowest {} ms",
            self.queries,
            self.failed_queries.len(),
            self.slowest.as_millis()
        )?;
        write_faults(f, &self.failed_queries)?;
        fmt::Display::fmt(&self.comparison, f)
    }
}
