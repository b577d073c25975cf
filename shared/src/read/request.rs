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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// After this key.
    Key(i64),
    /// After this `created_at` and id, in a plain table.
    Plain(String, String),
}

/// The text is no cursor, or one of another database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor; take it from pagination.next of the page before")]
pub struct BadCursor(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, bytes) = match self {
            Self::Key(key) => ('k', key.to_be_bytes().to_vec()),
            Self::Plain(created_at, id) => ('p', format!("{created_at}\0{id}").into_bytes()),
        };
        write!(f, "{letter}")?;
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "{:02x}", check(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        parse(text).ok_or_else(|| BadCursor(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let mut chars = text.chars();
    let letter = chars.next()?;
    let digits: Vec<u8> = chars
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    let mut bytes: Vec<u8> = pairs.map(|pair| pair[0] << 4 | pair[1]).collect();
    if bytes.pop()? != check(&bytes) {
        return None;
    }
    match letter {
        'k' => Some(Cursor::Key(i64::from_be_bytes(bytes.try_into().ok()?))),
        'p' => {
            let text = String::from_utf8(bytes).ok()?;
            text.split_once('\0')
                .map(|(created_at, id)| Cursor::Plain(created_at.to_owned(), id.to_owned()))
        }
        _ => None,
    }
}

/// Tells a cursor that was cut or mistyped from a real one.
fn check(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0xa5, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_round_trips() {
        for cursor in [
            Cursor::Key(0),
            Cursor::Key(i64::MIN),
            Cursor::Key(29_694_281_113_600_000),
            Cursor::Plain("2025-12-02T10:30:45.000Z".into(), "evt_é".into()),
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let good = Cursor::Key(77).to_string();
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
