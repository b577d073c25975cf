//! The warning rate of each namespace, now and usually.
//!
//! Rows of type `cluster` count. Repeats of one Event within ten minutes are one row, so that a single container in a
//! crash loop does not count hundreds of times.

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::maps::Map;
use kube9_model::commit_stats::{SLOT_SECONDS, WarningBucket, WarningHistory};
use kube9_model::time::Timestamp;

/// Slots of an hour.
const SLOTS: i64 = 3600 / SLOT_SECONDS;

/// Hours from which the usual rate is computed.
const WEEK_HOURS: i64 = 7 * 24;

/// Reasons counted separately in a slot; further ones are counted together.
const REASONS_MAX: usize = 32;

/// Warnings of all namespaces.
#[derive(Debug, Default)]
pub struct Warnings {
    /// Hours in which anything was recorded. For other hours the number of warnings is unknown.
    recorded: BTreeSet<i64>,
    namespaces: Map<Box<str>, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    hours: BTreeMap<i64, u32>,
    slots: BTreeMap<i64, BTreeMap<Box<str>, u32>>,
}

/// The rate of a namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Rows of the last hour.
    pub now: u32,
    /// Median per hour of the last week; `None` with less than a day of recorded hours.
    pub usual: Option<f64>,
    /// Reasons of the last hour, most frequent first.
    pub reasons: Vec<(Box<str>, u32)>,
    /// When the oldest slot leaves the hour.
    pub changes_at: Option<Timestamp>,
}

impl Warnings {
    /// Restores the counts from the database.
    pub fn new(history: WarningHistory) -> Self {
        let mut all = Self {
            recorded: history.recorded.into_iter().collect(),
            ..Self::default()
        };
        for (namespace, hour, rows) in history.hours {
            *all.counts(&namespace).hours.entry(hour).or_default() += rows;
        }
        for (place, rows) in history.slots {
            all.counts(&place.namespace).slot(&place, rows);
        }
        all
    }

    pub fn add(&mut self, place: &WarningBucket, rows: u32) {
        let hour = (place.slot * SLOT_SECONDS).div_euclid(3600);
        let counts = self.counts(&place.namespace);
        *counts.hours.entry(hour).or_default() += rows;
        counts.slot(place, rows);
    }

    /// Marks the current hour as recorded. Removes what is older than a week.
    pub fn recording(&mut self, now: Timestamp) {
        let hour = now.second().div_euclid(3600);
        if !self.recorded.insert(hour) {
            return;
        }
        let oldest = hour - WEEK_HOURS;
        self.recorded = self.recorded.split_off(&oldest);
        for counts in self.namespaces.values_mut() {
            counts.hours = counts.hours.split_off(&oldest);
            counts.slots = counts.slots.split_off(&((hour - 1) * SLOTS));
        }
        self.namespaces
            .retain(|_, counts| !counts.hours.is_empty() || !counts.slots.is_empty());
    }

    /// `None` if the namespace had no warning for a week.
    pub fn rate(&self, namespace: &str, now: Timestamp) -> Option<Rate> {
        let counts = self.namespaces.get(namespace)?;
        let slot = now.second().div_euclid(SLOT_SECONDS);
        let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
        let recent = counts.slots.range(slot - SLOTS + 1..);
        let first = recent.clone().next().map(|(slot, _)| *slot);
        for (reason, rows) in recent.flat_map(|(_, reasons)| reasons) {
            *reasons.entry(reason).or_default() += rows;
        }
        let mut reasons: Vec<(Box<str>, u32)> =
            reasons.into_iter().map(|(r, n)| (r.into(), n)).collect();
        reasons.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        // Without the current hour and the one before it, which are compared with the usual rate.
        let hour = now.second().div_euclid(3600);
        let mut usual: Vec<u32> = self
            .recorded
            .range(hour - WEEK_HOURS..hour - 1)
            .map(|hour| counts.hours.get(hour).copied().unwrap_or(0))
            .collect();
        usual.sort_unstable();
        let median = (usual.len() >= 24).then(|| {
            let (low, high) = (usual[(usual.len() - 1) / 2], usual[usual.len() / 2]);
            f64::from(low + high) / 2.0
        });
        Some(Rate {
            now: reasons.iter().map(|(_, rows)| rows).sum(),
            usual: median,
            reasons,
            changes_at: first.map(|slot| Timestamp::from_secs((slot + SLOTS) * SLOT_SECONDS)),
        })
    }

    /// Namespaces that had a warning within the week.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(|name| &**name)
    }

    fn counts(&mut self, namespace: &str) -> &mut Counts {
        if !self.namespaces.contains_key(namespace) {
            self.namespaces.insert(namespace.into(), Counts::default());
        }
        self.namespaces.get_mut(namespace).expect("it is there now")
    }
}

impl Counts {
    fn slot(&mut self, place: &WarningBucket, rows: u32) {
        let reasons = self.slots.entry(place.slot).or_default();
        let full = reasons.len() >= REASONS_MAX && !reasons.contains_key(&place.reason);
        let reason = if full { "other" } else { &place.reason };
        *reasons.entry(reason.into()).or_default() += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(hour: i64, slot: i64, reason: &str) -> WarningBucket {
        WarningBucket {
            namespace: "shop".into(),
            slot: hour * SLOTS + slot,
            reason: reason.into(),
        }
    }

    fn at(hour: i64, minute: i64) -> Timestamp {
        Timestamp::from_secs(hour * 3600 + minute * 60)
    }

    #[test]
    fn rate_covers_an_hour_and_median_the_recorded_hours_before() {
        let recorded = (1_000..1_024).collect();
        let hours = (1_000..1_013).map(|hour| ("shop".into(), hour, 4));
        let mut all = Warnings::new(WarningHistory {
            recorded,
            hours: hours.collect(),
            slots: std::collections::HashMap::new(),
        });
        assert_eq!(all.rate("other", at(1_025, 0)), None);
        for (slot, rows) in [(0, 1), (1, 2), (5, 30)] {
            all.add(&bucket(1_024, slot, "BackOff"), rows);
        }
        all.add(&bucket(1_024, 5, "Unhealthy"), 31);
        // Slot 0 has left the hour; slot 1 leaves next.
        let rate = all.rate("shop", at(1_025, 5)).unwrap();
        assert_eq!(rate.now, 63);
        assert_eq!(rate.usual, Some(4.0), "13 of 24 hours had 4");
        assert_eq!(&*rate.reasons[0].0, "BackOff");
        assert_eq!(rate.changes_at, Some(at(1_025, 10)));
        // Two hours later nothing is left of it.
        assert_eq!(all.rate("shop", at(1_027, 0)).unwrap().now, 0);
    }

    #[test]
    fn rate_has_no_median_with_less_than_a_day_of_hours() {
        let mut all = Warnings::new(WarningHistory {
            recorded: (1_000..1_023).collect(),
            ..WarningHistory::default()
        });
        all.add(&bucket(1_024, 0, "BackOff"), 100);
        assert_eq!(all.rate("shop", at(1_024, 1)).unwrap().usual, None);
    }

    #[test]
    fn warnings_older_than_a_week_are_removed() {
        let mut all = Warnings::default();
        all.add(&bucket(1_000, 0, "BackOff"), 1);
        all.recording(at(1_000, 1));
        all.recording(at(1_000 + WEEK_HOURS + 1, 0));
        assert!(all.namespaces.is_empty());
        assert_eq!(all.recorded.len(), 1);
    }

    #[test]
    fn reasons_of_a_slot_are_bounded() {
        let mut all = Warnings::default();
        for n in 0..100 {
            all.add(&bucket(1_000, 0, &format!("R{n}")), 1);
        }
        let rate = all.rate("shop", at(1_000, 5)).unwrap();
        assert_eq!((rate.now, rate.reasons.len()), (100, REASONS_MAX + 1));
    }
}
