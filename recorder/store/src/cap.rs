//! How large the database may be, and how much has to go when it is larger.
//!
//! Measured in *used pages*: the file's size falls only after the clean-up, and not at all while a reader is pinned, so
//! that a loop on file size would delete everything.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::volume::Volume;

/// Share of the volume that the database may use where `storage.max_bytes` is unset, in percent.
const VOLUME_PERCENT: u64 = 60;

/// A clean-up begins at this share of the limit, so that the limit itself is kept while it runs.
const BEGIN_PERCENT: u64 = 95;

/// And leaves this share.
const LEAVE_PERCENT: u64 = 85;

/// Free bytes that the file keeps inside itself while the volume is short: some ten thousand rows.
const FILE_RESERVE: u64 = 1 << 20;

/// Shortest time between two looks at the pages.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Shortest time between two looks at the volume.
const VOLUME_EVERY: Duration = Duration::from_secs(5);

/// Whether less than the reserve is left: what a clean-up frees is then kept inside the file for new rows.
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

/// Why rows have to go although they are young enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pressure {
    /// Bytes used now.
    pub(super) used: u64,
    /// Bytes to reach.
    pub(super) target: u64,
    /// The limit that is near.
    pub(super) limit: u64,
    /// The volume is short of space, whatever the limit says.
    pub(super) volume_is_short: bool,
}

impl Pressure {
    /// The volume alone is the reason, not the limit.
    fn is_for_the_volume(self) -> bool {
        self.used <= begin(self.limit)
    }
}

/// Watches the database's size.
#[derive(Debug)]
pub(super) struct Cap {
    max_bytes: Option<u64>,
    directory: PathBuf,
    measure: fn(&Path) -> Option<Volume>,
    volume: Option<Volume>,
    volume_seen: Option<Instant>,
    pages_seen: Option<Instant>,
}

impl Cap {
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
            volume_seen: None,
            pages_seen: None,
        }
    }

    /// Whether the volume has so little space that the file must not give any back.
    pub(super) fn volume_is_short(&self) -> bool {
        self.volume.is_some_and(is_short)
    }

    /// The next look is not put off: the volume has turned out to be full.
    pub(super) fn look_again(&mut self) {
        self.volume_seen = None;
        self.pages_seen = None;
    }

    /// Looks, at most every [`LOOK_EVERY`]; `Some` when rows have to go. `log_fills`: a volume that is short of space is
    /// so because of the log, which deleting rows makes longer.
    pub(super) fn look(
        &mut self,
        conn: &Connection,
        log_fills: bool,
    ) -> rusqlite::Result<Option<Pressure>> {
        if self.pages_seen.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(None);
        }
        self.pages_seen = Some(Instant::now());
        if self
            .volume_seen
            .is_none_or(|at| at.elapsed() >= VOLUME_EVERY)
        {
            self.volume_seen = Some(Instant::now());
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
    // Half the reserve begins it and all of it ends it, so that a run is worth its while. A file that is smaller than
    // the reserve did not fill the volume, and would be emptied for nothing.
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
    fn rows_go_near_the_limit_or_when_the_volume_is_short() {
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
            // Somebody else filled the volume: only as much as new rows need.
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
