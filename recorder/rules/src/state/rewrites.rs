//! ConfigMaps that a program rewrites again and again, such as the status of a controller: their changes are folded into
//! few rows.
//!
//! ```text
//!   change ─▶ row ── again within PAUSE ──▶ row ── again ──▶ held ── `wait` has passed ──▶ one row for all held
//!    ▲                                                        ▲                                 │
//!    └── no change for PAUSE ── …                             └────────── again ────────────────┘
//! ```
//!
//! A person who edits a ConfigMap several times gets each change within a minute. A program that writes every ten seconds
//! gets about 30 rows a day. If the process ends while changes are held, the next start records them as one: the stored
//! snapshot is that of the last row.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_ingest::maps::Map;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use serde_json::Value;

use crate::subject::{ObjectKey, path};

/// Changes further apart have nothing to do with each other.
const PAUSE: Duration = Duration::from_secs(600);

/// Changes that have a row of their own.
const OWN_ROWS: u32 = 2;

/// More changes in a row are those of a program.
const BY_HAND_MAX: u32 = 10;

/// Objects that are tracked; the changes of others have a row each.
const TRACKED_MAX: usize = 10_000;

/// How long changes are held, by the number of changes in a row.
fn wait(changes: u32) -> Duration {
    let minutes = if changes <= BY_HAND_MAX {
        1
    } else if changes <= 4 * BY_HAND_MAX {
        10
    } else {
        60
    };
    Duration::from_secs(minutes * 60)
}

#[derive(Debug, Default)]
pub(super) struct Rewrites {
    recent: Map<ObjectKey, Rewritten>,
    /// Nothing is due earlier.
    next: Option<Timestamp>,
}

/// A ConfigMap that changed within [`PAUSE`].
#[derive(Debug)]
struct Rewritten {
    last: Timestamp,
    /// Changes without a pause.
    changes: u32,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    watch: WatchId,
    /// That of the last change, with the keys of all.
    row: Record,
    first: Timestamp,
    changes: u32,
    due: Timestamp,
}

impl Rewrites {
    /// Notes a change; returns its row unless it is held.
    pub(super) fn fold(
        &mut self,
        watch: WatchId,
        key: &ObjectKey,
        row: Record,
        now: Timestamp,
    ) -> Option<Record> {
        if self.recent.len() >= TRACKED_MAX && !self.recent.contains_key(key) {
            return Some(row);
        }
        let new = Rewritten {
            last: now,
            changes: 0,
            held: None,
        };
        let one = self.recent.entry(key.clone()).or_insert(new);
        if one.held.is_none() && now.since(one.last) >= PAUSE {
            one.changes = 0;
        }
        one.last = now;
        one.changes = one.changes.saturating_add(1);
        if one.changes <= OWN_ROWS {
            self.look_at(now.plus(PAUSE));
            return Some(row);
        }
        let due = match &mut one.held {
            Some(held) => {
                held.changes = held.changes.saturating_add(1);
                let before = std::mem::replace(&mut held.row, row);
                merge(&mut held.row, &before);
                held.due
            }
            held @ None => {
                let due = now.plus(wait(one.changes));
                *held = Some(Held {
                    watch,
                    row,
                    first: now,
                    changes: 1,
                    due,
                });
                due
            }
        };
        self.look_at(due);
        None
    }

    /// Whether a program seems to write the ConfigMap, so that its changes explain nothing.
    pub(super) fn is_routine(&self, key: &ObjectKey) -> bool {
        let one = self.recent.get(key);
        one.is_some_and(|one| one.changes > BY_HAND_MAX)
    }

    /// The rows of changes that have been held for long enough.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(WatchId, ObjectKey, Record)> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut rows = Vec::new();
        let mut next: Option<Timestamp> = None;
        self.recent.retain(|key, one| {
            let held = one.held.take_if(|held| held.due <= now);
            rows.extend(held.map(|held| (held.watch, key.clone(), held.into_row(key))));
            let again = one
                .held
                .as_ref()
                .map_or(one.last.plus(PAUSE), |held| held.due);
            let stays = now < again;
            if stays {
                next = Some(next.map_or(again, |next| next.min(again)));
            }
            stays
        });
        self.next = next;
        rows
    }

    /// The row of the held changes of a ConfigMap that is deleted.
    pub(super) fn take(&mut self, key: &ObjectKey) -> Option<Record> {
        let held = self.recent.remove(key)?.held?;
        Some(held.into_row(key))
    }

    /// Forgets a namespace whose analysis is off; returns the rows of its held changes.
    pub(super) fn forget<'s>(
        &'s mut self,
        namespace: &'s str,
    ) -> impl Iterator<Item = Record> + use<'s> {
        let removed = self
            .recent
            .extract_if(move |key, _| key.namespace == namespace);
        removed.filter_map(|(key, one)| Some(one.held?.into_row(&key)))
    }

    fn look_at(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Held {
    fn into_row(self, key: &ObjectKey) -> Record {
        let mut row = self.row;
        if self.changes > 1 {
            row.title = format!("ConfigMap changed {} times", self.changes);
            row.description = format!(
                "ConfigMap {} changed {} times since {}. The metadata lists the keys.",
                path(key),
                self.changes,
                self.first
            );
            row.extra.insert("changes".to_owned(), self.changes.into());
            row.extra
                .insert("since".to_owned(), self.first.to_string().into());
        }
        row
    }
}

/// Adds the keys of `before`.
fn merge(row: &mut Record, before: &Record) {
    for list in ["changed", "added", "removed"] {
        let words = |row: &Record| match row.extra.get(list) {
            Some(Value::Array(words)) => words.clone(),
            _ => Vec::new(),
        };
        let all = words(before).into_iter().chain(words(row));
        let all: BTreeSet<String> = all
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        row.extra
            .insert(list.to_owned(), all.into_iter().collect::<Vec<_>>().into());
    }
}
