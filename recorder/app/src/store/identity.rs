//! How uid and resourceVersion of an Event are stored: a UUID as its 16 bytes, a decimal version as a number, anything
//! else as its text.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, Value, ValueRef};

use crate::pipeline::identity::{Uid, Version};

impl ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Opaque(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl FromSql for Version {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self::Number(number)),
            other => other.as_str().map(Self::new),
        }
    }
}

impl ToSql for Uid {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_version_is_read_as_it_was_stored() {
        let conn = Connection::open_in_memory().unwrap();
        for (text, kind) in [
            ("0", "integer"),
            ("9223372036854775807", "integer"),
            ("007", "text"),
            ("abc", "text"),
            ("", "text"),
        ] {
            let version = Version::new(text);
            let stored: (String, String, Version) = conn
                .query_row(
                    "SELECT typeof(?1), CAST(?1 AS TEXT), ?1",
                    [&version],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .unwrap();
            assert_eq!(stored, (kind.to_owned(), text.to_owned(), version));
        }
        // A column of text gives a number back as its digits.
        let read: Version = conn.query_row("SELECT '7'", [], |row| row.get(0)).unwrap();
        assert_eq!(read, Version::Number(7));
        for other in ["NULL", "x'00'", "1.5"] {
            let read = conn.query_row(&format!("SELECT {other}"), [], |row| {
                row.get::<_, Version>(0)
            });
            assert!(read.is_err(), "{other}");
        }
    }

    #[test]
    fn a_uuid_is_stored_as_its_bytes_and_any_other_uid_as_text() {
        let conn = Connection::open_in_memory().unwrap();
        for (text, kind, hex) in [
            (
                "00010203-0405-0607-0809-0a0b0c0d0e0f",
                "blob",
                "000102030405060708090A0B0C0D0E0F",
            ),
            ("uid-1", "text", "7569642D31"),
        ] {
            let stored: (String, String) = conn
                .query_row("SELECT typeof(?1), hex(?1)", [Uid::new(text)], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            assert_eq!(stored, (kind.to_owned(), hex.to_owned()));
        }
    }
}
