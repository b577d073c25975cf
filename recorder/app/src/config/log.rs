//! The settings of the log.

use std::str::FromStr;

use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::{Origin, SettingValue};

/// Log level, or directives by target. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub struct LogLevel(pub(super) String);

impl LogLevel {
    /// The configured text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter of the subscriber.
    pub fn targets(&self) -> Targets {
        // Invariant: a `LogLevel` holds only what `targets` accepts.
        targets(&self.0).unwrap_or_default()
    }
}

impl SettingValue for LogLevel {
    const WHAT: &'static str = "a log level (off, error, warn, info, debug, trace) or directives such as warn,kube9_recorder=debug";
    const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        targets(&text).is_some().then_some(Self(text))
    }

    fn to_yaml(&self) -> Value {
        Value::from(self.as_str())
    }
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Human-readable lines.
    Text,
}

impl SettingValue for LogFormat {
    const WHAT: &'static str = "a log format (json, text)";
    const ORIGIN: Option<Origin> = Some(Origin::Anywhere);

    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_lowercase().as_str() {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }

    fn to_yaml(&self) -> Value {
        Value::from(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Parses a `log.level`.
///
/// A bare level applies to kube9's own code: at `debug`, hyper and rustls would log far more than kube9.
fn targets(level: &str) -> Option<Targets> {
    if let Ok(bare) = LevelFilter::from_str(level) {
        // `LevelFilter` also accepts digits, which are probably a mistake.
        let is_word = level.bytes().all(|b| b.is_ascii_alphabetic()) && !level.is_empty();
        let libraries = bare.min(LevelFilter::WARN);
        let by_target = Targets::new()
            .with_default(libraries)
            .with_target("kube9", bare);
        // kube's client logs each failed request, and the whole body of a response that does not decode, such as a
        // ConfigMap. kube9-k8s logs both, throttled and redacted.
        return is_word.then(|| by_target.with_target("kube_client", LevelFilter::OFF));
    }
    let by_target = Targets::from_str(level).ok()?;
    // `Targets` parses an unknown word as a target; without `=` or a level it is a typing error.
    let words = || level.split(',').map(str::trim);
    let is_directive = |word: &str| word.contains('=') || LevelFilter::from_str(word).is_ok();
    words().all(is_directive).then_some(by_target)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::targets;

    #[test]
    fn targets_bare_level_applies_to_own_code() {
        let debug = targets("debug").unwrap();
        assert!(debug.would_enable("kube9_store", &Level::DEBUG));
        assert!(debug.would_enable("hyper", &Level::WARN));
        assert!(!debug.would_enable("hyper", &Level::INFO));
        assert!(!debug.would_enable("kube_client::client", &Level::ERROR));
        let off = targets("off").unwrap();
        assert!(!off.would_enable("kube9_recorder", &Level::ERROR));
        assert!(!off.would_enable("hyper", &Level::ERROR));
        let mixed = targets("warn,kube9_store=trace").unwrap();
        assert!(mixed.would_enable("kube9_store::writer", &Level::TRACE));
        assert!(!mixed.would_enable("kube9_recorder::serve", &Level::INFO));
        for wrong in ["", "loud", "info,loud", "kube9=loud", "3"] {
            assert!(targets(wrong).is_none(), "{wrong:?}");
        }
    }
}
