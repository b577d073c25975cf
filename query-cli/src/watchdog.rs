//! Ends the process when its work takes longer than `--timeout`, whatever it is doing.
//!
//! ```text
//!   begin ──▶ works ◀──▶ rests (writes the output, waits for news: others decide how long that takes)
//!               │ time is up
//!               ▼
//!             the error of a query that took too long, exit 1
//! ```
//!
//! SQLite ends its own statements at the time limit, between two instructions. What it does not see is a single
//! instruction that takes long, and all that comes after the query: the text of a damaged file.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kube9_db::read::ReadError;

use crate::failure::Failure;

/// How long after the limit: a statement that SQLite ends itself says the same, and cleans up.
const GRACE: Duration = Duration::from_millis(500);
/// The thread calls little.
const STACK_BYTES: usize = 128 << 10;

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

struct Watchdog {
    limit: Duration,
    state: Mutex<State>,
    /// Wakes the thread while it waits for the end of a rest.
    worked: Condvar,
}

#[derive(Default)]
struct State {
    /// When the work must have ended; `None` while it rests.
    deadline: Option<Instant>,
    is_waiting: bool,
}

impl Watchdog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the time is up.
    fn watch(&self) {
        let mut state = self.state();
        loop {
            state = match state.deadline {
                None => {
                    state.is_waiting = true;
                    let mut state =
                        (self.worked.wait(state)).unwrap_or_else(PoisonError::into_inner);
                    state.is_waiting = false;
                    state
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let woken = self.worked.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Begins a piece of work that may take `limit`, and `more` for what waits by itself. The first call starts the watch;
/// its limit stays. An error is reported as JSON if `json`.
pub(crate) fn work(limit: Duration, more: Duration, json: bool) {
    let mut is_new = false;
    let watchdog = WATCHDOG.get_or_init(|| {
        is_new = true;
        Watchdog {
            limit,
            state: Mutex::default(),
            worked: Condvar::new(),
        }
    });
    watchdog.state().deadline = Some(Instant::now() + watchdog.limit + more + GRACE);
    if is_new {
        let run = move || {
            watchdog.watch();
            let failure = Failure::Read(ReadError::Timeout(watchdog.limit)).in_json(json);
            let _ = failure.report();
            std::process::exit(1);
        };
        // Without the thread the limits within still hold.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    }
}

/// Begins the next piece of work, if there is a watch.
pub(crate) fn next() {
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.state().deadline = Some(Instant::now() + watchdog.limit + GRACE);
    }
}

/// Does what others may hold up for as long as they like; it does not count.
pub(crate) fn rest<T>(outside: impl FnOnce() -> T) -> T {
    let Some(watchdog) = WATCHDOG.get() else {
        return outside();
    };
    let left =
        (watchdog.state().deadline.take()).map(|at| at.saturating_duration_since(Instant::now()));
    let result = outside();
    let mut state = watchdog.state();
    state.deadline = left.map(|left| Instant::now() + left);
    if state.is_waiting {
        watchdog.worked.notify_one();
    }
    result
}
