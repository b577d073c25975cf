//! Ends the process when its work exceeds `--timeout`.
//!
//! ```text
//!   start ──▶ running ◀──▶ paused (writing the output, waiting for commits: others determine how long that takes)
//!               │ deadline
//!               ▼
//!             timeout error, exit 1
//! ```
//!
//! SQLite interrupts its own statements at the time limit, between two instructions. It cannot interrupt a single long
//! instruction, nor the work after the query, such as formatting the text of a damaged file.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kube9_db::read::ReadError;

use crate::error::CliError;

/// Grace after the limit, so that SQLite can interrupt its statement first: same error, with cleanup.
const GRACE: Duration = Duration::from_millis(500);
/// The thread has few stack frames.
const STACK_BYTES: usize = 128 << 10;

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

struct Watchdog {
    limit: Duration,
    state: Mutex<State>,
    /// Wakes the thread at the end of a pause.
    resumed: Condvar,
}

#[derive(Default)]
struct State {
    /// Deadline; `None` while paused.
    deadline: Option<Instant>,
    is_waiting: bool,
}

impl Watchdog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns at the deadline.
    fn wait_for_deadline(&self) {
        let mut state = self.state();
        loop {
            state = match state.deadline {
                None => {
                    state.is_waiting = true;
                    let mut state =
                        (self.resumed.wait(state)).unwrap_or_else(PoisonError::into_inner);
                    state.is_waiting = false;
                    state
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let woken = self.resumed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Starts the watchdog for work that may take `limit`, plus `extra` for waits with their own limit. Further calls only
/// restart it; the first limit stays. Reports the error as JSON if `json`.
pub(crate) fn start(limit: Duration, extra: Duration, json: bool) {
    let mut is_new = false;
    let watchdog = WATCHDOG.get_or_init(|| {
        is_new = true;
        Watchdog {
            limit,
            state: Mutex::default(),
            resumed: Condvar::new(),
        }
    });
    let mut state = watchdog.state();
    state.deadline = Some(Instant::now() + watchdog.limit + extra + GRACE);
    if state.is_waiting {
        watchdog.resumed.notify_one();
    }
    drop(state);
    if is_new {
        let run = move || {
            watchdog.wait_for_deadline();
            let error = CliError::Read(ReadError::Timeout(watchdog.limit)).with_json(json);
            let _ = error.report();
            std::process::exit(crate::exit_code::FAILED.into());
        };
        // Without the thread, SQLite still has its own time limit.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    }
}

/// Pauses the watchdog until the next `start`: the command has ended, and the process may have other work.
pub(crate) fn stop() {
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.state().deadline = None;
    }
}

/// Restarts the time limit for the next step, if the watchdog runs.
pub(crate) fn restart() {
    if let Some(watchdog) = WATCHDOG.get() {
        watchdog.state().deadline = Some(Instant::now() + watchdog.limit + GRACE);
    }
}

/// Runs `wait` with the watchdog paused: its duration depends on others.
pub(crate) fn pause<T>(wait: impl FnOnce() -> T) -> T {
    let Some(watchdog) = WATCHDOG.get() else {
        return wait();
    };
    let left =
        (watchdog.state().deadline.take()).map(|at| at.saturating_duration_since(Instant::now()));
    let result = wait();
    let mut state = watchdog.state();
    state.deadline = left.map(|left| Instant::now() + left);
    if state.is_waiting {
        watchdog.resumed.notify_one();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_that_has_ended_does_not_end_the_process_later() {
        let words = ["kube9-query", "--db=/nonexistent/kube9.db", "status"];
        let _ = crate::run(words.map(std::ffi::OsString::from));
        let watchdog = WATCHDOG.get().expect("status starts the watchdog");
        assert!(watchdog.state().deadline.is_none());
    }
}
