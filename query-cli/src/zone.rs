//! The time zone of printed times, and of times on the command line without an offset.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use kube9_model::time::Timestamp;

/// A time zone, as `--tz` names it.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// Reads `UTC`, `local`, `+02:00` or `Europe/Berlin`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let zone = match text {
            "UTC" | "utc" | "Z" => TimeZone::UTC,
            "local" => TimeZone::try_system()
                .map_err(|_| "the local time zone is not known; name an offset such as +02:00")?,
            _ => match offset(text) {
                Some(offset) => TimeZone::fixed(offset),
                None => TimeZone::get(text)
                    .map_err(|_| "use UTC, local, an offset such as +02:00, or a name such as Europe/Berlin that this system knows")?,
            },
        };
        let name = match text {
            "utc" | "Z" => "UTC",
            other => other,
        };
        Ok(Self {
            name: name.to_owned(),
            zone,
        })
    }

    /// For headings.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `2025-12-02 10:30:45`
    pub(crate) fn seconds(&self, at: Timestamp) -> String {
        let text = self
            .civil(at)
            .map_or_else(|| at.to_string(), |civil| civil.to_string());
        let text = text.get(..19).unwrap_or(&text);
        text.replacen('T', " ", 1)
    }

    /// `2025-12-02 10:30 UTC`
    pub(crate) fn minute(&self, at: Timestamp) -> String {
        format!("{} {}", &self.seconds(at)[..16], self.name)
    }

    /// `2025-12-02T10:30:45.123Z`, or with the offset of the zone.
    pub(crate) fn rfc3339(&self, at: Timestamp) -> String {
        let instant = jiff::Timestamp::from_millisecond(at.millis());
        match instant.map(|instant| self.zone.to_offset(instant)) {
            Ok(offset) if offset != Offset::UTC => {
                let shown = self.shown(at).to_string();
                let minutes = offset.seconds() / 60;
                let sign = if minutes < 0 { '-' } else { '+' };
                let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
                let shown = shown.trim_end_matches('Z');
                format!("{shown}{sign}{hours:02}:{minutes:02}")
            }
            _ => at.to_string(),
        }
    }

    /// A stored time, as text, in the zone; any other text as it is.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        /// As kube9 stores times.
        const LENGTH: usize = "2025-12-02T10:30:45.123Z".len();
        match Timestamp::parse(text) {
            Ok(at) if text.len() == LENGTH && text.ends_with('Z') => self.rfc3339(at).into(),
            _ => text.into(),
        }
    }

    fn civil(&self, at: Timestamp) -> Option<DateTime> {
        let instant = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
        Some(self.zone.to_datetime(instant))
    }

    /// The moment at which clocks of the zone show what clocks in UTC show at `shown`.
    pub(crate) fn moment(&self, shown: Timestamp) -> Timestamp {
        let civil = jiff::Timestamp::from_millisecond(shown.millis())
            .map(|shown| TimeZone::UTC.to_datetime(shown));
        civil
            .and_then(|civil| self.zone.to_timestamp(civil))
            .map_or(shown, |moment| {
                Timestamp::from_millis(moment.as_millisecond())
            })
    }

    /// What clocks of the zone show at a moment, as if it were UTC.
    pub(crate) fn shown(&self, at: Timestamp) -> Timestamp {
        self.civil(at)
            .and_then(|civil| TimeZone::UTC.to_timestamp(civil).ok())
            .map_or(at, |shown| Timestamp::from_millis(shown.as_millisecond()))
    }
}

/// `+02:00`, `-0530`, `+2`
fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "00"),
    };
    let number = |text: &str, max: i32| -> Option<i32> {
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number <= max)
    };
    let seconds = number(hours, 14)? * 3_600 + number(minutes, 59)? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_shows_and_reads_the_same_time() {
        let at = Timestamp::parse("2025-12-02T23:30:00Z").unwrap();
        for (zone, shown) in [
            ("UTC", "2025-12-02 23:30:00"),
            ("+02:00", "2025-12-03 01:30:00"),
            ("-0530", "2025-12-02 18:00:00"),
            ("+1", "2025-12-03 00:30:00"),
        ] {
            let zone = Zone::parse(zone).unwrap();
            assert_eq!(zone.seconds(at), shown);
            assert_eq!(zone.moment(zone.shown(at)), at);
            assert_eq!(Timestamp::parse(&zone.rfc3339(at)), Ok(at));
        }
    }

    #[test]
    fn zone_that_is_unknown_is_rejected() {
        for text in [
            "",
            "+",
            "+25:00",
            "+02:60",
            "Mars/Olympus",
            "2",
            "+2:0:0",
            "+é",
        ] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }
}
