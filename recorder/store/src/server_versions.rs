//! The table `server_version`: the versions of API servers that have answered, the newest of which is that of the cluster.
//!
//! While a control plane of several API servers is upgraded, old and new ones answer in turn. So a version makes a row once:
//! when it is first seen, and is not older than the newest one.

use kube9_ingest::sanitize::{Clean, sanitize};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use rusqlite::Connection;
use serde_json::{Map, json};

use super::rows::Rows;
use super::statements::Counting as _;

/// Versions of a cluster that are kept: those of years.
const VERSIONS_MAX: i64 = 64;

/// The table; writes happen within a transaction of the caller.
pub(super) struct ServerVersionTable<'c> {
    conn: &'c Connection,
}

impl<'c> ServerVersionTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// An API server of a cluster has answered.
    pub(super) fn note(
        &self,
        rows: &mut Rows,
        (cluster, version): (&str, &Clean),
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let version = version.as_str();
        let known: Vec<String> = self
            .conn
            .counted("SELECT version FROM server_version WHERE cluster = ?1 ORDER BY id")?
            .query_map([cluster], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if known.iter().any(|one| one == version) {
            return Ok(());
        }
        self.conn
            .counted("INSERT INTO server_version (cluster, version) VALUES (?1, ?2)")?
            .execute((cluster, version))?;
        self.conn
            .counted(
                "DELETE FROM server_version WHERE cluster = ?1 AND id NOT IN \
                 (SELECT id FROM server_version WHERE cluster = ?1 ORDER BY id DESC LIMIT ?2)",
            )?
            .execute((cluster, VERSIONS_MAX))?;
        // Of equal numbers the one that was seen last.
        let newest = known.iter().max_by_key(|one| numbers(one));
        if let Some(newest) = newest.filter(|newest| numbers(newest) <= numbers(version)) {
            let row = sanitize(upgraded(newest, version, at));
            rows.insert_internal(self.conn, &row, at, at)?;
        }
        Ok(())
    }
}

fn upgraded(from: &str, to: &str, at: Timestamp) -> Record {
    Record {
        event_type: EventType::Cluster,
        severity: Severity::Info,
        title: format!("API server upgraded: {from} → {to}"),
        description: format!(
            "An API server of version {to} answered; the newest before had version {from}. Fields that the new version sets \
             by default are not changes."
        ),
        reason: "APIServerUpgraded".to_owned(),
        extra: Map::from_iter([
            ("from_version".to_owned(), json!(from)),
            ("to_version".to_owned(), json!(to)),
        ]),
        ..Record::internal(at)
    }
}

/// `v1.35.4-eks-1a2b3c` is 1, 35, 4. What follows are builds, which have no common order.
fn numbers(version: &str) -> [u64; 3] {
    let core = version.trim_start_matches('v');
    let core = core.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use kube9_db::schema;

    use super::*;

    /// The rows that a sequence of answers makes.
    fn rows_of(answers: &[&str]) -> Vec<String> {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(&schema::create()).unwrap();
        let mut rows = Rows::default();
        for (n, version) in answers.iter().enumerate() {
            let at = Timestamp::from_secs(1_000 + n as i64);
            let version = Clean::name(version);
            ServerVersionTable::of(&conn)
                .note(&mut rows, ("cluster", &version), at)
                .unwrap();
            // Another cluster on the same volume.
            ServerVersionTable::of(&conn)
                .note(&mut rows, ("other", &Clean::name("v1.20.0")), at)
                .unwrap();
        }
        let mut titles = conn
            .prepare("SELECT title FROM events ORDER BY created_at, id")
            .unwrap();
        let titles = titles.query_map([], |row| row.get(0)).unwrap();
        titles.map(Result::unwrap).collect()
    }

    #[test]
    fn newer_version_is_a_row_once() {
        assert!(rows_of(&["v1.35.4", "v1.35.4"]).is_empty());
        assert_eq!(
            rows_of(&[
                "v1.35.4", "v1.36.0", "v1.35.4", "v1.36.0", "v1.35.4", "v1.36.0"
            ]),
            ["API server upgraded: v1.35.4 → v1.36.0"]
        );
        // The first that answered was new already.
        assert!(rows_of(&["v1.36.0", "v1.35.4", "v1.36.0", "v1.35.4"]).is_empty());
        assert_eq!(
            rows_of(&["v1.9.11", "v1.10.0", "v1.9.11", "v1.10.1"]),
            [
                "API server upgraded: v1.9.11 → v1.10.0",
                "API server upgraded: v1.10.0 → v1.10.1"
            ]
        );
    }

    #[test]
    fn other_build_of_a_version_is_a_row_once() {
        assert_eq!(
            rows_of(&[
                "v1.33.5-eks-3025e55",
                "v1.33.5-eks-113cf36",
                "v1.33.5-eks-3025e55",
                "v1.33.5-eks-113cf36",
                "v1.34.0-eks-1",
                "v1.33.5-eks-3025e55",
            ]),
            [
                "API server upgraded: v1.33.5-eks-3025e55 → v1.33.5-eks-113cf36",
                "API server upgraded: v1.33.5-eks-113cf36 → v1.34.0-eks-1",
            ]
        );
    }

    #[test]
    fn versions_that_are_kept_are_bounded() {
        let answers: Vec<String> = (0..100).map(|n| format!("v1.1.{n}")).collect();
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        assert_eq!(rows_of(&answers).len(), 99);
    }
}
