//! Every fault, one after the other: `/healthz` reports it, and the event counts balance at every scrape, also while
//! watches are reopened and lists restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kube9_tests::apiserver::{Fault, FaultId, Garbage, Kind, On};
use kube9_tests::recorder::{Setup, balance};

use super::harness::Harness;

/// Scrapes continuously.
struct Scraper {
    stop: Arc<AtomicBool>,
    scrapes: Arc<AtomicU64>,
    thread: JoinHandle<Vec<String>>,
}

impl Scraper {
    fn start(setup: Setup) -> Self {
        let (stop, scrapes) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted) = (stop.clone(), scrapes.clone());
        let thread = std::thread::spawn(move || {
            let mut unbalanced = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                // A pause leaves CPU time to the recorder.
                std::thread::sleep(Duration::from_millis(50));
                let metrics = setup.metrics();
                if metrics.is_empty() {
                    continue; // no answer
                }
                counted.fetch_add(1, Ordering::Release);
                if balance(&metrics).is_none() {
                    unbalanced.push(format!("{metrics:?}"));
                }
            }
            unbalanced
        });
        Self {
            stop,
            scrapes,
            thread,
        }
    }

    fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::Acquire)
    }

    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// Starts a fault. It ends by clearing the returned rule and calling `end`.
type Begin = fn(&Harness) -> Option<FaultId>;

struct Row {
    what: &'static str,
    begin: Begin,
    end: fn(&Harness),
    check: &'static str,
    words: &'static [&'static str],
}

fn rule(harness: &Harness, on: On, fault: Fault) -> Option<FaultId> {
    let id = harness.server.faults().always(on, fault);
    harness.server.cut_connections();
    Some(id)
}

const EVENTS: On = On::kind(Kind::Event);
const WATCHES: On = On::watch(Kind::Event);
const NOTHING: fn(&Harness) = |_| {};

const fn status(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
    }
}

const CONNECTIONS: &[Row] = &[
    Row {
        what: "the API server is away",
        begin: |harness| {
            harness.server.stop();
            None
        },
        end: |harness| harness.server.start_again(),
        check: "watch/Event",
        words: &["connection"],
    },
    Row {
        what: "every request is cut off",
        begin: |harness| rule(harness, EVENTS, Fault::Hangup),
        end: NOTHING,
        check: "watch/Event",
        words: &["connection"],
    },
    Row {
        what: "no answer",
        begin: |harness| rule(harness, EVENTS, Fault::Silence),
        end: NOTHING,
        check: "watch/Event",
        words: &["no response"],
    },
];

const ANSWERS: &[Row] = &[
    Row {
        what: "500",
        begin: |harness| rule(harness, EVENTS, status(500)),
        end: NOTHING,
        check: "watch/Event",
        words: &["500"],
    },
    Row {
        what: "503 in plain text, as a load balancer answers",
        begin: |harness| {
            let text = Fault::Text {
                code: 503,
                retry_after: None,
                body: "no healthy upstream",
            };
            rule(harness, EVENTS, text)
        },
        end: NOTHING,
        check: "watch/Event",
        words: &["503"],
    },
    Row {
        what: "429 with Retry-After",
        begin: |harness| {
            let busy = Fault::Status {
                code: 429,
                retry_after: Some(1),
            };
            rule(harness, EVENTS, busy)
        },
        end: NOTHING,
        check: "watch/Event",
        words: &["asks to wait 1 s"],
    },
    Row {
        what: "401: the token is not taken",
        begin: |harness| rule(harness, EVENTS, status(401)),
        end: NOTHING,
        check: "watch/Event",
        words: &["401"],
    },
    Row {
        what: "403: the permission is removed",
        begin: |harness| {
            harness.server.access().deny_kind(Kind::Event);
            harness.server.cut_connections();
            None
        },
        end: |harness| harness.server.access().allow_all(),
        check: "watch/Event",
        words: &["not allowed (403)"],
    },
];

const LISTS_AND_WATCHES: &[Row] = &[
    Row {
        what: "watches that end immediately",
        begin: |harness| rule(harness, WATCHES, Fault::Empty),
        end: NOTHING,
        check: "watch/Event",
        words: &["as soon as it has begun"],
    },
    Row {
        what: "lists that are refused",
        begin: |harness| rule(harness, On::list(Kind::Event), status(504)),
        end: NOTHING,
        check: "watch/Event",
        words: &["504"],
    },
    Row {
        what: "lists that break off",
        begin: |harness| rule(harness, On::list(Kind::Event), Fault::CutAfter { items: 0 }),
        end: NOTHING,
        check: "watch/Event",
        words: &["of Events failed", "connection"],
    },
    Row {
        what: "watches that answer with an error in the stream",
        begin: |harness| {
            rule(
                harness,
                WATCHES,
                Fault::ErrorAfter {
                    items: 0,
                    code: 500,
                },
            )
        },
        end: NOTHING,
        check: "watch/Event",
        words: &["500"],
    },
    Row {
        what: "watches that go silent",
        begin: |harness| rule(harness, WATCHES, Fault::SilentAfter { items: 0 }),
        end: NOTHING,
        check: "watch/Event",
        words: &["no response"],
    },
    Row {
        what: "one kind alone is refused",
        begin: |harness| {
            harness.server.access().deny_kind(Kind::Pod);
            harness.server.cut_connections();
            None
        },
        end: |harness| harness.server.access().allow_all(),
        check: "watch/Pod",
        words: &["403"],
    },
];

/// Runs the faults, then `last`.
fn play(rows: &[Row], last: fn(&Harness, &Scraper)) {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create_many("first", 30);
    harness.wait_stored(30);
    let scraper = Scraper::start(harness.setup.clone());
    for (n, row) in rows.iter().enumerate() {
        harness.wait(&format!("healthy before: {}", row.what), || {
            harness.is_healthy()
        });
        let before = scraper.scrapes();
        let rule = (row.begin)(&harness);
        harness.create_many(&format!("while-{n}"), 10);
        harness.repeat("first.000001");
        harness.wait(row.what, || {
            let said = harness.degraded(row.check);
            row.words.iter().all(|word| said.contains(word))
        });
        if let Some(rule) = rule {
            harness.server.faults().clear(rule);
        }
        (row.end)(&harness);
        harness.create_many(&format!("after-{n}"), 10);
        harness.wait("scraped meanwhile", || scraper.scrapes() > before);
    }
    last(&harness, &scraper);
    harness.assert_complete();
    harness.wait("healthy at last", || harness.is_healthy());
    harness.wait("the account is settled", || {
        balance(&harness.setup.metrics()) == Some(0.0)
    });
    let scrapes = scraper.scrapes();
    let unbalanced = scraper.finish();
    assert!(
        unbalanced.is_empty(),
        "{} of {scrapes}: {}",
        unbalanced.len(),
        unbalanced[0]
    );
    recorder.stop().unwrap();
}

#[test]
fn connection_faults_are_reported_and_event_counts_balance() {
    play(CONNECTIONS, |_, _| {});
}

#[test]
fn refused_requests_are_reported_and_event_counts_balance() {
    play(ANSWERS, |_, _| {});
}

#[test]
fn failed_lists_and_watches_are_reported_and_event_counts_balance() {
    play(LISTS_AND_WATCHES, |_, _| {});
}

#[test]
fn blocked_database_keeps_event_counts_balanced() {
    play(&[], |harness, scraper| {
        // Cases without a connection failure that change the event counts: duplicates, garbage, clean ends, a relist.
        let faults = harness.server.faults();
        let garbage = Garbage::WrongType;
        for fault in [
            Fault::Duplicate,
            Fault::EndAfter { items: 1 },
            Fault::Garbage {
                items: 1,
                what: garbage,
            },
            status(410),
        ] {
            let before = scraper.scrapes();
            faults.next(1, WATCHES, fault);
            harness.server.cut_connections();
            harness.create_many(&format!("last-{before}"), 10);
            harness.wait("scraped meanwhile", || scraper.scrapes() > before);
        }
        // A blocked database, and the queue before it.
        let holder = harness.setup.hold_the_database().unwrap();
        harness.create_many("held", 1_500);
        harness.wait("the database is named", || {
            harness.degraded("database").contains("database is locked")
        });
        drop(holder);
    });
}
