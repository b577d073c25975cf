//! Logging: `tracing` to stderr, as JSON lines or as text.
//!
//! Invariant: every text in the log was redacted by the function given to [`init`]. Log messages contain text from the
//! cluster, because errors quote their input, so the call sites must not be responsible.

use std::io::{self, Write};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Redacts secrets in a text.
pub type Redact = fn(&str) -> String;

/// Starts logging for the whole process. Call it once.
///
/// # Errors
/// If logging was already started.
pub fn init(config: &LogConfig, redact: Redact) -> Result<(), TryInitError> {
    let lines = Lines {
        sink: io::stderr,
        redact,
        format: config.format,
    };
    let registry = tracing_subscriber::registry().with(config.level.targets());
    match config.format {
        LogFormat::Json => registry.with(json_layer(lines)).try_init(),
        LogFormat::Text => registry.with(text_layer(lines)).try_init(),
    }
}

fn json_layer<S, W>(writer: W) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false);
    layer.with_current_span(false).with_writer(writer)
}

fn text_layer<S, W>(writer: W) -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer)
}

/// Writes each event as one redacted line.
struct Lines<W> {
    sink: fn() -> W,
    redact: Redact,
    format: LogFormat,
}

impl<'a, W: Write + 'a> MakeWriter<'a> for Lines<W> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line {
            sink: (self.sink)(),
            redact: self.redact,
            format: self.format,
        }
    }
}

/// Writes one event, which `tracing-subscriber` passes in a single `write_all`.
struct Line<W> {
    sink: W,
    redact: Redact,
    format: LogFormat,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = match self.format {
            LogFormat::Json => redact_json(text, self.redact),
            LogFormat::Text => (self.redact)(text),
        };
        line.push('\n');
        self.sink.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Redacts each string separately, so that the line stays valid JSON.
fn redact_json(line: &str, redact: Redact) -> String {
    let Ok(mut event) = serde_json::from_str::<Value>(line) else {
        return Value::from(redact(line)).to_string();
    };
    redact_value(&mut event, redact);
    event.to_string()
}

fn redact_value(value: &mut Value, redact: Redact) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, redact)),
        Value::Object(map) => map.values_mut().for_each(|item| redact_value(item, redact)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use tracing::{debug, info};

    static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    /// Collects what the tests of this module log; the lock `SERIAL` keeps them apart.
    struct Sink;
    static SERIAL: Mutex<()> = Mutex::new(());

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            WRITTEN.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn hide(text: &str) -> String {
        text.replace("hunter2\"", "[REDACTED]")
            .replace("hunter2", "[REDACTED]")
    }

    fn logged(format: LogFormat, events: impl FnOnce()) -> String {
        let _one_at_a_time = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        WRITTEN.lock().unwrap().clear();
        let lines = Lines {
            sink: || Sink,
            redact: hide,
            format,
        };
        let registry = tracing_subscriber::registry().with(LogConfig::default().level.targets());
        match format {
            LogFormat::Json => {
                tracing::subscriber::with_default(registry.with(json_layer(lines)), events);
            }
            LogFormat::Text => {
                tracing::subscriber::with_default(registry.with(text_layer(lines)), events);
            }
        }
        String::from_utf8(WRITTEN.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_are_redacted_and_stay_valid() {
        let text = logged(LogFormat::Json, || {
            info!(error = %"cannot read \"hunter2\"", rows = 3, "token hunter2");
            debug!("too fine");
            info!("second");
        });
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0]["message"], "token [REDACTED]");
        assert_eq!(lines[0]["error"], "cannot read \"[REDACTED]");
        assert_eq!(lines[0]["rows"], 3);
        assert_eq!(lines[0]["level"], "INFO");
        assert!(lines[0]["timestamp"].is_string());
    }

    #[test]
    fn text_lines_are_redacted() {
        let text = logged(LogFormat::Text, || info!(rows = 3, "token hunter2"));
        assert!(text.contains("token [REDACTED] rows=3\n"), "{text}");
        assert!(
            !text.contains("hunter2") && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}
