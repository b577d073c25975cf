//! From a decoded Event to its committed row, beside bare inserts of the same rows.
//!
//! ```text
//!   each batch of a feed ─▶ ours:   normalize, sanitize, transaction             timed
//!                         ├ shadow: the same transaction with a journal         not timed
//!                         ├ bare:   what the journal saw, all tables            timed
//!                         └ narrow: new rows of `event` alone, no other table   timed
//! ```
//!
//! Batch by batch in turn, so that whatever else the machine does falls on all of them alike.

use super::bare::Journal;
use super::data::Feed;
use super::fill::{BATCH, Database, Filled, Spent};
use super::sheet::{Limit, Sheet};

/// Of the bare insert's rate.
const RATIO_MIN: f64 = 0.7;
const RATE_MIN: f64 = 50_000.0;
const CPU_MICROS_MAX: f64 = 20.0;

/// Measures all of them; returns Events a second.
pub fn run(seed: u64, events: usize, sheet: &mut Sheet) -> anyhow::Result<f64> {
    let dirs: Vec<tempfile::TempDir> = (0..4)
        .map(|_| tempfile::tempdir())
        .collect::<Result<_, _>>()?;
    let mut ours = Database::open(dirs[0].path())?;
    let mut shadow = Database::open(dirs[1].path())?;
    let mut bare = Database::open(dirs[2].path())?;
    let mut narrow = Database::open(dirs[3].path())?;
    let journal = Journal::begin(&shadow.conn)?;
    let (mut bare_spent, mut narrow_spent) = (Spent::default(), Spent::default());
    let mut filled = Filled::default();
    let mut feed = Feed::new(seed, events).peekable();
    while let Some((items, now)) = ours.next_batch(&mut feed, &mut filled)? {
        filled.store.on(|| ours.apply(&items, now))?;
        shadow.apply(&items, now)?;
        let written = journal.take(&shadow.conn)?;
        journal.replay_events(&mut narrow.conn, &written, &mut narrow_spent)?;
        journal.replay(&mut bare.conn, &written, &mut bare_spent)?;
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
    report(&filled, bare_spent, narrow_spent, sheet);
    Ok(filled.events as f64 / filled.wall().as_secs_f64())
}

fn report(filled: &Filled, bare: Spent, narrow: Spent, sheet: &mut Sheet) {
    let events = filled.events.max(1) as f64;
    let micros = |spent: Spent, of: f64| spent.cpu.as_secs_f64() * 1e6 / of;
    let rate = |spent: Spent, of: f64| of / spent.wall.as_secs_f64();
    let ours = filled.spent();
    sheet.group(format!(
        "ingest: {} Events into {} rows, batches of {BATCH}, one thread, synchronous=NORMAL",
        filled.events, filled.rows
    ));
    let at_least = Limit::AtLeast;
    sheet.add(
        "decoded Event → committed",
        rate(ours, events),
        "/s",
        at_least(RATE_MIN),
    );
    sheet.add(
        "  were the CPU its own",
        1e6 / micros(ours, events),
        "/s",
        Limit::None,
    );
    sheet.add(
        "bare insert of all that the layout holds for them",
        rate(bare, events),
        "/s",
        Limit::None,
    );
    sheet.add(
        "share of the bare rate",
        rate(ours, events) / rate(bare, events),
        "",
        at_least(RATIO_MIN),
    );
    sheet.add(
        "share of the bare rate, by CPU",
        micros(bare, events) / micros(ours, events),
        "",
        at_least(RATIO_MIN),
    );
    sheet.add(
        "share of the bare rate, store alone, by CPU",
        micros(bare, events) / micros(filled.store, events),
        "",
        Limit::None,
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
        sheet.add(name, value, "µs", limit);
    }
}
