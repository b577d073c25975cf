//! Bitmaps of the interned names in use, as far as a sweep has read the rows.

use rusqlite::{Connection, OptionalExtension};

use super::statements::Counting as _;

/// Number of swept tables, and their indexes.
pub(super) const SWEPT: usize = 4;
pub(super) const OBJECT: usize = 0;
pub(super) const NODE: usize = 1;
pub(super) const REASON: usize = 2;
pub(super) const TEXT: usize = 3;

/// Used names, for a window of ids of each table.
#[derive(Debug, Default)]
pub(super) struct MarkBitmap {
    pub(super) windows: [IdWindow; SWEPT],
    /// End of the last windows of the sweep.
    pub(super) end: [i64; SWEPT],
}

/// Ids from `from` to `to` (exclusive) and which of them are marked.
#[derive(Debug, Default)]
pub(super) struct IdWindow {
    pub(super) from: i64,
    pub(super) to: i64,
    bits: Vec<u64>,
}

impl IdWindow {
    pub(super) fn new(from: i64, to: i64) -> Self {
        let words = ((to - from) as u64).div_ceil(64);
        Self {
            from,
            to,
            bits: vec![0; words as usize],
        }
    }

    /// Marks an id. `false`: it is already marked, or outside the window.
    pub(super) fn insert(&mut self, id: i64) -> bool {
        let Some((word, bit)) = self.bit_of(id) else {
            return false;
        };
        let was = self.bits[word] & bit != 0;
        self.bits[word] |= bit;
        !was
    }

    /// Whether an id may be in use: it is marked, or outside the window.
    pub(super) fn keeps(&self, id: i64) -> bool {
        self.bit_of(id)
            .is_none_or(|(word, bit)| self.bits[word] & bit != 0)
    }

    fn bit_of(&self, id: i64) -> Option<(usize, u64)> {
        (self.from <= id && id < self.to).then(|| {
            let offset = (id - self.from) as usize;
            (offset / 64, 1 << (offset % 64))
        })
    }
}

impl MarkBitmap {
    pub(super) fn node(&mut self, id: i64) {
        self.windows[NODE].insert(id);
    }

    pub(super) fn reason(&mut self, id: i64) {
        self.windows[REASON].insert(id);
    }

    pub(super) fn text(&mut self, id: i64) {
        self.windows[TEXT].insert(id);
    }

    /// Marks an object and its chain of owners.
    pub(super) fn object(
        &mut self,
        conn: &Connection,
        id: i64,
        owner: Option<i64>,
    ) -> rusqlite::Result<()> {
        self.windows[OBJECT].insert(id);
        let mut next = owner;
        // Terminates: a marked owner is not followed, so a cycle is walked once.
        while let Some(owner) = next.filter(|owner| self.windows[OBJECT].insert(*owner)) {
            next = conn
                .counted("SELECT owner FROM object WHERE id = ?1")?
                .query_row([owner], |row| row.get(0))
                .optional()?
                .flatten();
        }
        Ok(())
    }
}
