//! What a soak found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::super::comparison::{Comparison, write_faults};
use super::super::process::ShortRetention;
use super::Options;
use super::sample::{LifeMemory, Sample};

/// Memory is flat if the late half of a life (but for the first) needs at most so many times what the early half did.
const GROWTH_MAX: f64 = 1.10;

/// The log is cut to 16 MiB after a checkpoint; a disk whose syncs fail for six seconds, or a start, adds to that.
const WAL_BYTES_MAX: u64 = 32 << 20;

/// The clean-up begins below the limit; what is written while a fault keeps it from deleting comes on top.
const USED_PERCENT_MAX: u64 = 105;

/// A file gives pages back once an eighth of it, or a MiB, is free.
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
    /// Lives of the recorder.
    pub lives: u64,
    /// What was measured.
    pub samples: Vec<Sample>,
    /// Memory by life.
    pub memory: Vec<LifeMemory>,
    /// Scrapes of `/metrics` whose account was checked.
    pub scrapes: u64,
    /// Of these, such that did not balance.
    pub unbalanced: u64,
    /// Questions to `kube9-query`.
    pub queries: usize,
    /// Those without a proper answer.
    pub failed_queries: Vec<String>,
    /// The longest time that a query process took.
    pub slowest: Duration,
    /// Rows of Events deleted because of their age.
    pub expired: usize,
    /// Rows of Events deleted because of the size.
    pub evicted: usize,
    /// Events of which a row went after a change that no look had seen: the comparison leaves them out.
    pub excluded: usize,
    /// Rows that came and went between two looks and cannot be told whose they were; their Events look lost.
    pub unseen: usize,
    /// Rows that went or shrank and should not have.
    pub wrongly_deleted: Vec<String>,
    /// The comparison with what the API server accepted, over the whole time.
    pub comparison: Comparison,
}

impl Report {
    fn most(&self, of: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(of).max().unwrap_or(0)
    }

    fn is_flat(&self) -> bool {
        let flat = |life: &LifeMemory| life.late_kib <= life.early_kib * GROWTH_MAX;
        // The first life begins with an empty database and a cluster without a history: it fills.
        let mut settled = self.memory.iter().filter(|life| life.life > 1);
        self.memory.len() > 1 && settled.all(flat)
    }

    fn is_bounded(&self) -> bool {
        self.most(|s| s.used_bytes) <= self.options.max_bytes / 100 * USED_PERCENT_MAX
            && self.most(|s| s.file_bytes) <= self.options.max_bytes / 100 * FILE_PERCENT_MAX
            && self.most(|s| s.wal_bytes) <= WAL_BYTES_MAX
    }

    /// Nothing is wrong, and what should have happened did.
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
            "soak: {} s, seed {}, {writes} writes to Events, {} faults, {} lives",
            self.options.duration.as_secs(),
            self.options.seed,
            self.faults.values().sum::<u64>(),
            self.lives
        )?;
        for (name, times) in &self.faults {
            writeln!(f, "  {name:<32}{times}")?;
        }
        writeln!(f, "memory flat       {}", comparison(self.is_flat()))?;
        for life in &self.memory {
            writeln!(
                f,
                "  life {} {:>6.0} s: early {:.0} KiB, late {:.0} KiB ({:+.1} %), peak {} KiB, slope {:+.1} KiB a minute",
                life.life,
                life.seconds,
                life.early_kib,
                life.late_kib,
                (life.late_kib / life.early_kib - 1.0) * 100.0,
                life.peak_kib,
                life.slope_kib
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
            "clean-up          {} rows by age ({} and {} s), {} by size ({} Events not judged, {} rows never seen), {} wrongly",
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
            "account           {} scrapes, {} unbalanced",
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
