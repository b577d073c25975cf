//! Folds repeats: one row for each Event object and window. Pure.
//!
//! Rules (docs/adr/0003): an Event whose version is not newer than the stored one is a duplicate. Occurrences grow by the
//! growth of the count. A repeat folds into the newest row of its Event if it lies in the row's window and has the same
//! severity and title; otherwise it opens a row. The occurrences of all rows of an Event sum to its count, less `occurrences_before`.

use std::time::Duration;

use kube9_db::schema::FOLD_WINDOW_MS;
use kube9_model::id::EventKey;
use kube9_model::identity::ResourceVersion;
use kube9_model::record::Observation;
use kube9_model::time::Timestamp;

const WINDOW: Duration = Duration::from_millis(FOLD_WINDOW_MS as u64);

/// What is stored of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The version last stored.
    pub version: ResourceVersion,
    /// The count at that version.
    pub count: i64,
    /// Its newest row; `None` if retention deleted it.
    pub row: Option<NewestRow>,
}

/// The newest row of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestRow {
    /// Its key.
    pub key: EventKey,
    /// Its last occurrence.
    pub last: Timestamp,
    /// The incoming Event has the same severity and title.
    pub looks_same: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fold {
    /// Nothing: already stored.
    Duplicate,
    /// Insert a row.
    Open {
        /// Its `created_at`.
        created: Timestamp,
        occurrences: i64,
        /// Earlier occurrences that no existing row counts.
        before: i64,
        /// The Event's count fell.
        count_reset: bool,
    },
    /// Update the newest row.
    Into {
        /// Its key.
        key: EventKey,
        /// Occurrences to add.
        add: i64,
        /// Its new last occurrence.
        last: Timestamp,
        /// The Event's count fell.
        count_reset: bool,
    },
}

/// Decides what an incoming Event does, given what is stored of it.
pub fn fold(known: Option<&StoredEvent>, seen: &Observation) -> Fold {
    let Some(known) = known else {
        return first_event(seen);
    };
    if !seen.version.is_after(&known.version) {
        return Fold::Duplicate;
    }
    let count_reset = seen.count < known.count;
    let grown = if count_reset {
        1
    } else {
        seen.count - known.count
    };
    let Some(row) = &known.row else {
        // Earlier rows were deleted, so their occurrences lie before this one.
        let occurrences = grown.max(1);
        return Fold::Open {
            created: seen.first.max(seen.last.minus(WINDOW)),
            occurrences,
            before: (seen.count - occurrences).max(0),
            count_reset,
        };
    };
    let in_window = seen.last <= row.key.created_at().plus(WINDOW);
    if row.looks_same && (in_window || grown == 0) {
        return Fold::Into {
            key: row.key,
            add: grown,
            last: row.last.max(seen.last),
            count_reset,
        };
    }
    Fold::Open {
        created: seen
            .first
            .max(row.last)
            .max(seen.last.minus(WINDOW))
            .min(seen.last),
        occurrences: grown,
        before: 0,
        count_reset,
    }
}

fn first_event(seen: &Observation) -> Fold {
    let reach = seen.last.minus(WINDOW);
    if seen.first >= reach {
        return Fold::Open {
            created: seen.first,
            occurrences: seen.count,
            before: 0,
            count_reset: false,
        };
    }
    // The history is longer than the window: only the last occurrence certainly lies in this row.
    Fold::Open {
        created: reach,
        occurrences: 1,
        before: seen.count - 1,
        count_reset: false,
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::identity::Uid;
    use proptest::prelude::*;

    use super::*;

    fn observation(version: i64, count: i64, first_s: i64, last_s: i64) -> Observation {
        Observation {
            uid: Uid::new("u"),
            version: ResourceVersion::Number(version),
            count,
            first: Timestamp::from_secs(first_s),
            last: Timestamp::from_secs(last_s),
        }
    }

    /// The rows of one Event, as the store would keep them.
    #[derive(Default, Debug)]
    struct Rows {
        known: Option<(ResourceVersion, i64)>,
        rows: Vec<(i64, i64, i64, i64)>, // created, last, occurrences, before
    }

    impl Rows {
        fn see(&mut self, seen: &Observation, looks_same: bool) -> Fold {
            let known = self.known.clone().map(|(version, count)| StoredEvent {
                version,
                count,
                row: self.rows.last().map(|row| NewestRow {
                    key: EventKey::new(row.0, 0),
                    last: Timestamp::from_secs(row.1),
                    looks_same,
                }),
            });
            let fold = fold(known.as_ref(), seen);
            match &fold {
                Fold::Duplicate => return fold,
                Fold::Open {
                    created,
                    occurrences,
                    before,
                    ..
                } => {
                    self.rows
                        .push((created.second(), seen.last.second(), *occurrences, *before));
                }
                Fold::Into { add, last, .. } => {
                    let row = self.rows.last_mut().unwrap();
                    row.1 = last.second();
                    row.2 += add;
                }
            }
            self.known = Some((seen.version.clone(), seen.count));
            fold
        }
    }

    #[test]
    fn fold_replayed_event_is_a_duplicate() {
        let mut rows = Rows::default();
        rows.see(&observation(5, 1, 100, 100), true);
        assert_eq!(
            rows.see(&observation(5, 1, 100, 100), true),
            Fold::Duplicate
        );
        assert_eq!(
            rows.see(&observation(4, 1, 100, 100), true),
            Fold::Duplicate
        );
        assert_eq!(rows.rows, [(100, 100, 1, 0)]);
    }

    #[test]
    fn fold_repeats_share_a_row_per_window() {
        let mut rows = Rows::default();
        rows.see(&observation(1, 1, 1000, 1000), true);
        rows.see(&observation(2, 2, 1000, 1600), true);
        assert_eq!(rows.rows, [(1000, 1600, 2, 0)]);
        rows.see(&observation(3, 3, 1000, 1601), true);
        // A new row, which begins where the last one ended.
        assert_eq!(rows.rows, [(1000, 1600, 2, 0), (1600, 1601, 1, 0)]);
        rows.see(&observation(4, 9, 1000, 9000), true);
        assert_eq!(rows.rows[2], (8400, 9000, 6, 0));
    }

    #[test]
    fn fold_newer_version_same_count_adds_no_occurrence() {
        let known = StoredEvent {
            version: ResourceVersion::new("1"),
            count: 3,
            row: Some(NewestRow {
                key: EventKey::new(1000, 0),
                last: Timestamp::from_secs(1000),
                looks_same: true,
            }),
        };
        // A label was added: no occurrence, and no count that fell.
        assert_eq!(
            fold(Some(&known), &observation(2, 3, 1000, 1000)),
            Fold::Into {
                key: EventKey::new(1000, 0),
                add: 0,
                last: Timestamp::from_secs(1000),
                count_reset: false,
            }
        );
    }

    #[test]
    fn fold_other_title_opens_a_row() {
        let mut rows = Rows::default();
        rows.see(&observation(1, 1, 1000, 1000), true);
        rows.see(&observation(2, 2, 1000, 1010), false);
        assert_eq!(rows.rows, [(1000, 1000, 1, 0), (1000, 1010, 1, 0)]);
    }

    #[test]
    fn fold_first_event_with_history_counts_occurrences_before() {
        let mut rows = Rows::default();
        rows.see(&observation(1, 40, 1000, 9000), true);
        assert_eq!(rows.rows, [(8400, 9000, 1, 39)]);
        let mut rows = Rows::default();
        rows.see(&observation(1, 4, 1000, 1300), true);
        assert_eq!(rows.rows, [(1000, 1300, 4, 0)]);
    }

    #[test]
    fn fold_fallen_count_adds_one_occurrence() {
        let mut rows = Rows::default();
        rows.see(&observation(1, 10, 1000, 1000), true);
        let fold = rows.see(&observation(2, 3, 1000, 1001), true);
        assert!(matches!(
            fold,
            Fold::Into {
                add: 1,
                count_reset: true,
                ..
            }
        ));
    }

    #[test]
    fn fold_deleted_row_opens_a_row() {
        let known = StoredEvent {
            version: ResourceVersion::new("1"),
            count: 10,
            row: None,
        };
        let fold = fold(Some(&known), &observation(2, 12, 0, 5000));
        assert_eq!(
            fold,
            Fold::Open {
                created: Timestamp::from_secs(4400),
                occurrences: 2,
                before: 10,
                count_reset: false
            }
        );
    }

    proptest! {
        #[test]
        fn fold_any_order_and_repetition_gives_the_same_rows(
            steps in prop::collection::vec((1i64..4, 0i64..900), 1..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
            faces in prop::collection::vec(any::<bool>(), 60),
        ) {
            // The input: one Event whose count and last time only grow.
            let mut truth = vec![observation(1, 1, 1000, 1000)];
            for (n, (more, later)) in steps.iter().enumerate() {
                let before = truth.last().unwrap().clone();
                truth.push(observation(n as i64 + 2, before.count + more, 1000, before.last.second() + later));
            }
            // What is received: any subset in any order with repetitions; finally the newest.
            let mut seen: Vec<_> = picks.iter().map(|i| i.get(&truth).clone()).collect();
            seen.push(truth.last().unwrap().clone());
            let mut rows = Rows::default();
            for (n, observation) in seen.iter().enumerate() {
                let newest = rows.known.clone();
                let fold = rows.see(observation, faces[n.min(faces.len() - 1)]);
                if let Some((version, _)) = newest {
                    prop_assert_eq!(fold == Fold::Duplicate, !observation.version.is_after(&version));
                }
            }
            let end = truth.last().unwrap();
            prop_assert_eq!(rows.rows.iter().map(|r| r.2 + r.3).sum::<i64>(), end.count);
            prop_assert_eq!(rows.rows.iter().map(|r| r.1).max().unwrap(), end.last.second());
            for row in &rows.rows {
                prop_assert!(row.0 <= row.1, "created after last: {:?}", rows.rows);
                prop_assert!(row.2 > 0 || rows.rows.len() > 1);
            }
        }
    }
}
