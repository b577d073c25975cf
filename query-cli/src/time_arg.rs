//! Times and durations on the command line.

use std::time::Duration;

use kube9_model::time::Timestamp;

use crate::zone::Zone;

/// Longest duration that is accepted; keeps all times within the calendar.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A time, absolute or relative to the start of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeArg {
    At(Timestamp),
    /// What a clock shows in the zone of the command line; the value is as if that were UTC.
    Shown(Timestamp),
    /// The last time at which a clock showed it: since midnight.
    OfDay(Duration),
    Ago(Duration),
}

impl TimeArg {
    pub(crate) fn resolve(self, now: &Now) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Shown(shown) => now.zone.moment(shown),
            Self::OfDay(since_midnight) => {
                let today = now.zone.shown(now.time);
                let midnight = Timestamp::from_secs(today.second().div_euclid(86_400) * 86_400);
                let at = now.zone.moment(midnight.plus(since_midnight));
                if at <= now.time {
                    at
                } else {
                    let before = midnight.minus(Duration::from_secs(86_400));
                    now.zone.moment(before.plus(since_midnight))
                }
            }
            Self::Ago(span) => now.time.minus(span),
        }
    }
}

/// The time of a command, and the zone of its times.
#[derive(Debug, Clone)]
pub(crate) struct Now {
    pub(crate) time: Timestamp,
    pub(crate) zone: Zone,
}

/// Parses `2025-12-02T10:30:00Z`, `2025-12-02 10:30`, `2025-12-02`, `02:00`, `now`, `30m`, `1h30m` or `7d`.
pub(crate) fn parse(text: &str) -> Result<TimeArg, String> {
    if text == "now" {
        return Ok(TimeArg::Ago(Duration::ZERO));
    }
    if let Ok(span) = parse_duration(text) {
        return Ok(TimeArg::Ago(span));
    }
    if let Some(since_midnight) = time_of_day(text) {
        return Ok(TimeArg::OfDay(since_midnight));
    }
    absolute(text).ok_or_else(|| {
        "use an RFC 3339 time (2025-12-02T10:30:00Z), a date (2025-12-02), a time of day (02:00) or an age (30m, 24h, 7d)".to_owned()
    })
}

/// `02:00` or `02:00:30`
fn time_of_day(text: &str) -> Option<Duration> {
    let full = match text.len() {
        5 => format!("1970-01-01T{text}:00Z"),
        8 => format!("1970-01-01T{text}Z"),
        _ => return None,
    };
    let time = Timestamp::parse(&full).ok()?;
    Some(time.since(Timestamp::EPOCH))
}

fn absolute(text: &str) -> Option<TimeArg> {
    if !text.is_ascii() {
        return None;
    }
    let shown = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!(
            "{}T{}:00Z",
            &text[..10],
            text[10..].strip_prefix(['T', 't', ' '])?
        ),
        19 => format!(
            "{}T{}Z",
            &text[..10],
            text[10..].strip_prefix(['T', 't', ' '])?
        ),
        _ => return Timestamp::parse(text).ok().map(TimeArg::At),
    };
    Timestamp::parse(&shown).ok().map(TimeArg::Shown)
}

/// Parses `90s`, `30m`, `24h`, `7d`, `2w`, or several units in descending order: `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration {text:?}; use 90s, 30m, 24h, 7d or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = match rest.as_bytes().get(digits) {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            Some(b'w') => 7 * 86_400,
            _ => return Err(bad()),
        };
        if unit >= last_unit {
            return Err(bad());
        }
        last_unit = unit;
        let seconds = number.checked_mul(unit).ok_or_else(bad)?;
        total = total
            .checked_add(Duration::from_secs(seconds))
            .filter(|&t| t <= DURATION_MAX)
            .ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    if last_unit == u64::MAX {
        Err(bad())
    } else {
        Ok(total)
    }
}

/// An age as `kubectl` formats it: `42s`, `12m`, `5h`, `3d`.
pub(crate) fn format_age(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..=119 => format!("{s}s"),
        s @ 120..=7_199 => format!("{}m", s / 60),
        s @ 7_200..=172_799 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_absolute_time_returns_utc() {
        for (text, expected) in [
            ("2025-12-02T10:30:00Z", "2025-12-02T10:30:00.000Z"),
            ("2025-12-02T10:30:00.5+02:00", "2025-12-02T08:30:00.500Z"),
            ("2025-12-02", "2025-12-02T00:00:00.000Z"),
            ("2025-12-02 10:30", "2025-12-02T10:30:00.000Z"),
            ("2025-12-02T10:30:15", "2025-12-02T10:30:15.000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
            ("2025-03-30T02:30:00+01:00", "2025-03-30T01:30:00.000Z"),
        ] {
            assert_eq!(resolved(text, "UTC").to_string(), expected, "{text}");
        }
    }

    /// At 01:00:30 on 2025-12-02, UTC.
    fn resolved(text: &str, zone: &str) -> Timestamp {
        let now = Now {
            time: Timestamp::parse("2025-12-02T01:00:30Z").unwrap(),
            zone: Zone::parse(zone).unwrap(),
        };
        parse(text).unwrap().resolve(&now)
    }

    #[test]
    fn parse_without_an_offset_returns_time_of_the_zone() {
        for (text, zone, expected) in [
            ("2025-12-02 10:30", "+02:00", "2025-12-02T08:30:00.000Z"),
            ("2025-12-02", "-01:00", "2025-12-02T01:00:00.000Z"),
            ("2025-12-02T10:30:00Z", "+02:00", "2025-12-02T10:30:00.000Z"),
            ("00:30", "UTC", "2025-12-02T00:30:00.000Z"),
            ("02:00", "UTC", "2025-12-01T02:00:00.000Z"),
            ("02:00", "+02:00", "2025-12-02T00:00:00.000Z"),
            ("03:00:30", "+02:00", "2025-12-02T01:00:30.000Z"),
            ("23:00", "-05:00", "2025-12-01T04:00:00.000Z"),
        ] {
            assert_eq!(resolved(text, zone).to_string(), expected, "{text} {zone}");
        }
        for text in ["24:00", "2:00", "02:60", "02-00", "02:00:61"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parse_duration_accepts_descending_units() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("24h", 86_400),
            ("7d", 604_800),
            ("1h30m", 5400),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-5m",
            "1m1h",
            "1m1m",
            "99999999999999999999d",
            "9999999d",
            "5 m",
            "½h",
            "1h½",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parse_malformed_time_is_rejected() {
        for text in [
            "",
            "yesterday",
            "2025-02-30",
            "2025-12-02T25:00",
            "10000-01-01",
            "2025-12-0é",
            "2025-12-02x10:30",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn format_age_has_one_unit() {
        for (seconds, expected) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(format_age(Duration::from_secs(seconds)), expected);
        }
    }
}
