//! What makes two sights one Event, and one of them the later: uid and resourceVersion, in the form in which they are
//! compared and stored. Read once, on the source's thread.

use std::cmp::Ordering;
use std::fmt;

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
            // What would not be printed as it was read is no number of ours.
            Ok(number) if number >= 0 && (text == "0" || !text.starts_with(['+', '-', '0'])) => {
                Self::Number(number)
            }
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

    /// Whether a position may move from `position` to `self`: it is the later one, or both are opaque and differ.
    pub fn may_follow(&self, position: &Self) -> bool {
        match (self, position) {
            (Self::Number(to), Self::Number(from)) => to > from,
            (Self::Opaque(to), Self::Opaque(from)) => !to.is_empty() && to != from,
            _ => false,
        }
    }

    /// Memory beside its own, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Opaque(text) => text.len(),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Opaque(text) => f.write_str(text),
        }
    }
}

/// The uid of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uid {
    /// A UUID in canonical form.
    Bytes([u8; 16]),
    /// Anything else.
    Text(String),
}

impl Uid {
    /// Reads the API's text.
    pub fn new(text: &str) -> Self {
        uuid_bytes(text).map_or_else(|| Self::Text(text.to_owned()), Self::Bytes)
    }

    /// Memory beside its own, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Bytes(_) => 0,
            Self::Text(text) => text.len(),
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    let between = if matches!(at, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    };
                    write!(f, "{between}{byte:02x}")?;
                }
                Ok(())
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (index, c) in text.iter().enumerate() {
        let value = match (index, c) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (_, b'0'..=b'9') => c - b'0',
            (_, b'a'..=b'f') => c - b'a' + 10,
            _ => return None,
        };
        if digits == 32 {
            return None;
        }
        bytes[digits / 2] = bytes[digits / 2] << 4 | value;
        digits += 1;
    }
    (digits == 32).then_some(bytes)
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
        assert!(!Version::new("10").is_certainly_before(&Version::new("10")));
        assert!(!Version::new("10").is_certainly_before(&Version::new("9")));
    }

    #[test]
    fn opaque_ones_are_only_the_same_or_not() {
        assert!(Version::new("abc").is_after(&Version::new("abd")));
        assert!(!Version::new("abc").is_after(&Version::new("abc")));
        assert!(!Version::new("abc").is_certainly_before(&Version::new("abd")));
    }

    #[test]
    fn what_is_read_is_printed_as_it_was() {
        for text in [
            "",
            "0",
            "7",
            "007",
            "+5",
            "-5",
            "9223372036854775807",
            "9223372036854775808",
            "abc",
        ] {
            let version = Version::new(text);
            assert_eq!(version.to_string(), text);
            let is_number = matches!(text, "0" | "7" | "9223372036854775807");
            assert_eq!(matches!(version, Version::Number(_)), is_number, "{text}");
        }
        for text in [
            "",
            "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "00010203-0405-0607-0809-0A0b0c0d0e0f",
            "no uuid",
        ] {
            assert_eq!(Uid::new(text).to_string(), text);
        }
    }

    #[test]
    fn only_canonical_uuids_become_bytes() {
        assert_eq!(
            Uid::new("00010203-0405-0607-0809-0a0b0c0d0e0f"),
            Uid::Bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        );
        for text in [
            "",
            "00010203-0405-0607-0809-0A0b0c0d0e0f",
            "00010203-0405-0607-0809-0a0b0c0d0e0",
            "000102030405-0607-0809-0a0b0c0d0e0f0",
            "00010203-0405-0607-08090-a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f1011",
        ] {
            assert_eq!(uuid_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_as_text_takes_memory() {
        assert_eq!(Version::new("7").heap_bytes(), 0);
        assert_eq!(Version::new("abc").heap_bytes(), 3);
        let uuid = Uid::new("f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
        assert_eq!(uuid.heap_bytes(), 0);
        assert_eq!(Uid::new("no uuid").heap_bytes(), 7);
    }
}
