//! Whose analysis is off for lack of memory.
//!
//! ```text
//!   on ── its bytes, the bytes of all, one object too large ──▶ off ── RETRY_EVERY ──▶ trying ── every list complete ──▶ on
//!                                                               ▲                        │
//!                                                               └──── too much again ────┘
//! ```
//!
//! Off and trying, no rule that reads objects looks at the namespace: with a part of its objects it would conclude what is
//! not so. Off, none of its objects is kept. Over the bytes of all, the namespace that holds most is off, not the one
//! that comes last.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::maps::Set;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;

use crate::ledger::Ledger;

/// How often it is tried again: that lists everything once more.
const RETRY_EVERY: Duration = Duration::from_secs(30 * 60);

/// Namespaces that the message names.
const NAMED_MAX: usize = 3;

/// Why a namespace is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It holds more than one namespace may.
    Namespace,
    /// All hold more than they may, and it holds most.
    Total,
    /// The essential part of one object is too large.
    Object,
    /// It was so when the recorder stopped.
    Before,
}

impl Cause {
    const fn words(self) -> &'static str {
        match self {
            Self::Namespace => "more than analysis.namespace_max_bytes",
            Self::Total => "the largest, with analysis.max_bytes used up",
            Self::Object => "an object is too large",
            Self::Before => "off at the last stop, being tried again",
        }
    }
}

#[derive(Debug)]
struct Off {
    cause: Cause,
    since: Timestamp,
    /// It is tried again.
    trying: Option<Trying>,
}

/// What was listed since it is tried again. A list that began before has left out its objects.
#[derive(Debug, Default)]
struct Trying {
    begun: Set<WatchId>,
    listed: Set<WatchId>,
}

/// The bounds, and who is off.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) max: usize,
    namespace_max: usize,
    off: BTreeMap<Box<str>, Off>,
}

impl Quota {
    pub(super) fn new(max: Option<u64>, namespace_max: Option<u64>) -> Self {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let max = max.map_or(usize::MAX, bytes);
        Self {
            max,
            namespace_max: namespace_max.map_or(max / 2, bytes),
            off: BTreeMap::new(),
        }
    }

    /// Whether its objects are left out.
    pub(super) fn leaves_out(&self, namespace: &str) -> bool {
        let off = self.off.get(namespace);
        off.is_some_and(|off| off.trying.is_none())
    }

    /// Whether rules must not conclude from its objects.
    pub(super) fn is_off(&self, namespace: &str) -> bool {
        !self.off.is_empty() && self.off.contains_key(namespace)
    }

    /// How many are off.
    pub(super) fn count(&self) -> usize {
        self.off.len()
    }

    /// Those that are off, and not tried again now.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let off = self.off.iter().filter(|(_, off)| off.trying.is_none());
        off.map(|(name, _)| &**name)
    }

    /// Whom to switch off, if anybody: `namespace` has just grown. What is in no namespace is nobody's doing.
    pub(super) fn over(&self, namespace: &str, ledgers: [&Ledger; 2]) -> Option<(Box<str>, Cause)> {
        let of = |name: &str| ledgers.iter().map(|ledger| ledger.of(name)).sum::<usize>();
        let is_tenant = !namespace.is_empty() && !self.leaves_out(namespace);
        if is_tenant && of(namespace) > self.namespace_max {
            return Some((namespace.into(), Cause::Namespace));
        }
        let total: usize = ledgers.iter().map(|ledger| ledger.total()).sum();
        // Of those that are off, what was found is closed bit by bit.
        if total <= self.max || total - self.names().map(of).sum::<usize>() <= self.max {
            return None;
        }
        let names = ledgers.iter().flat_map(|ledger| ledger.namespaces());
        let tenants = names.filter(|name| !name.is_empty() && !self.leaves_out(name));
        let largest = tenants.max_by_key(|name| (of(name), *name))?;
        Some((largest.into(), Cause::Total))
    }

    pub(super) fn switch_off(&mut self, namespace: &str, cause: Cause, now: Timestamp) {
        let off = Off {
            cause,
            since: now,
            trying: None,
        };
        self.off.insert(namespace.into(), off);
    }

    /// It was off when the recorder stopped.
    pub(super) fn was_off(&mut self, namespace: &str) {
        let off = Off {
            cause: Cause::Before,
            since: Timestamp::EPOCH,
            trying: Some(Trying::default()),
        };
        self.off.entry(namespace.into()).or_insert(off);
    }

    /// Tries those again that are off for long enough; says whether there is any.
    pub(super) fn retry(&mut self, now: Timestamp) -> bool {
        let mut any = false;
        for off in self.off.values_mut() {
            off.since = off.since.min(now); // the clock was set back
            if off.trying.is_none() && now.since(off.since) >= RETRY_EVERY {
                off.trying = Some(Trying::default());
                any = true;
            }
        }
        any
    }

    /// A list begins.
    pub(super) fn list_begins(&mut self, watch: WatchId) {
        for trying in self.off.values_mut().filter_map(|off| off.trying.as_mut()) {
            trying.begun.insert(watch);
        }
    }

    /// A list is complete, or is `refused`; returns those that are on again, all of `watches` being listed.
    pub(super) fn listed(
        &mut self,
        watch: WatchId,
        refused: bool,
        watches: impl Fn(&Set<WatchId>) -> bool,
    ) -> Vec<Box<str>> {
        let mut on = Vec::new();
        for (name, off) in &mut self.off {
            if let Some(trying) = &mut off.trying
                && (refused || trying.begun.contains(&watch))
            {
                trying.listed.insert(watch);
                if watches(&trying.listed) {
                    on.push(name.clone());
                }
            }
        }
        for name in &on {
            self.off.remove(name);
        }
        on
    }

    /// What `/healthz` says; `None` while nobody is off.
    pub(super) fn message(&self) -> Option<String> {
        let all = self.off.len();
        if all == 0 {
            return None;
        }
        let named = self.off.iter().take(NAMED_MAX);
        let named: Vec<String> = named
            .map(|(name, off)| format!("{name} ({})", off.cause.words()))
            .collect();
        let more = match all.saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "the analysis is off for lack of memory, Events are recorded: raise the memory limit or \
             analysis.max_bytes, or delete what is too large in namespace {}{more}",
            named.join(", ")
        ))
    }
}
