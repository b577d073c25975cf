//! The types of settings: how each is parsed from text or YAML, and written back.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

/// Where a setting may come from in a pod, where anyone who can `kubectl exec` can start another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A flag, a variable or the file, because it names no address, credential or file.
    Anywhere,
    /// Only the mounted config file.
    Mounted,
}

/// A single value of the configuration.
pub trait SettingValue: Clone + PartialOrd {
    /// Describes a valid value, to complete "is not …".
    const WHAT: &'static str;

    /// Where a setting of this type may come from. `None` for text, which may name anything, so that each such setting
    /// declares it.
    const ORIGIN: Option<Origin>;

    /// Parses the text of a flag, a variable or a YAML string.
    fn parse(text: &str) -> Option<Self>;

    /// The value as it is in the config file; [`parse`](Self::parse) reads it back.
    fn to_yaml(&self) -> Value;

    /// Whether it is within `bounds`.
    fn within(&self, bounds: &RangeInclusive<Self>) -> bool {
        bounds.contains(self)
    }

    /// Parses a YAML value. A number counts as its text.
    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        }
    }
}

macro_rules! whole_number {
    ($($int:ty),+) => {$(
        impl SettingValue for $int {
            const WHAT: &'static str = "a whole number";
            const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn to_yaml(&self) -> Value {
                Value::from(*self)
            }
        }
    )+};
}
whole_number!(u8, u32, usize);

impl SettingValue for bool {
    const WHAT: &'static str = "true or false";
    const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_yaml(&self) -> Value {
        Value::from(*self)
    }

    fn from_yaml(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl SettingValue for PathBuf {
    const WHAT: &'static str = "a path";
    const ORIGIN: Option<Origin> = Some(Origin::Mounted);

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn to_yaml(&self) -> Value {
        Value::from(self.display().to_string())
    }

    /// A path that looks like a number must be quoted in YAML: `007` would be parsed as `7`.
    fn from_yaml(value: &Value) -> Option<Self> {
        value.as_str().and_then(Self::parse)
    }
}

impl SettingValue for String {
    const WHAT: &'static str = "a text (quote it if it looks like a number)";
    const ORIGIN: Option<Origin> = None;

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_yaml(&self) -> Value {
        Value::from(self.as_str())
    }

    fn from_yaml(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl SettingValue for SocketAddr {
    const WHAT: &'static str = "an address such as 0.0.0.0:8080 or [::]:8080";
    const ORIGIN: Option<Origin> = Some(Origin::Mounted);

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }

    fn to_yaml(&self) -> Value {
        Value::from(self.to_string())
    }
}

/// An empty text or a missing key means unset.
impl<T: SettingValue> SettingValue for Option<T> {
    const WHAT: &'static str = T::WHAT;
    const ORIGIN: Option<Origin> = T::ORIGIN;

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::parse(text).map(Some)
        }
    }

    fn to_yaml(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_yaml)
    }

    fn within(&self, bounds: &RangeInclusive<Self>) -> bool {
        self.is_none() || bounds.contains(self)
    }

    fn from_yaml(value: &Value) -> Option<Self> {
        if value.as_str() == Some("") {
            Some(None)
        } else {
            T::from_yaml(value).map(Some)
        }
    }
}

/// A sequence in YAML; comma-separated in a variable.
impl SettingValue for Vec<String> {
    const WHAT: &'static str = "a list of texts";
    const ORIGIN: Option<Origin> = None;

    fn parse(text: &str) -> Option<Self> {
        Some(
            text.split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    fn to_yaml(&self) -> Value {
        Value::from(self.clone())
    }

    fn from_yaml(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items
                .iter()
                .map(|v| v.as_str().map(str::to_owned))
                .collect(),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }
}

/// `250ms`, `30s`, `2m`, `6h`, `7d`, `2w`, or several of them from large to small: `1h30m`.
impl SettingValue for Duration {
    const WHAT: &'static str = "a duration with a unit (ms, s, m, h, d, w), such as 30s or 1h30m";
    const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        let mut smallest = u64::MAX;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            let after = &rest[digits..];
            let end = after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len());
            let unit = UNITS.iter().find(|(name, _)| *name == &after[..end])?.1;
            if unit >= smallest {
                return None;
            }
            smallest = unit;
            total = total.checked_add(number.checked_mul(unit)?)?;
            rest = &after[end..];
        }
        Some(Self::from_millis(total))
    }

    fn to_yaml(&self) -> Value {
        Value::from(format_duration(*self))
    }
}

/// Unit and its milliseconds, large to small.
const UNITS: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The shortest exact text: `90m`, not `1h30m`; days, not weeks, because 30 days is not a number of weeks.
fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UNITS
        .iter()
        .skip(1)
        .find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit))
        .map_or_else(
            || "0s".to_owned(),
            |(name, unit)| format!("{}{name}", millis / unit),
        )
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// That many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// That many KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// That many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Suffix and its bytes: those of Kubernetes quantities.
const SUFFIXES: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl SettingValue for ByteSize {
    const WHAT: &'static str = "a size such as 512Mi, 2Gi or a number of bytes";
    const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (number, unit) = SUFFIXES
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        number.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }

    fn to_yaml(&self) -> Value {
        let exact = SUFFIXES[..4]
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        Value::from(match exact {
            Some((suffix, unit)) => format!("{}{suffix}", self.0 / unit),
            None => self.0.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_parse_and_to_yaml_round_trip() {
        for (text, millis, shown) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90m", 5_400_000, "90m"),
            ("1h30m", 5_400_000, "90m"),
            ("7d", 604_800_000, "7d"),
            ("2w", 1_209_600_000, "14d"),
            ("0s", 0, "0s"),
            (" 5m ", 300_000, "5m"),
        ] {
            let parsed = Duration::parse(text).unwrap();
            assert_eq!(parsed, Duration::from_millis(millis), "{text}");
            assert_eq!(parsed.to_yaml(), shown, "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-5s",
            "1.5h",
            "5 m",
            "30m1h",
            "1s1s",
            "5y",
            "9999999999999999999w",
        ] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn byte_size_parse_and_to_yaml_round_trip() {
        for (text, bytes, shown) in [
            ("512Mi", 512 << 20, "512Mi"),
            ("1024Ki", 1 << 20, "1Mi"),
            ("1G", 1_000_000_000, "1000000000"),
            ("4096", 4096, "4Ki"),
            ("0", 0, "0"),
        ] {
            let parsed = ByteSize::parse(text).unwrap();
            assert_eq!(parsed.get(), bytes, "{text}");
            assert_eq!(parsed.to_yaml(), shown, "{text}");
        }
        for text in ["", "Mi", "1.5Gi", "-1", "+1", "12MB", "99999999999Ti"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }

    #[test]
    fn from_yaml_rejects_a_number_for_text_path_and_duration() {
        let number = Value::from(7);
        assert_eq!(String::from_yaml(&number), None);
        assert_eq!(PathBuf::from_yaml(&number), None);
        assert_eq!(Duration::from_yaml(&number), None);
        assert_eq!(<Vec<String>>::from_yaml(&Value::from(vec![7])), None);
        assert_eq!(u32::from_yaml(&number), Some(7));
        assert_eq!(ByteSize::from_yaml(&number), Some(ByteSize::bytes(7)));
    }

    #[test]
    fn parse_empty_text_unsets_an_option() {
        assert_eq!(<Option<ByteSize>>::parse(""), Some(None));
        assert_eq!(<Option<String>>::from_yaml(&Value::from("")), Some(None));
        assert_eq!(<Option<ByteSize>>::parse("no"), None);
        assert_eq!(PathBuf::parse(""), None);
    }
}
