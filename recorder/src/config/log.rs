//! What is logged, as the settings say it.

use serde_json::Value;

use super::setting::Leaf;

/// Level of the log, or directives by target. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub struct LogLevel(pub(super) String);

impl LogLevel {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Leaf for LogLevel {
    const WHAT: &'static str = "a log level (off, error, warn, info, debug, trace) or directives such as warn,kube9_recorder=debug";

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        crate::logging::filter(&text)
            .is_some()
            .then_some(Self(text))
    }

    fn show(&self) -> Value {
        Value::from(self.as_str())
    }
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Leaf for LogFormat {
    const WHAT: &'static str = "a log format (json, text)";

    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_lowercase().as_str() {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => None,
        }
    }

    fn show(&self) -> Value {
        Value::from(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}
