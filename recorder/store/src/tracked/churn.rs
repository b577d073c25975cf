//! Objects that change again and again, and many objects that come and go: what happens to them folds into one row each ten
//! minutes, and their revisions thin to one a minute.
//!
//! ```text
//!   change ──────────────▶ its author changed each of its fields OFTEN times within WINDOW, ─┬─ no ──▶ a row, a revision
//!                          or a budget is used up                                            └─ yes ─▶ the open row
//!   created or deleted ──▶ the object was so OFTEN, or MANY of its kind and namespace within a minute ──▶ the same
//! ```
//!
//! - Changes of different authors do not fold together: what a person changes is a row, however often a controller writes.
//! - What an autoscaler sets, it sets for as long as the load changes: that folds from the first change on, for hours.
//! - What controllers set of a new Node in its first minutes belongs to the row of its creation.
//!
//! The counters are in memory: after a restart, a few changes more have rows of their own. A failed commit counts nothing.
//! What was folded is in the rows, with its count, and stays there.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::RandomState;
use kube9_ingest::deletion::DeletionCause;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::metrics::Observed;

/// Changes of a field that have rows of their own.
const OFTEN: usize = 6;

/// The time in which they are counted, and which a folded row covers.
const WINDOW: Duration = Duration::from_secs(600);

/// The time that a folded row of an autoscaler covers: a part of a day.
const SWING: Duration = Duration::from_secs(6 * 3_600);

/// How long after its creation an object is still set up.
const SETTLING: Duration = Duration::from_secs(300);

/// Objects of a kind and namespace that are created, or deleted for one cause, within a minute and have rows of their own.
const MANY: u32 = 20;

/// Revisions of an object an hour, without those whose changes are folded; beyond that one a minute.
const OBJECT_BUDGET: u32 = 60;

/// As many more of authors that changed the object less than OFTEN.
const RESERVE: u32 = 12;

/// Revisions and rows of a kind in a namespace an hour; beyond that its changes share a row.
const TENANT_BUDGET: u32 = 600;

/// Changes of an object an hour; beyond that it is over its budget also if each is of a field that changes often.
const FLOOD: u32 = 600;

/// Time between two revisions of an object whose changes are folded.
pub(super) const THIN: Duration = Duration::from_secs(60);

/// Objects that are counted: at most 4 MiB with the bound on paths.
const OBJECTS_MAX: usize = 4096;

/// Namespaces and kinds that are counted.
const TENANTS_MAX: usize = 4096;

/// Rows that several objects share: at most 3 MiB with the bound on names.
const GROUPS_MAX: usize = 1024;

/// Fields of an object that are counted.
const PATHS_MAX: usize = 16;

/// Authors of an object that are counted, and open rows of its changes.
const WRITERS_MAX: usize = 4;

/// Fields that a folded row names.
const FIELDS_MAX: usize = 20;

/// Objects that a row of several objects names.
const NAMES_MAX: usize = 10;

/// Authors that a folded row names.
const AUTHORS_MAX: usize = 5;

/// What changed how often.
#[derive(Debug, Default)]
pub(super) struct Churn {
    objects: HashMap<i64, ObjectChurn, RandomState>,
    /// By kind and namespace.
    tenants: HashMap<(i64, Box<str>), Budget, RandomState>,
    groups: HashMap<Group, GroupChurn, RandomState>,
    before: CountsBefore,
}

/// What the transaction under way has counted, as it was before: a batch that fails is applied again, perhaps for minutes.
#[derive(Debug, Default)]
struct CountsBefore {
    objects: HashMap<i64, Option<ObjectChurn>, RandomState>,
    tenants: HashMap<(i64, Box<str>), Option<Budget>, RandomState>,
    groups: HashMap<Group, Option<GroupChurn>, RandomState>,
}

/// What happened to an object, of the kinds of rows that are folded apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Happened {
    Changed,
    Created,
    Deleted(DeletionCause),
}

/// That an object was created or deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) happened: Happened,
    /// It was created or changed before, as far as that is counted: most objects live once.
    pub(super) is_again: bool,
    /// It would have a row.
    pub(super) is_row: bool,
}

/// A change of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'c> {
    /// A hash of each changed field with its author.
    pub(super) paths: &'c [u64],
    /// A hash of all authors; `None` if one is unknown.
    pub(super) author: Option<u64>,
    pub(super) habit: Habit,
}

/// Why the author changes an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Anything.
    Any,
    /// An autoscaler follows the load.
    Swings,
    /// What is usual while a new object is set up.
    SetsUp,
}

/// Objects that share a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) kind: i64,
    pub(super) namespace: Box<str>,
    pub(super) happened: Happened,
}

/// Which row a change is added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoldTarget {
    /// A row of the changes of an object by the same authors.
    Changes(i64, FoldKey),
    /// The row of the creation of an object.
    Creation(i64),
    /// A row of the creations and deletions of an object.
    Life(i64),
    /// A row of several objects.
    Group(Group),
}

/// Which changes of an object share a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FoldKey {
    /// Those of an author, by a hash of its name.
    Author(Option<u64>),
    /// Those of an autoscaler, which share a row for hours.
    Swings(Option<u64>),
    /// Those beyond the budget.
    Budget,
}

/// That a change has no row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folding {
    pub(super) target: FoldTarget,
    /// Why, for the metric.
    pub(super) outcome: Observed,
    /// Its revision replaces that of the minute.
    pub(super) is_thinned: bool,
    /// A budget is the reason, and not how controllers work.
    pub(super) is_over: bool,
}

#[derive(Debug, Clone, Default)]
struct ObjectChurn {
    paths: HashMap<u64, Times, RandomState>,
    /// At most [`WRITERS_MAX`], those that wrote last.
    authors: Vec<(u64, Times)>,
    created: Times,
    deleted: Times,
    budget: Budget,
    reserve: Budget,
    /// All changes.
    flood: Budget,
    last: Timestamp,
    /// At most [`WRITERS_MAX`].
    changes: Vec<(FoldKey, Fold)>,
    life: Option<Fold>,
    creation: Option<Fold>,
}

/// When something happened last, in milliseconds; the oldest first.
#[derive(Debug, Clone, Copy)]
struct Times([i64; OFTEN]);

#[derive(Debug, Clone, Default)]
struct GroupChurn {
    /// Number of the minute.
    minute: i64,
    rows: u32,
    fold: Option<Fold>,
}

/// Revisions in an hour.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    hour: i64,
    used: u32,
}

/// The open row of folded changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fold {
    pub(super) key: EventKey,
    pub(super) since: Timestamp,
    /// What happens later has another row.
    pub(super) until: Timestamp,
    pub(super) changes: u32,
    /// What the row of a creation says of the object.
    pub(super) text: String,
    /// As in the row's metadata: fields with the value before the first change and that after the last, or names of objects.
    pub(super) parts: Vec<Value>,
    /// The authors, each once.
    pub(super) by: Vec<Value>,
}

impl Default for Times {
    fn default() -> Self {
        Self([i64::MIN; OFTEN])
    }
}

impl Times {
    /// Adds one; returns whether it is more than OFTEN within WINDOW.
    fn add(&mut self, at: Timestamp) -> bool {
        let is_busy = self.0[0] >= at.minus(WINDOW).millis();
        self.0.rotate_left(1);
        self.0[OFTEN - 1] = at.millis();
        is_busy
    }
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
    /// Counts a change of an object; returns where it is folded.
    pub(super) fn note_change(
        &mut self,
        (kind, namespace, object): (i64, &str, i64),
        change: &Change<'_>,
        at: Timestamp,
    ) -> Option<Folding> {
        let creation = FoldTarget::Creation(object);
        let habit = match change.habit {
            Habit::SetsUp if self.fold(&creation, at).is_none() => Habit::Any,
            habit => habit,
        };
        let change = &Change { habit, ..*change };
        let own = self.of_object(object, at, |object| object.note(change, at));
        let target = match (habit, own) {
            (Habit::SetsUp, _) => creation,
            (Habit::Swings, _) => FoldTarget::Changes(object, FoldKey::Swings(change.author)),
            (Habit::Any, Some(Observed::ObjectBudget)) => {
                FoldTarget::Changes(object, FoldKey::Budget)
            }
            (Habit::Any, _) => FoldTarget::Changes(object, FoldKey::Author(change.author)),
        };
        let is_folded = own.is_some() || habit != Habit::Any;
        // What joins a row uses nothing of the budget of others.
        let is_open = is_folded && self.fold(&target, at).is_some();
        if !is_open && self.is_tenant_over(kind, namespace, at) {
            return Some(Folding {
                target: FoldTarget::Group(Group {
                    kind,
                    namespace: namespace.into(),
                    happened: Happened::Changed,
                }),
                outcome: Observed::NamespaceBudget,
                is_thinned: true,
                is_over: true,
            });
        }
        is_folded.then(|| Folding {
            target,
            outcome: own.unwrap_or(Observed::Folded),
            is_thinned: own.is_some(),
            is_over: own == Some(Observed::ObjectBudget) || self.is_flood(object),
        })
    }

    /// Counts that an object was created or deleted; returns where that is folded.
    pub(super) fn note_life(
        &mut self,
        (kind, namespace, object): (i64, &str, i64),
        Life {
            happened,
            is_again,
            is_row,
        }: Life,
        at: Timestamp,
    ) -> Option<Folding> {
        let target = FoldTarget::Life(object);
        let count = |object: &mut ObjectChurn| {
            let is_busy = match happened {
                Happened::Created => object.created.add(at),
                _ => object.deleted.add(at),
            };
            let is_over = object.budget.is_over(at, OBJECT_BUDGET);
            match (is_busy, is_over) {
                (true, _) => Some(Observed::Folded),
                (false, true) => Some(Observed::ObjectBudget),
                (false, false) => None,
            }
        };
        let own = is_again
            .then(|| self.of_object(object, at, count))
            .flatten();
        let is_open = own.is_some() && self.fold(&target, at).is_some();
        if !is_open {
            let is_tenant_over = self.is_tenant_over(kind, namespace, at);
            let group = Group {
                kind,
                namespace: namespace.into(),
                happened,
            };
            let is_burst = is_row && own.is_none() && self.is_burst(&group, at);
            let outcome = match (is_tenant_over, is_burst) {
                (true, _) => Some(Observed::NamespaceBudget),
                (false, true) => Some(Observed::Burst),
                (false, false) => None,
            };
            if let Some(outcome) = outcome {
                // The deletion of a namespace or an owner is one request.
                let is_cascade =
                    matches!(happened, Happened::Deleted(cause) if cause != DeletionCause::Request);
                return Some(Folding {
                    target: FoldTarget::Group(group),
                    outcome,
                    // Objects of a burst are others each time.
                    is_thinned: outcome != Observed::Burst,
                    is_over: is_row && is_tenant_over && !is_cascade,
                });
            }
        }
        own.map(|outcome| Folding {
            target,
            outcome,
            is_thinned: true,
            is_over: is_row && (outcome == Observed::ObjectBudget || self.is_flood(object)),
        })
    }

    /// Whether an object changes so often that a budget is the reason, whatever changes.
    fn is_flood(&self, object: i64) -> bool {
        let object = self.objects.get(&object);
        object.is_some_and(|object| object.flood.used > FLOOD)
    }

    /// What controllers set of an object in its first minutes joins the row of its creation.
    pub(super) fn note_creation(&mut self, object: i64, row: Fold, at: Timestamp) {
        let is_counted = self.of_object(object, at, |_| Some(())).is_some();
        if is_counted {
            self.set_fold(FoldTarget::Creation(object), row);
        }
    }

    /// Counts something of an object, if there is room for it.
    fn of_object<T>(
        &mut self,
        object: i64,
        at: Timestamp,
        count: impl FnOnce(&mut ObjectChurn) -> Option<T>,
    ) -> Option<T> {
        let before = self.before.objects.entry(object);
        before.or_insert_with(|| self.objects.get(&object).cloned());
        let is_old = |one: &ObjectChurn| at.since(one.last) >= WINDOW;
        let object = entry(&mut self.objects, OBJECTS_MAX, object, is_old)?;
        object.last = at;
        _ = object.flood.is_over(at, FLOOD);
        count(object)
    }

    /// Whether what happens to an object is counted.
    pub(super) fn is_counted(&self, object: i64) -> bool {
        self.objects.contains_key(&object)
    }

    fn is_tenant_over(&mut self, kind: i64, namespace: &str, at: Timestamp) -> bool {
        let hour = at.second().div_euclid(3_600);
        let is_old = |one: &Budget| one.hour < hour;
        let key: (i64, Box<str>) = (kind, namespace.into());
        let before = self.before.tenants.entry(key.clone());
        before.or_insert_with(|| self.tenants.get(&key).copied());
        let tenant = entry(&mut self.tenants, TENANTS_MAX, key, is_old);
        tenant.is_some_and(|budget| budget.is_over(at, TENANT_BUDGET))
    }

    fn is_burst(&mut self, group: &Group, at: Timestamp) -> bool {
        let Some(group) = self.group(group, at) else {
            return false;
        };
        let minute = at.second().div_euclid(60);
        if group.minute != minute {
            (group.minute, group.rows) = (minute, 0);
        }
        group.rows = group.rows.saturating_add(1);
        group.rows > MANY
    }

    fn group(&mut self, group: &Group, at: Timestamp) -> Option<&mut GroupChurn> {
        let before = self.before.groups.entry(group.clone());
        before.or_insert_with(|| self.groups.get(group).cloned());
        let minute = at.minus(WINDOW).second().div_euclid(60);
        let is_old = |one: &GroupChurn| {
            one.minute < minute && one.fold.as_ref().is_none_or(|fold| at >= fold.until)
        };
        entry(&mut self.groups, GROUPS_MAX, group.clone(), is_old)
    }

    /// The open row of a target, unless it covers its time already.
    pub(super) fn fold(&self, target: &FoldTarget, at: Timestamp) -> Option<&Fold> {
        self.fold_of(target).filter(|fold| at < fold.until)
    }

    fn fold_of(&self, target: &FoldTarget) -> Option<&Fold> {
        match target {
            FoldTarget::Changes(object, key) => {
                let folds = &self.objects.get(object)?.changes;
                folds
                    .iter()
                    .find(|(one, _)| one == key)
                    .map(|(_, fold)| fold)
            }
            FoldTarget::Creation(object) => self.objects.get(object)?.creation.as_ref(),
            FoldTarget::Life(object) => self.objects.get(object)?.life.as_ref(),
            FoldTarget::Group(group) => self.groups.get(group)?.fold.as_ref(),
        }
    }

    /// Whether a row is an open one of what happens to an object again and again, or that of the target.
    pub(super) fn is_open(&self, object: i64, target: &FoldTarget, row: EventKey) -> bool {
        let of_target = self.fold_of(target);
        let object = self.objects.get(&object);
        let of_object = object.into_iter().flat_map(|object| {
            let changes = object.changes.iter().map(|(_, fold)| fold);
            changes.chain(&object.life)
        });
        of_target
            .into_iter()
            .chain(of_object)
            .any(|fold| fold.key == row)
    }

    pub(super) fn set_fold(&mut self, target: FoldTarget, fold: Fold) {
        let at = fold.since;
        match &target {
            FoldTarget::Group(group) => _ = self.group(group, at),
            FoldTarget::Changes(object, _)
            | FoldTarget::Creation(object)
            | FoldTarget::Life(object) => {
                let before = self.before.objects.entry(*object);
                before.or_insert_with(|| self.objects.get(object).cloned());
            }
        }
        let slot = match &target {
            FoldTarget::Changes(object, key) => {
                if let Some(object) = self.objects.get_mut(object) {
                    object.set_changes(*key, fold);
                }
                return;
            }
            FoldTarget::Creation(object) => {
                self.objects.get_mut(object).map(|one| &mut one.creation)
            }
            FoldTarget::Life(object) => self.objects.get_mut(object).map(|one| &mut one.life),
            FoldTarget::Group(group) => self.groups.get_mut(group).map(|one| &mut one.fold),
        };
        if let Some(slot) = slot {
            *slot = Some(fold);
        }
    }

    pub(super) fn committed(&mut self) {
        self.before = CountsBefore::default();
    }

    /// Nothing of the transaction has happened: neither its counts nor its rows.
    pub(super) fn rolled_back(&mut self) {
        let before = std::mem::take(&mut self.before);
        put_back(&mut self.objects, before.objects);
        put_back(&mut self.tenants, before.tenants);
        put_back(&mut self.groups, before.groups);
    }
}

pub(super) fn put_back<K: Hash + Eq, V>(
    map: &mut HashMap<K, V, RandomState>,
    before: HashMap<K, Option<V>, RandomState>,
) {
    for (key, value) in before {
        match value {
            Some(value) => _ = map.insert(key, value),
            None => _ = map.remove(&key),
        }
    }
}

/// The entry of a key; in a full map only if that of another one is old.
pub(super) fn entry<K: Hash + Eq, V: Default>(
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
    /// Counts a change; returns why it is folded by what happened to the object itself.
    fn note(&mut self, change: &Change<'_>, at: Timestamp) -> Option<Observed> {
        let is_author_busy = match change.author {
            Some(author) => self.is_author_busy(author, at),
            None => true,
        };
        let mut all = true;
        for path in change.paths {
            all &= self.is_path_busy(*path, at);
        }
        if all {
            return Some(Observed::Folded);
        }
        // What joins a row uses nothing of the budget.
        if change.habit != Habit::Any || !self.budget.is_over(at, OBJECT_BUDGET) {
            return None;
        }
        (is_author_busy || self.reserve.is_over(at, RESERVE)).then_some(Observed::ObjectBudget)
    }

    fn is_path_busy(&mut self, path: u64, at: Timestamp) -> bool {
        if self.paths.len() >= PATHS_MAX && !self.paths.contains_key(&path) {
            let since = at.minus(WINDOW).millis();
            self.paths.retain(|_, times| times.0[OFTEN - 1] >= since);
            if self.paths.len() >= PATHS_MAX {
                // It is not counted; the budget of the object bounds how many such changes have rows.
                return false;
            }
        }
        self.paths.entry(path).or_default().add(at)
    }

    fn is_author_busy(&mut self, author: u64, at: Timestamp) -> bool {
        let known = self.authors.iter().position(|(one, _)| *one == author);
        // The reserve bounds how many rows ever new authors have.
        let mut times = match known {
            Some(known) => self.authors.remove(known).1,
            None => Times::default(),
        };
        let is_busy = times.add(at);
        self.authors.push((author, times));
        if self.authors.len() > WRITERS_MAX {
            self.authors.remove(0);
        }
        is_busy
    }

    fn set_changes(&mut self, key: FoldKey, fold: Fold) {
        if let Some((_, known)) = self.changes.iter_mut().find(|(one, _)| *one == key) {
            *known = fold;
            return;
        }
        if self.changes.len() >= WRITERS_MAX
            && let Some(oldest) = (0..WRITERS_MAX).min_by_key(|n| self.changes[*n].1.until)
        {
            // What changes later has another row.
            self.changes.swap_remove(oldest);
        }
        self.changes.push((key, fold));
    }
}

impl Fold {
    /// A row that is not stored yet.
    pub(super) fn begin(target: &FoldTarget, since: Timestamp) -> Self {
        let window = match target {
            FoldTarget::Changes(_, FoldKey::Swings(_)) => SWING,
            FoldTarget::Creation(_) => SETTLING,
            _ => WINDOW,
        };
        Self {
            key: EventKey::from_i64(0),
            since,
            until: since.plus(window),
            changes: 0,
            text: String::new(),
            parts: Vec::new(),
            by: Vec::new(),
        }
    }

    /// Adds the fields of a change.
    pub(super) fn add_fields(&mut self, fields: Vec<Value>) {
        for field in fields {
            let path = field.get("path").cloned();
            let is_same = |one: &Value| one.get("path") == path.as_ref();
            match (self.parts.iter().position(is_same), field) {
                (Some(known), Value::Object(field)) => {
                    if let Value::Object(known) = &mut self.parts[known] {
                        merge(known, field);
                    }
                }
                (None, field) if self.parts.len() < FIELDS_MAX => self.parts.push(field),
                _ => {}
            }
        }
    }

    /// Adds the name of an object.
    pub(super) fn add_name(&mut self, name: &str) {
        if self.parts.len() < NAMES_MAX && !self.parts.iter().any(|one| one == name) {
            self.parts.push(name.into());
        }
    }

    /// Adds the authors of a change.
    pub(super) fn add_authors(&mut self, by: Option<&Value>) {
        for author in by.and_then(Value::as_array).into_iter().flatten() {
            let name = |one: &Value| {
                ["manager", "operation", "subresource"].map(|key| one.get(key).cloned())
            };
            let known = self.by.iter().position(|one| name(one) == name(author));
            match known {
                Some(known) => self.by[known].clone_from(author),
                None if self.by.len() < AUTHORS_MAX => self.by.push(author.clone()),
                None => {}
            }
        }
    }
}

/// A field that changed again: from the first value to the last one.
fn merge(known: &mut Map<String, Value>, mut field: Map<String, Value>) {
    let times = known.get("times").and_then(Value::as_u64).unwrap_or(1) + 1;
    let range = range(known, &field);
    for key in ["times", "min", "max"] {
        known.shift_remove(key);
    }
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
    if let Some((least, most)) = range {
        known.insert("min".to_owned(), least.into());
        known.insert("max".to_owned(), most.into());
    }
}

/// The least and the greatest value that a field was set to, and had before, if all are whole numbers.
fn range(known: &Map<String, Value>, field: &Map<String, Value>) -> Option<(i64, i64)> {
    let number = |of: &Map<String, Value>, key: &str| of.get(key).and_then(Value::as_i64);
    let is_first = !known.contains_key("times");
    let [least, most] = if is_first {
        ["from", "to"]
    } else {
        ["min", "max"]
    };
    let (one, other, to) = (
        number(known, least)?,
        number(known, most)?,
        number(field, "to")?,
    );
    // Another author may have set the value before this change.
    Some((one.min(other).min(to), one.max(other).max(to)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(100_000 + second)
    }

    fn folded(churn: &mut Churn, paths: &[u64], second: i64) -> bool {
        folded_of(churn, paths, Some(1), second)
    }

    fn folded_of(churn: &mut Churn, paths: &[u64], author: Option<u64>, second: i64) -> bool {
        let own = author.unwrap_or(0) << 32;
        let paths: Vec<u64> = paths.iter().map(|path| own | path).collect();
        let change = Change {
            paths: &paths,
            author,
            habit: Habit::Any,
        };
        churn
            .note_change((1, "shop", 7), &change, at(second))
            .is_some()
    }

    const CHANGES: FoldTarget = FoldTarget::Changes(7, FoldKey::Author(Some(1)));

    fn open(churn: &mut Churn, target: FoldTarget, second: i64) {
        let mut fold = Fold::begin(&target, at(second));
        fold.changes = 1;
        churn.set_fold(target, fold);
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
        let folded: Vec<bool> = (0..70)
            .map(|n| folded(&mut churn, &[1000 + n], n as i64))
            .collect();
        let budget = OBJECT_BUDGET as usize;
        assert!(!folded[..budget].contains(&true), "{folded:?}");
        assert!(!folded[budget..].contains(&false), "{folded:?}");
    }

    #[test]
    fn budgets_hold_for_an_object_and_for_a_kind_in_a_namespace() {
        let mut churn = Churn::default();
        let mut over = 0;
        let mut note = |namespace: &str, object: i64, second: i64| {
            let change = Change {
                paths: &[1],
                author: None,
                habit: Habit::Any,
            };
            churn.note_change((1, namespace, object), &change, at(second))
        };
        for object in 0..700 {
            over += u32::from(note("shop", object, 0).is_some());
        }
        assert_eq!(over, 100);
        let shared = note("shop", 1, 0).unwrap();
        assert_eq!(shared.outcome, Observed::NamespaceBudget);
        assert!(matches!(shared.target, FoldTarget::Group(_)), "{shared:?}");
        assert_eq!(note("other", 1, 0), None);
        assert_eq!(note("shop", 1, 3_600), None);
    }

    #[test]
    fn changes_that_join_an_open_row_use_nothing_of_the_budget_of_others() {
        let mut churn = Churn::default();
        for n in 0..2_000 {
            if folded(&mut churn, &[1], n) && churn.fold(&CHANGES, at(n)).is_none() {
                open(&mut churn, CHANGES, n);
            }
        }
        let change = Change {
            paths: &[1],
            author: None,
            habit: Habit::Any,
        };
        let other = churn.note_change((1, "shop", 8), &change, at(2_000));
        assert_eq!(other, None);
    }

    #[test]
    fn name_that_is_created_and_deleted_again_and_again_is_folded() {
        let mut churn = Churn::default();
        let mut own = 0;
        for n in 0..40 {
            let deleted = Happened::Deleted(DeletionCause::Request);
            let happened = if n % 2 == 0 {
                Happened::Created
            } else {
                deleted
            };
            let life = Life {
                happened,
                is_again: n > 0,
                is_row: true,
            };
            let folding = churn.note_life((1, "shop", 7), life, at(n * 10));
            match folding {
                None => own += 1,
                Some(folding) => assert_eq!(folding.target, FoldTarget::Life(7)),
            }
        }
        // The first creation is not counted.
        assert_eq!(own, 13);
    }

    #[test]
    fn many_objects_that_are_deleted_for_one_cause_share_a_row() {
        let mut churn = Churn::default();
        let mut note = |object: i64, cause, second: i64| {
            let life = Life {
                happened: Happened::Deleted(cause),
                is_again: false,
                is_row: true,
            };
            churn.note_life((1, "shop", object), life, at(second))
        };
        let of_namespace = DeletionCause::NamespaceDeleted;
        let folded: Vec<_> = (0..50).filter_map(|n| note(n, of_namespace, 0)).collect();
        assert_eq!(folded.len(), 30);
        assert!(
            folded.iter().all(|one| one.outcome == Observed::Burst),
            "{folded:?}"
        );
        assert_eq!(note(100, DeletionCause::Request, 0), None);
        // The next minute.
        assert_eq!(note(101, of_namespace, 120), None);
    }

    /// How many of the changes of an object, one each so many seconds for an hour, are over a budget.
    fn over(seconds: usize, paths: impl Fn(i64) -> u64) -> usize {
        let mut churn = Churn::default();
        let changes = (0..3_600).step_by(seconds).filter(|second| {
            let change = Change {
                paths: &[paths(*second)],
                author: Some(1),
                habit: Habit::Any,
            };
            let folding = churn.note_change((1, "shop", 7), &change, Timestamp::from_secs(*second));
            folding.is_some_and(|folding| folding.is_over)
        });
        changes.count()
    }

    #[test]
    fn what_controllers_write_is_not_over_a_budget() {
        // Replicas by an autoscaler, and a status that is written into a ConfigMap.
        for seconds in [15, 10] {
            assert_eq!(over(seconds, |_| 1), 0, "each {seconds} s");
        }
        assert_eq!(over(1, |_| 1), 3_000);
        assert_eq!(over(1, |second| second.cast_unsigned()), 3_540);
    }

    #[test]
    fn objects_that_one_request_deletes_are_not_over_a_budget() {
        let mut churn = Churn::default();
        let mut over = |happened, is_row| {
            let life = Life {
                happened,
                is_again: false,
                is_row,
            };
            let folded = (0..2_000).filter_map(|n| churn.note_life((1, "shop", n), life, at(0)));
            folded.filter(|folding| folding.is_over).count()
        };
        assert_eq!(
            over(Happened::Deleted(DeletionCause::NamespaceDeleted), true),
            0
        );
        // Children of a controller have no rows.
        assert_eq!(over(Happened::Created, false), 0);
        assert_eq!(over(Happened::Created, true), 2_000);
    }

    #[test]
    fn rollback_restores_the_open_row_of_the_last_commit() {
        let mut churn = Churn::default();
        folded(&mut churn, &[1], 0);
        let target = CHANGES;
        open(&mut churn, target.clone(), 0);
        churn.committed();
        let committed = churn.fold(&target, at(1)).cloned();
        for n in 1..3 {
            let mut fold = churn.fold(&target, at(n)).cloned().unwrap();
            fold.changes += 1;
            churn.set_fold(target.clone(), fold);
        }
        assert_eq!(churn.fold(&target, at(3)).unwrap().changes, 3);
        churn.rolled_back();
        assert_eq!(churn.fold(&target, at(3)).cloned(), committed);
    }

    #[test]
    fn folded_field_goes_from_the_first_value_to_the_last() {
        let mut fold = Fold::begin(&CHANGES, at(0));
        fold.add_fields(vec![json!({"path": "a", "op": "added", "to": 1})]);
        fold.add_fields(vec![
            json!({"path": "a", "op": "changed", "from": 1, "to": 2}),
        ]);
        fold.add_fields(vec![json!({"path": "b", "op": "removed", "from": 5})]);
        assert_eq!(
            fold.parts,
            [
                json!({"path": "a", "op": "added", "to": 2, "times": 2}),
                json!({"path": "b", "op": "removed", "from": 5}),
            ]
        );
    }

    #[test]
    fn change_by_another_author_is_not_folded() {
        let mut churn = Churn::default();
        for n in 0..60 {
            folded(&mut churn, &[1], 540 + n);
        }
        // Of the same field, of another one, and with both.
        for (n, paths) in [&[1][..], &[2], &[1, 2]].into_iter().enumerate() {
            assert!(!folded_of(&mut churn, paths, Some(2), 600 + n as i64));
        }
        assert!(!folded_of(&mut churn, &[1], None, 604));
        assert!(folded(&mut churn, &[1], 605));
    }

    #[test]
    fn authors_that_seldom_write_have_rows_beyond_the_budget_of_others() {
        let mut churn = Churn::default();
        // Ever new fields of a controller.
        for n in 0..200 {
            folded(&mut churn, &[1000 + n], n as i64);
        }
        assert!(folded(&mut churn, &[5], 200));
        assert!(!folded_of(&mut churn, &[5], Some(2), 200));
        // Ever new authors do not.
        let rows = (0..1_000)
            .filter(|n| !folded_of(&mut churn, &[5], Some(3 + n), 201))
            .count();
        assert!(rows < RESERVE as usize, "{rows}");
    }

    #[test]
    fn what_an_autoscaler_sets_shares_a_row_for_hours() {
        let mut churn = Churn::default();
        let note = |churn: &mut Churn, second: i64| {
            let change = Change {
                paths: &[1],
                author: Some(100),
                habit: Habit::Swings,
            };
            let folding = churn
                .note_change((1, "shop", 7), &change, at(second))
                .unwrap();
            let is_open = churn.fold(&folding.target, at(second)).is_some();
            if !is_open {
                open(churn, folding.target, second);
            }
            (is_open, folding.is_thinned)
        };
        let rows = (0..24)
            .filter(|n| note(&mut churn, n * 900) == (false, false))
            .count();
        assert_eq!(rows, 1);
        assert_eq!(note(&mut churn, 6 * 3_600), (false, false));
        // Its states are kept, unless there are many.
        let thinned = (1..20)
            .filter(|n| note(&mut churn, 6 * 3_600 + n).1)
            .count();
        assert_eq!(thinned, 14);
        assert!(!folded_of(&mut churn, &[1], Some(2), 6 * 3_600 + 20));
    }

    #[test]
    fn new_object_is_set_up_in_the_row_of_its_creation() {
        let mut churn = Churn::default();
        let note = |churn: &mut Churn, habit, second: i64| {
            let change = Change {
                paths: &[second as u64],
                author: None,
                habit,
            };
            let folding = churn.note_change((1, "", 7), &change, at(second));
            folding.map(|folding| folding.target)
        };
        let creation = FoldTarget::Creation(7);
        assert_eq!(note(&mut churn, Habit::SetsUp, 0), None);
        churn.note_creation(7, Fold::begin(&creation, at(0)), at(0));
        assert_eq!(note(&mut churn, Habit::SetsUp, 1), Some(creation));
        assert_eq!(note(&mut churn, Habit::Any, 2), None);
        assert_eq!(note(&mut churn, Habit::SetsUp, 300), None);
    }

    #[test]
    fn folded_number_has_its_least_and_greatest_value() {
        let mut fold = Fold::begin(&CHANGES, at(0));
        for (from, to) in [(3, 5), (5, 2), (2, 4)] {
            fold.add_fields(vec![
                json!({"path": "spec.replicas", "op": "changed", "from": from, "to": to}),
            ]);
        }
        let expected = json!({"path": "spec.replicas", "op": "changed", "from": 3, "to": 4, "times": 3, "min": 2, "max": 5});
        assert_eq!(fold.parts, [expected]);
        fold.add_fields(vec![
            json!({"path": "spec.replicas", "op": "removed", "from": 4}),
        ]);
        assert_eq!(fold.parts[0].get("min"), None);
    }

    #[test]
    fn batch_that_fails_again_and_again_is_counted_once() {
        let mut churn = Churn::default();
        let life = Life {
            happened: Happened::Created,
            is_again: true,
            is_row: true,
        };
        for _ in 0..1_000 {
            assert!(!folded(&mut churn, &[1, 2], 0));
            assert_eq!(churn.note_life((1, "shop", 8), life, at(0)), None);
            churn.rolled_back();
        }
        for n in 0..6 {
            assert!(!folded(&mut churn, &[1], n), "{n}");
            churn.committed();
        }
        assert!(folded(&mut churn, &[1], 6));
    }
}
