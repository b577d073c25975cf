//! What a panic does. While a connection to the HTTP server is served it ends that connection; anywhere else it is a
//! defect that ends the process, after the writer has committed what it holds.
//!
//! ```text
//!   panic ─▶ hook ─┬─ in a connection: logged once a minute ─▶ unwinds to the connection's task: closed, counted (serve)
//!                  └─ anywhere else:   logged, noticed ──────▶ tasks: stop in order, drain ─▶ exit code 3
//! ```
//!
//! The hook decides, not the end of a task: the libraries have tasks of their own, whose end nothing here waits for.

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kube9_base::throttle::Throttle;
use serde_json::json;
use tokio::sync::Notify;
use tracing::error;

/// Shortest time between two lines about connections that panicked. Such a line may quote a request, and a request costs
/// its sender nothing.
const CONNECTION_LOG_PERIOD: Duration = Duration::from_secs(60);

/// Longest text of a panic that is logged, in bytes. A panic may quote all that it could not work with.
const TEXT_BYTES_MAX: usize = 1 << 10;

tokio::task_local! {
    /// Is set while a connection is served.
    static CONNECTION: ();
}

thread_local! {
    /// Set in a thread that writes the line about a panic.
    static REPORTS: Cell<bool> = const { Cell::new(false) };
}

/// Where the first panic was that was not in a connection.
static PLACE: OnceLock<String> = OnceLock::new();
static NOTICE: Notify = Notify::const_new();

/// Serves a connection: a panic within ends nothing else.
pub async fn contain<F: Future>(connection: F) -> F::Output {
    CONNECTION.scope((), connection).await
}

/// Whether the caller serves a connection.
pub fn is_contained() -> bool {
    CONNECTION.try_with(|()| ()).is_ok()
}

/// Waits for a panic outside of a connection; says where it was. Never ends before [`install`].
pub async fn noticed() -> String {
    loop {
        NOTICE.notified().await;
        if let Some(place) = place() {
            return place;
        }
    }
}

/// Where the first panic was that [`noticed`] waits for, if there was one.
pub fn place() -> Option<String> {
    PLACE.get().cloned()
}

/// From now on every panic of this process goes to the log. Once, after the log has begun.
pub fn install() {
    let (origin, throttle) = (Instant::now(), Throttle::new(CONNECTION_LOG_PERIOD));
    panic::set_hook(Box::new(move |panic| {
        // A report that panics is known by the end of its thread.
        if REPORTS.get() {
            return;
        }
        let report = Report::of(panic);
        if is_contained() {
            if let Some(held_back) = throttle.pass(origin.elapsed()) {
                report.write(Some(held_back));
            }
        } else {
            // The first one is the cause; what comes after it may be its consequence.
            let _ = PLACE.set(report.place.clone());
            NOTICE.notify_one();
            report.write(None);
        }
    }));
}

/// What is logged of a panic.
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

    /// Writes the line in a thread of its own. A panic within a hook aborts the process, and the text, which may be a
    /// client's, still has to pass the redaction.
    fn write(self, held_back: Option<u64>) {
        let place = self.place.clone();
        let writing = std::thread::Builder::new()
            .name("panic".to_owned())
            .spawn(move || {
                REPORTS.set(true);
                self.log(held_back);
            });
        let written = writing.is_ok_and(|writing| writing.join().is_ok());
        if !written {
            let line = json!({"level": "ERROR", "message": "panicked", "place": place});
            // Nothing is left to report it to.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn log(&self, held_back: Option<u64>) {
        let Self {
            place,
            thread,
            text,
        } = self;
        match held_back {
            Some(held_back) => error!(
                place,
                text, held_back, "panic in an HTTP connection, connection closed"
            ),
            None => error!(place, thread, text, "panicked"),
        }
    }
}
