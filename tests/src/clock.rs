//! Points in time as the Kubernetes API writes them: whole seconds (`Time`) and microseconds (`MicroTime`).
//!
//! Own code because the generator prints millions of them; the calendar arithmetic is Howard Hinnant's
//! `civil_from_days`.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

/// Microseconds since 1970-01-01T00:00:00Z, at or after that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// The system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// The whole second it lies in, since the epoch.
    pub const fn second(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The same moment without its fraction of a second, as `metav1.Time` carries it.
    pub const fn whole_second(self) -> Self {
        Self::from_secs(self.second())
    }

    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// `2026-11-22T14:55:30Z`, as `metav1.Time` is written.
    pub fn seconds_text(self) -> Text<20> {
        let mut text = *b"0000-00-00T00:00:00Z";
        self.write_seconds(&mut text);
        Text(text)
    }

    /// `2026-11-22T14:55:30.578286Z`, as `metav1.MicroTime` is written.
    pub fn micros_text(self) -> Text<27> {
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        self.write_seconds(&mut text);
        digits(&mut text[20..26], self.0.rem_euclid(1_000_000));
        Text(text)
    }

    /// `Sun, 22 Nov 2026 14:54:37 GMT`, as the HTTP `Date` header is written.
    pub fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let day = self.second().div_euclid(86_400);
        let (year, month, of_month) = civil(day);
        let weekday = DAYS[usize::try_from(day.rem_euclid(7)).unwrap_or(0)];
        let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let text = self.seconds_text();
        format!(
            "{weekday}, {of_month:02} {month} {year} {} GMT",
            &text.as_str()[11..19]
        )
    }

    fn write_seconds(self, text: &mut [u8]) {
        let (day, second) = (
            self.second().div_euclid(86_400),
            self.second().rem_euclid(86_400),
        );
        let (year, month, of_month) = civil(day);
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], of_month);
        digits(&mut text[11..13], second / 3600);
        digits(&mut text[14..16], second / 60 % 60);
        digits(&mut text[17..19], second % 60);
    }
}

impl Add<Duration> for Micros {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Micros {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

/// A time's text of a fixed length, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is ever written")
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Year, month and day of a day counted from the epoch.
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month,
        of_month,
    )
}

/// Writes the decimal digits of a number that fits, with leading zeros.
fn digits(text: &mut [u8], mut number: i64) {
    for place in text.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_as_in_the_api() {
        let at = Micros(1_795_359_330_578_286);
        assert_eq!(at.micros_text().as_str(), "2026-11-22T14:55:30.578286Z");
        assert_eq!(at.seconds_text().as_str(), "2026-11-22T14:55:30Z");
        assert_eq!(at.http_date(), "Sun, 22 Nov 2026 14:55:30 GMT");
        assert_eq!(Micros(0).seconds_text().as_str(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Micros::from_secs(951_782_400).seconds_text().as_str(),
            "2000-02-29T00:00:00Z"
        );
    }
}
