//! Changes of objects, and what the change history must have of each: every state once, with its author, or a row that says
//! what was missed.
//!
//! ```text
//!   writes ─▶ the states of each object, numbered ──┐
//!   revision, events of the database ───────────────┴─▶ lost · doubled · wrong
//! ```
//!
//! Each state has a number of its own as a label, so that a row or a body names the state that it is about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use kube9_db::read::revision::REBUILD;
use serde_json::{Value, json};

use super::comparison::write_faults;
use crate::apiserver::{ApiServer, Kind};
use crate::clock::Micros;
use crate::generator::Rng;
use crate::recorder::Setup;

/// One that the rules read too, and one that only the change history reads.
const KINDS: [Kind; 3] = [Kind::ConfigMap, Kind::Deployment, Kind::Namespace];

/// Objects of each kind. A field that changes more often than six times in ten minutes would be folded.
const OBJECTS: usize = 600;

/// Namespaces of the objects, because a kind in a namespace has a budget of rows.
const NAMESPACES: usize = 20;

const MANAGERS: [&str; 3] = ["kubectl-edit", "helm", "argocd-controller"];

/// A state of an object.
#[derive(Debug, Clone)]
pub(super) struct ObjectState {
    version: i64,
    /// Its number; `None`: the object was deleted.
    number: Option<u64>,
    manager: &'static str,
}

/// Kind, namespace and name.
type ObjectKey = (&'static str, String, String);

/// The states of each object, in order.
pub(super) type ObjectStates = BTreeMap<ObjectKey, Vec<ObjectState>>;

/// Writes objects in the background.
pub(super) struct ChangeLoad(JoinHandle<ObjectStates>);

struct Writer {
    server: Arc<ApiServer>,
    random: Rng,
    states: ObjectStates,
    number: u64,
}

impl ChangeLoad {
    /// Creates the objects, then changes them `rate` times a second until `stop`.
    pub(super) fn start(
        server: Arc<ApiServer>,
        random: Rng,
        rate: u64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let mut writer = Writer {
            server,
            random,
            states: ObjectStates::new(),
            number: 0,
        };
        for kind in KINDS {
            for n in 0..OBJECTS {
                writer.create(kind, n);
            }
        }
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut done = 0;
            while !stop.load(Ordering::Acquire) {
                let due = begun.elapsed().as_millis() as u64 * rate / 1000;
                while done < due {
                    done += 1;
                    writer.write();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            writer.states
        });
        Self(thread)
    }

    /// Waits for the last write; returns all states.
    pub(super) fn finish(self) -> anyhow::Result<ObjectStates> {
        self.0
            .join()
            .map_err(|_| anyhow!("the load of changes panicked"))
    }
}

impl Writer {
    fn key(kind: Kind, n: usize) -> ObjectKey {
        let namespace = if kind.namespaced() {
            format!("ns-{}", n % NAMESPACES)
        } else {
            String::new()
        };
        (kind.name(), namespace, format!("changed-{n}"))
    }

    fn create(&mut self, kind: Kind, n: usize) {
        self.number += 1;
        let (number, manager) = (self.number, *self.random.pick(&MANAGERS));
        let key = Self::key(kind, n);
        let mut object = json!({"metadata": {"name": key.2, "namespace": key.1}});
        set(&mut object, number, manager);
        if let Ok(object) = self.server.store().create(kind, object) {
            self.states.entry(key).or_default().push(ObjectState {
                version: object.version.cast_signed(),
                number: Some(number),
                manager,
            });
        }
    }

    fn write(&mut self) {
        // The cluster-scoped kind has one budget for all of its objects.
        let kind = match self.random.below(20) {
            0 => Kind::Namespace,
            1..=10 => Kind::ConfigMap,
            _ => Kind::Deployment,
        };
        let n = self.random.index(OBJECTS);
        let key = Self::key(kind, n);
        let last = self.states.get(&key).and_then(|states| states.last());
        if last.is_none_or(|last| last.number.is_none()) {
            return self.create(kind, n);
        }
        let store = self.server.store();
        let (number, manager) = (self.number + 1, *self.random.pick(&MANAGERS));
        let state = if kind != Kind::Namespace && self.random.percent(2) {
            let deleted = store.delete(kind, &key.1, &key.2);
            deleted.map(|object| (object.version, None))
        } else {
            self.number = number;
            let changed = store.modify(kind, &key.1, &key.2, |object| set(object, number, manager));
            changed.map(|object| (object.version, Some(number)))
        };
        if let Ok((version, number)) = state {
            self.states.entry(key).or_default().push(ObjectState {
                version: version.cast_signed(),
                number,
                manager,
            });
        }
    }
}

/// Gives an object the state of that number, written by a manager now.
fn set(object: &mut Value, number: u64, manager: &str) {
    let text = number.to_string();
    object["metadata"]["labels"] = json!({"n": text});
    // Hidden, except of Namespaces.
    object["data"] = json!({"value": text});
    let fields =
        json!({"f:metadata": {"f:labels": {".": {}, "f:n": {}}}, "f:data": {"f:value": {}}});
    object["metadata"]["managedFields"] = json!([{
        "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": Micros::now().seconds_text().to_string(), "fieldsV1": fields,
    }]);
}

/// What the comparison of the change history found.
#[derive(Debug, Default)]
pub struct ChangeComparison {
    /// Objects, and their states.
    pub objects: usize,
    /// See `objects`.
    pub states: usize,
    pub revisions: usize,
    /// Rows of changes.
    pub rows: usize,
    /// Rows that name an author.
    pub attributed: usize,
    /// States that a row passes over which says that it was observed late.
    pub passed_over: usize,
    /// States that no row and no revision has, and final states that are not there.
    pub lost: Vec<String>,
    /// States with two rows or two revisions.
    pub doubled: Vec<String>,
    /// Rows and bodies of states that never were, or of another author.
    pub wrong: Vec<String>,
}

impl ChangeComparison {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.wrong.is_empty()
    }
}

impl fmt::Display for ChangeComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "changes           {} states of {} objects: {} rows ({} with an author), {} revisions",
            self.states, self.objects, self.rows, self.attributed, self.revisions
        )?;
        writeln!(
            f,
            "observed late     {} states within rows that say so",
            self.passed_over
        )?;
        for (name, faults) in [
            ("changes lost", &self.lost),
            ("changes doubled", &self.doubled),
            ("changes wrong", &self.wrong),
        ] {
            writeln!(f, "{name:<18}{}", faults.len())?;
            write_faults(f, faults)?;
        }
        Ok(())
    }
}

/// A revision, or a row.
#[derive(Debug, Default)]
struct StoredObject {
    /// Versions, with the number of the state; `None`: deleted.
    revisions: Vec<(i64, Option<u64>)>,
    rows: Vec<StoredRow>,
}

#[derive(Debug)]
struct StoredRow {
    version: i64,
    from: Option<u64>,
    to: Option<u64>,
    /// More than one if it is folded.
    changes: u64,
    is_late: bool,
    managers: Vec<String>,
}

/// Compares the change history with the states that were.
pub(super) fn compare(states: &ObjectStates, setup: &Setup) -> anyhow::Result<ChangeComparison> {
    let stored = read(setup)?;
    let mut found = ChangeComparison {
        objects: states.len(),
        states: states.values().map(Vec::len).sum(),
        revisions: stored.values().map(|one| one.revisions.len()).sum(),
        rows: stored.values().map(|one| one.rows.len()).sum(),
        ..ChangeComparison::default()
    };
    let none = StoredObject::default();
    for ((kind, namespace, name), history) in states {
        let key = (kind.to_string(), namespace.clone(), name.clone());
        let object = stored.get(&key).unwrap_or(&none);
        let place = format!("{kind} {namespace}/{name}");
        compare_revisions(&place, history, object, &mut found);
        compare_rows(&place, history, object, &mut found);
    }
    Ok(found)
}

fn compare_revisions(
    place: &str,
    history: &[ObjectState],
    object: &StoredObject,
    found: &mut ChangeComparison,
) {
    let mut before = None;
    for (version, number) in &object.revisions {
        // The version of a deletion that no watch showed is that of a list.
        let index = match number {
            Some(_) => history.iter().position(|state| state.number == *number),
            None => history
                .iter()
                .rposition(|state| state.number.is_none() && state.version <= *version),
        };
        let line = || format!("{place}: revision {number:?} at {version}");
        match index {
            None => found.wrong.push(line()),
            Some(index) if number.is_some() && history[index].version != *version => {
                found.wrong.push(line());
            }
            Some(index) if before == Some(index) => found.doubled.push(line()),
            Some(index) if before.is_some_and(|before| index < before) => found.wrong.push(line()),
            Some(index) => before = Some(index),
        }
    }
    // What came and went while nothing was watched is never known.
    let is_unseen =
        object.revisions.is_empty() && history.last().is_some_and(|last| last.number.is_none());
    if before != history.len().checked_sub(1) && !is_unseen {
        let (at, last) = (before, history.last());
        found.lost.push(format!(
            "{place}: {last:?} is not the newest revision, but {at:?}"
        ));
    }
}

fn compare_rows(
    place: &str,
    history: &[ObjectState],
    object: &StoredObject,
    found: &mut ChangeComparison,
) {
    let index = |number: Option<u64>| {
        number.and_then(|_| history.iter().position(|state| state.number == number))
    };
    // The first list may show a later state than the first one.
    let mut before = index(object.revisions.first().and_then(|(_, number)| *number)).unwrap_or(0);
    for row in &object.rows {
        let line = || format!("{place}: {row:?}");
        let (Some(from), Some(to)) = (index(row.from), index(row.to)) else {
            found.wrong.push(line());
            continue;
        };
        if history[to].version != row.version || from >= to {
            found.wrong.push(line());
        }
        if to <= before {
            found.doubled.push(line());
            continue;
        }
        // What is between was deleted and created again, perhaps in a later state.
        let is_first_seen = object
            .revisions
            .windows(2)
            .any(|pair| pair[0].1.is_none() && pair[1].1 == row.from);
        if from != before && !is_first_seen {
            found
                .lost
                .push(format!("{}; the row before ends at {before}", line()));
        }
        let passed = (to - from) as u64;
        if row.changes > passed {
            found.doubled.push(line());
        } else if row.changes < passed && row.is_late {
            found.passed_over += (passed - row.changes) as usize;
        } else if row.changes < passed {
            found.lost.push(line());
        }
        if !row.managers.is_empty() {
            found.attributed += 1;
        }
        let wrote = |manager: &String| {
            history[from + 1..=to]
                .iter()
                .any(|state| state.manager == manager)
        };
        if !row.managers.iter().all(wrote) {
            found.wrong.push(format!("{}: by another", line()));
        }
        before = to;
    }
}

type Stored = BTreeMap<(String, String, String), StoredObject>;

fn read(setup: &Setup) -> anyhow::Result<Stored> {
    let conn = setup.open()?;
    let mut stored = Stored::new();
    let mut revisions = conn.prepare(
        "SELECT k.kind, o.namespace, o.name, r.id, r.resource_version, r.body IS NULL FROM revision r \
         JOIN tracked_object o ON o.id = r.id >> 24 JOIN tracked_kind k ON k.id = o.kind \
         WHERE o.name LIKE 'changed-%' ORDER BY r.id",
    )?;
    let mut rebuild = conn.prepare(REBUILD)?;
    let mut rows = revisions.query([])?;
    while let Some(row) = rows.next()? {
        let number = if row.get(5)? {
            None
        } else {
            let body: String = rebuild.query_row([row.get::<_, i64>(3)?], |row| row.get(0))?;
            let body: Value = serde_json::from_str(&body)?;
            // One that does not have it is found as wrong.
            Some(number(&body["metadata"]["labels"]["n"]).unwrap_or(0))
        };
        let object = stored.entry((row.get(0)?, row.get(1)?, row.get(2)?));
        object.or_default().revisions.push((row.get(4)?, number));
    }
    let mut changes = conn.prepare(
        "SELECT object_kind, ifnull(object_namespace, ''), object_name, metadata FROM events \
         WHERE metadata ->> 'op' = 'changed' AND object_name LIKE 'changed-%' \
         ORDER BY CAST(metadata ->> 'resource_version' AS INTEGER)",
    )?;
    let mut rows = changes.query([])?;
    while let Some(row) = rows.next()? {
        let metadata: Value = serde_json::from_str(&row.get::<_, String>(3)?)?;
        let field = metadata["fields"].as_array().and_then(|fields| {
            let is_number = |field: &&Value| field["path"] == "metadata.labels.n";
            fields.iter().find(is_number).cloned()
        });
        let field = field.unwrap_or_default();
        let by = metadata["by"].as_array().cloned().unwrap_or_default();
        let manager = |by: &Value| by["manager"].as_str().map(str::to_owned);
        let version = metadata["resource_version"].as_str().unwrap_or_default();
        let object = stored.entry((row.get(0)?, row.get(1)?, row.get(2)?));
        object.or_default().rows.push(StoredRow {
            version: version.parse().unwrap_or_default(),
            from: number(&field["from"]),
            to: number(&field["to"]),
            changes: metadata["changes"].as_u64().unwrap_or(1),
            is_late: metadata["observed_late"] == true,
            managers: by.iter().filter_map(manager).collect(),
        });
    }
    Ok(stored)
}

fn number(text: &Value) -> Option<u64> {
    text.as_str()?.parse().ok()
}

/// Whether the newest revision of each object is its last state.
pub(super) fn holds_the_last(states: &ObjectStates, setup: &Setup) -> bool {
    let newest = "SELECT k.kind || ' ' || o.namespace || ' ' || o.name || ' ' || ifnull(r.resource_version, '') || ' ' || \
                  (o.deleted_ms IS NOT NULL) FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind \
                  JOIN revision r ON r.id = o.id << 24 | o.revision";
    let Ok(newest) = setup.column(newest) else {
        return false;
    };
    let newest: std::collections::HashSet<String> = newest.into_iter().collect();
    states.iter().all(|((kind, namespace, name), history)| {
        history.last().is_none_or(|last| match last.number {
            Some(_) => newest.contains(&format!("{kind} {namespace} {name} {} 0", last.version)),
            None => {
                let start = format!("{kind} {namespace} {name} ");
                !newest
                    .iter()
                    .any(|one| one.starts_with(&start) && one.ends_with(" 0"))
            }
        })
    })
}
