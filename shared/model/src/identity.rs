//! Identity of an Event: uid and resourceVersion, parsed once on the source's thread into the form in which they are
//! compared and stored.

use std::cmp::Ordering;
use std::fmt;

/// A resourceVersion. Since 1.35 (KEP-5504) decimal versions compare as numbers; any other is opaque and can only be
/// compared for equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceVersion {
    /// A decimal number, as every API server on etcd sends.
    Number(i64),
    /// Anything else.
    Opaque(String),
}

impl ResourceVersion {
    /// Reads the API's text.
    pub fn new(text: &str) -> Self {
        match text.parse::<i64>() {
            // A number must print as it was read.
            Ok(number) if number >= 0 && (text == "0" || !text.starts_with(['+', '-', '0'])) => {
                Self::Number(number)
            }
            _ => Self::Opaque(text.to_owned()),
        }
    }

    /// Whether `self` is a later version than `other`. Two different opaque versions count as later: storing a
    /// version again is harmless if its count did not grow, missing one is not.
    pub fn is_after(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.cmp(b) == Ordering::Greater,
            (a, b) => a != b,
        }
    }

    /// Whether both are numbers and `self` is lower: the API server has an older history.
    pub fn is_older_than(&self, other: &Self) -> bool {
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

    /// Heap memory, in bytes.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Opaque(text) => text.len(),
        }
    }
}

impl fmt::Display for ResourceVersion {
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

    /// Heap memory, in bytes.
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
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    let (mut at, mut seen) = (0, 0);
    for (index, byte) in bytes.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        let (high, low) = (DIGITS[text[at] as usize], DIGITS[text[at + 1] as usize]);
        seen |= high | low;
        *byte = high << 4 | low;
        at += 2;
    }
    (seen < 16).then_some(bytes)
}

/// The values of the hexadecimal digits, 16 for other bytes. Their order is random, so that a branch for each is
/// mispredicted.
const DIGITS: [u8; 256] = {
    let (mut digits, mut digit) = ([16; 256], 0);
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_numbers() {
        assert!(ResourceVersion::new("100").is_after(&ResourceVersion::new("99")));
        assert!(!ResourceVersion::new("99").is_after(&ResourceVersion::new("99")));
        assert!(!ResourceVersion::new("9").is_after(&ResourceVersion::new("10")));
        assert!(ResourceVersion::new("9").is_older_than(&ResourceVersion::new("10")));
        assert!(!ResourceVersion::new("10").is_older_than(&ResourceVersion::new("10")));
        assert!(!ResourceVersion::new("10").is_older_than(&ResourceVersion::new("9")));
    }

    #[test]
    fn opaque_ones_are_only_the_same_or_not() {
        assert!(ResourceVersion::new("abc").is_after(&ResourceVersion::new("abd")));
        assert!(!ResourceVersion::new("abc").is_after(&ResourceVersion::new("abc")));
        assert!(!ResourceVersion::new("abc").is_older_than(&ResourceVersion::new("abd")));
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
            let version = ResourceVersion::new(text);
            assert_eq!(version.to_string(), text);
            let is_number = matches!(text, "0" | "7" | "9223372036854775807");
            assert_eq!(
                matches!(version, ResourceVersion::Number(_)),
                is_number,
                "{text}"
            );
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
        assert_eq!(ResourceVersion::new("7").heap_bytes(), 0);
        assert_eq!(ResourceVersion::new("abc").heap_bytes(), 3);
        let uuid = Uid::new("f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
        assert_eq!(uuid.heap_bytes(), 0);
        assert_eq!(Uid::new("no uuid").heap_bytes(), 7);
    }
}
