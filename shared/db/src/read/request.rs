//! A request for a page, the page, and the cursor to the next one.

use std::fmt;
use std::str::FromStr;

use super::filter::Filter;
use super::row::Row;

/// A request for a page.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Which rows.
    pub filter: Filter,
    /// Maximum number of rows.
    pub limit: usize,
    /// Number of the newest rows to skip; ignored with `after`.
    pub offset: u64,
    /// Start after this row.
    pub after: Option<Cursor>,
}

/// Rows, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Number of all rows that match the filter.
    pub total: u64,
    /// Cursor to the next page; `None` on the last.
    pub next: Option<Cursor>,
}

/// A position between two rows. Rows that are added or deleted elsewhere do not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(super) i64);

/// The text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid cursor {0:?}; use pagination.next of the previous page")]
pub struct InvalidCursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{:016x}{:02x}", self.0, checksum(self.0))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        parse(text).ok_or_else(|| InvalidCursor(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let digits = text.strip_prefix('k')?;
    let is_whole = digits.len() == 18 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (key, sum) = is_whole.then(|| digits.split_at(16))?;
    let key = u64::from_str_radix(key, 16).ok()?.cast_signed();
    (u8::from_str_radix(sum, 16).ok()? == checksum(key)).then_some(Cursor(key))
}

/// Checksum that detects a truncated or mistyped cursor.
fn checksum(key: i64) -> u8 {
    key.to_be_bytes()
        .iter()
        .fold(0xa5, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_display_round_trips() {
        for cursor in [0, i64::MIN, 29_694_281_113_600_000].map(Cursor) {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn parse_malformed_cursor_is_rejected() {
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
