//! What a page is asked for, what it is, and the place where the next one begins.

use std::fmt;
use std::str::FromStr;

use super::filter::Filter;
use super::row::Row;

/// What a page is asked for.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Which rows.
    pub filter: Filter,
    /// At most so many rows.
    pub limit: usize,
    /// Leave out so many of the newest; without effect beside `after`.
    pub offset: u64,
    /// Begin after the row that this names.
    pub after: Option<Cursor>,
}

/// Rows, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Number of all rows that match the filter, whatever the page.
    pub total: u64,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}

/// A place between two rows. Stable: rows that come or go elsewhere do not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(super) i64);

/// The text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor; take it from pagination.next of the page before")]
pub struct BadCursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{:016x}{:02x}", self.0, check(self.0))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        parse(text).ok_or_else(|| BadCursor(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let digits = text.strip_prefix('k')?;
    let is_whole = digits.len() == 18 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (key, sum) = is_whole.then(|| digits.split_at(16))?;
    let key = u64::from_str_radix(key, 16).ok()?.cast_signed();
    (u8::from_str_radix(sum, 16).ok()? == check(key)).then_some(Cursor(key))
}

/// Tells a cursor that was cut or mistyped from a real one.
fn check(key: i64) -> u8 {
    key.to_be_bytes()
        .iter()
        .fold(0xa5, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_round_trips() {
        for cursor in [0, i64::MIN, 29_694_281_113_600_000].map(Cursor) {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let good = Cursor(77).to_string();
        let cut = &good[..good.len() - 2];
        let changed = good.replace("4d", "4e");
        let of_another_kind = good.replace('k', "x");
        for text in [
            "",
            "k",
            "k00",
            "x00",
            "kzz",
            "é",
            "p",
            "p00",
            cut,
            &changed,
            "k0",
            &of_another_kind,
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
