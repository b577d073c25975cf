//! The log of requests, for tests on what clients request and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::kind::{Kind, Verb};

/// How a request ended, from the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Still being answered.
    Open,
    /// Answered in full with this code.
    Done(u16),
    /// Ended early by the server: cut, hung up, restarted.
    Broken,
    /// The client disconnected.
    Left,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Since the server started.
    pub at: Duration,
    /// Verb and kind; `None` outside of resources, e.g. `/version`.
    pub what: Option<(Verb, Kind)>,
    /// Path and query as sent.
    pub target: String,
    /// `Accept` header as sent; empty for none.
    pub accept: String,
    /// The client's port: one connection.
    pub client: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Items or watch events sent.
    pub items: usize,
}

/// Older requests are dropped beyond this number.
const REQUESTS_MAX: usize = 200_000;

#[derive(Debug)]
struct Log {
    started: Instant,
    first: usize,
    requests: Vec<Request>,
}

/// The log. Clones share state.
#[derive(Debug, Clone)]
pub struct Requests(Arc<Mutex<Log>>);

/// RequestIndex of a request in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestIndex(usize);

impl Requests {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Log {
            started: Instant::now(),
            first: 0,
            requests: Vec::new(),
        })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Log) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All requests so far, in order of arrival.
    pub fn all(&self) -> Vec<Request> {
        self.with(|log| log.requests.clone())
    }

    /// Number of requests so far: a mark for [`Self::since`].
    pub fn mark(&self) -> usize {
        self.with(|log| log.first + log.requests.len())
    }

    /// The requests after a mark.
    pub fn since(&self, mark: usize) -> Vec<Request> {
        self.with(|log| {
            log.requests
                .get(mark.saturating_sub(log.first)..)
                .unwrap_or(&[])
                .to_vec()
        })
    }

    /// Number of requests with that verb on that kind.
    pub fn count(&self, verb: Verb, kind: Kind) -> usize {
        self.with(|log| {
            log.requests
                .iter()
                .filter(|r| r.what == Some((verb, kind)))
                .count()
        })
    }

    /// Requests by verb, kind and outcome.
    pub fn counts(&self) -> BTreeMap<(Verb, Kind, Outcome), usize> {
        let mut counts = BTreeMap::new();
        for request in self.all() {
            if let Some((verb, kind)) = request.what {
                *counts.entry((verb, kind, request.outcome)).or_default() += 1;
            }
        }
        counts
    }

    /// The most requests about a kind within any span of that length: detects hot loops.
    pub fn densest(&self, kind: Kind, span: Duration) -> usize {
        self.with(|log| {
            let about = |r: &&Request| r.what.is_some_and(|(_, one)| one == kind);
            let times: Vec<_> = log.requests.iter().filter(about).map(|r| r.at).collect();
            let mut oldest = 0;
            let mut most = 0;
            for (newest, at) in times.iter().enumerate() {
                while *at - times[oldest] >= span {
                    oldest += 1;
                }
                most = most.max(newest + 1 - oldest);
            }
            most
        })
    }

    /// Open watches of a kind.
    pub fn open_watches(&self, kind: Kind) -> usize {
        self.with(|log| {
            log.requests
                .iter()
                .filter(|r| r.what == Some((Verb::Watch, kind)) && r.outcome == Outcome::Open)
                .count()
        })
    }

    pub(super) fn arrived(
        &self,
        what: Option<(Verb, Kind)>,
        target: String,
        accept: String,
        client: u16,
    ) -> RequestIndex {
        self.with(|log| {
            if log.requests.len() >= REQUESTS_MAX {
                let half = log.requests.len() / 2;
                log.requests.drain(..half);
                log.first += half;
            }
            let at = log.started.elapsed();
            log.requests.push(Request {
                at,
                what,
                target,
                accept,
                client,
                outcome: Outcome::Open,
                items: 0,
            });
            RequestIndex(log.first + log.requests.len() - 1)
        })
    }

    pub(super) fn update(&self, place: RequestIndex, change: impl FnOnce(&mut Request)) {
        self.with(|log| {
            if let Some(request) = place
                .0
                .checked_sub(log.first)
                .and_then(|i| log.requests.get_mut(i))
            {
                change(request);
            }
        });
    }
}

/// Records how a request ends, also when its future is dropped.
#[derive(Debug)]
pub(super) struct Running {
    log: Requests,
    place: RequestIndex,
    items: usize,
    /// The outcome if it is dropped without another one.
    outcome: Outcome,
}

impl Running {
    pub(super) fn new(log: Requests, place: RequestIndex) -> Self {
        Self {
            log,
            place,
            items: 0,
            outcome: Outcome::Broken,
        }
    }

    pub(super) fn sent(&mut self, items: usize) {
        self.items += items;
        let total = self.items;
        self.log.update(self.place, |r| r.items = total);
    }

    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let outcome = self.outcome;
        self.log.update(self.place, |r| r.outcome = outcome);
    }
}
