//! Gathers the keys of a page and the number of all rows.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Statement, params_from_iter};

use super::ReadError;
use super::numbers::Keys;
use super::plan::Way;
use super::tally::{Piece, Tally};
use super::verify;
use super::walk::{Visit, Walk};

/// The keys of a page, newest first, and the number of all rows.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) keys: Vec<i64>,
    pub(super) total: u64,
    /// Rows still to be left out before the page begins.
    skip: u64,
    take: usize,
    /// The page lies below this key.
    below: i64,
}

impl Found {
    pub(super) const fn new(below: i64, skip: u64, take: usize) -> Self {
        Self {
            keys: Vec::new(),
            total: 0,
            skip,
            take,
            below,
        }
    }

    fn is_full(&self) -> bool {
        self.keys.len() >= self.take
    }

    fn wanted(&self) -> usize {
        self.take - self.keys.len()
    }

    /// How many of the newest rows decide what is on the page.
    fn reach(&self) -> usize {
        usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .saturating_add(self.wanted())
    }

    /// A damaged file gives keys in another order, or one twice.
    fn is_in_order(&self) -> bool {
        self.keys.is_sorted_by(|a, b| a > b)
    }

    /// The next key in descending order; its row is counted already.
    fn offer(&mut self, key: i64) {
        if key >= self.below || self.is_full() {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            self.keys.push(key);
        }
    }
}

impl Walk<'_> {
    /// Fills `found`: rows created in the range, then older ones that reach into it. That is descending key order.
    pub(super) fn run(&self, found: &mut Found) -> Result<(), ReadError> {
        let span = self.numbers.span;
        if !span.main.is_empty() {
            if self.way == Way::Scan {
                self.in_order(Visit::InOrder, span.main, false, found)?;
                verify::rows(self.connection, span.main)?;
            } else if self.numbers.is_tallied() {
                self.tallied(found)?;
            } else {
                found.total += self.collect(found)?;
                verify::way(self.connection, &self.way, span.main)?;
            }
        }
        for (visit, keys) in [(Visit::InOrder, span.window), (Visit::Long, span.older)] {
            if !keys.is_empty() {
                self.in_order(visit, keys, true, found)?;
            }
        }
        if found.is_in_order() {
            Ok(())
        } else {
            Err(ReadError::INCONSISTENT)
        }
    }

    /// The tally counts, and shows where to look.
    fn tallied(&self, found: &mut Found) -> Result<(), ReadError> {
        let main = self.numbers.span.main;
        let mut tally = Tally::new(self.connection, self.numbers)?;
        let mut pieces = tally.pieces(main)?;
        let matched = self.matched(&mut pieces)?;
        found.total += matched;
        if found.below == i64::MAX && found.skip >= matched {
            found.skip -= matched;
            return Ok(());
        }
        if self.way != Way::Hours {
            // All of them are visited in any case, so that they can be counted, too.
            return if self.collect(found)? == matched {
                Ok(())
            } else {
                Err(ReadError::INCONSISTENT)
            };
        }
        // A page that begins after a key does not know how many rows lie before it.
        let expected = (found.below == i64::MAX).then(|| {
            let rows = matched.saturating_sub(found.skip);
            usize::try_from(rows)
                .unwrap_or(usize::MAX)
                .min(found.wanted())
        });
        let before = found.keys.len();
        let mut sql = self.select("e.key", Visit::InOrder, main.below(found.below), false);
        sql.push(" ORDER BY e.key DESC LIMIT ").bind(0);
        sql.push(" OFFSET ").bind(0);
        let mut scan = self.connection.prepare_cached(&sql.text)?;
        scan_pieces(&pieces, &mut tally, &mut scan, &mut sql.values, found)?;
        match expected {
            Some(expected) if found.keys.len() - before == expected => Ok(()),
            None if found.is_full() => Ok(()),
            None => verify::rows(self.connection, main),
            Some(_) => Err(ReadError::INCONSISTENT),
        }
    }

    /// Visits every row of the main range that the way leads to, in no order, and keeps the newest. Returns how many there
    /// are.
    fn collect(&self, found: &mut Found) -> Result<u64, ReadError> {
        let mut newest = Newest::new(found.reach());
        let (mut total, below) = (0, found.below);
        self.visit_keys("e.key", self.numbers.span.main, &mut |row| {
            total += 1;
            let key: i64 = row.get(0)?;
            if key < below {
                newest.push(key);
            }
            Ok(())
        })?;
        newest
            .into_descending()
            .into_iter()
            .for_each(|key| found.offer(key));
        Ok(total)
    }

    /// Visits rows newest first; once the page is full the rest is only counted.
    fn in_order(
        &self,
        visit: Visit<'_>,
        keys: Keys,
        overlap: bool,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        let mut rest = keys;
        if !found.is_full() {
            let mut sql = self.select("e.key", visit, keys, overlap);
            sql.push(" ORDER BY e.key DESC");
            self.each(&sql, &mut |row| {
                let key = row.get(0)?;
                found.total += 1;
                found.offer(key);
                rest.to = key;
                Ok(if found.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
            if !found.is_full() {
                return Ok(());
            }
        }
        found.total += self.count(visit, rest, overlap)?;
        Ok(())
    }
}

/// Fills the page from the pieces in which something matches. `scan` takes `values`: the range first, limit and offset
/// last.
fn scan_pieces(
    pieces: &[Piece],
    tally: &mut Tally<'_>,
    scan: &mut Statement<'_>,
    values: &mut [Value],
    found: &mut Found,
) -> Result<(), ReadError> {
    for piece in pieces {
        if found.is_full() {
            break;
        }
        let matched = piece.matched.unwrap_or(0);
        if matched == 0 || piece.keys.from >= found.below {
            continue;
        }
        let is_whole = piece.keys.to <= found.below;
        if is_whole && found.skip >= matched {
            found.skip -= matched;
            continue;
        }
        if piece.is_day {
            let hours = tally.hours(piece)?;
            if matched != hours.iter().filter_map(|hour| hour.matched).sum::<u64>() {
                return Err(ReadError::INCONSISTENT);
            }
            scan_pieces(&hours, tally, scan, values, found)?;
            continue;
        }
        // No further than to the last match, which the tally knows: sparse rows mostly lie together.
        let mut left = if is_whole {
            usize::try_from(matched - found.skip).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        let keys = piece.keys.below(found.below);
        let last = values.len() - 1;
        values[0] = Value::Integer(keys.from);
        values[1] = Value::Integer(keys.to);
        values[last - 1] = Value::Integer(to_i64(found.wanted().min(left)));
        values[last] = Value::Integer(i64::try_from(found.skip).unwrap_or(i64::MAX));
        let before = found.keys.len();
        let mut rows = scan.query(params_from_iter(values.iter()))?;
        while let Some(row) = rows.next()? {
            found.keys.push(row.get(0)?);
        }
        left = left.saturating_sub(found.keys.len() - before);
        if is_whole && left > 0 && !found.is_full() {
            return Err(ReadError::INCONSISTENT);
        }
        found.skip = found.skip.saturating_sub(matched);
    }
    Ok(())
}

/// The `keep` greatest of many keys, in memory for about twice as many.
struct Newest {
    keep: usize,
    keys: Vec<i64>,
}

impl Newest {
    const fn new(keep: usize) -> Self {
        Self {
            keep,
            keys: Vec::new(),
        }
    }

    fn push(&mut self, key: i64) {
        self.keys.push(key);
        if self.keys.len() >= self.keep.saturating_mul(2).saturating_add(1024) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.keep < self.keys.len() {
            self.keys.select_nth_unstable_by(self.keep, |a, b| b.cmp(a));
            self.keys.truncate(self.keep);
        }
    }

    fn into_descending(mut self) -> Vec<i64> {
        self.shrink();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_keeps_the_greatest_in_order() {
        let mut newest = Newest::new(3);
        (0..5000)
            .map(|i| (i * 7919) % 5003)
            .for_each(|key| newest.push(key));
        assert!(newest.keys.len() < 2000);
        let mut all: Vec<i64> = (0..5000).map(|i| (i * 7919) % 5003).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(newest.into_descending(), all[..3]);
    }
}
