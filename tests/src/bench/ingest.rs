//! From a decoded Event to its committed row, compared with plain inserts of the same rows.
//!
//! ```text
//!   some batches of a feed ─▶ ours:   source's thread (normalize, sanitize) ─▶ writer's thread (transaction)   timed
//!                           ├ shadow: the same transactions with a journal                                     not timed
//!                           ├ bare:   what the journal recorded, all tables                                         timed
//!                           └ narrow: new rows of `event` alone, no other table                                timed
//! ```
//!
//! Two threads, as in a recorder: the source prepares the next batch while the writer commits this one. A source runs
//! beside the plain inserts too. The generator runs before. The variants take turns, a few batches each, so that other load of the machine affects all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;

use super::baseline::Journal;
use super::data::{Delivery, Feed};
use super::populate::{BATCH, Database, Filled, Spending};
use super::report::{Limit, Report};

/// Ratio to the plain inserts. Fewer Events are mostly the first of their names and templates, in a database whose pages
/// are still being split: their ratio is printed without a limit.
const RATIO_MIN: f64 = 0.7;
const RATIO_EVENTS_MIN: u64 = 100_000;
const RATE_MIN: f64 = 50_000.0;
const CPU_MICROS_MAX: f64 = 20.0;

/// Batches per turn. The first batch of each turn finds an idle writer, which in a recorder happens once.
const IN_TURN: usize = 50;

/// Measures all of them; returns Events a second.
pub fn run(seed: u64, events: usize, report: &mut Report) -> anyhow::Result<f64> {
    let dirs: Vec<tempfile::TempDir> = (0..4)
        .map(|_| tempfile::tempdir())
        .collect::<Result<_, _>>()?;
    let mut ours = Database::open(dirs[0].path())?;
    let mut shadow = Database::open(dirs[1].path())?;
    let mut bare = Database::open(dirs[2].path())?;
    let mut narrow = Database::open(dirs[3].path())?;
    let journal = Journal::begin(&shadow.conn)?;
    let (mut bare_spent, mut narrow_spent) = (Spending::default(), Spending::default());
    let mut filled = Filled::default();
    let mut both = Duration::ZERO;
    let mut feed = Feed::new(seed, events);
    loop {
        let batches: Vec<Vec<(Timestamp, Delivery)>> = (0..IN_TURN)
            .map(|_| feed.by_ref().take(BATCH).collect())
            .take_while(|batch: &Vec<_>| !batch.is_empty())
            .collect();
        if batches.is_empty() {
            break;
        }
        let again = batches.clone();
        let begun = Instant::now();
        let done = pipeline(&mut ours, batches, &mut filled)?;
        both += begun.elapsed();
        let written = done
            .iter()
            .map(|(items, now)| {
                shadow.apply(items, *now)?;
                journal.take(&shadow.conn)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        drop(done);
        beside_a_source(&ours, &again, || {
            written.iter().try_for_each(|written| {
                journal.replay_events(&mut narrow.conn, written, &mut narrow_spent)?;
                journal.replay(&mut bare.conn, written, &mut bare_spent)
            })
        })?;
    }
    filled.rows = ours.rows()?;
    for other in [&shadow, &bare] {
        let rows = other.rows()?;
        anyhow::ensure!(
            rows == filled.rows,
            "{rows} rows instead of {}",
            filled.rows
        );
    }
    add_figures(&filled, both, (bare_spent, narrow_spent), report);
    Ok(filled.events as f64 / both.as_secs_f64())
}

/// Prepares batches on a separate thread and writes them on this one, as a recorder does. Returns them.
fn pipeline(
    ours: &mut Database,
    batches: Vec<Vec<(Timestamp, Delivery)>>,
    filled: &mut Filled,
) -> anyhow::Result<Vec<(Vec<Item>, Timestamp)>> {
    let preparer = ours.preparer();
    let (send, receive) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let source = scope.spawn(move || -> anyhow::Result<Filled> {
            let mut prepared = Filled::default();
            for batch in batches {
                let batch = preparer.prepare(batch, &mut prepared)?;
                if send.send(batch).is_err() {
                    break; // the writer failed and says why
                }
            }
            Ok(prepared)
        });
        let mut done = Vec::new();
        for (items, now) in receive {
            filled.store.on(|| ours.apply(&items, now))?;
            done.push((items, now));
        }
        let prepared = source
            .join()
            .map_err(|_| anyhow::anyhow!("the preparing thread panicked"))??;
        filled.events += prepared.events;
        filled.prepare.wall += prepared.prepare.wall;
        filled.prepare.cpu += prepared.prepare.cpu;
        Ok(done)
    })
}

/// Runs the plain inserts while another thread prepares batches, as it does beside our writer: two threads share caches
/// and memory, perhaps even a core.
fn beside_a_source<T>(
    ours: &Database,
    batches: &[Vec<(Timestamp, Delivery)>],
    work: impl FnOnce() -> T,
) -> T {
    let preparer = ours.preparer();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in batches.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let _ = preparer.prepare(batch.clone(), &mut Filled::default());
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn add_figures(
    filled: &Filled,
    both: Duration,
    (bare, narrow): (Spending, Spending),
    report: &mut Report,
) {
    let events = filled.events.max(1) as f64;
    let micros = |spent: Spending, of: f64| spent.cpu.as_secs_f64() * 1e6 / of;
    let rate = |spent: Spending, of: f64| of / spent.wall.as_secs_f64();
    let ours = filled.spent();
    let ours_rate = events / both.as_secs_f64();
    report.group(format!(
        "ingest: {} Events into {} rows, batches of {BATCH}, source thread and writer thread, synchronous=NORMAL",
        filled.events, filled.rows
    ));
    let at_least = Limit::AtLeast;
    let ratio = if filled.events < RATIO_EVENTS_MIN {
        Limit::None
    } else {
        at_least(RATIO_MIN)
    };
    report.add(
        "decoded Event → committed",
        ours_rate,
        "/s",
        at_least(RATE_MIN),
    );
    report.add(
        "  on one thread, by CPU time",
        1e6 / micros(ours, events),
        "/s",
        Limit::None,
    );
    report.add(
        "plain insert of the same rows in all tables",
        rate(bare, events),
        "/s",
        Limit::None,
    );
    report.add(
        "ratio to the plain rate",
        ours_rate / rate(bare, events),
        "",
        ratio,
    );
    report.add(
        "ratio to the plain rate, by CPU of both threads",
        micros(bare, events) / micros(ours, events),
        "",
        Limit::None,
    );
    report.add(
        "ratio to the plain rate, by CPU of the writer thread",
        micros(bare, events) / micros(filled.store, events),
        "",
        ratio,
    );
    let cpu = [
        (
            "CPU an Event",
            micros(ours, events),
            Limit::AtMost(CPU_MICROS_MAX),
        ),
        (
            "  normalize and sanitize",
            micros(filled.prepare, events),
            Limit::None,
        ),
        ("  store", micros(filled.store, events), Limit::None),
        (
            "CPU an Event, bare, all tables",
            micros(bare, events),
            Limit::None,
        ),
        (
            "CPU a row, bare, event alone without what it names",
            micros(narrow, filled.rows.max(1) as f64),
            Limit::None,
        ),
    ];
    for (name, value, limit) in cpu {
        report.add(name, value, "µs", limit);
    }
}
