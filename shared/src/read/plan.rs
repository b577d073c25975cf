//! Chooses the way to the keys of a filter's rows: an estimate of each way's cost from counts that `tally` has.

use rusqlite::Connection;

use super::ReadError;
use super::numbers::{Numbers, OBJECTS_MAX, Objects, ids};
use super::sql::{Sql, list};
use super::tally::{Piece, Survey};

/// Microseconds to step over a row of `event` in key order and test it.
const ROW_IN_ORDER: f64 = 0.1;
/// To look its object up for the test. Rows that lie together are mostly about objects that do.
const LOOK_UP: f64 = 0.6;
/// The same where text is looked for.
const ROW_SEARCHED: f64 = 0.25;
/// Microseconds to step over an index entry that alone decides.
const ENTRY: f64 = 0.1;
/// Microseconds to reach a row of `event` from an index: mostly a page that is not in the cache.
const ROW_BY_INDEX: f64 = 2.0;
/// Microseconds to list an object and to find its first entry: mostly a page that is not in the cache.
const OBJECT: f64 = 2.0;
/// Entries of an object whose number is not known.
const ROWS_OF_AN_OBJECT: f64 = 50.0;
const HOURS: f64 = 24.0;
/// Microseconds to ask for the hours of a day.
const DIVIDED: f64 = 50.0;
/// Days with fewer rows, or with one match in this many rows or fewer, are scanned whole: asking for their hours would
/// cost more than it saves.
const SMALL_DAY_ROWS: u64 = 500;
const DENSE_ONE_IN: u64 = 4;
/// Objects from which on it pays to count their rows first, in one statement.
const COUNT_FIRST_OBJECTS: usize = 256;

/// A way to the keys of the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// In key order, over times in which something matches.
    Keys,
    /// From each of these objects.
    Objects(Vec<i64>),
    /// From each of these rare types.
    Types(Vec<i64>),
    /// From each of these rare severities.
    Severities(Vec<i64>),
}

/// The cheapest way to the newest `need` rows, or to all of them where they must be counted.
pub(super) fn choose(
    connection: &Connection,
    numbers: &Numbers,
    survey: &Survey,
    need: u64,
) -> Result<Way, ReadError> {
    let mut best = (in_key_order(numbers, survey, need), Way::Keys);
    let mut offer = |cost: f64, way: &dyn Fn() -> Way| {
        if cost < best.0 {
            best = (cost, way());
        }
    };
    // The indexes on type and severity are partial: they hold the rare ones.
    let by_code = |of_codes: u64| {
        let visited = if numbers.is_tallied() {
            // Until enough have been found.
            let matched = survey.matched().max(1) as f64;
            of_codes as f64 * (need as f64 / matched).min(1.0)
        } else {
            of_codes as f64
        };
        visited * ROW_BY_INDEX
    };
    if let Some(types) = numbers
        .types
        .as_ref()
        .filter(|all| all.iter().all(|&code| code != 0))
    {
        offer(by_code(survey.of_types), &|| Way::Types(types.clone()));
    }
    if let Some(severities) = numbers
        .severities
        .as_ref()
        .filter(|all| all.iter().all(|&code| code >= 2))
    {
        offer(by_code(survey.of_severities), &|| {
            Way::Severities(severities.clone())
        });
    }
    let entry = if numbers.is_by_object_alone() {
        ENTRY
    } else {
        ROW_BY_INDEX
    };
    match (&numbers.objects, &numbers.scopes) {
        (Objects::Few(objects, _), _) => {
            let rows = (survey.rows as f64).min(ROWS_OF_AN_OBJECT);
            offer(objects.len() as f64 * (OBJECT + rows * entry), &|| {
                Way::Objects(objects.clone())
            });
        }
        (Objects::Any, Some(scopes)) => {
            let affordable = (best.0 - survey.in_scope as f64 * entry) / OBJECT;
            let affordable = affordable.clamp(0.0, OBJECTS_MAX as f64) as usize;
            if let Some(objects) = objects_of(connection, scopes, affordable)? {
                return Ok(Way::Objects(objects));
            }
        }
        _ => {}
    }
    Ok(best.1)
}

/// The objects of some scopes, if they are no more than `most`.
fn objects_of(
    connection: &Connection,
    scopes: &[i64],
    most: usize,
) -> Result<Option<Vec<i64>>, ReadError> {
    if most == 0 {
        return Ok(None);
    }
    let sql = format!(
        "SELECT o.id FROM object o WHERE o.scope IN {} LIMIT {}",
        list(scopes.iter().copied()),
        most + 1
    );
    let objects = ids(connection, &Sql::new(sql))?;
    Ok((objects.len() <= most).then_some(objects))
}

/// Whether the rows of many objects are to be counted before any is looked at.
pub(super) fn counts_first(numbers: &Numbers, objects: usize) -> bool {
    numbers.search.is_none() && objects > COUNT_FIRST_OBJECTS
}

/// Whether a page is found sooner in key order than by visiting all `total` rows that match among `rows`.
pub(super) fn is_dense(total: u64, rows: u64, reach: u64) -> bool {
    let in_order = reach as f64 * rows as f64 / total.max(1) as f64;
    in_order * ROW_IN_ORDER < total as f64 * ENTRY
}

/// Whether a stretch of so many rows is scanned sooner than so many objects are visited.
pub(super) fn is_short(numbers: &Numbers, rows: u64, objects: usize) -> bool {
    numbers.search.is_none() && (rows as f64) * (ROW_IN_ORDER + LOOK_UP) < objects as f64 * OBJECT
}

/// Microseconds to step over a row in key order and test it: its object is looked up if the rest of it fits.
fn each_in_order(numbers: &Numbers, survey: &Survey) -> f64 {
    if numbers.search.is_some() {
        return ROW_SEARCHED;
    }
    if matches!((&numbers.objects, &numbers.scopes), (Objects::Any, None)) {
        return ROW_IN_ORDER;
    }
    let rows = survey.rows.max(1) as f64;
    let share = |asked: bool, of: u64| if asked { of as f64 / rows } else { 1.0 };
    ROW_IN_ORDER
        + LOOK_UP
            * share(numbers.types.is_some(), survey.of_types)
            * share(numbers.severities.is_some(), survey.of_severities)
}

/// What the scan in key order costs.
fn in_key_order(numbers: &Numbers, survey: &Survey, need: u64) -> f64 {
    let each = each_in_order(numbers, survey);
    if !numbers.is_tallied() {
        return survey.rows as f64 * each;
    }
    let (mut cost, mut left) = (0.0, need);
    for piece in &survey.pieces {
        // A part of an hour is counted in any case.
        let (Some(matched), true) = (piece.matched.filter(|matched| *matched > 0), left > 0) else {
            continue;
        };
        let taken = matched.min(left);
        left -= taken;
        let (rows, part) = (piece.rows as f64, taken as f64 / matched as f64);
        if !is_divided(piece, matched) {
            cost += rows * part * each;
            continue;
        }
        // Only hours with a match are scanned.
        let hours = HOURS * (1.0 - (-(matched as f64) / HOURS).exp());
        cost += DIVIDED + rows / HOURS * hours * part * each;
    }
    cost
}

/// Whether the hours of a day are asked for, since most of them may have nothing.
pub(super) fn is_divided(piece: &Piece, matched: u64) -> bool {
    piece.is_day && piece.rows > SMALL_DAY_ROWS && matched < piece.rows / DENSE_ONE_IN
}
