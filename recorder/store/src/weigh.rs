//! Sums the bytes of each tenant: one pass over all rows, in short steps between the batches.
//!
//! A row counts its own bytes, and those of names and templates that no earlier row used: the authors of Events choose how
//! long and how distinct these are.
//!
//! Invariant: memory is bounded by [`WINDOW`] and by the number of tracked tenants.

use std::time::Instant;

use kube9_model::{Severity, Tenant};
use rusqlite::Connection;

use super::mark_bitmap::{IdWindow, NODE, OBJECT, REASON, SWEPT, TEXT};
use super::retention_run::Progress;
use super::share::Holdings;
use super::statements::Counting as _;

/// Newest ids of a table whose names are counted: 4 million, 512 KiB of bits. Older ones belong to few rows.
const WINDOW: i64 = 4 << 20;

/// Rows between two checks of the deadline.
const CHUNK: u32 = 256;

/// Bytes of a row without its texts: columns, counters, index entries, `change_log` and `dedup`.
const ROW_BYTES: u64 = 100;

/// For each table of names: the last id, and the bytes of a name with its index entries.
const NAMES: [(&str, &str); SWEPT] = [
    (
        "SELECT ifnull(max(id), 0) FROM object",
        "SELECT 2 * octet_length(name) + 30 FROM object WHERE id = ?1",
    ),
    (
        "SELECT ifnull(max(id), 0) FROM node",
        "SELECT 2 * octet_length(name) + 20 FROM node WHERE id = ?1",
    ),
    (
        "SELECT ifnull(max(id), 0) FROM event_class",
        "SELECT 2 * (octet_length(reason) + octet_length(title) + octet_length(component) + octet_length(container)) + 30 \
         FROM event_class WHERE id = ?1",
    ),
    (
        "SELECT ifnull(max(id), 0) FROM message_template",
        "SELECT octet_length(body) + 20 FROM message_template WHERE id = ?1",
    ),
];

/// A pass in progress.
#[derive(Debug)]
pub(super) struct Weigh {
    /// Key at which the next step continues.
    from: i64,
    seen: [IdWindow; SWEPT],
    pub(super) holdings: Holdings,
}

impl Weigh {
    pub(super) fn begin(conn: &Connection) -> rusqlite::Result<Self> {
        let mut seen: [IdWindow; SWEPT] = Default::default();
        for (window, (last, _)) in seen.iter_mut().zip(NAMES) {
            let last: i64 = conn.counted(last)?.query_row([], |row| row.get(0))?;
            *window = IdWindow::new((last + 1 - WINDOW).max(0), last + 1);
        }
        Ok(Self {
            from: i64::MIN,
            seen,
            holdings: Holdings::default(),
        })
    }

    /// Works until `deadline`.
    pub(super) fn step(
        &mut self,
        conn: &Connection,
        deadline: Instant,
    ) -> rusqlite::Result<Progress> {
        let mut statement = conn.counted("SELECT e.key, e.severity, s.namespace, ifnull(octet_length(e.args), 0) + ifnull(octet_length(e.extra), 0) \
             + ifnull(2 * octet_length(e.imported_id) + octet_length(e.imported_at), 0), \
             e.object, e.node, e.class, e.template FROM event e LEFT JOIN object o ON o.id = e.object \
             LEFT JOIN scope s ON s.id = o.scope WHERE e.key >= ?1 ORDER BY e.key",
        )?;
        let mut rows = statement.query([self.from])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            let code = row.get(1)?;
            let severity = Severity::from_code(code)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, code))?;
            let namespace = row.get_ref(2)?.as_str_or_null()?;
            let mut bytes = ROW_BYTES + row.get::<_, i64>(3)?.unsigned_abs();
            for (column, table) in [(4, OBJECT), (5, NODE), (6, REASON), (7, TEXT)] {
                if let Some(id) = row.get::<_, Option<i64>>(column)?
                    && self.seen[table].insert(id)
                {
                    let mut name = conn.counted(NAMES[table].1)?;
                    let mut found = name.query([id])?;
                    if let Some(name) = found.next()? {
                        bytes += name.get::<_, i64>(0)?.unsigned_abs();
                    }
                }
            }
            self.holdings.add(Tenant::of(namespace), severity, bytes);
            read += 1;
            if read % CHUNK == 0 && Instant::now() >= deadline {
                self.from = row.get::<_, i64>(0)? + 1;
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }
}
