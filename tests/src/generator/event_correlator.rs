//! Turns Event drafts into Event objects, as client-go's two event libraries do.
//!
//! `tools/record` (kubelet, controllers), as in its `EventCorrelator`:
//! - the same message about the same object again updates the same Event object: `count` and `lastTimestamp`;
//! - ten different messages with one reason about one object within ten minutes become "(combined from similar events)";
//! - after 25 Events about one object, a reporter writes one in five minutes; it still counts the others;
//! - an Event object that has expired meanwhile is created again: another uid, the same count.
//!
//! `tools/events` (scheduler), as in its `EventBroadcaster`: the second time opens a series with count 2; later times
//! are only written every 30 minutes, and when the series has been quiet for 6.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Change, Event, Involved, Observation, Reporter, Uid};
use super::rng::Rng;
use crate::clock::Micros;

/// An Event before correlation.
#[derive(Debug, Clone)]
pub(super) struct EventDraft {
    /// The reporter.
    pub reporter: Reporter,
    /// The involved object.
    pub involved: Involved,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: Arc<str>,
    /// `Warning`, else `Normal`.
    pub warning: bool,
    /// Occurrences since the previous draft; more than 1 where simulating each is not worth it.
    pub times: i64,
}

/// defaultAggregateMaxEvents
const SIMILAR_MAX: usize = 10;
/// defaultAggregateIntervalInSeconds
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// defaultSpamBurst
const BURST: f64 = 25.0;
/// 1 / defaultSpamQPS
const REFILL: Duration = Duration::from_secs(300);
/// finishTime of a series
const SERIES_QUIET: Duration = Duration::from_secs(360);
/// refreshTime of a series
const SERIES_REFRESH: Duration = Duration::from_secs(1800);
/// Real reporters keep the last 4,096 of each; here, entries expire after this time.
const CACHE_TTL: Duration = Duration::from_secs(3 * 3600);
/// Drafts between two evictions.
const EVICT_EVERY: usize = 8192;

type Key = u64;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Micros,
}

#[derive(Debug, Default)]
struct Similar {
    messages: HashSet<Key>,
    last: Micros,
}

#[derive(Debug)]
struct CachedEvent {
    event: Event,
    /// When it was last written to the API server: its expiry counts from here.
    written: Micros,
    /// The count that was written then. Writing the same count again changes nothing.
    written_count: i64,
}

/// The caches of all reporters of a cluster.
#[derive(Debug)]
pub(super) struct EventCorrelator {
    event_ttl: Duration,
    known: HashMap<Key, CachedEvent>,
    similar: HashMap<Key, Similar>,
    buckets: HashMap<Key, Bucket>,
    series: HashMap<Key, CachedEvent>,
    correlated: usize,
    newest_tail: u64,
}

impl EventCorrelator {
    pub(super) fn new(event_ttl: Duration) -> Self {
        Self {
            event_ttl,
            known: HashMap::new(),
            similar: HashMap::new(),
            buckets: HashMap::new(),
            series: HashMap::new(),
            correlated: 0,
            newest_tail: 0,
        }
    }

    /// The write to the API server that results from a draft, if any.
    pub(super) fn correlate(
        &mut self,
        draft: EventDraft,
        now: Micros,
        rng: &mut Rng,
    ) -> Option<Observation> {
        self.correlated += 1;
        if self.correlated.is_multiple_of(EVICT_EVERY) {
            self.evict_expired(now);
        }
        match draft.reporter {
            Reporter::Record { .. } => self.record(draft, now, rng),
            Reporter::Events { .. } => self.series(draft, now, rng),
        }
    }

    fn record(&mut self, mut draft: EventDraft, now: Micros, rng: &mut Rng) -> Option<Observation> {
        let spam_key = key(&(
            &draft.reporter,
            draft.involved.about,
            &draft.involved.namespace,
            &draft.involved.name,
        ));
        let similar_key = key(&(
            spam_key,
            &draft.involved.container,
            draft.reason,
            draft.warning,
        ));
        let mut event_key = key(&(similar_key, &draft.message));

        let similar = self.similar.entry(similar_key).or_default();
        if now.since(similar.last) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        similar.messages.insert(event_key);
        if similar.messages.len() >= SIMILAR_MAX {
            similar.messages.remove(&event_key);
            draft.message = Arc::from(format!("(combined from similar events): {}", draft.message));
            event_key = similar_key;
        }

        let second = now.whole_second();
        let change = match self.known.get_mut(&event_key) {
            Some(known) => {
                known.event.count += draft.times;
                known.event.last = second;
                known.event.message = draft.message;
                known.event.involved.version = draft.involved.version;
                Change::Modified
            }
            None => {
                let mut event = self.new_event(draft, now, rng);
                (event.first, event.last) = (second, second);
                self.known.insert(
                    event_key,
                    CachedEvent {
                        event,
                        written: now,
                        written_count: 0,
                    },
                );
                Change::Added
            }
        };
        // Spam is counted above, as in client-go, but not written.
        let bucket = self.buckets.entry(spam_key).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        let refilled = now.since(bucket.at).as_secs_f64() / REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refilled).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return None;
        }
        bucket.tokens -= 1.0;
        let known = self.known.get_mut(&event_key)?;
        Some(written(known, change, now, self.event_ttl, rng))
    }

    fn series(&mut self, draft: EventDraft, now: Micros, rng: &mut Rng) -> Option<Observation> {
        // The message is not part of the key: a series keeps its first one.
        let series_key = key(&(
            &draft.reporter,
            &draft.involved.namespace,
            &draft.involved.name,
            draft.involved.uid.0,
            draft.reason,
            draft.warning,
        ));
        match self.series.get_mut(&series_key) {
            Some(known) => {
                known.event.count += draft.times;
                known.event.last = now;
                (known.event.count - draft.times == 1)
                    .then(|| written(known, Change::Modified, now, self.event_ttl, rng))
            }
            None => {
                let event = self.new_event(draft, now, rng);
                let known = CachedEvent {
                    written_count: event.count,
                    event: event.clone(),
                    written: now,
                };
                self.series.insert(series_key, known);
                Some(Observation {
                    change: Change::Added,
                    event,
                })
            }
        }
    }

    /// Writes pending series. Call it every few minutes.
    pub(super) fn flush_series(&mut self, now: Micros, rng: &mut Rng) -> Vec<Observation> {
        let mut due: Vec<Key> = Vec::new();
        self.series.retain(|key, known| {
            let quiet = now.since(known.event.last) > SERIES_QUIET;
            let news = known.event.count > known.written_count;
            if news && (quiet || now.since(known.written) > SERIES_REFRESH) {
                due.push(*key);
                return true;
            }
            !quiet
        });
        // The result must not depend on the map's order.
        due.sort_by_key(|key| self.series.get(key).map(|k| (k.event.first, k.event.uid)));
        let mut flushed = Vec::new();
        for key in due {
            let Some(mut known) = self.series.remove(&key) else {
                continue;
            };
            flushed.push(written(
                &mut known,
                Change::Modified,
                now,
                self.event_ttl,
                rng,
            ));
            if now.since(known.event.last) <= SERIES_QUIET {
                self.series.insert(key, known);
            }
        }
        flushed
    }

    fn new_event(&mut self, draft: EventDraft, now: Micros, rng: &mut Rng) -> Event {
        let uid = random_uid(rng);
        let tail = u64::try_from(now.0).unwrap_or(0).wrapping_mul(1000) + rng.below(1000);
        // Here a pod can have two Events in one nanosecond, and so with one name: the second would overwrite the first.
        self.newest_tail = tail.max(self.newest_tail + 1);
        Event {
            uid,
            version: 0,
            tail: self.newest_tail,
            namespace: draft.involved.event_namespace(),
            created: now,
            involved: draft.involved,
            reason: draft.reason,
            message: draft.message,
            warning: draft.warning,
            reporter: draft.reporter,
            count: draft.times,
            first: now,
            last: now,
        }
    }

    fn evict_expired(&mut self, now: Micros) {
        self.known
            .retain(|_, k| now.since(k.event.last) < CACHE_TTL);
        self.similar
            .retain(|_, s| now.since(s.last) < SIMILAR_WITHIN);
        self.buckets.retain(|_, b| now.since(b.at) < CACHE_TTL);
    }
}

/// Writes an Event object: updates it, or creates it again if it has expired.
fn written(
    known: &mut CachedEvent,
    change: Change,
    now: Micros,
    ttl: Duration,
    rng: &mut Rng,
) -> Observation {
    let expired = change == Change::Modified && now.since(known.written) >= ttl;
    (known.written, known.written_count) = (now, known.event.count);
    if expired {
        known.event.uid = random_uid(rng);
        known.event.created = now;
        return Observation {
            change: Change::Added,
            event: known.event.clone(),
        };
    }
    Observation {
        change,
        event: known.event.clone(),
    }
}

/// A random uid.
pub(crate) fn random_uid(rng: &mut Rng) -> Uid {
    Uid(u128::from(rng.draw()) << 64 | u128::from(rng.draw()))
}

/// A 64-bit key; the probability of a collision among a few thousand is 10^-12.
fn key(of: &impl Hash) -> Key {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    of.hash(&mut hasher);
    // FNV's low bits are weak, and maps use them.
    let hash = hasher.finish();
    hash ^ (hash >> 32)
}

/// FNV-1a: short, fast on short keys, and the same on every machine and version.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::InvolvedKind;
    use super::*;

    fn draft(reason: &'static str, message: &str) -> EventDraft {
        EventDraft {
            reporter: Reporter::Record {
                component: "kubelet",
                host: Arc::from("n1"),
            },
            involved: Involved {
                about: InvolvedKind::Pod,
                namespace: Arc::from("shop"),
                name: Arc::from("a"),
                uid: Uid(1),
                version: 1,
                container: Arc::from("app"),
            },
            reason,
            message: Arc::from(message),
            warning: true,
            times: 1,
        }
    }

    #[test]
    fn events_have_unique_names() {
        let mut correlator = EventCorrelator::new(Duration::from_secs(3600));
        let mut rng = Rng::new(1);
        let mut names = HashSet::new();
        for n in 0..20 {
            for reason in ["Pulling", "Failed", "BackOff"] {
                // Far enough apart that the spam filter drops none; three in the same microsecond.
                let now = Micros(1_000_000_000 * (n + 1));
                let correlated =
                    correlator.correlate(draft(reason, &format!("{n}")), now, &mut rng);
                assert!(names.insert(correlated.unwrap().event.tail));
            }
        }
        let event = |correlator: &mut EventCorrelator, rng: &mut Rng| {
            correlator
                .new_event(draft("Killing", "x"), Micros(7), rng)
                .tail
        };
        assert!((0..100).all(|_| names.insert(event(&mut correlator, &mut rng))));
    }

    fn scheduler(message: &str) -> EventDraft {
        let reporter = Reporter::Events {
            component: "default-scheduler",
            instance: Arc::from("default-scheduler-m1"),
            action: "Scheduling",
        };
        EventDraft {
            reporter,
            ..draft("FailedScheduling", message)
        }
    }

    fn at(seconds: i64) -> Micros {
        Micros::from_secs(1_700_000_000 + seconds)
    }

    struct TestCorrelator(EventCorrelator, Rng);

    impl TestCorrelator {
        fn new() -> Self {
            Self(EventCorrelator::new(Duration::from_secs(3600)), Rng::new(1))
        }

        fn correlate(&mut self, draft: EventDraft, seconds: i64) -> Option<Observation> {
            self.0.correlate(draft, at(seconds), &mut self.1)
        }
    }

    #[test]
    fn repeated_message_updates_same_event() {
        let mut correlated = TestCorrelator::new();
        let first = correlated.correlate(draft("BackOff", "m"), 0).unwrap();
        let second = correlated.correlate(draft("BackOff", "m"), 10).unwrap();
        assert_eq!(
            (first.change, second.change),
            (Change::Added, Change::Modified)
        );
        assert_eq!(first.event.uid, second.event.uid);
        assert_eq!(
            (second.event.count, second.event.first, second.event.last),
            (2, at(0), at(10))
        );
        let other = correlated.correlate(draft("BackOff", "n"), 20).unwrap();
        assert_eq!((other.change, other.event.count), (Change::Added, 1));
    }

    #[test]
    fn tenth_similar_message_is_combined() {
        let mut correlated = TestCorrelator::new();
        for i in 0..9 {
            let alone = correlated
                .correlate(draft("FailedMount", &format!("m{i}")), i)
                .unwrap();
            assert!(!alone.event.message.starts_with("(combined"), "{i}");
        }
        let tenth = correlated.correlate(draft("FailedMount", "m9"), 9).unwrap();
        let eleventh = correlated
            .correlate(draft("FailedMount", "m10"), 10)
            .unwrap();
        assert_eq!(&*tenth.event.message, "(combined from similar events): m9");
        assert_eq!(
            (eleventh.change, eleventh.event.uid),
            (Change::Modified, tenth.event.uid)
        );
        assert_eq!(
            &*eleventh.event.message,
            "(combined from similar events): m10"
        );
    }

    #[test]
    fn spam_is_counted_but_not_written() {
        let mut correlated = TestCorrelator::new();
        let written = (0..40)
            .filter(|i| correlated.correlate(draft("BackOff", "m"), *i).is_some())
            .count();
        assert_eq!(written, 25);
        let later = correlated.correlate(draft("BackOff", "m"), 400).unwrap();
        assert_eq!(later.event.count, 41);
    }

    #[test]
    fn expired_event_is_recreated_with_new_uid_and_count() {
        let mut correlated = TestCorrelator::new();
        let first = correlated.correlate(draft("BackOff", "m"), 0).unwrap();
        let later = correlated.correlate(draft("BackOff", "m"), 3700).unwrap();
        assert_eq!((later.change, later.event.count), (Change::Added, 2));
        assert_ne!(later.event.uid, first.event.uid);
        assert_eq!(later.event.name(), first.event.name());
    }

    #[test]
    fn series_is_written_at_second_occurrence_and_end() {
        let mut correlated = TestCorrelator::new();
        let first = correlated.correlate(scheduler("0/3 nodes"), 0).unwrap();
        let second = correlated.correlate(scheduler("0/4 nodes"), 60).unwrap();
        assert!(correlated.correlate(scheduler("0/4 nodes"), 120).is_none());
        assert_eq!((second.event.count, second.event.uid), (2, first.event.uid));
        assert!(
            correlated
                .0
                .flush_series(at(300), &mut correlated.1)
                .is_empty()
        );
        let last = correlated.0.flush_series(at(600), &mut correlated.1);
        assert_eq!(
            (last.len(), last[0].event.count, last[0].event.last),
            (1, 3, at(120))
        );
        let json = last[0].event.to_json();
        assert_eq!(json["series"]["count"], 3);
        assert!(json["firstTimestamp"].is_null());
    }
}
