//! Handles panics. A panic in a connection of the HTTP server ends that connection. Any other panic is a defect that ends
//! the process after the writer has committed what it holds.
//!
//! ```text
//!   panic ─▶ hook ─┬─ in a connection: logged once a minute ─▶ unwinds to the connection's task: closed, counted (serve)
//!                  └─ anywhere else:   logged, signalled ────▶ supervisor: stop in order, drain ─▶ exit code 3
//! ```
//!
//! The hook decides, not the end of a task, because libraries have tasks that the supervisor does not wait for.

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kube9_base::throttle::Throttle;
use serde_json::json;
use tokio::sync::Notify;
use tracing::error;

/// Shortest interval between log messages about connections that panicked: a client can cause them at will.
const CONNECTION_LOG_PERIOD: Duration = Duration::from_secs(60);

/// Longest text of a panic that is logged, in bytes. The text may contain large input.
const TEXT_BYTES_MAX: usize = 1 << 10;

tokio::task_local! {
    /// Set while a connection is served.
    static CONNECTION: ();
}

thread_local! {
    /// Set in a thread that logs a panic.
    static IS_REPORTING: Cell<bool> = const { Cell::new(false) };
}

/// Source location of the first panic outside a connection.
static PLACE: OnceLock<String> = OnceLock::new();
static NOTICE: Notify = Notify::const_new();

/// Serves a connection; a panic in it ends nothing else.
pub async fn contain<F: Future>(connection: F) -> F::Output {
    CONNECTION.scope((), connection).await
}

/// Whether the caller serves a connection.
pub fn is_contained() -> bool {
    CONNECTION.try_with(|()| ()).is_ok()
}

/// Waits for a panic outside a connection; returns its source location. Pending until [`install`] was called.
pub async fn noticed() -> String {
    loop {
        NOTICE.notified().await;
        if let Some(place) = location() {
            return place;
        }
    }
}

/// Source location of the first panic that [`noticed`] waits for, if any.
pub fn location() -> Option<String> {
    PLACE.get().cloned()
}

/// Installs the panic hook. Call it once, after logging was initialized.
pub fn install() {
    let (origin, throttle) = (Instant::now(), Throttle::new(CONNECTION_LOG_PERIOD));
    panic::set_hook(Box::new(move |panic| {
        // A panic of the report is detected by the end of its thread.
        if IS_REPORTING.get() {
            return;
        }
        let report = Report::of(panic);
        if is_contained() {
            if let Some(suppressed) = throttle.pass(origin.elapsed()) {
                report.write(Some(suppressed));
            }
        } else {
            // The first panic is the cause; later ones may be consequences.
            let _ = PLACE.set(report.place.clone());
            NOTICE.notify_one();
            report.write(None);
        }
    }));
}

/// The logged data of a panic.
struct Report {
    place: String,
    thread: String,
    text: String,
}

impl Report {
    fn of(panic: &PanicHookInfo<'_>) -> Self {
        let text = panic.payload_as_str().unwrap_or("no text");
        Self {
            place: panic
                .location()
                .map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
            thread: std::thread::current()
                .name()
                .unwrap_or("without a name")
                .to_owned(),
            text: text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned(),
        }
    }

    /// Logs on another thread: a panic in the hook would abort the process, and the redaction of the text might panic.
    fn write(self, suppressed: Option<u64>) {
        let place = self.place.clone();
        let writing = std::thread::Builder::new()
            .name("panic".to_owned())
            .spawn(move || {
                IS_REPORTING.set(true);
                self.log(suppressed);
            });
        let written = writing.is_ok_and(|writing| writing.join().is_ok());
        if !written {
            let line = json!({"level": "ERROR", "message": "panicked", "place": place});
            // If stderr is closed, the panic cannot be reported.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn log(&self, suppressed: Option<u64>) {
        let Self {
            place,
            thread,
            text,
        } = self;
        match suppressed {
            Some(suppressed) => error!(
                place,
                text, suppressed, "panic in an HTTP connection, connection closed"
            ),
            None => error!(place, thread, text, "panicked"),
        }
    }
}
