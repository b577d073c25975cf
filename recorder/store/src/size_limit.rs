//! Limits the size of the database and decides how much to delete.
//!
//! Measured in *used pages*: the file shrinks only after retention, and not at all while a reader pins it, so a loop on
//! file size would delete everything.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::volume::Volume;

/// Share of the volume that the database may use where `storage.max_bytes` is unset, in percent.
const VOLUME_PERCENT: u64 = 60;

/// A retention run starts at this percentage of the limit, so that the database stays below the limit while it runs.
const BEGIN_PERCENT: u64 = 95;

/// Percentage of the limit that a run reaches.
const LEAVE_PERCENT: u64 = 85;

/// Free bytes that the file keeps while the volume is short: about ten thousand rows.
const FILE_RESERVE: u64 = 1 << 20;

/// Shortest time between two checks of the pages.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// Shortest time between two checks of the volume.
const VOLUME_EVERY: Duration = Duration::from_secs(5);

/// Whether less than the reserve is free. The file then keeps the pages that retention frees, for new rows.
fn is_short(volume: Volume) -> bool {
    volume.available < volume.reserve()
}

/// Pages of the database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) size: u64,
    pub(super) all: u64,
    pub(super) free: u64,
}

impl Pages {
    pub(super) fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let number = |pragma: &str| -> rusqlite::Result<u64> {
            conn.query_row(pragma, [], |row| row.get::<_, i64>(0))
                .map(|n| n as u64)
        };
        Ok(Self {
            size: number("PRAGMA page_size")?,
            all: number("PRAGMA page_count")?,
            free: number("PRAGMA freelist_count")?,
        })
    }

    pub(super) const fn used_bytes(self) -> u64 {
        self.all.saturating_sub(self.free) * self.size
    }

    const fn free_bytes(self) -> u64 {
        self.free * self.size
    }
}

/// Why rows must be deleted before their retention ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pressure {
    pub(super) used: u64,
    pub(super) target: u64,
    pub(super) limit: u64,
    /// The volume is short of space, independent of the limit.
    pub(super) volume_is_short: bool,
}

impl Pressure {
    /// Only the volume is the reason, not the limit.
    fn is_for_the_volume(self) -> bool {
        self.used <= begin(self.limit)
    }
}

/// Checks the database's size.
#[derive(Debug)]
pub(super) struct SizeLimit {
    max_bytes: Option<u64>,
    directory: PathBuf,
    measure: fn(&Path) -> Option<Volume>,
    volume: Option<Volume>,
    volume_checked: Option<Instant>,
    pages_checked: Option<Instant>,
}

impl SizeLimit {
    /// `max_bytes` as configured; `directory` lies on the volume.
    pub(super) fn new(
        max_bytes: Option<u64>,
        directory: PathBuf,
        measure: fn(&Path) -> Option<Volume>,
    ) -> Self {
        Self {
            max_bytes,
            directory,
            measure,
            volume: None,
            volume_checked: None,
            pages_checked: None,
        }
    }

    /// Whether the volume has so little space that the file must keep its free pages.
    pub(super) fn volume_is_short(&self) -> bool {
        self.volume.is_some_and(is_short)
    }

    /// Makes the next check due immediately: the volume turned out to be full.
    pub(super) fn force_check(&mut self) {
        self.volume_checked = None;
        self.pages_checked = None;
    }

    /// Checks at most every [`CHECK_EVERY`]; `Some` if rows must be deleted. `log_fills`: the write-ahead log is what
    /// fills the volume, and deleting rows would make it longer.
    pub(super) fn check(
        &mut self,
        conn: &Connection,
        log_fills: bool,
    ) -> rusqlite::Result<Option<Pressure>> {
        if self
            .pages_checked
            .is_some_and(|at| at.elapsed() < CHECK_EVERY)
        {
            return Ok(None);
        }
        self.pages_checked = Some(Instant::now());
        if self
            .volume_checked
            .is_none_or(|at| at.elapsed() >= VOLUME_EVERY)
        {
            self.volume_checked = Some(Instant::now());
            self.volume = (self.measure)(&self.directory);
        }
        let pages = Pages::of(conn)?;
        let found = pressure(self.max_bytes, self.volume, pages);
        Ok(found.filter(|found| !(log_fills && found.is_for_the_volume())))
    }
}

const fn begin(limit: u64) -> u64 {
    limit / 100 * BEGIN_PERCENT
}

fn pressure(max_bytes: Option<u64>, volume: Option<Volume>, pages: Pages) -> Option<Pressure> {
    let limit = match (max_bytes, volume) {
        (Some(max), _) => max,
        (None, Some(volume)) => volume.total / 100 * VOLUME_PERCENT,
        (None, None) => u64::MAX, // a volume that cannot be measured sets no limit
    };
    let used = pages.used_bytes();
    let is_short = volume.is_some_and(is_short);
    if used > begin(limit) {
        return Some(Pressure {
            used,
            target: limit / 100 * LEAVE_PERCENT,
            limit,
            volume_is_short: is_short,
        });
    }
    // Starts at half the reserve and ends at the whole reserve, so that a run frees enough. A file smaller than the
    // reserve did not fill the volume, and emptying it would not help.
    let worth_it = used > FILE_RESERVE && pages.free_bytes() < FILE_RESERVE / 2;
    (is_short && worth_it).then(|| Pressure {
        used,
        target: used.saturating_sub(FILE_RESERVE - pages.free_bytes()),
        limit,
        volume_is_short: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pages(used: u64, free: u64) -> Pages {
        Pages {
            size: 4096,
            all: (used + free) / 4096,
            free: free / 4096,
        }
    }

    #[test]
    fn pressure_near_limit_or_short_volume_sets_target() {
        let volume = |available| {
            Some(Volume {
                total: 1000 * MIB,
                available,
            })
        };
        for (max, volume, used, free, target) in [
            (Some(100 * MIB), volume(900 * MIB), 90 * MIB, 0, None),
            (Some(100 * MIB), volume(900 * MIB), 96 * MIB, 0, Some(85)),
            // Free pages are not used: the file may be larger than the limit.
            (
                Some(100 * MIB),
                volume(900 * MIB),
                90 * MIB,
                900 * MIB,
                None,
            ),
            (None, volume(400 * MIB), 500 * MIB, 0, None),
            (None, volume(400 * MIB), 580 * MIB, 0, Some(510)),
            (None, None, 580 * MIB, 0, None),
            // Other files filled the volume: free only what new rows need.
            (None, volume(MIB), 100 * MIB, 0, Some(99)),
            (None, volume(MIB), 100 * MIB, MIB, None),
        ] {
            let found = pressure(max, volume, pages(used, free));
            assert_eq!(
                found.map(|p| p.target / MIB),
                target,
                "{max:?} {volume:?} {used} {free}"
            );
        }
    }
}
