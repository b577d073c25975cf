//! The text that stands in place of a secret.

pub(in crate::pipeline) const MARKER: &str = "[REDACTED]";
