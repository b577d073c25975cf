//! Faults of real servers, load balancers and networks, on command.
//!
//! Two kinds: *rules* for matching requests (the next N, or until cleared), and *states* of the whole server (not
//! listening, watches frozen), which [`super::ApiServer`] switches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::kind::{Kind, Verb};

/// Which requests a fault applies to. Empty fields match everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct On {
    /// Only this verb.
    pub verb: Option<Verb>,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// For lists: only pages with (or without) a continue token.
    pub continued: Option<bool>,
    /// For lists: only those (or none of those) that ask for the state exactly at a version.
    pub exact: Option<bool>,
}

impl On {
    /// Every request.
    pub const ANY: Self = Self {
        verb: None,
        kind: None,
        continued: None,
        exact: None,
    };

    /// Lists of that kind.
    pub const fn list(kind: Kind) -> Self {
        Self {
            verb: Some(Verb::List),
            kind: Some(kind),
            continued: None,
            exact: None,
        }
    }

    /// Watches of that kind.
    pub const fn watch(kind: Kind) -> Self {
        Self {
            verb: Some(Verb::Watch),
            kind: Some(kind),
            continued: None,
            exact: None,
        }
    }

    /// Everything done to that kind.
    pub const fn kind(kind: Kind) -> Self {
        Self {
            verb: None,
            kind: Some(kind),
            continued: None,
            exact: None,
        }
    }

    /// That verb on any kind.
    pub const fn verb(verb: Verb) -> Self {
        Self {
            verb: Some(verb),
            kind: None,
            continued: None,
            exact: None,
        }
    }

    fn meets(&self, verb: Verb, kind: Kind, query: &str) -> bool {
        let continued = query.contains("continue=");
        let exact = query.contains("resourceVersionMatch=Exact");
        self.verb.is_none_or(|v| v == verb)
            && self.kind.is_none_or(|k| k == kind)
            && self.continued.is_none_or(|c| c == continued)
            && self.exact.is_none_or(|e| e == exact)
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answer with an error `Status`.
    Status {
        /// HTTP code.
        code: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// Answer with plain text, as a load balancer or the priority-and-fairness filter does.
    Text {
        /// HTTP code.
        code: u16,
        /// Seconds for the `Retry-After` header.
        retry_after: Option<u64>,
        body: &'static str,
    },
    /// Wait before answering.
    Delay(Duration),
    /// Accept the request and never answer.
    Silence,
    /// Close the connection without an answer.
    Hangup,
    /// Send the body at this pace.
    Trickle {
        /// Bytes a second; at least 1.
        bytes_per_second: u32,
    },
    /// Answer 200 and end the body immediately.
    Empty,
    /// Stall after `items` items; the connection stays open.
    SilentAfter {
        /// Items delivered before.
        items: usize,
    },
    /// Break the connection in the middle of the item after `items`.
    CutAfter {
        /// Items delivered before.
        items: usize,
    },
    /// End the body cleanly after `items` items (watches only).
    EndAfter {
        /// Items delivered before.
        items: usize,
    },
    /// Send an ERROR event after `items` items and end (watches only).
    ErrorAfter {
        /// Items delivered before.
        items: usize,
        /// Code of its Status.
        code: u16,
    },
    /// Send this line after `items` items (watches only).
    Line {
        /// Items delivered before.
        items: usize,
        line: &'static str,
        /// The body ends cleanly after it.
        ends: bool,
    },
    /// Insert an item that does not decode after `items` items.
    Garbage {
        /// Items delivered before.
        items: usize,
        /// What is wrong with it.
        what: Garbage,
    },
    /// Deliver every item twice.
    Duplicate,
    /// Send the same continue token with every page (lists only).
    SameToken,
    /// Answer with the current objects for any requested version, and label them with that version (as kine did) or
    /// with the current one (lists only).
    Today {
        /// Label them with the requested version.
        as_asked: bool,
    },
}

/// An item that does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbage {
    /// JSON, with a proper `metadata`, but `involvedObject`, `spec` and `data` are numbers.
    WrongType,
    /// JSON, but not an object.
    NotAnObject,
    /// Not JSON. In a list it breaks the whole page.
    NotJson,
    /// A proper item whose text holds bytes that are not UTF-8.
    NotUtf8,
}

impl Garbage {
    /// The bytes of such an item, as a list carries it.
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::WrongType => {
                br#"{"metadata":{"name":"garbage.1","namespace":"default","uid":"00000000-0000-4000-8000-00000000bad1","resourceVersion":"1"},"involvedObject":7,"spec":7,"data":7,"message":{"no":"text"},"count":"many"}"#
            }
            Self::NotAnObject => br#""an item that is a string""#,
            Self::NotJson => br#"{"metadata":{"name":"garbage.3","#,
            Self::NotUtf8 => {
                b"{\"metadata\":{\"name\":\"garbage.4\",\"namespace\":\"default\",\"uid\":\"00000000-0000-4000-8000-00000000bad4\",\"resourceVersion\":\"1\"},\"involvedObject\":{\"kind\":\"Pod\"},\"reason\":\"Odd\",\"message\":\"\xff\xfe\",\"type\":\"Normal\"}"
            }
        }
    }
}

/// How long a fault applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Next(usize),
    UntilCleared,
}

/// Identifies an active fault for [`Faults::clear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

#[derive(Debug)]
struct Rule {
    id: FaultId,
    on: On,
    fault: Fault,
    times: Times,
    met: usize,
}

#[derive(Debug, Default)]
struct Rules {
    next_id: u64,
    rules: Vec<Rule>,
}

/// The active faults. Clones share state.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

impl Faults {
    fn with<T>(&self, f: impl FnOnce(&mut Rules) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, on: On, fault: Fault, times: Times) -> FaultId {
        self.with(|rules| {
            rules.next_id += 1;
            let id = FaultId(rules.next_id);
            rules.rules.push(Rule {
                id,
                on,
                fault,
                times,
                met: 0,
            });
            id
        })
    }

    /// Applies `fault` to the next `n` matching requests.
    pub fn next(&self, n: usize, on: On, fault: Fault) -> FaultId {
        self.add(on, fault, Times::Next(n))
    }

    /// Applies `fault` to all matching requests until it is cleared.
    pub fn always(&self, on: On, fault: Fault) -> FaultId {
        self.add(on, fault, Times::UntilCleared)
    }

    /// Removes one fault; running requests keep it.
    pub fn clear(&self, id: FaultId) {
        self.with(|rules| rules.rules.retain(|r| r.id != id));
    }

    /// Removes all faults.
    pub fn clear_all(&self) {
        self.with(|rules| rules.rules.clear());
    }

    /// Number of requests that the active fault was applied to; `None` once it is used up or cleared.
    pub fn met(&self, id: FaultId) -> Option<usize> {
        self.with(|rules| rules.rules.iter().find(|r| r.id == id).map(|r| r.met))
    }

    /// Number of active faults. Faults for the next N requests are removed once used up.
    pub fn pending(&self) -> usize {
        self.with(|rules| rules.rules.len())
    }

    /// Takes the faults that apply to the request.
    pub(super) fn take(&self, verb: Verb, kind: Kind, query: &str) -> Plan {
        let mut plan = Plan::default();
        self.with(|rules| {
            for rule in rules
                .rules
                .iter_mut()
                .filter(|r| r.on.meets(verb, kind, query))
            {
                rule.met += 1;
                if let Times::Next(left) = &mut rule.times {
                    *left = left.saturating_sub(1);
                }
                plan.add(&rule.fault);
                // A fault that refuses the request leaves later rules for later requests.
                if plan.refuse.is_some() {
                    break;
                }
            }
            rules.rules.retain(|r| r.times != Times::Next(0));
        });
        plan
    }
}

/// Instead of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refuse {
    Status {
        code: u16,
        retry_after: Option<u64>,
    },
    Text {
        code: u16,
        retry_after: Option<u64>,
        body: &'static str,
    },
    Silence,
    Hangup,
    Empty,
}

/// How a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndBy {
    Silence,
    Cut,
    Proper,
    Error(u16),
    Line(&'static str),
}

/// All faults of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) refuse: Option<Refuse>,
    pub(super) bytes_per_second: Option<u32>,
    pub(super) end: Option<(usize, EndBy)>,
    pub(super) garbage: Option<(usize, Garbage)>,
    pub(super) duplicate: bool,
    pub(super) same_token: bool,
    pub(super) line: Option<(usize, &'static str)>,
    pub(super) today: Option<bool>,
}

impl Plan {
    fn add(&mut self, fault: &Fault) {
        match fault.clone() {
            Fault::Status { code, retry_after } => {
                self.refuse = Some(Refuse::Status { code, retry_after })
            }
            Fault::Text {
                code,
                retry_after,
                body,
            } => {
                self.refuse = Some(Refuse::Text {
                    code,
                    retry_after,
                    body,
                });
            }
            Fault::Silence => self.refuse = Some(Refuse::Silence),
            Fault::Hangup => self.refuse = Some(Refuse::Hangup),
            Fault::Empty => self.refuse = Some(Refuse::Empty),
            Fault::Delay(by) => self.delay += by,
            Fault::Trickle { bytes_per_second } => {
                self.bytes_per_second = Some(bytes_per_second.max(1))
            }
            Fault::SilentAfter { items } => self.end = Some((items, EndBy::Silence)),
            Fault::CutAfter { items } => self.end = Some((items, EndBy::Cut)),
            Fault::EndAfter { items } => self.end = Some((items, EndBy::Proper)),
            Fault::ErrorAfter { items, code } => self.end = Some((items, EndBy::Error(code))),
            Fault::Garbage { items, what } => self.garbage = Some((items, what)),
            Fault::Duplicate => self.duplicate = true,
            Fault::SameToken => self.same_token = true,
            Fault::Today { as_asked } => self.today = Some(as_asked),
            Fault::Line { items, line, ends } if ends => {
                self.end = Some((items, EndBy::Line(line)));
            }
            Fault::Line { items, line, .. } => self.line = Some((items, line)),
        }
    }
}
