//! Points in time as kube9 stores and prints them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970-01-01T00:00:00Z. Printed as RFC 3339, UTC, milliseconds, `Z`, which sorts as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is not a point in time that kube9 can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time between years 0 and 9999")]
pub struct BadTimestamp(String);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z, the last one that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch; a time beyond the range is its end.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The whole second it lies in, since the epoch.
    pub const fn second(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The system's clock. Production code takes its time from the recorder's clock; tests replace that.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Parses RFC 3339 with any offset; digits past the millisecond are cut.
    pub fn parse(text: &str) -> Result<Self, BadTimestamp> {
        if let Some(plain) = plain_utc(text.as_bytes()) {
            return Ok(plain);
        }
        let bad = || BadTimestamp(text.to_owned());
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
        let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| bad())
    }

    /// This much later.
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This much earlier.
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar form, for printing.
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// `2025-12-02T10:30:45Z`, with or without digits below the second: what the API server writes. `None` for all else,
/// which may be another form, or no time.
fn plain_utc(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        head[from..to].iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let marks = [head[4], head[7], head[10], head[13], head[16]];
    let fraction = match (&marks == b"--T::", tail) {
        (true, [b'Z']) => &[][..],
        (true, [b'.', digits @ .., b'Z']) if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // The last days of a month are left to the calendar.
    let is_plain = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && fraction.iter().all(u8::is_ascii_digit);
    if !is_plain {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    let millis = digit(0) * 100 + digit(1) * 10 + digit(2);
    // Days since 1970 of a date whose year begins in March: the leap day is then its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(Timestamp(
        (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis,
    ))
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.to_offset_date_time();
        // Four times a row: by hand, since the formatter took ten times as long.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        write_digits(&mut text[0..4], t.year().unsigned_abs());
        for (at, part) in [
            (5, u8::from(t.month())),
            (8, t.day()),
            (11, t.hour()),
            (14, t.minute()),
            (17, t.second()),
        ] {
            write_digits(&mut text[at..at + 2], part.into());
        }
        write_digits(&mut text[20..23], t.millisecond().into());
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Fills `into` with the last digits of a number.
pub(crate) fn write_digits(into: &mut [u8], number: u32) {
    let mut rest = number;
    for place in into.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_before_1970_is_a_time_before_1970() {
        let millis = std::time::Duration::from_millis(1_500);
        for (time, expected) in [
            (UNIX_EPOCH - millis, "1969-12-31T23:59:58.500Z"),
            (UNIX_EPOCH, "1970-01-01T00:00:00.000Z"),
            (UNIX_EPOCH + millis, "1970-01-01T00:00:01.500Z"),
        ] {
            assert_eq!(Timestamp::from(time).to_string(), expected);
        }
    }

    #[test]
    fn plain_form_is_read_as_the_calendar_reads_it() {
        for second in (0..253_402_300_799).step_by(86_400 * 13 + 3_607) {
            let time = Timestamp(second * 1000 + second % 1000);
            let text = time.to_string();
            let by_calendar = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            assert_eq!(
                by_calendar.unix_timestamp_nanos(),
                i128::from(time.0) * 1_000_000
            );
            assert_eq!(Timestamp::parse(&text), Ok(time), "{text}");
            if let Some(plain) = plain_utc(text.as_bytes()) {
                assert_eq!(plain, time, "{text}");
            }
        }
        for other in [
            "2025-12-02T10:30:45",
            "2025-12-02T10:30:45.Z",
            "2025-12-02T10:30:60Z",
            "2025-02-30T10:30:45Z",
            "2025-12-02T10:30:45+01:00",
            "2025-12-02t10:30:45Z",
            "2025-12-0xT10:30:45Z",
        ] {
            assert_eq!(plain_utc(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn rfc3339_round_trips_at_millisecond_precision() {
        for (given, printed) in [
            ("2025-12-02T10:30:45Z", "2025-12-02T10:30:45.000Z"),
            ("2025-12-02T10:30:45.123456Z", "2025-12-02T10:30:45.123Z"),
            ("2025-12-02T12:30:45+02:00", "2025-12-02T10:30:45.000Z"),
            ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(
                Timestamp::parse(given).unwrap().to_string(),
                printed,
                "{given}"
            );
        }
        assert_eq!(
            Timestamp::MAX,
            Timestamp::parse("9999-12-31T23:59:59.999Z").unwrap()
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-13-01T00:00:00Z",
            "2025-12-02",
            "2025-12-02T25:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
