//! Chooses the way to the keys of a filter's rows: an estimate of each way's cost from counts that `tally` has.

use rusqlite::Connection;

use super::ReadError;
use super::numbers::{Numbers, OBJECTS_MAX, Objects, ids};
use super::sql::{Sql, list};
use super::tally::Survey;

/// Microseconds to step over a row of `event` in key order and test it.
const ROW_IN_ORDER: f64 = 0.1;
/// The same where its object is looked up for the test.
const ROW_LOOKED_UP: f64 = 0.35;
/// The same where text is looked for.
const ROW_SEARCHED: f64 = 0.4;
/// Microseconds to reach a row of `event` from an index.
const ROW_BY_INDEX: f64 = 0.4;
/// Microseconds to find an object's first row.
const OBJECT: f64 = 2.0;

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
    let rows = survey.rows as f64;
    let mut best = (in_key_order(numbers, survey, need), Way::Keys);
    let mut offer = |cost: f64, way: &dyn Fn() -> Way| {
        if cost < best.0 {
            best = (cost, way());
        }
    };
    // The indexes on type and severity are partial: they hold the rare ones.
    if let Some(types) = numbers
        .types
        .as_ref()
        .filter(|types| types.iter().all(|&code| code != 0))
    {
        offer(survey.of_types as f64 * ROW_BY_INDEX, &|| {
            Way::Types(types.clone())
        });
    }
    if let Some(severities) = numbers
        .severities
        .as_ref()
        .filter(|all| all.iter().all(|&code| code >= 2))
    {
        offer(survey.of_severities as f64 * ROW_BY_INDEX, &|| {
            Way::Severities(severities.clone())
        });
    }
    match &numbers.objects {
        Objects::Few(objects) => {
            // How many rows they have is unknown without visiting them; as many as the average object, and some.
            let visit = OBJECT + 50.0 * ROW_BY_INDEX;
            offer(
                objects.len() as f64 * visit.min(OBJECT + rows * ROW_BY_INDEX),
                &|| Way::Objects(objects.clone()),
            );
        }
        Objects::Any | Objects::Many(_) => {}
    }
    if let (Objects::Any, Some(scopes)) = (&numbers.objects, &numbers.scopes) {
        let in_scope = survey.in_scope as f64 * ROW_BY_INDEX;
        let affordable = ((best.0 - in_scope) / OBJECT).clamp(0.0, OBJECTS_MAX as f64) as usize;
        if affordable > 0 {
            let sql = format!(
                "SELECT o.id FROM object o WHERE o.scope IN {} LIMIT {}",
                list(scopes.iter().copied()),
                affordable + 1
            );
            let objects = ids(connection, &Sql::new(sql))?;
            if objects.len() <= affordable {
                return Ok(Way::Objects(objects));
            }
        }
    }
    Ok(best.1)
}

/// What the scan in key order costs.
fn in_key_order(numbers: &Numbers, survey: &Survey, need: u64) -> f64 {
    let rows = survey.rows as f64;
    let each = match (&numbers.search, &numbers.objects, &numbers.scopes) {
        (Some(_), ..) => ROW_SEARCHED,
        (None, Objects::Any, None) => ROW_IN_ORDER,
        (None, ..) => ROW_LOOKED_UP,
    };
    if !numbers.is_tallied() {
        return rows * each;
    }
    let matched = survey.matched() as f64;
    let wanted = matched.min(need as f64);
    let evenly = wanted * rows / matched.max(1.0);
    // Each wanted row may lie in an hour of its own; hours without a match are skipped.
    let hours: f64 = survey
        .pieces
        .iter()
        .map(|piece| if piece.is_day { 24.0 } else { 1.0 })
        .sum();
    let by_hours = wanted * rows / hours.max(1.0);
    evenly.min(by_hours) * each
}
