//! SQL types of uid and resourceVersion: a UUID is stored as 16 bytes, a decimal version as an integer, anything else as
//! text.

use kube9_model::identity::{ResourceVersion, Uid};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};

/// A value as the database stores it.
pub(super) struct Sql<T>(pub(super) T);

impl ToSql for Sql<&ResourceVersion> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            ResourceVersion::Number(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            ResourceVersion::Opaque(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl FromSql for Sql<ResourceVersion> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self(ResourceVersion::Number(number))),
            other => other.as_str().map(|text| Self(ResourceVersion::new(text))),
        }
    }
}

impl ToSql for Sql<&Uid> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Uid::Bytes(bytes) => ValueRef::Blob(bytes),
            Uid::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl FromSql for Sql<Uid> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(match value {
            ValueRef::Blob(bytes) => {
                Uid::Bytes(
                    bytes
                        .try_into()
                        .map_err(|_| FromSqlError::InvalidBlobSize {
                            expected_size: 16,
                            blob_size: bytes.len(),
                        })?,
                )
            }
            other => Uid::Text(other.as_str()?.to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn sql_version_round_trips() {
        let conn = Connection::open_in_memory().unwrap();
        for (text, kind) in [
            ("0", "integer"),
            ("9223372036854775807", "integer"),
            ("007", "text"),
            ("abc", "text"),
            ("", "text"),
        ] {
            let version = ResourceVersion::new(text);
            let stored: (String, String, Sql<ResourceVersion>) = conn
                .query_row(
                    "SELECT typeof(?1), CAST(?1 AS TEXT), ?1",
                    [Sql(&version)],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .unwrap();
            let stored = (stored.0, stored.1, stored.2.0);
            assert_eq!(stored, (kind.to_owned(), text.to_owned(), version));
        }
        // A text column returns a number as its digits.
        let read: Sql<ResourceVersion> =
            conn.query_row("SELECT '7'", [], |row| row.get(0)).unwrap();
        assert_eq!(read.0, ResourceVersion::Number(7));
        for other in ["NULL", "x'00'", "1.5"] {
            let read = conn.query_row(&format!("SELECT {other}"), [], |row| {
                row.get::<_, Sql<ResourceVersion>>(0)
            });
            assert!(read.is_err(), "{other}");
        }
    }

    #[test]
    fn sql_uid_uuid_is_a_blob_and_other_uid_is_text() {
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
                .query_row(
                    "SELECT typeof(?1), hex(?1)",
                    [Sql(&Uid::new(text))],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            assert_eq!(stored, (kind.to_owned(), hex.to_owned()));
        }
    }
}
