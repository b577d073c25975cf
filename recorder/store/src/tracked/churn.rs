//! Objects that change again and again: their changes fold into a row each ten minutes, and their revisions thin to one a
//! minute.
//!
//! ```text
//!   change ─▶ each of its fields changed OFTEN times within WINDOW, ─┬─ no ──▶ a row, a revision
//!             or a budget is used up                                 └─ yes ─▶ the open row; the newest revision
//! ```
//!
//! All in memory: after a restart an object has a few more rows.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::RandomState;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value};

/// Changes of a field that have rows of their own.
const OFTEN: usize = 6;

/// The time in which they are counted, and which a folded row covers.
const WINDOW: Duration = Duration::from_secs(600);

/// Revisions of an object an hour; beyond that one a minute.
const OBJECT_BUDGET: u32 = 60;

/// Revisions of a kind in a namespace an hour.
const TENANT_BUDGET: u32 = 600;

/// Time between two revisions of an object beyond its budget.
pub(super) const THIN: Duration = Duration::from_secs(60);

/// Objects that are counted: at most 4 MiB with the bound on paths.
const OBJECTS_MAX: usize = 4096;

/// Namespaces and kinds that are counted.
const TENANTS_MAX: usize = 4096;

/// Fields of an object that are counted one by one; others share a counter.
const PATHS_MAX: usize = 16;

/// Fields that a folded row names.
const FIELDS_MAX: usize = 20;

/// What changed how often.
#[derive(Debug, Default)]
pub(super) struct Churn {
    objects: HashMap<i64, ObjectChurn, RandomState>,
    /// By kind and namespace.
    tenants: HashMap<(i64, Box<str>), Budget, RandomState>,
}

#[derive(Debug, Default)]
struct ObjectChurn {
    /// Times of the last changes of a field, in milliseconds; the oldest first.
    paths: HashMap<u64, [i64; OFTEN], RandomState>,
    budget: Budget,
    last: Timestamp,
    fold: Option<Fold>,
}

/// Revisions in an hour.
#[derive(Debug, Default)]
struct Budget {
    hour: i64,
    used: u32,
}

/// The open row of folded changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub(super) key: EventKey,
    pub(super) since: Timestamp,
    pub(super) changes: u32,
    /// As in the row's metadata, with the value before the first change and that after the last.
    pub(super) fields: Vec<Value>,
}

impl Budget {
    /// Counts a revision; returns whether it is beyond the budget.
    fn is_over(&mut self, at: Timestamp, most: u32) -> bool {
        let hour = at.second().div_euclid(3_600);
        if self.hour != hour {
            *self = Self { hour, used: 0 };
        }
        self.used = self.used.saturating_add(1);
        self.used > most
    }
}

impl Churn {
    /// Counts a change of an object's fields, given by their hashes; returns whether it is folded.
    pub(super) fn note(
        &mut self,
        (kind, namespace, object): (i64, &str, i64),
        paths: impl Iterator<Item = u64>,
        at: Timestamp,
    ) -> bool {
        let tenant = entry(
            &mut self.tenants,
            TENANTS_MAX,
            (kind, namespace.into()),
            |one| one.hour < at.second().div_euclid(3_600),
        );
        let is_tenant_over = tenant.is_some_and(|budget| budget.is_over(at, TENANT_BUDGET));
        let is_old = |one: &ObjectChurn| at.since(one.last) >= WINDOW;
        let Some(object) = entry(&mut self.objects, OBJECTS_MAX, object, is_old) else {
            return is_tenant_over;
        };
        object.last = at;
        let is_object_over = object.budget.is_over(at, OBJECT_BUDGET);
        let is_busy = object.are_busy(paths, at);
        is_tenant_over || is_object_over || is_busy
    }

    /// The open row of an object, unless it covers its time already.
    pub(super) fn fold(&self, object: i64, at: Timestamp) -> Option<Fold> {
        let fold = self.objects.get(&object)?.fold.clone()?;
        (at.since(fold.since) < WINDOW).then_some(fold)
    }

    pub(super) fn set_fold(&mut self, object: i64, fold: Fold) {
        if let Some(one) = self.objects.get_mut(&object) {
            one.fold = Some(fold);
        }
    }

    /// The open rows may not exist any more.
    pub(super) fn rolled_back(&mut self) {
        for object in self.objects.values_mut() {
            object.fold = None;
        }
    }
}

/// The entry of a key; in a full map only if that of another one is old.
fn entry<K: Hash + Eq, V: Default>(
    map: &mut HashMap<K, V, RandomState>,
    most: usize,
    key: K,
    is_old: impl Fn(&V) -> bool,
) -> Option<&mut V> {
    if map.len() >= most && !map.contains_key(&key) {
        map.retain(|_, one| !is_old(one));
        if map.len() >= most {
            return None;
        }
    }
    Some(map.entry(key).or_default())
}

impl ObjectChurn {
    /// Notes changes of fields; returns whether each of them changes often.
    fn are_busy(&mut self, paths: impl Iterator<Item = u64>, at: Timestamp) -> bool {
        let (now, since) = (at.millis(), at.minus(WINDOW).millis());
        let mut all = true;
        for path in paths {
            let path = if self.paths.len() < PATHS_MAX || self.paths.contains_key(&path) {
                path
            } else {
                self.paths.retain(|_, times| times[OFTEN - 1] >= since);
                if self.paths.len() < PATHS_MAX {
                    path
                } else {
                    0
                }
            };
            let times = self.paths.entry(path).or_insert([i64::MIN; OFTEN]);
            all &= times[0] >= since;
            times.rotate_left(1);
            times[OFTEN - 1] = now;
        }
        all
    }
}

impl Fold {
    /// Adds a change with these fields.
    pub(super) fn add(&mut self, fields: Vec<Value>) {
        self.changes = self.changes.saturating_add(1);
        for field in fields {
            let path = field.get("path").cloned();
            let is_same = |one: &Value| one.get("path") == path.as_ref();
            match (self.fields.iter().position(is_same), field) {
                (Some(known), Value::Object(field)) => {
                    if let Value::Object(known) = &mut self.fields[known] {
                        merge(known, field);
                    }
                }
                (None, field) if self.fields.len() < FIELDS_MAX => self.fields.push(field),
                _ => {}
            }
        }
    }
}

/// A field that changed again: from the first value to the last one.
fn merge(known: &mut Map<String, Value>, mut field: Map<String, Value>) {
    let times = known.get("times").and_then(Value::as_u64).unwrap_or(1) + 1;
    known.shift_remove("times");
    match field.shift_remove("to") {
        Some(to) => _ = known.insert("to".to_owned(), to),
        None => _ = known.shift_remove("to"),
    }
    let op = match (known.contains_key("from"), known.contains_key("to")) {
        (false, true) => "added",
        (true, false) => "removed",
        _ => "changed",
    };
    known.insert("op".to_owned(), op.into());
    known.insert("times".to_owned(), times.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(100_000 + second)
    }

    fn folded(churn: &mut Churn, paths: &[u64], second: i64) -> bool {
        churn.note((1, "shop", 7), paths.iter().copied(), at(second))
    }

    #[test]
    fn seventh_change_of_a_field_within_ten_minutes_is_folded() {
        let mut churn = Churn::default();
        for n in 0..6 {
            assert!(!folded(&mut churn, &[1], n * 99), "{n}");
        }
        assert!(folded(&mut churn, &[1], 599));
        // A change of another field is not, nor one with another field.
        assert!(!folded(&mut churn, &[2], 600));
        assert!(!folded(&mut churn, &[1, 2], 601));
        // Nor after a pause.
        assert!(!folded(&mut churn, &[1], 1_300));
    }

    #[test]
    fn fields_with_ever_new_names_are_folded() {
        let mut churn = Churn::default();
        let folded: Vec<bool> = (0..60)
            .map(|n| folded(&mut churn, &[1000 + n], n as i64))
            .collect();
        assert!(!folded[..22].contains(&true), "{folded:?}");
        assert!(!folded[22..].contains(&false), "{folded:?}");
    }

    #[test]
    fn budgets_hold_for_an_object_and_for_a_kind_in_a_namespace() {
        let mut churn = Churn::default();
        // Two minutes apart, so that no field is busy.
        let mut over = 0;
        for object in 0..700 {
            over += u32::from(churn.note((1, "shop", object), [1].into_iter(), at(0)));
        }
        assert_eq!(over, 100);
        assert!(!churn.note((1, "other", 1), [1].into_iter(), at(0)));
        assert!(!churn.note((1, "shop", 1), [1].into_iter(), at(3_600)));
    }

    #[test]
    fn folded_field_goes_from_the_first_value_to_the_last() {
        let mut fold = Fold {
            key: EventKey::new(1, 1),
            since: at(0),
            changes: 1,
            fields: vec![json!({"path": "a", "op": "added", "to": 1})],
        };
        fold.add(vec![
            json!({"path": "a", "op": "changed", "from": 1, "to": 2}),
        ]);
        fold.add(vec![json!({"path": "b", "op": "removed", "from": 5})]);
        assert_eq!(fold.changes, 3);
        assert_eq!(
            fold.fields,
            [
                json!({"path": "a", "op": "added", "to": 2, "times": 2}),
                json!({"path": "b", "op": "removed", "from": 5}),
            ]
        );
    }
}
