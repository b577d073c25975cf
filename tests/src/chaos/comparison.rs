//! The comparison of the database with what the API server accepted.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::ensure;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::load::DeletedEvents;
use crate::apiserver::{ApiServer, EventTruth, Truth};
use crate::recorder::{Setup, wait_until};

/// The server's `Date` has whole seconds, and so have most times in Events.
const SLACK: Duration = Duration::from_millis(1_500);

/// Time to catch up after the last fault.
const CATCH_UP: Duration = Duration::from_secs(90);

/// What the database holds of one Event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) rows: u64,
    /// Largest `count` of its rows.
    pub(super) count: i64,
    /// Occurrences of all rows, including those before them.
    pub(super) occurrences: i64,
    /// Last occurrence, in milliseconds since 1970.
    pub(super) last: i64,
}

/// A gap, as its row describes it.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    from: Timestamp,
    to: Option<Timestamp>,
}

impl Gap {
    /// Parses a row's metadata; `None` if the gap is not about Events.
    pub(super) fn read(metadata: &str) -> Option<Self> {
        let metadata: Value = serde_json::from_str(metadata).ok()?;
        let parts = metadata["sources"].as_array()?;
        let of_events = parts.iter().find(|part| part["source"] == "Event")?;
        let time = |value: &Value| value.as_str().and_then(|text| Timestamp::parse(text).ok());
        Some(Self {
            from: time(&of_events["from"]).unwrap_or(Timestamp::EPOCH),
            to: time(&of_events["to"]),
        })
    }
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Events that the API server accepted, and writes to them.
    pub events: usize,
    /// See `events`.
    pub writes: usize,
    /// Events still alive at the end.
    pub alive: usize,
    /// Rows of Events.
    pub rows: u64,
    /// Gap rows.
    pub gaps: usize,
    /// Events deleted in a recorded gap, with unseen changes.
    pub accounted: u64,
    /// Missing Events or repeats.
    pub lost: Vec<String>,
    /// Events with more occurrences than happened.
    pub doubled: Vec<String>,
    /// Events with another final count or last time.
    pub wrong_count: Vec<String>,
    /// Deleted Events with losses that no gap row covers; gaps and dropped ranges that are still open.
    pub unaccounted: Vec<String>,
    /// Errors of `PRAGMA integrity_check`.
    pub integrity: Vec<String>,
}

impl Comparison {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        [
            &self.lost,
            &self.doubled,
            &self.wrong_count,
            &self.unaccounted,
            &self.integrity,
        ]
        .iter()
        .all(|faults| faults.is_empty())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Events            {} accepted in {} writes, {} existing at the end",
            self.events, self.writes, self.alive
        )?;
        writeln!(f, "rows              {}, gap rows {}", self.rows, self.gaps)?;
        writeln!(
            f,
            "deleted in a gap  {} (covered by the gap row)",
            self.accounted
        )?;
        for (name, faults) in [
            ("lost", &self.lost),
            ("duplicated", &self.doubled),
            ("wrong count", &self.wrong_count),
            ("unaccounted gaps", &self.unaccounted),
            ("integrity", &self.integrity),
        ] {
            writeln!(f, "{name:<18}{}", faults.len())?;
            write_faults(f, faults)?;
        }
        Ok(())
    }
}

/// Writes five faults, one per line; all of them in the alternate form, which is for the report file.
pub(super) fn write_faults(f: &mut fmt::Formatter<'_>, faults: &[String]) -> fmt::Result {
    let shown = if f.alternate() { usize::MAX } else { 5 };
    for fault in faults.iter().take(shown) {
        writeln!(f, "    {fault}")?;
    }
    Ok(())
}

/// Waits until the first list of Events is complete.
///
/// An Event deleted before that is in no list and in no gap, because nothing was interrupted: the comparison would
/// report it as lost. `/healthz` does not show whether the list is complete.
pub(super) fn wait_for_the_first_list(setup: &Setup) -> anyhow::Result<()> {
    let listed = "SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL AND relisting = 0";
    let begun = wait_until(|| setup.number(listed) == Some(1));
    ensure!(begun, "the recorder does not complete its first list");
    Ok(())
}

/// Waits until every existing Event is stored with its final state, or until the timeout; the comparison then reports
/// what is missing.
pub fn wait_for_the_rest(server: &ApiServer, setup: &Setup, mut is_running: impl FnMut() -> bool) {
    let until = Instant::now() + CATCH_UP;
    while Instant::now() < until && is_running() {
        let stored = read_events(setup).unwrap_or_default();
        let is_done = holds_the_living(&server.store().truth(), &stored);
        let open = setup
            .number("SELECT count(*) FROM watch_state WHERE kind = 'Event' AND gap IS NOT NULL");
        if is_done && open == Some(0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Whether every existing Event is stored with its final state.
pub(super) fn holds_the_living(truth: &Truth, stored: &HashMap<String, Stored>) -> bool {
    let mut living = truth
        .events
        .values()
        .filter(|event| event.deleted.is_none());
    living.all(|event| {
        stored
            .get(&event.uid)
            .is_some_and(|stored| compare_event(event, stored) == MatchResult::Equal)
    })
}

#[derive(Debug, PartialEq, Eq)]
enum MatchResult {
    Equal,
    /// The last writes are missing.
    Behind,
    Doubled,
    DiskFault,
}

fn compare_event(truth: &EventTruth, stored: &Stored) -> MatchResult {
    let last = Timestamp::parse(&truth.last).map_or(0, Timestamp::millis);
    if stored.occurrences > stored.count {
        MatchResult::Doubled
    } else if stored.count < truth.count || stored.last < last {
        MatchResult::Behind
    } else if (stored.count, stored.occurrences, stored.last) == (truth.count, truth.count, last) {
        MatchResult::Equal
    } else {
        MatchResult::DiskFault
    }
}

/// Compares the database with the ground truth; `deleted` are the deletions by clients.
pub fn compare(
    truth: &Truth,
    deleted: &DeletedEvents,
    setup: &Setup,
) -> anyhow::Result<Comparison> {
    let stored = read_events(setup)?;
    let gaps = read_gaps(setup)?;
    compare_with(truth, deleted, setup, &stored, &gaps)
}

/// Compares what is stored, or was stored until retention deleted it, with the ground truth.
pub(super) fn compare_with(
    truth: &Truth,
    deleted: &DeletedEvents,
    setup: &Setup,
    stored: &HashMap<String, Stored>,
    gaps: &[Gap],
) -> anyhow::Result<Comparison> {
    let event_ttl = setup.config()?.source.event_ttl;
    let mut comparison = Comparison {
        events: truth.events.len(),
        writes: truth.observations(),
        alive: truth
            .events
            .values()
            .filter(|event| event.deleted.is_none())
            .count(),
        rows: stored.values().map(|event| event.rows).sum(),
        gaps: gaps.len(),
        integrity: setup
            .column("PRAGMA integrity_check")?
            .into_iter()
            .filter(|line| line != "ok")
            .collect(),
        ..Comparison::default()
    };
    let none = Stored::default();
    for event in truth.events.values() {
        let found = stored.get(&event.uid).unwrap_or(&none);
        let line = || format!("{event:?}: {found:?}");
        match compare_event(event, found) {
            MatchResult::Equal => {}
            MatchResult::Doubled => comparison.doubled.push(line()),
            MatchResult::DiskFault => comparison.wrong_count.push(line()),
            MatchResult::Behind if event.deleted.is_none() => comparison.lost.push(line()),
            MatchResult::Behind if is_covered(event, deleted, event_ttl, gaps) => {
                comparison.accounted += 1
            }
            MatchResult::Behind => comparison.unaccounted.push(line()),
        }
    }
    for (uid, found) in stored {
        if !truth.events.contains_key(uid) {
            comparison
                .wrong_count
                .push(format!("{uid} was never accepted: {found:?}"));
        }
    }
    for gap in gaps.iter().filter(|gap| gap.to.is_none()) {
        comparison.unaccounted.push(format!("still open: {gap:?}"));
    }
    for dropped in setup.column("SELECT items FROM dropped_range")? {
        comparison
            .unaccounted
            .push(format!("{dropped} dropped items are not recovered"));
    }
    Ok(comparison)
}

/// Whether one gap covers the Event's last write and its deletion: then the recorder could not see that write.
fn is_covered(
    event: &EventTruth,
    deleted: &DeletedEvents,
    event_ttl: Duration,
    gaps: &[Gap],
) -> bool {
    let Ok(written) = Timestamp::parse(&event.last) else {
        return false;
    };
    // An Event that no client deleted expired one TTL after its last write.
    let died = deleted.get(&event.uid).map_or_else(
        || written.plus(event_ttl),
        |at| Timestamp::from_millis(at.0 / 1000),
    );
    gaps.iter().any(|gap| {
        gap.from.minus(SLACK) <= written && gap.to.is_none_or(|to| died <= to.plus(SLACK))
    })
}

fn read_events(setup: &Setup) -> rusqlite::Result<HashMap<String, Stored>> {
    let conn = setup.open()?;
    let mut statement = conn.prepare(
        "SELECT json_extract(metadata, '$.uid'), e.count, e.occurrences, (e.key >> 24) * 1000 + e.last_offset_ms, e.extra \
         FROM event e JOIN event_detail d ON d.key = e.key WHERE e.uid IS NOT NULL",
    )?;
    let mut events: HashMap<String, Stored> = HashMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let extra: Option<String> = row.get(4)?;
        let before = extra
            .and_then(|extra| serde_json::from_str::<Value>(&extra).ok())
            .and_then(|extra| extra["occurrences_before"].as_i64())
            .unwrap_or(0);
        let event = events.entry(row.get(0)?).or_default();
        event.rows += 1;
        event.count = event.count.max(row.get(1)?);
        event.occurrences += row.get::<_, i64>(2)? + before;
        event.last = event.last.max(row.get(3)?);
    }
    Ok(events)
}

fn read_gaps(setup: &Setup) -> rusqlite::Result<Vec<Gap>> {
    let rows = setup.column("SELECT metadata FROM events WHERE title = 'Recording gap'")?;
    let gaps = rows.iter().filter_map(|metadata| Gap::read(metadata));
    Ok(gaps.collect())
}
