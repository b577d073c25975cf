//! A task that panics, through a clock that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube9_base::clock::{Clock, TimeSource};
use kube9_model::time::Timestamp;
use kube9_recorder::exit::Defect;
use kube9_recorder::panics;

use super::harness::Harness;

/// A clock that panics once, in a task of the recorder, on command.
struct Trap {
    system: Clock,
    armed: AtomicBool,
}

impl Trap {
    fn spring(&self) {
        let is_recorder = std::thread::current().name() == Some("recorder");
        let is_task = is_recorder && tokio::task::try_id().is_some() && !panics::is_contained();
        if is_task && self.armed.swap(false, Ordering::Relaxed) {
            panic!("as the test wants it");
        }
    }
}

impl TimeSource for Trap {
    fn now(&self) -> Timestamp {
        self.spring();
        self.system.now()
    }

    fn monotonic(&self) -> Duration {
        self.spring();
        self.system.monotonic()
    }
}

#[test]
fn panic_in_task_commits_received_items_before_exit() {
    const EVENTS: usize = 200;
    let harness = Harness::new();
    let trap = Arc::new(Trap {
        system: Clock::system(),
        armed: AtomicBool::new(false),
    });
    let recorder = harness.setup.start_at(Clock::new(trap.clone())).unwrap();
    harness.wait("healthy", || harness.is_healthy());
    // Nothing can be committed while the task panics: everything waits in the queue and in the writer's batch.
    let held = harness.setup.hold_the_database().unwrap();
    harness.create_many("while-held", EVENTS);
    harness.wait("all are received", || {
        harness.metric("kube9_events_received_total") >= EVENTS as f64
    });
    assert_eq!(harness.stored(), 0);
    trap.armed.store(true, Ordering::Relaxed);
    harness.wait("the task has panicked", || {
        !trap.armed.load(Ordering::Relaxed)
    });
    drop(held);
    harness.wait("the recorder has ended", || recorder.has_ended());
    let error = recorder.stop().unwrap_err();
    assert!(error.is::<Defect>(), "{error:#}");
    assert_eq!(harness.stored(), EVENTS as i64);
    let stopped = "SELECT description FROM events WHERE title = 'Recorder stopped'";
    let stopped = harness.setup.column(stopped).unwrap();
    assert!(stopped[0].contains("panicked"), "{stopped:?}");
}
