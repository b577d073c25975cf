//! Comparing resourceVersions.

use std::cmp::Ordering;

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, Value, ValueRef};

/// A resourceVersion. Kubernetes promises since 1.35 (KEP-5504) that decimal ones compare as numbers; any other is
/// opaque, and then all that can be said is whether two are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// A decimal number, as every API server on etcd sends.
    Number(i64),
    /// Anything else.
    Opaque(String),
}

impl Version {
    /// Reads the API's text.
    pub fn new(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number >= 0 && !text.starts_with(['+', '-']) => Self::Number(number),
            _ => Self::Opaque(text.to_owned()),
        }
    }

    /// Whether `self` is a later version than `other`. Two different opaque versions count as later: storing a sight
    /// again is harmless where its count did not grow, missing one is not.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b) == Ordering::Greater,
            (a, b) => a != b,
        }
    }

    /// Whether both are numbers and `self` is the lower one: the API server's history went back.
    pub fn is_certainly_before(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Number(a), Self::Number(b)) if a < b)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers() {
        assert!(Version::new("100").is_after(&Version::new("99")));
        assert!(!Version::new("99").is_after(&Version::new("99")));
        assert!(!Version::new("9").is_after(&Version::new("10")));
        assert!(Version::new("9").is_certainly_before(&Version::new("10")));
    }

    #[test]
    fn opaque_ones_are_only_the_same_or_not() {
        assert!(Version::new("abc").is_after(&Version::new("abd")));
        assert!(!Version::new("abc").is_after(&Version::new("abc")));
        assert!(!Version::new("abc").is_certainly_before(&Version::new("abd")));
        assert_eq!(Version::new("+5"), Version::Opaque("+5".into()));
    }
}
