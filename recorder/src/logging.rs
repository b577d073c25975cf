//! The log: `tracing` to stderr, as JSON lines or as text.
//!
//! Invariant: every text that reaches the log went through the redaction given to [`init`]. What is logged comes partly
//! from the cluster (error messages quote what they could not read), so no call site has to remember it.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::clock::Clock;
use crate::config::{LogConfig, LogFormat};

/// Takes the secrets out of a text.
pub type Redact = fn(&str) -> String;

/// Starts logging for the whole process; once.
///
/// # Errors
/// When the process logs already.
pub fn init(config: &LogConfig, redact: Redact) -> Result<(), TryInitError> {
    // Invariant: a `LogLevel` holds only what `filter` accepts.
    let targets = filter(config.level.as_str()).unwrap_or_default();
    let lines = Lines {
        sink: io::stderr,
        redact,
        format: config.format,
    };
    let registry = tracing_subscriber::registry().with(targets);
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

/// The filter that a `log.level` means; `None` if it means none.
///
/// A bare level counts for kube9's own code: at `debug`, hyper and rustls would drown everything else.
pub fn filter(level: &str) -> Option<Targets> {
    if let Ok(bare) = LevelFilter::from_str(level) {
        // `LevelFilter` also reads digits, which nobody means here.
        let is_word = level.bytes().all(|b| b.is_ascii_alphabetic()) && !level.is_empty();
        let libraries = bare.min(LevelFilter::WARN);
        let targets = Targets::new()
            .with_default(libraries)
            .with_target("kube9", bare);
        // kube's client warns with the whole body of an answer that it cannot decode: ConfigMaps and all.
        let client = bare.min(LevelFilter::ERROR);
        return is_word.then(|| targets.with_target("kube_client", client));
    }
    let targets = Targets::from_str(level).ok()?;
    // `Targets` takes an unknown word for a target; with neither `=` nor a level in it, it is a typing error.
    let words = || level.split(',').map(str::trim);
    let is_directive = |word: &str| word.contains('=') || LevelFilter::from_str(word).is_ok();
    words().all(is_directive).then_some(targets)
}

/// Makes one line of each event, without secrets.
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

/// Writes one event; `tracing-subscriber` hands it over in a single `write_all`.
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

/// Redacts text by text, so that the line stays valid JSON whatever is taken out.
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

/// Lets a repeated message through once per period, and counts the others: `if let Some(suppressed) = t.pass(&clock)`.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<(Option<Duration>, u64)>,
}

impl Throttle {
    /// At most one pass in each `period`.
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            state: Mutex::new((None, 0)),
        }
    }

    /// `Some(how many were held back since the last pass)` if the message may be logged now.
    pub fn pass(&self, clock: &Clock) -> Option<u64> {
        let now = clock.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state
            .0
            .is_none_or(|last| now.saturating_sub(last) >= self.period);
        if due {
            state.0 = Some(now);
            return Some(std::mem::take(&mut state.1));
        }
        state.1 += 1;
        None
    }

    /// Forgets the past: the next message passes. For the moment in which a trouble is over.
    pub fn reset(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualTime;
    use kube9_shared::time::Timestamp;
    use tracing::{Level, debug, info};

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
        let registry = tracing_subscriber::registry().with(filter("info").unwrap());
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
    fn json_lines_stay_json_and_lose_their_secrets() {
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
    fn text_lines_lose_their_secrets() {
        let text = logged(LogFormat::Text, || info!(rows = 3, "token hunter2"));
        assert!(text.contains("token [REDACTED] rows=3\n"), "{text}");
        assert!(
            !text.contains("hunter2") && !text.contains('\u{1b}'),
            "{text}"
        );
    }

    #[test]
    fn a_bare_level_is_for_our_own_code() {
        let debug = filter("debug").unwrap();
        assert!(debug.would_enable("kube9_recorder::store", &Level::DEBUG));
        assert!(debug.would_enable("hyper", &Level::WARN));
        assert!(!debug.would_enable("hyper", &Level::INFO));
        assert!(!debug.would_enable("kube_client::client", &Level::WARN));
        let off = filter("off").unwrap();
        assert!(!off.would_enable("kube9_recorder", &Level::ERROR));
        assert!(!off.would_enable("hyper", &Level::ERROR));
        let mixed = filter("warn,kube9_recorder::store=trace").unwrap();
        assert!(mixed.would_enable("kube9_recorder::store::writer", &Level::TRACE));
        assert!(!mixed.would_enable("kube9_recorder::serve", &Level::INFO));
        for wrong in ["", "loud", "info,loud", "kube9=loud", "3"] {
            assert!(filter(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_repeated_message_passes_once_a_period_and_tells_what_it_held_back() {
        let time = ManualTime::at(Timestamp::EPOCH);
        let clock = Clock::new(time.clone());
        let throttle = Throttle::new(Duration::from_secs(30));
        assert_eq!(throttle.pass(&clock), Some(0));
        assert_eq!(throttle.pass(&clock), None);
        time.advance(Duration::from_secs(29));
        assert_eq!(throttle.pass(&clock), None);
        time.advance(Duration::from_secs(1));
        assert_eq!(throttle.pass(&clock), Some(2));
        assert_eq!(throttle.pass(&clock), None);
        throttle.reset();
        assert_eq!(throttle.pass(&clock), Some(0));
    }
}
