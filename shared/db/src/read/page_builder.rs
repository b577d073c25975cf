//! Collects the keys of a page and the number of all matches.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Statement, params_from_iter};

use super::ReadError;
use super::count_index::{Bucket, CountIndex};
use super::plan::AccessPath;
use super::resolve::KeyRange;
use super::row_scan::{IndexHint, RowScan};
use super::verify;

/// The keys of a page, newest first, and the number of all matches.
#[derive(Debug)]
pub(super) struct PageBuilder {
    pub(super) keys: Vec<i64>,
    pub(super) total: u64,
    /// Rows still to skip before the page begins.
    skip: u64,
    take: usize,
    /// The page holds only keys below this one.
    below: i64,
}

impl PageBuilder {
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

    /// Keys that the page still lacks.
    fn missing(&self) -> usize {
        self.take - self.keys.len()
    }

    /// How many of the newest rows determine the page.
    fn newest_needed(&self) -> usize {
        usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .saturating_add(self.missing())
    }

    /// A damaged file may return keys in another order, or a key twice.
    fn is_in_order(&self) -> bool {
        self.keys.is_sorted_by(|a, b| a > b)
    }

    /// Takes the next key in descending order; its row is counted already.
    fn push(&mut self, key: i64) {
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

impl RowScan<'_> {
    /// Fills `page`: rows created in the range, then older rows that reach into it. That is descending key order.
    pub(super) fn fill_page(&self, page: &mut PageBuilder) -> Result<(), ReadError> {
        let ranges = self.filter.ranges;
        if !ranges.main.is_empty() {
            if self.access_path == AccessPath::Scan {
                self.fill_in_order(IndexHint::KeyOrder, ranges.main, false, page)?;
                verify::check_rows(self.connection, ranges.main)?;
            } else if self.filter.is_countable() {
                self.fill_from_counts(page)?;
            } else {
                page.total += self.collect_newest(page)?;
                verify::check_access_path(self.connection, &self.access_path, ranges.main)?;
            }
        }
        for (hint, keys) in [
            (IndexHint::KeyOrder, ranges.window),
            (IndexHint::Long, ranges.older),
        ] {
            if !keys.is_empty() {
                self.fill_in_order(hint, keys, true, page)?;
            }
        }
        if page.is_in_order() {
            Ok(())
        } else {
            Err(ReadError::INCONSISTENT)
        }
    }

    /// `row_counts` gives the total, and the hours in which to look.
    fn fill_from_counts(&self, page: &mut PageBuilder) -> Result<(), ReadError> {
        let main = self.filter.ranges.main;
        let mut counts = CountIndex::new(self.connection, self.filter)?;
        let mut buckets = counts.buckets(main)?;
        let matched = self.count_matches(&mut buckets)?;
        page.total += matched;
        if page.below == i64::MAX && page.skip >= matched {
            page.skip -= matched;
            return Ok(());
        }
        if self.access_path != AccessPath::Hours {
            // This reads every match anyway, so it can count them too.
            return if self.collect_newest(page)? == matched {
                Ok(())
            } else {
                Err(ReadError::INCONSISTENT)
            };
        }
        // For a page that begins after a key the number of rows before it is unknown.
        let expected = (page.below == i64::MAX).then(|| {
            let rows = matched.saturating_sub(page.skip);
            usize::try_from(rows)
                .unwrap_or(usize::MAX)
                .min(page.missing())
        });
        let before = page.keys.len();
        let mut sql = self.select("e.key", IndexHint::KeyOrder, main.below(page.below), false);
        sql.push(" ORDER BY e.key DESC LIMIT ").bind(0);
        sql.push(" OFFSET ").bind(0);
        let mut scan = self.connection.prepare_cached(&sql.text)?;
        scan_buckets(&buckets, &mut counts, &mut scan, &mut sql.values, page)?;
        match expected {
            Some(expected) if page.keys.len() - before == expected => Ok(()),
            None if page.is_full() => Ok(()),
            None => verify::check_rows(self.connection, main),
            Some(_) => Err(ReadError::INCONSISTENT),
        }
    }

    /// Reads every match of the main range in any order and keeps the newest. Returns the number of matches.
    fn collect_newest(&self, page: &mut PageBuilder) -> Result<u64, ReadError> {
        let mut newest = TopN::new(page.newest_needed());
        let (mut total, below) = (0, page.below);
        self.for_each_in("e.key", self.filter.ranges.main, &mut |row| {
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
            .for_each(|key| page.push(key));
        Ok(total)
    }

    /// Reads rows newest first; once the page is full it only counts the rest.
    fn fill_in_order(
        &self,
        hint: IndexHint<'_>,
        keys: KeyRange,
        overlap: bool,
        page: &mut PageBuilder,
    ) -> Result<(), ReadError> {
        let mut rest = keys;
        if !page.is_full() {
            let mut sql = self.select("e.key", hint, keys, overlap);
            sql.push(" ORDER BY e.key DESC");
            self.run(&sql, &mut |row| {
                let key = row.get(0)?;
                page.total += 1;
                page.push(key);
                rest.to = key;
                Ok(if page.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
            if !page.is_full() {
                return Ok(());
            }
        }
        page.total += self.query_count(hint, rest, overlap)?;
        Ok(())
    }
}

/// Fills the page from the buckets in which rows match. `scan` takes `values`: the range first, limit and offset last.
fn scan_buckets(
    buckets: &[Bucket],
    counts: &mut CountIndex<'_>,
    scan: &mut Statement<'_>,
    values: &mut [Value],
    page: &mut PageBuilder,
) -> Result<(), ReadError> {
    for bucket in buckets {
        if page.is_full() {
            break;
        }
        let matched = bucket.matched.unwrap_or(0);
        if matched == 0 || bucket.keys.from >= page.below {
            continue;
        }
        let is_whole = bucket.keys.to <= page.below;
        if is_whole && page.skip >= matched {
            page.skip -= matched;
            continue;
        }
        if bucket.is_day {
            let hours = counts.hours(bucket)?;
            if matched != hours.iter().filter_map(|hour| hour.matched).sum::<u64>() {
                return Err(ReadError::INCONSISTENT);
            }
            scan_buckets(&hours, counts, scan, values, page)?;
            continue;
        }
        // Stop at the last match, whose number is known: sparse rows are mostly close together.
        let mut left = if is_whole {
            usize::try_from(matched - page.skip).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        let keys = bucket.keys.below(page.below);
        let last = values.len() - 1;
        values[0] = Value::Integer(keys.from);
        values[1] = Value::Integer(keys.to);
        values[last - 1] = Value::Integer(to_i64(page.missing().min(left)));
        values[last] = Value::Integer(i64::try_from(page.skip).unwrap_or(i64::MAX));
        let before = page.keys.len();
        let mut rows = scan.query(params_from_iter(values.iter()))?;
        while let Some(row) = rows.next()? {
            page.keys.push(row.get(0)?);
        }
        left = left.saturating_sub(page.keys.len() - before);
        if is_whole && left > 0 && !page.is_full() {
            return Err(ReadError::INCONSISTENT);
        }
        page.skip = page.skip.saturating_sub(matched);
    }
    Ok(())
}

/// The `keep` greatest of many keys; takes memory for about twice as many.
struct TopN {
    keep: usize,
    keys: Vec<i64>,
}

impl TopN {
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
    fn top_n_keeps_greatest_in_descending_order() {
        let mut newest = TopN::new(3);
        (0..5000)
            .map(|i| (i * 7919) % 5003)
            .for_each(|key| newest.push(key));
        assert!(newest.keys.len() < 2000);
        let mut all: Vec<i64> = (0..5000).map(|i| (i * 7919) % 5003).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(newest.into_descending(), all[..3]);
    }
}
