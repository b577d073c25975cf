//! Memory limits of the analysis, and the namespaces that exceed them.
//!
//! ```text
//!   on ── namespace, total or one object too large ──▶ off ── RETRY_EVERY ──▶ retrying ── every list complete ──▶ on
//!                                                      ▲                         │
//!                                                      └───── too large again ───┘
//! ```
//!
//! While a namespace is off or retrying, no rule that reads objects evaluates it, because the result would be based on a
//! part of its objects. While it is off, its objects are not kept. If the total is exceeded, the namespace that uses most
//! is turned off, not the one that grew last.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::maps::Set;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;

use crate::ledger::Ledger;

/// Interval of retries. Each lists everything again.
const RETRY_EVERY: Duration = Duration::from_secs(30 * 60);

/// Number of namespaces that the message names.
const NAMED_MAX: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It exceeds the limit of a namespace.
    Namespace,
    /// The total is exceeded, and it uses most.
    Total,
    /// The essential part of one object is too large.
    Object,
    /// It was off when the recorder stopped.
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
    trying: Option<Trying>,
}

/// The lists since the retry began. A list that began earlier has left out the namespace's objects.
#[derive(Debug, Default)]
struct Trying {
    begun: Set<WatchId>,
    listed: Set<WatchId>,
}

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

    /// Whether objects of the namespace are left out.
    pub(super) fn leaves_out(&self, namespace: &str) -> bool {
        let off = self.off.get(namespace);
        off.is_some_and(|off| off.trying.is_none())
    }

    /// Whether rules must not evaluate the namespace.
    pub(super) fn is_off(&self, namespace: &str) -> bool {
        !self.off.is_empty() && self.off.contains_key(namespace)
    }

    pub(super) fn count(&self) -> usize {
        self.off.len()
    }

    /// Namespaces that are off and not being retried.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let off = self.off.iter().filter(|(_, off)| off.trying.is_none());
        off.map(|(name, _)| &**name)
    }

    /// The namespace to turn off, if any, after `namespace` has grown. Cluster-scoped objects are never turned off.
    pub(super) fn over(&self, namespace: &str, ledgers: [&Ledger; 2]) -> Option<(Box<str>, Cause)> {
        let of = |name: &str| ledgers.iter().map(|ledger| ledger.of(name)).sum::<usize>();
        let is_tenant = !namespace.is_empty() && !self.leaves_out(namespace);
        if is_tenant && of(namespace) > self.namespace_max {
            return Some((namespace.into(), Cause::Namespace));
        }
        let total: usize = ledgers.iter().map(|ledger| ledger.total()).sum();
        // Namespaces that are off still have findings, which are closed one by one.
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

    /// The namespace was off when the recorder stopped.
    pub(super) fn was_off(&mut self, namespace: &str) {
        let off = Off {
            cause: Cause::Before,
            since: Timestamp::EPOCH,
            trying: Some(Trying::default()),
        };
        self.off.entry(namespace.into()).or_insert(off);
    }

    /// Starts retries that are due; returns whether there is any.
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

    pub(super) fn list_begins(&mut self, watch: WatchId) {
        for trying in self.off.values_mut().filter_map(|off| off.trying.as_mut()) {
            trying.begun.insert(watch);
        }
    }

    /// A list is complete or `refused`; returns the namespaces that are on again. `watches` returns whether all informers
    /// have listed.
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

    /// The message of the check `analysis`; `None` if no namespace is off.
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
