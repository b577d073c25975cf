//! Resolves the names of a filter to the integers that rows hold, once, in the small interned tables.

use kube9_model::change::kinds::rules_of;
use kube9_model::change::path::Path;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, params_from_iter};

use super::ReadError;
use super::filter::{ChangeFilter, Filter, FindingStates, KindPattern, Pattern};
use super::sql::{Case, Sql, json, list, matches, one_of};
use super::verify;
use crate::schema::FOLD_WINDOW_MS;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{CHANGE_CODE, EventType};

/// Up to this many objects the filter lists their ids. With more, a scan is as fast and the list would take memory.
pub(super) const OBJECTS_MAX: usize = 20_000;
/// Up to this many objects a scan in key order builds a set of their ids first, which finds a row whose object is
/// missing. With more, it looks up the object of each row.
const ID_SET_MAX: usize = 4_000;

/// The objects that a filter matches.
#[derive(Debug)]
pub(super) enum ObjectSet {
    /// All, and rows without an object.
    Any,
    /// These ids, and the condition on `object o` joined with `scope s` that selected them.
    Few(Vec<i64>, Sql),
    /// More than [`OBJECTS_MAX`]: only the condition.
    Many(Sql),
}

/// A filter in the database's integers.
#[derive(Debug)]
pub(super) struct ResolvedFilter {
    /// Codes of event types; `None` allows all.
    pub(super) types: Option<Vec<i64>>,
    /// Codes of severities; `None` allows all.
    pub(super) severities: Option<Vec<i64>>,
    /// Ids of scopes, ascending; `None` allows all, and rows without an object.
    pub(super) scopes: Option<Vec<i64>>,
    /// Objects, if the filter names objects or owners.
    pub(super) objects: ObjectSet,
    /// Further conditions on `event e`.
    conditions: Vec<Sql>,
    /// Text that the row must contain.
    pub(super) search: Option<String>,
    /// Keys of the rows whose time can match.
    pub(super) ranges: TimeRanges,
    /// Whether no row can match.
    pub(super) matches_nothing: bool,
}

/// The time range of a filter as ranges of keys. Rows created in `main` match; older rows match if their last occurrence is
/// at or after `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeRanges {
    /// Rows created in [since, until).
    pub(super) main: KeyRange,
    /// Rows created at most one fold window before `since`; empty without a `since`.
    pub(super) window: KeyRange,
    /// Rows created before that: only those in the partial index of long rows can reach into the range.
    pub(super) older: KeyRange,
    /// Milliseconds since the epoch.
    pub(super) since_ms: i64,
}

/// Keys from `from` (inclusive) to `to` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl KeyRange {
    pub(super) const fn is_empty(self) -> bool {
        self.from >= self.to
    }

    /// The part below `key`.
    pub(super) fn below(self, key: i64) -> Self {
        Self {
            from: self.from,
            to: self.to.min(key),
        }
    }
}

impl TimeRanges {
    fn new(filter: &Filter) -> Self {
        let end = filter
            .until
            .map_or(i64::MAX, |t| EventKey::first_at(t).as_i64());
        let Some(since) = filter.since else {
            let none = KeyRange { from: 0, to: 0 };
            return Self {
                main: KeyRange {
                    from: i64::MIN,
                    to: end,
                },
                window: none,
                older: none,
                since_ms: i64::MIN,
            };
        };
        let start = EventKey::first_at(since).as_i64();
        let window = Timestamp::from_millis(since.millis().saturating_sub(FOLD_WINDOW_MS));
        let window_start = EventKey::first_at(window).as_i64();
        Self {
            main: KeyRange {
                from: start,
                to: end,
            },
            window: KeyRange {
                from: window_start,
                to: start.min(end),
            },
            older: KeyRange {
                from: i64::MIN,
                to: window_start.min(end),
            },
            since_ms: since.millis(),
        }
    }
}

impl ResolvedFilter {
    /// Looks up the names of a filter.
    pub(super) fn new(connection: &Connection, filter: &Filter) -> Result<Self, ReadError> {
        let scopes = scopes(connection, filter)?;
        let objects = objects(connection, filter, scopes.as_deref())?;
        let matches_nothing = scopes.as_ref().is_some_and(Vec::is_empty)
            || matches!(&objects, ObjectSet::Few(ids, _) if ids.is_empty());
        let codes = |all: usize, mut codes: Vec<i64>| {
            codes.sort_unstable();
            codes.dedup();
            (!codes.is_empty() && codes.len() < all).then_some(codes)
        };
        let mut conditions = conditions(filter);
        let mut types: Vec<i64> = filter.types.iter().flat_map(|t| t.row_codes()).collect();
        let mut matches_nothing = matches_nothing;
        if let Some(changes) = &filter.changes {
            add_functions(connection, changes)?;
            conditions.extend(change_condition(changes));
            matches_nothing |= !types.is_empty() && !types.contains(&CHANGE_CODE);
            types = vec![CHANGE_CODE];
        }
        if let Some(states) = filter.findings {
            conditions.push(finding_condition(states));
        }
        if let Some(until) = filter.until {
            conditions.extend(last_second(connection, until)?);
        }
        Ok(Self {
            types: codes(EventType::ALL.len() + 1, types),
            severities: codes(4, filter.severities.iter().map(|s| s.code()).collect()),
            scopes,
            objects,
            conditions,
            search: filter.search.clone(),
            ranges: TimeRanges::new(filter),
            matches_nothing,
        })
    }

    /// Adds a condition on `event e`.
    pub(super) fn add_condition(&mut self, condition: Sql) {
        self.conditions.push(condition);
    }

    /// Whether `row_counts` alone can count the matches: the filter has only type, severity, scope and time.
    pub(super) fn is_countable(&self) -> bool {
        matches!(self.objects, ObjectSet::Any)
            && self.conditions.is_empty()
            && self.search.is_none()
    }

    /// The condition on a row of `event e`, ` AND …`; cheap terms first. Omits what the access path has filtered already.
    pub(super) fn condition(&self, filtered: AlreadyFiltered) -> Sql {
        let mut sql = Sql::default();
        // The unary plus keeps the planner from taking an index that the plan did not choose.
        if let Some(types) = &self.types {
            sql.push(" AND ").push(&one_of("+e.type", types));
        }
        if let Some(severities) = &self.severities {
            sql.push(" AND ").push(&one_of("+e.severity", severities));
        }
        for condition in &self.conditions {
            sql.and(condition);
        }
        match (&self.objects, &self.scopes) {
            _ if filtered == AlreadyFiltered::Object => {}
            (ObjectSet::Any, None) => {}
            (ObjectSet::Any, Some(scopes)) => {
                sql.push(" AND ").push(&one_of(
                    "(SELECT o.scope FROM object o WHERE o.id = e.object)",
                    scopes,
                ));
            }
            (ObjectSet::Few(ids, _), _) if ids.len() <= ID_SET_MAX => {
                sql.push(" AND +e.object IN (SELECT value FROM json_each(")
                    .bind(json(ids.iter().copied()))
                    .push("))");
            }
            (ObjectSet::Few(_, condition) | ObjectSet::Many(condition), _) => {
                sql.push(" AND EXISTS (SELECT 1 FROM object o CROSS JOIN scope s ON s.id = o.scope WHERE o.id = e.object")
                    .and(condition)
                    .push(")");
            }
        }
        sql
    }
}

/// Which part of a filter the access path has applied already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AlreadyFiltered {
    Nothing,
    /// The condition on objects.
    Object,
}

pub(super) fn ids(connection: &Connection, sql: &Sql) -> Result<Vec<i64>, ReadError> {
    let mut statement = connection.prepare(&sql.text)?;
    let ids = statement.query_map(params_from_iter(&sql.values), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Never matches the empty namespace of cluster-scoped kinds.
fn namespace_matches(patterns: &[Pattern]) -> Sql {
    let mut sql = Sql::new("s.namespace <> ''");
    sql.and(&matches("s.namespace", patterns, Case::Matters));
    sql
}

/// The kind of a scope is one of these.
fn kind_matches(scope: &str, kinds: &[KindPattern]) -> Sql {
    let column = format!("{scope}.kind");
    let mut sql = Sql::new("0");
    for kind in kinds {
        let mut one = matches(&column, &kind.names, Case::Ignored);
        if let Some(group) = &kind.group {
            let named = std::mem::replace(&mut one, Sql::new(format!("{scope}.api_group = ")));
            one.bind(group.clone()).and(&named);
        }
        sql.push(" OR (").append(&one).push(")");
    }
    sql
}

fn scopes(connection: &Connection, filter: &Filter) -> Result<Option<Vec<i64>>, ReadError> {
    if filter.kinds.is_empty() && filter.namespaces.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new("SELECT s.id FROM scope s WHERE 1");
    if !filter.kinds.is_empty() {
        sql.and(&kind_matches("s", &filter.kinds));
    }
    if !filter.namespaces.is_empty() {
        sql.and(&namespace_matches(&filter.namespaces));
    }
    verify::check_scopes(connection)?;
    let mut scopes = ids(connection, &sql)?;
    scopes.sort_unstable();
    Ok(Some(scopes))
}

fn objects(
    connection: &Connection,
    filter: &Filter,
    scopes: Option<&[i64]>,
) -> Result<ObjectSet, ReadError> {
    if filter.names.is_empty() && filter.owners.is_empty() && filter.objects.is_empty() {
        return Ok(ObjectSet::Any);
    }
    let mut shared = Sql::new("1");
    if let Some(scopes) = scopes {
        shared
            .push(" AND s.id IN ")
            .push(&list(scopes.iter().copied()));
    }
    if !filter.names.is_empty() {
        shared.and(&matches("o.name", &filter.names, Case::Matters));
    }
    if !filter.owners.is_empty() {
        shared.and(&owner_condition(filter));
    }
    // One statement for each object, so that each can seek by (scope, name); an OR of them would scan.
    let mut alternatives: Vec<Sql> = filter
        .objects
        .iter()
        .map(|object| {
            let mut sql = shared.clone();
            sql.and(&kind_matches("s", std::slice::from_ref(&object.kind)));
            sql.and(&matches(
                "o.name",
                std::slice::from_ref(&object.name),
                Case::Matters,
            ));
            if let Some(namespace) = &object.namespace {
                sql.and(&namespace_matches(std::slice::from_ref(namespace)));
            }
            sql
        })
        .collect();
    if alternatives.is_empty() {
        alternatives.push(shared);
    }
    let mut found = Vec::new();
    for alternative in &alternatives {
        // CROSS JOIN: scopes first, they are few; then the name within each by the unique index.
        let mut sql =
            Sql::new("SELECT o.id FROM scope s CROSS JOIN object o ON o.scope = s.id WHERE ");
        sql.append(alternative)
            .push(&format!(" LIMIT {}", OBJECTS_MAX + 1));
        found.extend(ids(connection, &sql)?);
    }
    found.sort_unstable();
    found.dedup();
    // The index may be damaged. If it finds no object, look again without it where that is cheap.
    let check_without_index = found.is_empty() && verify::is_small(connection, "object")?;
    for alternative in alternatives.iter().filter(|_| check_without_index) {
        let mut sql = Sql::new(
            "SELECT o.id FROM object o NOT INDEXED CROSS JOIN scope s ON s.id = o.scope WHERE ",
        );
        sql.append(alternative).push(" LIMIT 1");
        if !ids(connection, &sql)?.is_empty() {
            return Err(ReadError::INCONSISTENT);
        }
    }
    let mut any = Sql::new("0");
    for alternative in &alternatives {
        any.push(" OR (").append(alternative).push(")");
    }
    Ok(if found.len() <= OBJECTS_MAX {
        ObjectSet::Few(found, any)
    } else {
        ObjectSet::Many(any)
    })
}

fn owner_condition(filter: &Filter) -> Sql {
    let mut sql = Sql::new(
        "o.owner IN (SELECT owner.id FROM scope owns CROSS JOIN object owner ON owner.scope = owns.id WHERE 0",
    );
    for owner in &filter.owners {
        sql.push(" OR (1");
        if let Some(kind) = &owner.kind {
            sql.and(&kind_matches("owns", std::slice::from_ref(kind)));
        }
        sql.and(&matches(
            "owner.name",
            std::slice::from_ref(&owner.name),
            Case::Matters,
        ))
        .push(")");
    }
    sql.push(")");
    sql
}

/// Keys have whole seconds, but rows of the original operator have milliseconds: which rows of the second in which `until`
/// lies were created before it. `None` if no row of that second is later, so that `row_counts` can count.
fn last_second(connection: &Connection, until: Timestamp) -> Result<Option<Sql>, ReadError> {
    let second = EventKey::new(until.second(), 0).as_i64();
    let end = EventKey::first_at(until).as_i64();
    if second >= end {
        return Ok(None);
    }
    let mut late = Sql::new(
        "e.imported_at IS NOT NULL AND e.key >= ? AND ifnull(strftime('%Y-%m-%dT%H:%M:%fZ', e.imported_at) >= ?, 0)",
    );
    late.values
        .extend([second.into(), until.to_string().into()]);
    let mut exists = Sql::new("SELECT e.key FROM event e WHERE e.key < ?");
    exists.values.push(end.into());
    exists.and(&late).push(" LIMIT 1");
    if ids(connection, &exists)?.is_empty() {
        return Ok(None);
    }
    let mut in_time = Sql::new("NOT (");
    in_time.append(&late).push(")");
    Ok(Some(in_time))
}

/// Which changes of objects. `None` for all: `row_counts` can count them.
fn change_condition(filter: &ChangeFilter) -> Option<Sql> {
    if *filter == ChangeFilter::default() {
        return None;
    }
    let mut sql = Sql::new("1");
    if !filter.ops.is_empty() {
        sql.push(" AND e.extra ->> 'op' IN (");
        for (i, op) in filter.ops.iter().enumerate() {
            sql.push(if i > 0 { ", " } else { "" })
                .bind((*op).to_owned());
        }
        sql.push(")");
    }
    if !filter.by.is_empty() {
        sql.push(" AND EXISTS (SELECT 1 FROM json_each(e.extra, '$.by') b WHERE ")
            .append(&matches(
                "(b.value ->> 'manager')",
                &filter.by,
                Case::Matters,
            ))
            .push(")");
    }
    if !filter.causes.is_empty() {
        sql.and(&matches(
            "(e.extra ->> '$.cause.kind')",
            &filter.causes,
            Case::Ignored,
        ));
    }
    if filter.paths.is_empty() && filter.to_values.is_empty() && !filter.risky {
        return Some(sql);
    }
    sql.push(" AND (EXISTS (SELECT 1 FROM json_each(e.extra, '$.fields') f WHERE 1");
    if !filter.paths.is_empty() {
        sql.push(" AND is_named_path(f.value ->> 'path')");
    }
    if filter.risky {
        sql.push(
            " AND (SELECT is_risky_path(s.api_group, s.kind, f.value ->> 'path') \
             FROM object o JOIN scope s ON s.id = o.scope WHERE o.id = e.object)",
        );
    }
    if !filter.to_values.is_empty() {
        sql.and(&matches(
            "CAST(f.value ->> 'to' AS TEXT)",
            &filter.to_values,
            Case::Matters,
        ));
    }
    sql.push(")");
    // Risky fields are listed first, so a row that lists none of them has none.
    if !filter.risky {
        sql.push(" OR e.extra ->> 'fields_left_out' > 0");
    }
    sql.push(")");
    Some(sql)
}

/// Rows that opened a finding. One whose severity changed continues in a later row, and is not repeated.
fn finding_condition(states: FindingStates) -> Sql {
    let open = "e.key IN (SELECT f.event FROM finding f)";
    // Few rows have the text: the JSON of the others is not parsed.
    let closed = "instr(e.extra, 'resolved_at') > 0 AND e.extra ->> 'resolved_at' IS NOT NULL";
    Sql::new(match states {
        FindingStates::All => format!("+e.type IN (2, 3, 4) AND ({open} OR {closed})"),
        FindingStates::Open => open.to_owned(),
        FindingStates::Closed => format!("+e.type IN (2, 3, 4) AND {closed}"),
    })
}

/// Defines the functions of [`change_condition`] that compare paths.
fn add_functions(connection: &Connection, filter: &ChangeFilter) -> Result<(), ReadError> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let path = |text: Option<String>| text.and_then(|text| Path::parse(&text).ok());
    let patterns = filter.paths.clone();
    connection.create_scalar_function("is_named_path", 1, flags, move |context| {
        let path = path(context.get(0)?);
        Ok(path.is_some_and(|path| patterns.iter().any(|pattern| pattern.matches(&path))))
    })?;
    connection.create_scalar_function("is_risky_path", 3, flags, move |context| {
        let (group, kind): (String, String) = (context.get(0)?, context.get(1)?);
        let path = path(context.get(2)?);
        Ok(path.is_some_and(|path| rules_of(&group, &kind).is_risky(&path)))
    })?;
    Ok(())
}

fn conditions(filter: &Filter) -> Vec<Sql> {
    let mut conditions = Vec::new();
    if !filter.reasons.is_empty() || !filter.containers.is_empty() {
        let mut sql = Sql::new("e.class IN (SELECT r.id FROM event_class r WHERE 1");
        if !filter.reasons.is_empty() {
            sql.and(&matches("r.reason", &filter.reasons, Case::Ignored))
                .push(" AND r.reason <> ''");
        }
        if !filter.containers.is_empty() {
            sql.and(&matches("r.container", &filter.containers, Case::Matters))
                .push(" AND r.container <> ''");
        }
        sql.push(")");
        conditions.push(sql);
    }
    if !filter.nodes.is_empty() {
        let mut sql = Sql::new("e.node IN (SELECT n.id FROM node n WHERE ");
        sql.append(&matches("n.name", &filter.nodes, Case::Matters))
            .push(")");
        conditions.push(sql);
    }
    conditions
}
