//! Deletes interned names that no row uses: mark and sweep, in short steps between the batches.
//!
//! ```text
//!   windows of ids ─▶ mark: every row of `event` ─▶ mark: owners of kept objects ─▶ delete unmarked names ─▶ scopes
//!        ▲                                                                                 │
//!        └──────────────────────── further windows, in a very old database ◀───────────────┘
//! ```
//!
//! `message_template`, `event_class` and `node` have no index from `event`: it would take more space than it frees.
//!
//! Invariant: names that the writer uses during a sweep are marked ([`MarkBitmap`] is part of the intern cache, which every
//! reference passes). Ids are never reused, so a name created after the sweep began is outside its windows.
//! Invariant: memory is bounded by [`WINDOW`], however many names there are.
//! Invariant: a sweep ends at the last id of its start. Otherwise a steady stream of new names would always add a window,
//! and each window is a pass over all rows.

use std::time::Instant;

use rusqlite::Connection;

use super::intern::Interned;
use super::mark_bitmap::{IdWindow, MarkBitmap, NODE, OBJECT, REASON, SWEPT, TEXT};
use super::rows::Rows;
use super::statements::Counting as _;

/// Ids of a table that one pass covers: 4 million, 512 KiB of bits.
const WINDOW: i64 = 4 << 20;

/// Rows between two checks of the deadline.
const CHUNK: i64 = 1024;

/// Names deleted between two checks of the deadline.
const DELETE_CHUNK: i64 = 128;

/// The swept tables, in the order of their numbers in `marks`.
const TABLES: [Table; SWEPT] = [
    Table {
        first: "SELECT min(id) FROM object WHERE id >= ?1",
        last: "SELECT max(id) FROM object",
        ids: "SELECT id FROM object WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        delete: "DELETE FROM object WHERE id = ?1",
    },
    Table {
        first: "SELECT min(id) FROM node WHERE id >= ?1",
        last: "SELECT max(id) FROM node",
        ids: "SELECT id FROM node WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        delete: "DELETE FROM node WHERE id = ?1",
    },
    Table {
        first: "SELECT min(id) FROM event_class WHERE id >= ?1",
        last: "SELECT max(id) FROM event_class",
        ids: "SELECT id FROM event_class WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        delete: "DELETE FROM event_class WHERE id = ?1",
    },
    Table {
        first: "SELECT min(id) FROM message_template WHERE id >= ?1",
        last: "SELECT max(id) FROM message_template",
        ids: "SELECT id FROM message_template WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        delete: "DELETE FROM message_template WHERE id = ?1",
    },
];

struct Table {
    first: &'static str,
    last: &'static str,
    ids: &'static str,
    delete: &'static str,
}

/// A sweep in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Windows begin at these ids; the last ones end before `end`, which the first step sets.
    Begin {
        from: [i64; TABLES.len()],
        end: Option<[i64; TABLES.len()]>,
    },
    /// Marks the names used by rows from this key on.
    Rows { key: i64 },
    /// Marks the owners of kept objects from this id on.
    Owners { id: i64 },
    /// Deletes unmarked names of a table from this id on.
    Delete { table: usize, id: i64 },
    /// Deletes scopes without objects, from this id on.
    Scopes { id: i64 },
}

/// Result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// `None` at the end.
    pub(super) next: Option<Sweep>,
    /// Names deleted.
    pub(super) names: u64,
}

impl Step {
    const fn then(next: Sweep) -> Self {
        Self {
            next: Some(next),
            names: 0,
        }
    }
}

impl Sweep {
    /// The first step.
    pub(super) const fn begin() -> Self {
        Self::Begin {
            from: [0; TABLES.len()],
            end: None,
        }
    }

    /// Frees the bitmaps; a failed sweep must call it too.
    pub(super) fn end(rows: &mut Rows) {
        rows.interned.marks = None;
    }

    /// Works until `deadline` within a transaction of the caller.
    pub(super) fn step(
        self,
        conn: &Connection,
        rows: &mut Rows,
        deadline: Instant,
    ) -> rusqlite::Result<Step> {
        if let Self::Begin { from, end } = self {
            let end = match end {
                Some(end) => end,
                None => ends(conn)?,
            };
            return Ok(match windows(conn, from, end)? {
                Some(windows) => {
                    rows.interned.marks = Some(MarkBitmap { windows, end });
                    Step::then(Self::Rows { key: i64::MIN })
                }
                None => Step::then(Self::Scopes { id: 0 }),
            });
        }
        if let Self::Scopes { id } = self {
            return scopes(conn, &mut rows.interned, id, deadline);
        }
        // None: the database was replaced during this sweep, which is therefore void.
        let Some(mut marks) = rows.interned.marks.take() else {
            return Ok(Step {
                next: None,
                names: 0,
            });
        };
        let done = match self {
            Self::Rows { key } => mark_rows(conn, &mut marks, key, deadline),
            Self::Owners { id } => mark_owners(conn, &mut marks, id, deadline),
            Self::Delete { table, id } => delete(conn, &marks, (table, id), deadline),
            Self::Begin { .. } | Self::Scopes { .. } => unreachable!("handled above"),
        };
        rows.interned.marks = Some(marks);
        if done.as_ref().is_ok_and(|step| step.names > 0) {
            rows.interned.forget();
        }
        done
    }
}

/// One more than the last id of each table.
fn ends(conn: &Connection) -> rusqlite::Result<[i64; TABLES.len()]> {
    let mut ends = [0; TABLES.len()];
    for (end, table) in ends.iter_mut().zip(&TABLES) {
        let last: Option<i64> = conn.counted(table.last)?.query_row([], |row| row.get(0))?;
        *end = last.map_or(0, |last| last + 1);
    }
    Ok(ends)
}

/// The next windows; `None` when no table has ids left.
fn windows(
    conn: &Connection,
    from: [i64; TABLES.len()],
    end: [i64; TABLES.len()],
) -> rusqlite::Result<Option<[IdWindow; TABLES.len()]>> {
    let mut windows: [IdWindow; TABLES.len()] = Default::default();
    let mut any = false;
    for (table, window) in windows.iter_mut().enumerate() {
        let first: Option<i64> = conn
            .counted(TABLES[table].first)?
            .query_row([from[table]], |row| row.get(0))?;
        *window = match first.filter(|first| *first < end[table]) {
            Some(first) => {
                any = true;
                IdWindow::new(first, end[table].min(first + WINDOW))
            }
            None => IdWindow::new(end[table], end[table]),
        };
    }
    Ok(any.then_some(windows))
}

fn mark_rows(
    conn: &Connection,
    marks: &mut MarkBitmap,
    key: i64,
    deadline: Instant,
) -> rusqlite::Result<Step> {
    let mut statement = conn.counted(
        "SELECT key, object, node, class, template FROM event WHERE key >= ?1 ORDER BY key",
    )?;
    let mut rows = statement.query([key])?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        for (column, table) in [(1, OBJECT), (2, NODE), (3, REASON), (4, TEXT)] {
            if let Some(id) = row.get::<_, Option<i64>>(column)? {
                marks.windows[table].insert(id);
            }
        }
        read += 1;
        if read % CHUNK == 0 && Instant::now() >= deadline {
            let key: i64 = row.get(0)?;
            return Ok(Step::then(Sweep::Rows { key: key + 1 }));
        }
    }
    Ok(Step::then(Sweep::Owners { id: 0 }))
}

fn mark_owners(
    conn: &Connection,
    marks: &mut MarkBitmap,
    id: i64,
    deadline: Instant,
) -> rusqlite::Result<Step> {
    let mut from = id;
    loop {
        let found: Vec<(i64, Option<i64>)> = conn
            .counted("SELECT id, owner FROM object WHERE id >= ?1 ORDER BY id LIMIT ?2")?
            .query_map((from, CHUNK), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let Some(&(last, _)) = found.last() else {
            return Ok(Step::then(Sweep::Delete { table: 0, id: 0 }));
        };
        for (id, owner) in found {
            // Objects outside the window may be in use, so their owners stay.
            if owner.is_some() && marks.windows[OBJECT].keeps(id) {
                marks.object(conn, id, owner)?;
            }
        }
        from = last + 1;
        if Instant::now() >= deadline {
            return Ok(Step::then(Sweep::Owners { id: from }));
        }
    }
}

fn delete(
    conn: &Connection,
    marks: &MarkBitmap,
    (table, id): (usize, i64),
    deadline: Instant,
) -> rusqlite::Result<Step> {
    let window = &marks.windows[table];
    let mut from = id.max(window.from);
    let mut names = 0;
    loop {
        let found: Vec<i64> = conn
            .counted(TABLES[table].ids)?
            .query_map((from, window.to, DELETE_CHUNK), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let Some(last) = found.last().copied() else {
            let next = if table + 1 < TABLES.len() {
                Sweep::Delete {
                    table: table + 1,
                    id: 0,
                }
            } else {
                Sweep::Begin {
                    from: std::array::from_fn(|table| marks.windows[table].to),
                    end: Some(marks.end),
                }
            };
            return Ok(Step {
                next: Some(next),
                names,
            });
        };
        for id in found.into_iter().filter(|id| !window.keeps(*id)) {
            conn.counted(TABLES[table].delete)?.execute([id])?;
            names += 1;
        }
        from = last + 1;
        if Instant::now() >= deadline {
            return Ok(Step {
                next: Some(Sweep::Delete { table, id: from }),
                names,
            });
        }
    }
}

/// Deletes scopes without objects, which have no row and no counter. Scopes are few, and an index finds their objects.
fn scopes(
    conn: &Connection,
    interned: &mut Interned,
    id: i64,
    deadline: Instant,
) -> rusqlite::Result<Step> {
    let mut from = id;
    let mut names = 0;
    loop {
        let last: Option<i64> = conn
            .counted(
                "SELECT max(id) FROM (SELECT id FROM scope WHERE id >= ?1 ORDER BY id LIMIT ?2)",
            )?
            .query_row((from, DELETE_CHUNK), |row| row.get(0))?;
        let Some(last) = last else {
            break;
        };
        names += conn
            .counted(
                "DELETE FROM scope WHERE id >= ?1 AND id <= ?2 \
                 AND NOT EXISTS (SELECT 1 FROM object o WHERE o.scope = scope.id)",
            )?
            .execute((from, last))? as u64;
        from = last + 1;
        if Instant::now() >= deadline {
            break;
        }
    }
    if names > 0 {
        interned.forget();
    }
    let more: Option<i64> = conn
        .counted("SELECT min(id) FROM scope WHERE id >= ?1")?
        .query_row([from], |row| row.get(0))?;
    Ok(Step {
        next: more.map(|id| Sweep::Scopes { id }),
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_keeps_ids_outside_of_it() {
        let mut window = IdWindow::new(100, 300);
        assert!(window.insert(100) && window.insert(299));
        assert!(!window.insert(100), "marked already");
        assert!(!window.insert(99) && !window.insert(300), "of no window");
        assert!(window.keeps(100) && window.keeps(299));
        assert!(
            window.keeps(99) && window.keeps(300),
            "cannot tell, so kept"
        );
        assert!(!window.keeps(101));
    }
}
