//! The id of a row and its integer form.
//!
//! `evt_20251202_103045_a7f3b9` is the UTC second of `created_at` and 24 bits as six hex digits.
//! As an integer (`second << 24 | low`) it is the table's primary key: id, order and time index in one.

use std::fmt;
use std::str::FromStr;

use time::{Date, Month, PrimitiveDateTime, Time};

use crate::time::Timestamp;

const LOW_BITS: u32 = 24;

/// Primary key of a row. Ordered as the rows are: by second, then by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(i64);

/// The text is not an event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an event id; ids look like evt_20251202_103045_a7f3b9")]
pub struct BadEventId(pub String);

impl EventKey {
    /// Highest value of the part below the second.
    pub const LOW_MAX: u32 = (1 << LOW_BITS) - 1;

    /// The key `low` within `second` (since the epoch). `low` must be at most [`Self::LOW_MAX`].
    pub const fn new(second: i64, low: u32) -> Self {
        Self(second << LOW_BITS | (low & Self::LOW_MAX) as i64)
    }

    /// The first key that a row created at `time` or later can have: `key >= first_at(t)` is `created_at >= t`,
    /// since `created_at` is a whole second.
    pub const fn first_at(time: Timestamp) -> Self {
        Self::new(time.millis().saturating_add(999).div_euclid(1000), 0)
    }

    /// From the database's integer.
    pub const fn from_i64(raw: i64) -> Self {
        Self(raw)
    }

    /// The database's integer.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// The second since the epoch.
    pub const fn second(self) -> i64 {
        self.0 >> LOW_BITS
    }

    /// The part below the second.
    pub const fn low(self) -> u32 {
        (self.0 & Self::LOW_MAX as i64) as u32
    }

    /// `created_at` of the row: the key's second.
    pub const fn created_at(self) -> Timestamp {
        Timestamp::from_secs(self.second())
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.created_at().to_offset_date_time();
        write!(
            f,
            "evt_{:04}{:02}{:02}_{:02}{:02}{:02}_{:06x}",
            t.year().unsigned_abs(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            self.low()
        )
    }
}

impl FromStr for EventKey {
    type Err = BadEventId;

    fn from_str(id: &str) -> Result<Self, BadEventId> {
        parse(id).ok_or_else(|| BadEventId(id.chars().take(64).collect()))
    }
}

fn parse(id: &str) -> Option<EventKey> {
    let rest = id.strip_prefix("evt_")?;
    let bytes = rest.as_bytes();
    if bytes.len() != 22 || bytes[8] != b'_' || bytes[15] != b'_' || !rest.is_ascii() {
        return None;
    }
    let digits = |from: usize, to: usize| -> Option<u32> {
        rest[from..to].bytes().try_fold(0, |n, b| {
            b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0'))
        })
    };
    let small = |from: usize, to: usize| digits(from, to).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(4, 6)?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(digits(0, 4)?).ok()?, month, small(6, 8)?).ok()?;
    let time = Time::from_hms(small(9, 11)?, small(11, 13)?, small(13, 15)?).ok()?;
    let hex = &rest[16..22];
    if !hex
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return None;
    }
    let low = u32::from_str_radix(hex, 16).ok()?;
    let second = PrimitiveDateTime::new(date, time)
        .assume_utc()
        .unix_timestamp();
    Some(EventKey::new(second, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_display_round_trips() {
        for id in [
            "evt_20251202_103045_a7f3b9",
            "evt_19700101_000000_000000",
            "evt_99991231_235959_ffffff",
        ] {
            let key: EventKey = id.parse().unwrap();
            assert_eq!(key.to_string(), id);
            assert_eq!(EventKey::from_i64(key.as_i64()), key);
        }
    }

    #[test]
    fn key_order_is_time_then_arrival() {
        let a = EventKey::new(100, EventKey::LOW_MAX);
        let b = EventKey::new(101, 0);
        assert!(a < b && EventKey::new(100, 1) < EventKey::new(100, 2));
        assert_eq!(EventKey::first_at(Timestamp::from_millis(100_001)), b);
        assert_eq!(EventKey::first_at(Timestamp::from_millis(101_000)), b);
    }

    #[test]
    fn parse_malformed_id_is_rejected() {
        for id in [
            "",
            "evt_",
            "evt_20251202_103045_A7F3B9",
            "evt_20251302_103045_a7f3b9",
            "evt_20251202_253045_a7f3b9",
            "evt_20251202_103045_a7f3b9 ",
            "evt_20251202-103045_a7f3b9",
            "evt_2025120é_10304_a7f3b9",
            "evt_+0251202_103045_a7f3b9",
        ] {
            assert!(id.parse::<EventKey>().is_err(), "{id}");
        }
    }
}
