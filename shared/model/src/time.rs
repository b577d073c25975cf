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

    /// 2014-01-01T00:00:00Z: no object of Kubernetes is older than Kubernetes.
    const KUBERNETES: Self = Self::from_secs(1_388_534_400);

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
        let bad = || BadTimestamp(text.to_owned());
        // The parser takes any byte between date and time.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
            return Err(bad());
        }
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| bad())?;
        let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| bad())
    }

    /// A time that the Kubernetes API gives. `None` if it gives none: Go writes a zero time as `0001-01-01T00:00:00Z`, a
    /// container runtime as 1970, and a node without a clock counts from 1970.
    pub fn from_api(text: &str) -> Option<Self> {
        let time = Self::parse(text).ok()?;
        (time >= Self::KUBERNETES).then_some(time)
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
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            t.year().unsigned_abs(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            t.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_api_unset_time_is_none() {
        for text in [
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00.000000Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T01:00:00+01:00",
            "1970-01-03T07:00:00Z",
            "",
            "null",
        ] {
            assert_eq!(Timestamp::from_api(text), None, "{text}");
        }
        let given = "2014-06-06T00:00:00.000Z";
        assert_eq!(Timestamp::from_api(given).unwrap().to_string(), given);
    }

    #[test]
    fn now_before_1970_is_negative() {
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
    fn parse_malformed_time_is_rejected() {
        for text in [
            "",
            "yesterday",
            "2025-13-01T00:00:00Z",
            "2025-12-02",
            "2025-12-02T25:00:00Z",
            "2025-12-02\u{1b}10:30:45Z",
            "2025-12-02\n10:30:45Z",
            "2025-12-02\u{0}10:30:45Z",
            "2025-12-02\"10:30:45Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
