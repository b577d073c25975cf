//! The change history in the model: one object, its states, the watch that shows them, and the writer that compares them.
//!
//! ```text
//!   server: states, compaction, restart ── watch / list and walk ──▶ source ── queue ──▶ writer ──▶ disk: position, state, rows
//!   at any time: change, write of the status, restart, compaction, repeated events, crash, upgrade of the recorder
//! ```
//!
//! An upgrade changes the form in which an object is read. The source waits while the queue is full, and nothing is dropped.
//!
//! Invariants, checked in every state:
//! 1. *Nothing lost*: rows lead from the first state to the newest one without a break, and a row that passes over a state
//!    says that it was observed late.
//! 2. *Nothing doubled*: no row leads back.
//! 3. *Nothing wrong*: no row without a change, and no state that never was.

use super::check::Model;

/// Items in the queue before the source waits.
const CAPACITY: usize = 2;

/// A seeded mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeBug {
    /// The position is committed before the changes that it covers.
    PositionBeforeChanges,
    /// States of another form are compared.
    ComparesOtherForms,
    /// A start watches from its position, although the stored state has another form.
    ResumesWithOtherForm,
    /// A state of an older version is taken for a change.
    NoVersionCheck,
    /// After a list, states that were missed are not asked for, and the row does not say so.
    NoWalk,
}

/// Bounds of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChangeBounds {
    /// Writes to the object, or to its status.
    pub writes: u8,
    pub crashes: u8,
    /// Crashes after which the recorder reads in another form.
    pub upgrades: u8,
    /// Restarts and compactions of the API server, and repeated events.
    pub faults: u8,
}

/// A state of the object as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ReadState {
    version: u8,
    value: u8,
    form: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    ListBegins,
    Listed(ReadState),
    ListEnds(u8),
    Live(ReadState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    from: u8,
    to: u8,
    /// Observed late, or that the states cannot be compared.
    says_so: bool,
}

/// The complete state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeState {
    bug: Option<ChangeBug>,
    left: ChangeBounds,
    /// The value of each version, from version 1 on; a write of the status repeats the value.
    values: Vec<u8>,
    /// Exact lists of older versions fail.
    compacted: u8,
    /// Watches from older versions fail.
    cached: u8,
    form: u8,
    is_watching: bool,
    /// It was not watched since its start.
    is_starting: bool,
    /// What the source has delivered.
    position: Option<u8>,
    queue: Vec<Item>,
    // What survives a crash.
    disk_position: Option<u8>,
    stored: Option<ReadState>,
    first: Option<u8>,
    rows: Vec<Row>,
}

impl ChangeState {
    /// An object that exists, and a recorder that was never started.
    pub fn new(bounds: ChangeBounds, bug: Option<ChangeBug>) -> Self {
        Self {
            bug,
            left: bounds,
            values: vec![1],
            compacted: 0,
            cached: 0,
            form: 0,
            is_watching: false,
            is_starting: true,
            position: None,
            queue: Vec::new(),
            disk_position: None,
            stored: None,
            first: None,
            rows: Vec::new(),
        }
    }

    const fn version(&self) -> u8 {
        self.values.len() as u8
    }

    fn seen(&self, version: u8) -> ReadState {
        ReadState {
            version,
            value: self.values[usize::from(version) - 1],
            form: self.form,
        }
    }

    fn cluster_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        if self.left.writes > 0 {
            let write = |value: u8| {
                let mut state = self.clone();
                state.left.writes -= 1;
                state.values.push(value);
                state
            };
            next.push(("change", write(self.version() + 1)));
            next.push((
                "write of the status",
                write(self.values[self.values.len() - 1]),
            ));
        }
        if self.left.faults > 0 {
            let mut state = self.clone();
            state.left.faults -= 1;
            state.is_watching = false;
            let mut restarted = state.clone();
            restarted.cached = self.version();
            let mut compacted = restarted.clone();
            compacted.compacted = self.version();
            next.push(("restart", restarted));
            next.push(("compaction and restart", compacted));
            if let Some(position) = self.position.filter(|at| *at > self.cached.max(1)) {
                state.position = Some(position - 1);
                next.push(("events repeated", state));
            }
        }
        for (name, is_upgrade) in [("crash", false), ("upgrade", true)] {
            let left = if is_upgrade {
                self.left.upgrades
            } else {
                self.left.crashes
            };
            if left == 0 {
                continue;
            }
            let mut state = self.clone();
            if is_upgrade {
                state.left.upgrades -= 1;
                state.form += 1;
            } else {
                state.left.crashes -= 1;
            }
            state.queue.clear();
            (state.is_watching, state.is_starting) = (false, true);
            state.position = self.disk_position;
            next.push((name, state));
        }
    }

    fn source_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        // The source waits while the queue is full.
        if self.queue.len() >= CAPACITY {
            return;
        }
        let mut state = self.clone();
        let must_list = self.is_starting && self.has_other_form();
        match self.position {
            Some(position) if self.is_watching => {
                if position < self.version() {
                    state.position = Some(position + 1);
                    state.queue.push(Item::Live(self.seen(position + 1)));
                    next.push(("deliver", state));
                }
            }
            Some(position) if must_list && position >= self.compacted => {
                state.list([position], position);
                next.push(("list of the position", state));
            }
            Some(position) if !must_list && position >= self.cached => {
                (state.is_watching, state.is_starting) = (true, false);
                next.push(("watch", state));
            }
            _ => {
                state.list_and_walk();
                next.push(("list and walk", state));
            }
        }
    }

    fn has_other_form(&self) -> bool {
        let is_other = self.stored.is_some_and(|stored| stored.form != self.form);
        is_other && self.bug != Some(ChangeBug::ResumesWithOtherForm)
    }

    fn list(&mut self, versions: impl IntoIterator<Item = u8>, at: u8) {
        self.queue.push(Item::ListBegins);
        for version in versions {
            self.queue.push(Item::Listed(self.seen(version)));
        }
        self.queue.push(Item::ListEnds(at));
        (self.position, self.is_starting) = (Some(at), false);
    }

    /// The newest state, after those since the last one that the source knows, which is read again too.
    fn list_and_walk(&mut self) {
        let newest = self.version();
        let known = self.position.or(self.stored.map(|stored| stored.version));
        let from = known.map_or(newest, |known| known.max(self.compacted).min(newest));
        let from = if self.bug == Some(ChangeBug::NoWalk) {
            newest
        } else {
            from.max(1)
        };
        self.list(from..=newest, newest);
    }

    /// One transaction over the whole queue, or over its first item.
    fn writer_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        if self.bug == Some(ChangeBug::PositionBeforeChanges)
            && let Some(Item::Live(seen)) = self.queue.last()
            && self.disk_position.is_some_and(|at| at < seen.version)
        {
            let mut early = self.clone();
            early.disk_position = Some(seen.version);
            next.push(("commit the position", early));
        }
        for items in [1, self.queue.len()] {
            if items > self.queue.len() || items == 0 {
                continue;
            }
            let mut state = self.clone();
            let batch: Vec<Item> = state.queue.drain(..items).collect();
            for item in batch {
                state.apply(item);
            }
            next.push(("commit", state));
        }
    }

    fn apply(&mut self, item: Item) {
        match item {
            Item::ListBegins => self.disk_position = None,
            Item::ListEnds(version) => self.disk_position = Some(version),
            Item::Listed(seen) => self.compare(seen, true),
            Item::Live(seen) => {
                self.compare(seen, false);
                let at = &mut self.disk_position;
                *at = at.map(|at| at.max(seen.version));
            }
        }
    }

    /// As `store::tracked`.
    fn compare(&mut self, seen: ReadState, is_listed: bool) {
        let Some(stored) = self.stored else {
            (self.stored, self.first) = (Some(seen), Some(seen.value));
            return;
        };
        let checks_versions = self.bug != Some(ChangeBug::NoVersionCheck);
        if checks_versions && seen.version < stored.version {
            return;
        }
        let compares_forms = self.bug == Some(ChangeBug::ComparesOtherForms);
        let is_same_form = seen.form == stored.form;
        let is_row = if is_same_form {
            seen.value != stored.value
        } else {
            // What cannot be compared at another version has its row at the end of a list, not with a live event.
            compares_forms
                || is_listed && seen.version != stored.version && seen.value != stored.value
        };
        if is_row {
            self.rows.push(Row {
                from: stored.value,
                to: seen.value,
                says_so: is_listed && self.bug != Some(ChangeBug::NoWalk),
            });
        }
        self.stored = Some(seen);
    }

    /// Whether a value is between two others.
    fn is_between(&self, from: u8, to: u8) -> bool {
        self.values.iter().any(|value| *value > from && *value < to)
    }
}

impl Model for ChangeState {
    fn steps(&self) -> Vec<(&'static str, Self)> {
        let mut next = Vec::new();
        self.cluster_steps(&mut next);
        self.source_steps(&mut next);
        self.writer_steps(&mut next);
        next
    }

    fn broken(&self) -> Option<&'static str> {
        let mut at = self.first?;
        for row in &self.rows {
            if row.from == row.to {
                return Some("a row without a change");
            }
            if row.to < row.from {
                return Some("a row leads back");
            }
            if row.from != at {
                return Some("a change without a row");
            }
            if !row.says_so && self.is_between(row.from, row.to) {
                return Some("a row passes over a state and does not say so");
            }
            at = row.to;
        }
        let stored = self.stored?;
        if stored.value != at {
            return Some("a change without a row");
        }
        let resumes = self.disk_position.filter(|at| *at > stored.version);
        let covered = resumes.map(|at| self.values[usize::from(at) - 1]);
        covered
            .is_some_and(|value| value != stored.value)
            .then_some("the position covers a change that is not recorded")
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.is_watching && self.position == Some(self.version())
    }

    fn incomplete(&self) -> Option<&'static str> {
        let newest = self.values.last();
        (self.stored.map(|stored| stored.value) != newest.copied())
            .then_some("the recorder is idle, and the newest state is not recorded")
    }
}
