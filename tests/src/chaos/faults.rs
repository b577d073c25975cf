//! Injects faults, alone and combined.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

use super::clock_skew;
use crate::apiserver::{ApiServer, Fault, Kind, On};
use crate::faulty_disk::{DiskFault, EIO, ENOSPC, EROFS, FaultyDisk};
use crate::generator::Rng;
use crate::recorder::Setup;

/// How often, and which faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Mean time between two faults.
    pub(super) every: Duration,
    /// Whether the recorder's clock jumps.
    pub(super) clock: bool,
}

impl Pace {
    /// One on top of the other.
    pub(super) const CHAOS: Self = Self {
        every: Duration::from_millis(700),
        clock: true,
    };
}

/// What ends a fault that lasts.
enum Undo {
    Listen,
    Thaw,
    Continue(Pid),
    /// Dropping the connection ends its transaction.
    Unlock(Connection),
    HealDisk,
    SetClock,
}

pub(super) struct FaultInjector {
    server: Arc<ApiServer>,
    setup: Setup,
    disk: Option<FaultyDisk>,
    random: Rng,
    pace: Pace,
    next: Instant,
    lasting: Vec<(Instant, Undo)>,
    done: BTreeMap<&'static str, u64>,
}

impl FaultInjector {
    /// `disk`: what the recorder writes through, if it can be made to fail.
    pub(super) fn new(
        server: Arc<ApiServer>,
        setup: Setup,
        disk: Option<FaultyDisk>,
        random: Rng,
        pace: Pace,
    ) -> Self {
        Self {
            server,
            setup,
            disk,
            random,
            pace,
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
    pub(super) fn step(&mut self, process: Option<Pid>) -> anyhow::Result<()> {
        self.undo(Instant::now(), process)?;
        if Instant::now() >= self.next {
            let wait = self.random.waiting(self.pace.every.as_secs_f64());
            self.next = Instant::now() + Duration::from_secs_f64(wait);
            self.one(process)?;
        }
        Ok(())
    }

    /// Ends everything.
    pub(super) fn end(&mut self, process: Option<Pid>) -> anyhow::Result<()> {
        self.server.faults().clear_all();
        self.undo(Instant::now() + Duration::from_secs(3600), process)?;
        self.server.start_again();
        self.server.thaw_watches();
        Ok(())
    }

    fn undo(&mut self, now: Instant, process: Option<Pid>) -> anyhow::Result<()> {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.lasting)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.lasting = rest;
        for (_, undo) in due {
            match undo {
                Undo::Listen => self.server.start_again(),
                Undo::Thaw => self.server.thaw_watches(),
                // Only if it is still the same process: a number may be given out again.
                Undo::Continue(id) if process == Some(id) => drop(kill_process(id, Signal::CONT)),
                Undo::Continue(_) => {}
                Undo::Unlock(connection) => drop(connection),
                Undo::HealDisk => self.set_disk(DiskFault::NOTHING)?,
                Undo::SetClock => clock_skew::set(&self.setup.folder, 0)?,
            }
        }
        Ok(())
    }

    fn set_disk(&self, wrong: DiskFault) -> std::io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| disk.set(wrong))
    }

    fn last(&mut self, low_ms: u64, high_ms: u64, undo: Undo) {
        let time = Duration::from_millis(self.random.between(low_ms, high_ms));
        self.lasting.push((Instant::now() + time, undo));
    }

    fn one(&mut self, process: Option<Pid>) -> anyhow::Result<()> {
        let kinds = [Kind::Event, Kind::Event, Kind::ConfigMap, Kind::Namespace];
        let kind = *self.random.pick(&kinds);
        let watch = On::watch(kind);
        let list = On::list(kind);
        let items = self.random.below(30) as usize;
        let few = self.random.between(1, 3) as usize;
        let server = self.server.clone();
        let faults = server.faults();
        let name = match self.random.below(24) {
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
                    On::kind(kind),
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
                    On::kind(kind),
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
                faults.next(1, On::kind(kind), Fault::Delay(Duration::from_secs(2)));
                server.cut_connections();
                "slow answers"
            }
            17 => {
                faults.next(1, On::list(Kind::Event), Fault::Silence);
                "list without an answer"
            }
            18 => match process {
                Some(id) if kill_process(id, Signal::STOP).is_ok() => {
                    self.last(100, 2_500, Undo::Continue(id));
                    "recorder stopped for a while"
                }
                _ => return Ok(()),
            },
            19 if !self.pace.clock => return Ok(()),
            19 => {
                // A clock that is set back by more would make honest times look false, and one that is set ahead by a week
                // would let the retention delete what the comparison looks for.
                let ahead = self.random.between(0, 3 * 3_600_000 + 240_000) as i64;
                clock_skew::set(&self.setup.folder, ahead - 240_000)?;
                self.last(200, 15_000, Undo::SetClock);
                "clock jumps, and back"
            }
            20..=22 if self.disk.is_some() => self.disk_fault()?,
            _ if self.is_locked() => return Ok(()),
            _ => match self.setup.hold_the_database() {
                Ok(connection) => {
                    let long = self.random.percent(10);
                    let times = if long { (20_000, 40_000) } else { (500, 8_000) };
                    self.last(times.0, times.1, Undo::Unlock(connection));
                    if long {
                        "database stands still for long"
                    } else {
                        "database stands still"
                    }
                }
                Err(_) => return Ok(()), // not there yet
            },
        };
        *self.done.entry(name).or_default() += 1;
        Ok(())
    }

    fn is_locked(&self) -> bool {
        let mut undos = self.lasting.iter().map(|(_, undo)| undo);
        undos.any(|undo| matches!(undo, Undo::Unlock(_)))
    }

    fn disk_fault(&mut self) -> anyhow::Result<&'static str> {
        let all = DiskFault::NOTHING;
        let (name, wrong) = match self.random.below(6) {
            0 => ("disk: writes fail", DiskFault::write(EIO)),
            1 => {
                let half = DiskFault {
                    half: true,
                    ..DiskFault::write(EIO)
                };
                ("disk: half a write", half)
            }
            2 => (
                "disk: full",
                DiskFault {
                    half: true,
                    ..DiskFault::write(ENOSPC)
                },
            ),
            3 => ("disk: reads fail", DiskFault { read: EIO, ..all }),
            4 => (
                "disk: syncs fail",
                DiskFault {
                    sync: EIO,
                    truncate: EIO,
                    ..all
                },
            ),
            _ => {
                let refused = DiskFault {
                    open: EROFS,
                    sync: EROFS,
                    truncate: EROFS,
                    ..DiskFault::write(EROFS)
                };
                ("disk: read-only", refused)
            }
        };
        self.set_disk(wrong)?;
        self.last(200, 6_000, Undo::HealDisk);
        Ok(name)
    }
}
