//! Maps a filter's names to the integers that rows hold, once, in the small interned tables.

use rusqlite::{Connection, params_from_iter};

use super::ReadError;
use super::filter::{Filter, Pattern};
use super::sql::{Case, Sql, json, list, matches, one_of};
use super::verify;
use crate::schema::FOLD_WINDOW_MS;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;

/// Objects up to which their ids are listed and visited. Past it a scan is as fast, and the list would take memory.
pub(super) const OBJECTS_MAX: usize = 20_000;
/// Objects up to which a statement in key order makes a set of them first: so that a row whose object is missing is found
/// and told. For more it looks each row's object up.
const SET_MAX: usize = 4_000;

/// Which objects a filter allows.
#[derive(Debug)]
pub(super) enum Objects {
    /// All, and rows without one.
    Any,
    /// These ids; the condition on `object o` joined with `scope s` that they come from.
    Few(Vec<i64>, Sql),
    /// More than [`OBJECTS_MAX`]: the condition alone.
    Many(Sql),
}

/// A filter in the database's integers.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Codes of event types; `None` allows all.
    pub(super) types: Option<Vec<i64>>,
    /// Codes of severities; `None` allows all.
    pub(super) severities: Option<Vec<i64>>,
    /// Ids of scopes, ascending; `None` allows all, and rows without an object.
    pub(super) scopes: Option<Vec<i64>>,
    /// Objects, where names or owners are asked for.
    pub(super) objects: Objects,
    /// Conditions on the row's reason and node.
    details: Vec<Sql>,
    /// Text that the row must have.
    pub(super) search: Option<String>,
    /// Keys of the rows that can match by time alone.
    pub(super) span: Span,
    /// Whether no row can match.
    pub(super) nothing: bool,
}

/// The filter's time, in keys. Rows created in `main` match; older ones match if they last until `since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Rows created in [since, until).
    pub(super) main: Keys,
    /// Rows created at most one folding window before since; empty without a since.
    pub(super) window: Keys,
    /// Rows created before that: only those of the partial index on long rows can reach into the range.
    pub(super) older: Keys,
    /// Milliseconds since the epoch.
    pub(super) since_ms: i64,
}

/// Keys from `from` (inclusive) to `to` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Keys {
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

impl Span {
    fn of(filter: &Filter) -> Self {
        let end = filter
            .until
            .map_or(i64::MAX, |t| EventKey::first_at(t).as_i64());
        let Some(since) = filter.since else {
            let none = Keys { from: 0, to: 0 };
            return Self {
                main: Keys {
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
            main: Keys {
                from: start,
                to: end,
            },
            window: Keys {
                from: window_start,
                to: start.min(end),
            },
            older: Keys {
                from: i64::MIN,
                to: window_start.min(end),
            },
            since_ms: since.millis(),
        }
    }
}

impl Numbers {
    /// Looks the filter's names up.
    pub(super) fn of(connection: &Connection, filter: &Filter) -> Result<Self, ReadError> {
        let scopes = scopes(connection, filter)?;
        let objects = objects(connection, filter, scopes.as_deref())?;
        let nothing = scopes.as_ref().is_some_and(Vec::is_empty)
            || matches!(&objects, Objects::Few(ids, _) if ids.is_empty());
        let codes = |all: usize, mut codes: Vec<i64>| {
            codes.sort_unstable();
            codes.dedup();
            (!codes.is_empty() && codes.len() < all).then_some(codes)
        };
        let mut details = details(filter);
        if let Some(until) = filter.until {
            details.extend(last_second(connection, until)?);
        }
        Ok(Self {
            types: codes(6, filter.types.iter().map(|t| t.code()).collect()),
            severities: codes(4, filter.severities.iter().map(|s| s.code()).collect()),
            scopes,
            objects,
            details,
            search: filter.search.clone(),
            span: Span::of(filter),
            nothing,
        })
    }

    /// Asks for more than the filter does: a condition on `event e`.
    pub(super) fn require(&mut self, condition: Sql) {
        self.details.push(condition);
    }

    /// Whether `tally` alone can count: the filter names nothing but type, severity, scope and time.
    pub(super) fn is_tallied(&self) -> bool {
        matches!(self.objects, Objects::Any) && self.details.is_empty() && self.search.is_none()
    }

    /// The condition on a row of `event e`, ` AND …`; cheap terms first. Leaves out what `known` says is given already.
    pub(super) fn condition(&self, known: Known) -> Sql {
        let mut sql = Sql::default();
        // The unary plus keeps the planner from taking an index that the plan did not choose.
        if let Some(types) = &self.types {
            sql.push(" AND ").push(&one_of("+e.type", types));
        }
        if let Some(severities) = &self.severities {
            sql.push(" AND ").push(&one_of("+e.severity", severities));
        }
        for detail in &self.details {
            sql.and(detail);
        }
        match (&self.objects, &self.scopes) {
            _ if known == Known::Object => {}
            (Objects::Any, None) => {}
            (Objects::Any, Some(scopes)) => {
                sql.push(" AND ").push(&one_of(
                    "(SELECT o.scope FROM object o WHERE o.id = e.object)",
                    scopes,
                ));
            }
            (Objects::Few(ids, _), _) if ids.len() <= SET_MAX => {
                sql.push(" AND +e.object IN (SELECT value FROM json_each(")
                    .bind(json(ids.iter().copied()))
                    .push("))");
            }
            (Objects::Few(_, condition) | Objects::Many(condition), _) => {
                sql.push(" AND EXISTS (SELECT 1 FROM object o CROSS JOIN scope s ON s.id = o.scope WHERE o.id = e.object")
                    .and(condition)
                    .push(")");
            }
        }
        sql
    }
}

/// What the way to a row proves already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// Its object is one that the filter allows.
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

fn scopes(connection: &Connection, filter: &Filter) -> Result<Option<Vec<i64>>, ReadError> {
    if filter.kinds.is_empty() && filter.namespaces.is_empty() {
        return Ok(None);
    }
    let mut sql = Sql::new("SELECT s.id FROM scope s WHERE 1");
    if !filter.kinds.is_empty() {
        sql.and(&matches("s.kind", &filter.kinds, Case::Ignored));
    }
    if !filter.namespaces.is_empty() {
        sql.and(&namespace_matches(&filter.namespaces));
    }
    verify::scopes(connection)?;
    let mut scopes = ids(connection, &sql)?;
    scopes.sort_unstable();
    Ok(Some(scopes))
}

fn objects(
    connection: &Connection,
    filter: &Filter,
    scopes: Option<&[i64]>,
) -> Result<Objects, ReadError> {
    if filter.names.is_empty() && filter.owners.is_empty() && filter.about.is_empty() {
        return Ok(Objects::Any);
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
        shared.and(&owned(filter));
    }
    // One statement for each whole object, so that each can seek by (scope, name); an OR of them would scan.
    let mut alternatives: Vec<Sql> = filter
        .about
        .iter()
        .map(|about| {
            let mut sql = shared.clone();
            sql.and(&matches(
                "s.kind",
                std::slice::from_ref(&about.kind),
                Case::Ignored,
            ));
            sql.and(&matches(
                "o.name",
                std::slice::from_ref(&about.name),
                Case::Matters,
            ));
            if let Some(namespace) = &about.namespace {
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
    // A name that is not there is looked for once more without the index, which may be damaged, where that is cheap.
    let unsure = found.is_empty() && verify::is_small(connection, "object")?;
    for alternative in alternatives.iter().filter(|_| unsure) {
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
        Objects::Few(found, any)
    } else {
        Objects::Many(any)
    })
}

fn owned(filter: &Filter) -> Sql {
    let mut sql = Sql::new(
        "o.owner IN (SELECT owner.id FROM scope owns CROSS JOIN object owner ON owner.scope = owns.id WHERE 0",
    );
    for owner in &filter.owners {
        sql.push(" OR (1");
        if let Some(kind) = &owner.kind {
            sql.and(&matches(
                "owns.kind",
                std::slice::from_ref(kind),
                Case::Ignored,
            ));
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

/// What keys cannot tell: which rows of the second that `until` cuts were created in time. Rows of the original operator
/// have milliseconds; where none of them is too late, there is no condition, and `tally` can count.
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

fn details(filter: &Filter) -> Vec<Sql> {
    let mut details = Vec::new();
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
        details.push(sql);
    }
    if !filter.nodes.is_empty() {
        let mut sql = Sql::new("e.node IN (SELECT n.id FROM node n WHERE ");
        sql.append(&matches("n.name", &filter.nodes, Case::Matters))
            .push(")");
        details.push(sql);
    }
    details
}
