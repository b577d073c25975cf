//! Namespaces whose objects change more often than a budget allows, for the status: how many changes have no row of their
//! own, and how many states no revision.
//!
//! The status row keeps them over a restart. A failed commit counts nothing.
//!
//! Invariant: what controllers do does not name a namespace. An autoscaler that changes replicas every 15 seconds uses 240
//! changes an hour, and a ConfigMap with a status that is written every 10 seconds 360.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use kube9_model::time::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::churn::{entry, put_back};
use crate::metrics::Observed;
use crate::statements::Counting as _;

/// Changes over a budget that a namespace may have in an hour before it is named: a deployment of many objects has some.
const UNNAMED_MAX: u64 = 60;

/// How long a namespace is named after its last change over a budget.
const NAMED_FOR: Duration = Duration::from_secs(86_400);

/// Namespaces that are counted: at most 1 MiB.
const NAMESPACES_MAX: usize = 4_096;

/// Namespaces that the status names.
const SHOWN: usize = 20;

/// Changes over a budget, by namespace; empty: cluster-scoped objects.
#[derive(Debug, Default)]
pub(crate) struct FoldedNamespaces {
    all: HashMap<Box<str>, Namespace, RandomState>,
    /// What the transaction under way has counted, as it was before.
    before: HashMap<Box<str>, Option<Namespace>, RandomState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Namespace {
    /// Number of the hour.
    hour: i64,
    /// Of this hour.
    recent: Counts,
    /// If it is named.
    named: Option<Counts>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Changes of objects that have used their budget.
    object: u64,
    /// Changes of a kind that has used the budget of the namespace.
    namespace: u64,
    /// States that have no revision.
    left_out: u64,
    since: Timestamp,
    until: Timestamp,
}

impl Counts {
    fn total(&self) -> u64 {
        self.object.saturating_add(self.namespace)
    }

    fn add(&mut self, other: &Self) {
        self.object = self.object.saturating_add(other.object);
        self.namespace = self.namespace.saturating_add(other.namespace);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.until = self.until.max(other.until);
    }

    fn is_named(&self, now: Timestamp) -> bool {
        now.since(self.until) < NAMED_FOR
    }
}

impl FoldedNamespaces {
    /// Counts a change over a budget; `is_left_out`: its state replaced the one before.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        outcome: Observed,
        is_left_out: bool,
        at: Timestamp,
    ) {
        let hour = at.second().div_euclid(3_600);
        let key: Box<str> = namespace.into();
        let before = self.before.entry(key.clone());
        before.or_insert_with(|| self.all.get(&key).copied());
        let is_old =
            |one: &Namespace| one.hour < hour && !one.named.is_some_and(|named| named.is_named(at));
        let Some(found) = entry(&mut self.all, NAMESPACES_MAX, key, is_old) else {
            return;
        };
        let is_of_kind = outcome == Observed::NamespaceBudget;
        let change = Counts {
            object: u64::from(!is_of_kind),
            namespace: u64::from(is_of_kind),
            left_out: u64::from(is_left_out),
            since: at,
            until: at,
        };
        if found.hour == hour && found.recent.total() > 0 {
            found.recent.add(&change);
        } else {
            (found.hour, found.recent) = (hour, change);
        }
        found.named = found.named.filter(|named| named.is_named(at));
        match &mut found.named {
            _ if found.recent.total() <= UNNAMED_MAX => {}
            None => found.named = Some(found.recent),
            // Those that were not worth naming before are part of it.
            Some(named) if found.recent.total() == UNNAMED_MAX + 1 => named.add(&found.recent),
            Some(named) => named.add(&change),
        }
    }

    pub(super) fn committed(&mut self) {
        self.before.clear();
    }

    pub(super) fn rolled_back(&mut self) {
        let before = std::mem::take(&mut self.before);
        put_back(&mut self.all, before);
    }

    /// The namespaces with most changes over a budget, and the number of all of them.
    pub(crate) fn to_json(&self, now: Timestamp) -> (Vec<Value>, usize) {
        let named = self.all.iter().filter_map(|(namespace, one)| {
            let counts = one.named.filter(|named| named.is_named(now))?;
            Some((&**namespace, counts))
        });
        let mut named: Vec<(&str, Counts)> = named.collect();
        let total = named.len();
        named.sort_unstable_by_key(|(namespace, counts)| {
            (std::cmp::Reverse(counts.total()), *namespace)
        });
        named.truncate(SHOWN);
        let to_json = |(namespace, counts): (&str, Counts)| {
            json!({
                "namespace": namespace,
                "object_budget": counts.object,
                "namespace_budget": counts.namespace,
                "revisions_left_out": counts.left_out,
                "since": counts.since.to_string(),
                "until": counts.until.to_string(),
            })
        };
        (named.into_iter().map(to_json).collect(), total)
    }

    /// The namespaces that the last recorder named.
    pub(super) fn restore(&mut self, conn: &Connection) {
        let read = || {
            conn.counted("SELECT detail FROM recorder_status WHERE id = 1")?
                .query_row([], |row| row.get::<_, String>(0))
        };
        // There is none in a new database. The first heartbeat finds a damaged one.
        let Ok(detail) = read() else { return };
        let detail: Value = serde_json::from_str(&detail).unwrap_or_default();
        let found = detail["tracking"]["folded"].as_array();
        for one in found.into_iter().flatten().take(SHOWN) {
            let count = |key: &str| one[key].as_u64().unwrap_or(0);
            let time = |key: &str| Timestamp::parse(one[key].as_str()?).ok();
            let (Some(name), Some(since), Some(until)) =
                (one["namespace"].as_str(), time("since"), time("until"))
            else {
                continue;
            };
            let counts = Counts {
                object: count("object_budget"),
                namespace: count("namespace_budget"),
                left_out: count("revisions_left_out"),
                since,
                until,
            };
            let restored = Namespace {
                named: Some(counts),
                ..Namespace::default()
            };
            self.all.insert(name.into(), restored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(3_600_000 + second)
    }

    fn add(folded: &mut FoldedNamespaces, namespace: &str, times: u64, second: i64) {
        for _ in 0..times {
            folded.add(namespace, Observed::ObjectBudget, true, at(second));
        }
    }

    fn names(folded: &FoldedNamespaces, second: i64) -> Vec<String> {
        let (found, _) = folded.to_json(at(second));
        let name = |one: &Value| one["namespace"].as_str().unwrap_or_default().to_owned();
        found.iter().map(name).collect()
    }

    #[test]
    fn namespace_with_few_changes_over_a_budget_is_not_named() {
        let mut folded = FoldedNamespaces::default();
        for hour in 0..100 {
            add(&mut folded, "shop", UNNAMED_MAX, hour * 3_600);
        }
        assert!(names(&folded, 100 * 3_600).is_empty());
        add(&mut folded, "shop", 1, 99 * 3_600);
        let (found, total) = folded.to_json(at(100 * 3_600));
        assert_eq!(total, 1);
        assert_eq!(found[0]["object_budget"], UNNAMED_MAX + 1);
        assert_eq!(found[0]["revisions_left_out"], UNNAMED_MAX + 1);
        assert_eq!(found[0]["since"], at(99 * 3_600).to_string());
    }

    #[test]
    fn namespace_is_named_for_a_day_after_its_last_change_over_a_budget() {
        let mut folded = FoldedNamespaces::default();
        add(&mut folded, "shop", 100, 0);
        add(&mut folded, "shop", 100, 7_200);
        let (found, _) = folded.to_json(at(7_200));
        assert_eq!(found[0]["object_budget"], 200);
        assert_eq!(names(&folded, 7_200 + 86_399), ["shop"]);
        assert!(names(&folded, 7_200 + 86_400).is_empty());
        // What it did then does not count again.
        add(&mut folded, "shop", 61, 200_000);
        let (found, _) = folded.to_json(at(200_000));
        assert_eq!(found[0]["object_budget"], 61);
    }

    #[test]
    fn namespaces_with_most_changes_are_first_and_the_list_is_bounded() {
        let mut folded = FoldedNamespaces::default();
        for n in 0..6_000 {
            let most = 61 + u64::from(n == 100);
            add(&mut folded, &format!("team-{n}"), most, 0);
        }
        let (found, total) = folded.to_json(at(1));
        assert_eq!((found.len(), total), (SHOWN, NAMESPACES_MAX));
        assert_eq!(found[0]["namespace"], "team-100");
    }

    #[test]
    fn restart_keeps_the_named_namespaces() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(&kube9_db::schema::create()).unwrap();
        let mut folded = FoldedNamespaces::default();
        folded.restore(&conn);
        add(&mut folded, "shop", 100, 0);
        add(&mut folded, "", 200, 5);
        let (found, total) = folded.to_json(at(10));
        let detail = json!({"tracking": {"folded": found}}).to_string();
        conn.execute(
            "INSERT INTO recorder_status (id, version, started_ms, heartbeat_ms, queue_rows, dropped, detail) \
             VALUES (1, '1', 1, 1, 0, 0, ?1)",
            [detail],
        )
        .unwrap();
        let mut restored = FoldedNamespaces::default();
        restored.restore(&conn);
        assert_eq!(restored.to_json(at(10)), (found, total));
        add(&mut restored, "shop", 1, 3_700);
        assert_eq!(restored.to_json(at(3_700)).0[1]["object_budget"], 100);
        add(&mut restored, "shop", 60, 3_700);
        assert_eq!(restored.to_json(at(3_700)).0[1]["object_budget"], 161);
    }

    #[test]
    fn failed_commit_counts_nothing() {
        let mut folded = FoldedNamespaces::default();
        for _ in 0..100 {
            add(&mut folded, "shop", 10, 0);
            folded.rolled_back();
        }
        add(&mut folded, "shop", 60, 0);
        folded.committed();
        assert!(names(&folded, 1).is_empty());
    }
}
