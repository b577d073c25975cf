//! The state and its steps.

use super::check::Model;

/// Events in the model: two are enough for one to be dropped while the other is stored.
const EVENTS: usize = 2;

/// Capacity of the queue.
const CAPACITY: usize = 3;

/// A seeded mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The position is committed by itself, before the rows that it covers.
    PositionBeforeRows,
    /// A drop is not recorded.
    PositionPastADrop,
    /// An idle position is renewed by the first page of a list.
    RenewalByPartialList,
    /// The end of a list clears every unrecovered drop, also drops of that list's own items.
    ListClosesItsOwnDrops,
    /// Events missing from a list because they were dropped are forgotten.
    ListForgetsWhatWasDropped,
    /// The list's resourceVersion is adopted at its first page.
    PositionAtFirstPage,
    /// An Event is stored again on each delivery.
    NoDedup,
}

/// Bounds of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Writes and deletions.
    pub changes: u8,
    /// Crashes of the recorder.
    pub crashes: u8,
    /// Broken connections, 410s and compactions.
    pub faults: u8,
    /// Rows of other producers, which cannot wait for the queue.
    pub rows: u8,
}

/// An item in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Item {
    Observed {
        event: usize,
        version: u8,
        listed: bool,
    },
    Deleted {
        event: usize,
        version: u8,
    },
    ListStarted {
        listing: u8,
    },
    ListDone {
        listing: u8,
        version: u8,
    },
    Confirmed {
        version: u8,
    },
    Row,
}

/// What the source does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Source {
    /// Not connected; the next step opens a watch, or a list without a position.
    Idle,
    /// Has the first page (event 0) of the snapshot; the second is to come.
    Listing { snapshot: [u8; EVENTS], version: u8 },
    /// Everything up to `position` was delivered.
    Watching,
}

/// What survives a crash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Disk {
    position: Option<u8>,
    relisting: bool,
    listing: u8,
    /// Newest version stored of each Event; 0: none.
    stored: [u8; EVENTS],
    /// Whether the Event is known, and in which list it was last seen.
    dedup: [Option<u8>; EVENTS],
    /// First rows of each Event since it was created.
    first_rows: [u8; EVENTS],
    /// Unrecovered drops: the last list started before the drop.
    unrecovered_drops: Vec<u8>,
}

/// The complete state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    bug: Option<Bug>,
    left: Bounds,
    // The API server: the newest version, what it holds (0: nothing), its log and where that begins.
    version: u8,
    live: [u8; EVENTS],
    log: Vec<(u8, usize, bool)>,
    compacted: u8,
    // The recorder.
    source: Source,
    position: Option<u8>,
    listing: u8,
    relist_signal: bool,
    queue: Vec<Item>,
    /// Drops not handed to the writer yet: the last list begun by then.
    drops: Vec<u8>,
    disk: Disk,
}

impl State {
    /// An empty cluster and a recorder that was never started.
    pub fn new(bounds: Bounds, bug: Option<Bug>) -> Self {
        Self {
            bug,
            left: bounds,
            version: 1,
            live: [0; EVENTS],
            log: Vec::new(),
            compacted: 0,
            source: Source::Idle,
            position: None,
            listing: 0,
            relist_signal: false,
            queue: Vec::new(),
            drops: Vec::new(),
            disk: Disk::default(),
        }
    }

    /// Makes equivalent states equal: what the log says below the position on disk is never delivered again, and of
    /// list numbers only the order from the committed one on means something.
    fn normalize(&mut self) {
        let disk = &mut self.disk;
        let covered = disk.position.unwrap_or(0);
        self.log.retain(|(version, ..)| *version > covered);
        for seen in disk.dedup.iter_mut().flatten() {
            if *seen != disk.listing {
                *seen = 0; // of an older list, whichever
            }
        }
        let base = disk.listing.saturating_sub(1);
        let lower = move |listing: &mut u8| *listing = listing.saturating_sub(base);
        disk.dedup.iter_mut().flatten().for_each(lower);
        disk.unrecovered_drops.iter_mut().for_each(lower);
        disk.unrecovered_drops.dedup();
        self.drops.iter_mut().for_each(lower);
        lower(&mut self.listing);
        lower(&mut disk.listing);
        for item in &mut self.queue {
            if let Item::ListStarted { listing } | Item::ListDone { listing, .. } = item {
                lower(listing);
            }
        }
    }

    fn cluster_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        if self.left.changes > 0 {
            for event in 0..EVENTS {
                let mut state = self.clone();
                state.left.changes -= 1;
                state.version += 1;
                if state.live[event] == 0 {
                    // A new Event has a uid of its own.
                    state.disk.stored[event] = 0;
                    state.disk.dedup[event] = None;
                    state.disk.first_rows[event] = 0;
                    state.queue.retain(|item| !item.is_about(event));
                }
                state.live[event] = state.version;
                state.log.push((state.version, event, true));
                // The model has no second Event of one name: it may come again only once the old one is forgotten.
                if self.live[event] > 0 || self.is_forgotten(event) {
                    next.push(("write", state));
                }
                if self.live[event] > 0 {
                    let mut state = self.clone();
                    state.left.changes -= 1;
                    state.version += 1;
                    state.live[event] = 0;
                    state.log.push((state.version, event, false));
                    next.push(("delete", state));
                }
            }
        }
        if self.left.faults > 0 {
            let mut state = self.clone();
            state.left.faults -= 1;
            if state.source != Source::Idle {
                state.source = Source::Idle;
                next.push(("break", state.clone()));
            }
            if state.compacted < state.version {
                state.compacted = state.version;
                state.log.clear();
                state.source = Source::Idle;
                next.push(("compact and restart", state));
            }
        }
        if self.left.rows > 0 {
            let mut state = self.clone();
            state.left.rows -= 1;
            state.push(Item::Row);
            next.push(("a row of another producer", state));
        }
        if self.left.crashes > 0 {
            let mut state = self.clone();
            state.left.crashes -= 1;
            state.queue.clear();
            state.drops.clear();
            state.relist_signal = false;
            state.source = Source::Idle;
            let must_list = !state.disk.unrecovered_drops.is_empty() || state.disk.relisting;
            state.position = state.disk.position.filter(|_| !must_list);
            state.listing = state.disk.listing;
            next.push(("crash", state));
        }
    }

    fn is_forgotten(&self, event: usize) -> bool {
        self.disk.dedup[event].is_none()
            && !self.queue.iter().any(|item| item.is_about(event))
            && !self.log.iter().any(|(_, about, _)| *about == event)
            && !matches!(self.source, Source::Listing { snapshot, .. } if snapshot[event] > 0)
    }

    fn source_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        let mut state = self.clone();
        match (&self.source, self.position) {
            (Source::Idle, Some(position)) if position >= self.compacted && !self.relist_signal => {
                state.source = Source::Watching;
                next.push(("watch", state));
            }
            (Source::Idle, _) => {
                state.begin_list();
                next.push(("list, first page", state));
            }
            (Source::Watching, _) if self.relist_signal => {
                state.begin_list();
                next.push(("recalled: list, first page", state));
            }
            (Source::Listing { snapshot, version }, _) => {
                let (snapshot, version) = (*snapshot, *version);
                if self.queue.len() < CAPACITY {
                    state.push_listed(1, snapshot);
                    state.push(Item::ListDone {
                        listing: state.listing,
                        version,
                    });
                    state.position = Some(version);
                    state.source = Source::Watching;
                    next.push(("list, last page", state));
                }
            }
            (Source::Watching, Some(position)) => {
                let pending = self.log.iter().find(|(version, ..)| *version > position);
                if let Some((version, event, written)) = pending.copied()
                    && self.queue.len() < CAPACITY
                {
                    state.position = Some(version);
                    state.push(if written {
                        Item::Observed {
                            event,
                            version,
                            listed: false,
                        }
                    } else {
                        Item::Deleted { event, version }
                    });
                    next.push(("deliver", state));
                }
                self.renewal(position, next);
            }
            (Source::Watching, None) => {}
        }
    }

    /// A list that contains nothing above the position confirms it.
    fn renewal(&self, position: u8, next: &mut Vec<(&'static str, Self)>) {
        let pages = if self.bug == Some(Bug::RenewalByPartialList) {
            1
        } else {
            EVENTS
        };
        let above = self.live[..pages].iter().any(|version| *version > position);
        if !above && self.version > position {
            let mut state = self.clone();
            state.position = Some(self.version);
            state.push(Item::Confirmed {
                version: self.version,
            });
            next.push(("renew", state));
        }
    }

    fn begin_list(&mut self) {
        self.relist_signal = false;
        self.position = None; // a list that breaks off is begun again, whatever happened
        self.listing += 1;
        self.push(Item::ListStarted {
            listing: self.listing,
        });
        let (snapshot, version) = (self.live, self.version);
        self.push_listed(0, snapshot);
        if self.bug == Some(Bug::PositionAtFirstPage) {
            self.push(Item::ListDone {
                listing: self.listing,
                version,
            });
        }
        self.source = Source::Listing { snapshot, version };
    }

    fn push_listed(&mut self, event: usize, snapshot: [u8; EVENTS]) {
        if snapshot[event] > 0 {
            self.push(Item::Observed {
                event,
                version: snapshot[event],
                listed: true,
            });
        }
    }

    /// As `Queue::push`: drops the oldest Event, never markers or deletions.
    fn push(&mut self, item: Item) {
        if self.queue.len() >= CAPACITY
            && let Some(oldest) = self
                .queue
                .iter()
                .position(|item| matches!(item, Item::Observed { .. }))
        {
            self.queue.remove(oldest);
            if self.bug != Some(Bug::PositionPastADrop) {
                self.drops.push(self.listing);
            }
        }
        self.queue.push(item);
    }

    /// One transaction over the whole queue, or over its first item.
    fn writer_steps(&self, next: &mut Vec<(&'static str, Self)>) {
        if self.queue.is_empty() && self.drops.is_empty() {
            return;
        }
        for (name, items) in [("commit all", self.queue.len()), ("commit one", 1)] {
            if items > self.queue.len() || (name == "commit one" && self.queue.len() < 2) {
                continue;
            }
            let mut state = self.clone();
            let batch: Vec<Item> = state.queue.drain(..items).collect();
            if self.bug == Some(Bug::PositionBeforeRows) {
                let mut early = self.clone();
                early.write_positions(&batch);
                next.push(("commit the position", early));
            }
            let drops = std::mem::take(&mut state.drops);
            state.relist_signal |= !drops.is_empty();
            state.disk.unrecovered_drops.extend(drops);
            state.disk.unrecovered_drops.sort_unstable();
            state.disk.unrecovered_drops.dedup();
            for item in batch {
                state.apply(&item);
            }
            next.push((name, state));
        }
    }

    fn write_positions(&mut self, batch: &[Item]) {
        for item in batch {
            match item {
                Item::Observed {
                    version,
                    listed: false,
                    ..
                }
                | Item::Deleted { version, .. } => self.advance(*version),
                _ => {}
            }
        }
    }

    fn advance(&mut self, version: u8) {
        if let Some(position) = &mut self.disk.position {
            *position = version.max(*position);
        }
    }

    /// As `store::apply`.
    fn apply(&mut self, item: &Item) {
        match item {
            Item::Row => {}
            Item::Observed {
                event,
                version,
                listed,
            } => {
                let disk = &mut self.disk;
                let is_known = disk.dedup[*event].is_some() && self.bug != Some(Bug::NoDedup);
                if !is_known {
                    disk.first_rows[*event] += 1;
                }
                disk.stored[*event] = disk.stored[*event].max(*version);
                disk.dedup[*event] = Some(disk.listing);
                if !listed {
                    self.advance(*version);
                }
            }
            Item::Deleted { event, version } => {
                self.disk.dedup[*event] = None;
                self.advance(*version);
            }
            Item::ListStarted { listing } => {
                self.disk.relisting = true;
                self.disk.listing = *listing;
            }
            Item::ListDone { listing, version } => self.list_done(*listing, *version),
            Item::Confirmed { version } => self.advance(*version),
        }
    }

    fn list_done(&mut self, listing: u8, version: u8) {
        let disk = &mut self.disk;
        if !disk.relisting || disk.listing != listing {
            return;
        }
        let own_drops = disk.unrecovered_drops.iter().any(|begun| *begun >= listing);
        let careless = self.bug == Some(Bug::ListClosesItsOwnDrops);
        if own_drops && self.bug == Some(Bug::ListForgetsWhatWasDropped) {
            Self::forget_absent(disk, listing);
        }
        if own_drops && !careless {
            return;
        }
        disk.unrecovered_drops
            .retain(|begun| *begun >= listing && !careless);
        Self::forget_absent(disk, listing);
        disk.relisting = false;
        disk.position = Some(version);
    }

    fn forget_absent(disk: &mut Disk, listing: u8) {
        for seen in &mut disk.dedup {
            *seen = seen.filter(|in_list| *in_list == listing);
        }
    }
}

impl Model for State {
    fn steps(&self) -> Vec<(&'static str, Self)> {
        let mut next = Vec::new();
        self.cluster_steps(&mut next);
        self.source_steps(&mut next);
        self.writer_steps(&mut next);
        for (_, state) in &mut next {
            state.normalize();
        }
        next
    }

    fn broken(&self) -> Option<&'static str> {
        let disk = &self.disk;
        for event in 0..EVENTS {
            if disk.first_rows[event] > 1 {
                return Some("an Event has two first rows");
            }
            // Otherwise the next start resumes the watch, and versions below the position are never delivered again.
            let resumes = disk.unrecovered_drops.is_empty() && !disk.relisting;
            if let Some(position) = disk.position.filter(|_| resumes)
                && self.live[event] > 0
                && self.live[event] <= position
                && disk.stored[event] < self.live[event]
            {
                return Some("the position covers what is not stored");
            }
        }
        None
    }

    fn is_quiet(&self) -> bool {
        self.queue.is_empty()
            && self.drops.is_empty()
            && !self.relist_signal
            && self.source == Source::Watching
            && self
                .position
                .is_some_and(|at| self.log.iter().all(|(v, ..)| *v <= at))
    }

    fn incomplete(&self) -> Option<&'static str> {
        (0..EVENTS)
            .any(|event| self.live[event] > self.disk.stored[event])
            .then_some("the recorder is idle, and what the server holds is not stored")
    }
}

impl Item {
    fn is_about(&self, this: usize) -> bool {
        matches!(self, Self::Observed { event, .. } | Self::Deleted { event, .. } if *event == this)
    }
}
