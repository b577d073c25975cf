//! The faults, one after the other and several at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

use crate::apiserver::{ApiServer, Fault, Kind, On};
use crate::recorder::Setup;
use crate::world::Rng;

/// Mean time between two faults.
const EVERY: Duration = Duration::from_millis(700);

/// What ends a fault that lasts.
enum Undo {
    Listen,
    Thaw,
    Continue(Pid),
    /// Dropping the connection ends its transaction.
    Unlock(Connection),
}

pub(super) struct Chaos {
    server: Arc<ApiServer>,
    setup: Setup,
    random: Rng,
    next: Instant,
    lasting: Vec<(Instant, Undo)>,
    done: BTreeMap<&'static str, u64>,
}

impl Chaos {
    pub(super) fn new(server: Arc<ApiServer>, setup: Setup, random: Rng) -> Self {
        Self {
            server,
            setup,
            random,
            next: Instant::now(),
            lasting: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    /// Faults by name.
    pub(super) fn done(&self) -> &BTreeMap<&'static str, u64> {
        &self.done
    }

    /// Ends what is due, begins what is due.
    pub(super) fn step(&mut self, victim: Option<Pid>) -> anyhow::Result<()> {
        self.undo(Instant::now(), victim);
        if Instant::now() >= self.next {
            let wait = self.random.waiting(EVERY.as_secs_f64());
            self.next = Instant::now() + Duration::from_secs_f64(wait);
            self.one(victim);
        }
        Ok(())
    }

    /// Ends everything.
    pub(super) fn end(&mut self, victim: Option<Pid>) {
        self.server.faults().clear_all();
        self.undo(Instant::now() + Duration::from_secs(3600), victim);
        self.server.start_again();
        self.server.thaw_watches();
    }

    fn undo(&mut self, now: Instant, victim: Option<Pid>) {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.lasting)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.lasting = rest;
        for (_, undo) in due {
            match undo {
                Undo::Listen => self.server.start_again(),
                Undo::Thaw => self.server.thaw_watches(),
                // Only if it is still the same process: a number may be given out again.
                Undo::Continue(id) if victim == Some(id) => drop(kill_process(id, Signal::CONT)),
                Undo::Continue(_) => {}
                Undo::Unlock(connection) => drop(connection),
            }
        }
    }

    fn last(&mut self, low_ms: u64, high_ms: u64, undo: Undo) {
        let time = Duration::from_millis(self.random.between(low_ms, high_ms));
        self.lasting.push((Instant::now() + time, undo));
    }

    fn one(&mut self, victim: Option<Pid>) {
        let watch = On::watch(Kind::Event);
        let list = On::list(Kind::Event);
        let items = self.random.below(30) as usize;
        let few = self.random.between(1, 3) as usize;
        let server = self.server.clone();
        let faults = server.faults();
        let name = match self.random.below(20) {
            0 => {
                server.cut_connections();
                "connections cut"
            }
            1 => {
                server.restart();
                "API server restarted"
            }
            2 => {
                server.stop();
                self.last(200, 4_000, Undo::Listen);
                "API server away"
            }
            3 => {
                faults.next(
                    few,
                    watch,
                    Fault::Status {
                        code: 410,
                        retry_after: None,
                    },
                );
                server.cut_connections();
                "410 for a watch"
            }
            4 => {
                faults.next(1, watch, Fault::ErrorAfter { items, code: 410 });
                "410 in a watch"
            }
            5 => {
                faults.next(
                    few,
                    On::kind(Kind::Event),
                    Fault::Status {
                        code: 500,
                        retry_after: None,
                    },
                );
                server.cut_connections();
                "500"
            }
            6 => {
                faults.next(
                    few,
                    On::kind(Kind::Event),
                    Fault::Status {
                        code: 429,
                        retry_after: Some(1),
                    },
                );
                server.cut_connections();
                "429 with Retry-After"
            }
            7 => {
                faults.next(1, watch, Fault::CutAfter { items });
                server.cut_connections();
                "half a line"
            }
            8 => {
                faults.next(few, watch, Fault::Empty);
                server.cut_connections();
                "empty watches"
            }
            9 => {
                faults.next(few, watch, Fault::EndAfter { items });
                server.cut_connections();
                "watch ends in order"
            }
            10 => {
                server.freeze_watches();
                self.last(500, 12_000, Undo::Thaw);
                "watches silent"
            }
            11 => {
                faults.next(1, watch, Fault::SilentAfter { items });
                server.cut_connections();
                "one watch silent"
            }
            12 => {
                server.compact_now();
                "compaction"
            }
            13 => {
                server.compact_now();
                server.restart();
                "compaction and restart"
            }
            14 => {
                faults.next(1, list, Fault::CutAfter { items });
                faults.next(
                    1,
                    watch,
                    Fault::Status {
                        code: 410,
                        retry_after: None,
                    },
                );
                server.cut_connections();
                "list cut"
            }
            15 => {
                faults.next(1, watch, Fault::Duplicate);
                server.cut_connections();
                "every item twice"
            }
            16 => {
                faults.next(
                    1,
                    On::kind(Kind::Event),
                    Fault::Delay(Duration::from_secs(2)),
                );
                server.cut_connections();
                "slow answers"
            }
            17 => {
                faults.next(1, On::list(Kind::Event), Fault::Silence);
                "list without an answer"
            }
            18 => match victim {
                Some(id) if kill_process(id, Signal::STOP).is_ok() => {
                    self.last(100, 2_500, Undo::Continue(id));
                    "recorder stopped for a while"
                }
                _ => return,
            },
            _ => match self.setup.hold_the_database() {
                Ok(connection) => {
                    self.last(500, 8_000, Undo::Unlock(connection));
                    "database stands still"
                }
                Err(_) => return, // not there yet
            },
        };
        *self.done.entry(name).or_default() += 1;
    }
}
