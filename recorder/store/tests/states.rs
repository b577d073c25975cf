//! What the record says of an object at any time, after random edits through restarts, kills, gaps and clean-ups: by the
//! reader, and by the statements of docs/storage.md with plain SQLite.
//!
//! `KUBE9_EDITS` sets the number of edits, `KUBE9_SEED` the seed.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests: a panic is the failure; settings of a test are environment variables"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_base::health::Health;
use kube9_base::settings::ByteSize;
use kube9_db::read::Reader;
use kube9_db::read::revision::{REBUILD, STATES};
use kube9_ingest::body::MarkKey;
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::{BUILT_IN, ResourceId, TrackedKind};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_store::apply::Applier;
use kube9_store::config::{RetentionConfig, StorageConfig};
use kube9_store::context::WriterContext;
use kube9_store::maintenance::{Maintenance, Step};
use kube9_store::metrics::Metrics;
use kube9_store::open::DataDir;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::volume::Volume;
use prometheus::Registry;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::tracked::Rng;
use crate::transaction;

const EDITS: u64 = 1_200;

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap())
}

/// A Deployment, whose lists have identities, and a kind without a schema.
fn kinds() -> [Arc<TrackedKind>; 2] {
    let deployment = TrackedKind::find(BUILT_IN.iter(), "deploy").unwrap();
    let id = "example.com/v1/things".parse::<ResourceId>().unwrap();
    let custom = TrackedKind::custom(&id, "Thing", true);
    [Arc::new(deployment.clone()), Arc::new(custom)]
}

fn key() -> MarkKey {
    MarkKey::new(&[1; 32])
}

/// The statement of docs/storage.md under this mark.
fn documented(mark: &str) -> String {
    let page = include_str!("../../../docs/storage.md");
    let (_, sql) = page.split_once(&format!("-- {mark}\n")).unwrap();
    sql.split_once("```").unwrap().0.trim().to_owned()
}

/// A state of an object, from a time on.
struct Truth {
    at: Timestamp,
    /// As it is stored; `null`: it did not exist.
    body: Value,
    /// The recorder received it.
    is_received: bool,
}

/// A change that the recorder has not received yet.
struct Pending {
    kind: usize,
    object: Value,
    is_deleted: bool,
    name: String,
    /// Position of its state in the truth.
    state: usize,
}

struct World {
    dir: tempfile::TempDir,
    data: DataDir,
    conn: Connection,
    applier: Applier,
    watches: [WatchId; 2],
    trackers: [Tracker; 2],
    kinds: [Arc<TrackedKind>; 2],
    now: Timestamp,
    version: u64,
    uid: u64,
    /// The API server's objects, by kind and name.
    current: BTreeMap<(usize, String), Value>,
    truth: BTreeMap<(usize, String), Vec<Truth>>,
    /// The recording gaps that were reported: kind, and milliseconds.
    gaps: Vec<(String, i64, i64)>,
    /// The recorder does not run.
    is_down: bool,
    pending: Vec<Pending>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let kinds = kinds();
        let trackers = kinds.clone().map(|kind| Tracker::new(kind, key()));
        let mut world = Self {
            dir,
            data,
            conn,
            applier: Applier::default(),
            watches: [WatchId(0); 2],
            trackers,
            kinds,
            now: Timestamp::from_secs(1_764_671_400),
            version: 100,
            uid: 0,
            current: BTreeMap::new(),
            truth: BTreeMap::new(),
            gaps: Vec::new(),
            is_down: false,
            pending: Vec::new(),
        };
        world.start();
        world.list(RelistCause::FirstStart);
        world
    }

    /// Another process: nothing is in memory.
    fn start(&mut self) {
        self.applier = Applier::default();
        for (n, kind) in self.kinds.iter().enumerate() {
            let watches = &mut self.applier.watches;
            let (watch, _) = watches.register(&self.conn, "c", &kind.kind, "").unwrap();
            self.watches[n] = watch;
            self.trackers[n] = Tracker::new(kind.clone(), key());
        }
        self.is_down = false;
    }

    fn item(&self, kind: usize, event: TrackedEvent) -> Item {
        Item::Tracked {
            watch: self.watches[kind],
            kind: self.kinds[kind].clone(),
            event,
        }
    }

    fn read(&mut self, kind: usize, object: &Value, origin: Origin) -> Item {
        let tracker = &mut self.trackers[kind];
        let reading = tracker.applied(&object.to_string(), origin, self.now);
        let event = tracker.emit(reading.unwrap());
        self.item(kind, event)
    }

    fn read_pending(&mut self, change: &Pending, origin: Origin) -> Item {
        if !change.is_deleted {
            return self.read(change.kind, &change.object, origin);
        }
        let tracker = &mut self.trackers[change.kind];
        let reading = tracker.deleted(&change.object.to_string(), origin, self.now);
        let event = tracker.emit(reading.unwrap());
        self.item(change.kind, event)
    }

    fn commit(&mut self, items: &[Item]) {
        transaction::commit(&self.conn, &mut self.applier, items, self.now);
    }

    /// The transaction is not committed.
    fn fail(&mut self, items: &[Item]) {
        transaction::fail(&self.conn, &mut self.applier, items, self.now);
    }

    fn list(&mut self, cause: RelistCause) {
        for kind in 0..2 {
            let begins = self.trackers[kind].list_begins(cause, self.now);
            let mut items = vec![self.item(kind, begins)];
            items.push(Item::Marker {
                watch: self.watches[kind],
                marker: SourceMarker::Init {
                    list_generation: 0,
                    cause,
                    at: self.now,
                },
            });
            let objects: Vec<Value> = self
                .current
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|(_, object)| object.clone())
                .collect();
            for object in &objects {
                items.push(self.read(kind, object, Origin::List));
            }
            let version = self.version.to_string();
            let ends = self.trackers[kind].list_ends(&version);
            items.push(self.item(kind, ends));
            items.push(Item::Marker {
                watch: self.watches[kind],
                marker: SourceMarker::Synced {
                    version,
                    at: self.now,
                    server_time: self.now,
                    listed: objects.len() as u64,
                    vanished: 0,
                },
            });
            self.commit(&items);
        }
    }

    fn number(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The row of the gap that a list has closed.
    fn note_gap(&mut self) {
        let mut parts = self
            .conn
            .prepare(
                "SELECT s.value ->> 'source', s.value ->> 'from', s.value ->> 'to' FROM \
                 (SELECT metadata FROM events WHERE title = 'Recording gap' ORDER BY created_at DESC LIMIT 1), \
                 json_each(metadata, '$.sources') s",
            )
            .unwrap();
        let millis = |text: String| Timestamp::parse(&text).unwrap().millis();
        let found = parts
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        let gaps = found.map(|part| {
            let (kind, from, to) = part.unwrap();
            (kind, millis(from), millis(to))
        });
        self.gaps.extend(gaps);
    }

    /// What happened to an object at the API server.
    fn edit(&mut self, rng: &mut Rng, names: u64) {
        self.version += 1;
        // Many edits are of one object, so that its changes fold.
        let number = match rng.below(5) {
            0..2 => 0,
            _ => rng.below(names),
        };
        let kind = (number % 2) as usize;
        let name = format!("web-{number}");
        let id = (kind, name.clone());
        let known = self.current.get(&id).cloned();
        let is_deleted = known.is_some() && rng.below(12) == 0;
        let object = match known {
            Some(mut object) if is_deleted => {
                object["metadata"]["resourceVersion"] = self.version.to_string().into();
                self.current.remove(&id);
                object
            }
            known => {
                let object = self.next_state(rng, kind, &name, known);
                self.current.insert(id.clone(), object.clone());
                object
            }
        };
        let body = if is_deleted {
            Value::Null
        } else {
            stored(&self.kinds[kind], &object)
        };
        let states = self.truth.entry(id).or_default();
        if states.last().is_none_or(|last| last.body != body) {
            states.push(Truth {
                at: self.now,
                body,
                is_received: false,
            });
        }
        let state = states.len() - 1;
        self.pending.push(Pending {
            kind,
            object,
            is_deleted,
            name,
            state,
        });
    }

    fn next_state(
        &mut self,
        rng: &mut Rng,
        kind: usize,
        name: &str,
        known: Option<Value>,
    ) -> Value {
        let mut object = known.unwrap_or_else(|| {
            self.uid += 1;
            json!({"metadata": {
                "name": name, "namespace": format!("team-{}", name.len() % 4),
                "uid": format!("uid-{}", self.uid), "creationTimestamp": self.now.to_string(),
            }})
        });
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        match rng.below(6) {
            // Nothing that is recorded.
            0 => object["status"] = json!({"observedGeneration": self.version}),
            1 => object["metadata"]["labels"] = labels(rng),
            2 | 3 if object["spec"]["template"].is_object() => small_edit(rng, &mut object["spec"]),
            _ if kind == 0 => object["spec"] = deployment_spec(rng),
            _ => object["spec"] = any_value(rng, 4),
        }
        object
    }

    fn received(&mut self, change: &Pending) {
        let id = (change.kind, change.name.clone());
        self.truth.get_mut(&id).unwrap()[change.state].is_received = true;
    }

    fn clean(&mut self, revisions: Duration, max_bytes: Option<u64>) {
        let clock = Clock::new(ManualTime::at(self.now));
        let limits = QueueLimits {
            capacity: 10,
            bytes_max: 1 << 20,
            high_water: 8,
        };
        let context = WriterContext {
            queue: Arc::new(Queue::new(limits)),
            metrics: Metrics::new(&Registry::new(), &[]),
            health: Health::new(clock.clone()),
            clock,
            abandon: Arc::new(AtomicBool::new(false)),
        };
        let retention = RetentionConfig {
            revisions,
            ..RetentionConfig::default()
        };
        let storage = StorageConfig {
            max_bytes: max_bytes.map(ByteSize::bytes),
        };
        let large = |_: &std::path::Path| {
            Some(Volume {
                total: 1 << 40,
                available: 1 << 39,
            })
        };
        let directory = self.dir.path().to_owned();
        let mut maintenance = Maintenance::with_volume(retention, &storage, directory, large);
        for _ in 0..10_000 {
            let step = maintenance.step(&mut self.conn, &mut self.applier, &context);
            if !matches!(step, Step::Busy) {
                return;
            }
        }
        panic!("the clean-up does not end");
    }
}

fn stored(kind: &Arc<TrackedKind>, object: &Value) -> Value {
    let mut tracker = Tracker::new(kind.clone(), key());
    let reading = tracker.applied(&object.to_string(), Origin::Live, Timestamp::EPOCH);
    let TrackedEvent::Applied(object) = tracker.emit(reading.unwrap()) else {
        panic!("an object exists");
    };
    serde_json::from_str(object.content.unwrap().body.as_str()).unwrap()
}

const ODD_KEYS: [&str; 12] = [
    "", "a.b", "~", "/", "~1", "#", "name", "ключ", "a\"b\\", "0", "null", "🦀",
];

fn labels(rng: &mut Rng) -> Value {
    let keys = ["app", "example.com/tier", "0", "a.b"];
    let labels = (0..rng.below(4)).map(|n| (keys[n as usize], rng.below(3).to_string()));
    json!(labels.collect::<BTreeMap<_, _>>())
}

/// Lists in any order, some with repeated keys, some empty.
fn deployment_spec(rng: &mut Rng) -> Value {
    let container = |rng: &mut Rng| {
        let env: Vec<Value> = (0..rng.below(5))
            .map(|_| json!({"name": format!("E{}", rng.below(4)), "value": rng.below(3).to_string()}))
            .collect();
        let args: Vec<String> = (0..rng.below(3))
            .map(|_| rng.below(3).to_string())
            .collect();
        json!({"name": format!("c{}", rng.below(3)), "image": format!("i:{}", rng.below(3)), "env": env, "args": args})
    };
    let containers: Vec<Value> = (0..=rng.below(3)).map(|_| container(rng)).collect();
    let volumes: Vec<Value> = (0..rng.below(3))
        .map(|_| json!({"name": format!("v{}", rng.below(3)), "emptyDir": {}}))
        .collect();
    json!({"replicas": rng.below(4), "template": {"spec": {"containers": containers, "volumes": volumes}}})
}

/// Another number or order, as most edits are.
fn small_edit(rng: &mut Rng, spec: &mut Value) {
    if rng.below(2) == 0 {
        spec["replicas"] = rng.below(100).into();
    } else if let Value::Array(containers) = &mut spec["template"]["spec"]["containers"] {
        containers.reverse();
    }
}

fn any_value(rng: &mut Rng, depth: u64) -> Value {
    let most = if depth == 0 { 6 } else { 10 };
    match rng.below(most) {
        0 => Value::Null,
        1 => json!(rng.below(2) == 0),
        2 => json!(rng.below(3).to_string()),
        3 => json!(rng.below(3)),
        4 => json!([1.5, -1.0, 1e30, 0.1][rng.below(4) as usize]),
        5 => json!(ODD_KEYS[rng.below(12) as usize]),
        6 => (0..rng.below(4))
            .map(|_| any_value(rng, depth - 1))
            .collect(),
        7 => {
            let element = |rng: &mut Rng| json!({"name": rng.below(3).to_string(), "x": any_value(rng, depth - 1)});
            (0..rng.below(4)).map(|_| element(rng)).collect()
        }
        _ => {
            let field = |rng: &mut Rng| {
                (
                    ODD_KEYS[rng.below(12) as usize].to_owned(),
                    any_value(rng, depth - 1),
                )
            };
            Value::Object((0..rng.below(5)).map(|_| field(rng)).collect())
        }
    }
}

/// Answers that were compared with the truth.
#[derive(Debug, Default)]
struct Compared {
    exact: u64,
    /// One of several, and the truth is one of them.
    one_of: u64,
    /// The state was not received, or its revision was thinned; the answer does not claim to be exact.
    not_recorded: u64,
    /// Before the oldest revision that is left.
    trimmed: u64,
}

fn compare(world: &World, keep: Duration, compared: &mut Compared) {
    let reader = Reader::open(&world.data.database(), Duration::from_secs(30)).unwrap();
    let plain =
        Connection::open_with_flags(world.data.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let mut states = plain.prepare(&documented("states")).unwrap();
    let mut rebuild = plain.prepare(&documented("rebuild")).unwrap();
    let mut rebuilt: BTreeMap<i64, Value> = BTreeMap::new();
    for ((kind, name), truth) in &world.truth {
        let found = plain.query_row(
            "SELECT o.id, (SELECT min(at_ms) FROM revision r WHERE r.id >> 24 = o.id) FROM tracked_object o \
             JOIN tracked_kind k ON k.id = o.kind WHERE k.kind = ?1 AND o.name = ?2",
            (&*world.kinds[*kind].kind, name),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        );
        let (object, oldest) = match found {
            Ok(found) => found,
            Err(error) => {
                // Deleted before the retention of revisions, or never received.
                let last = truth.last().unwrap();
                let is_expired = last.body.is_null() && world.now.since(last.at) >= keep;
                let is_new = truth.iter().all(|state| !state.is_received);
                assert!(is_expired || is_new, "{name}: {error}");
                continue;
            }
        };
        for (n, state) in truth.iter().enumerate() {
            let next = truth.get(n + 1).map_or(world.now, |next| next.at);
            let middle = (state.at.millis() + next.millis()) / 2;
            let last = (next.millis() - 1).max(state.at.millis());
            for at in [state.at.millis(), middle, last] {
                let answer = reader
                    .states_at(object, Timestamp::from_millis(at))
                    .unwrap();
                let found: Vec<(i64, bool)> = states
                    .query_map((object, at), |row| Ok((row.get(0)?, row.get("in_gap")?)))
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                let ids: Vec<i64> = found.iter().map(|(id, _)| *id).collect();
                let in_gap = found.first().is_some_and(|(_, in_gap)| *in_gap);
                assert_eq!(answer.in_gap, in_gap, "{name} at {at}");
                let of_reader: Vec<i64> = answer
                    .states
                    .iter()
                    .map(|state| object << 24 | state.number)
                    .collect();
                assert_eq!(ids, of_reader, "{name} at {at}");
                let bodies: Vec<Value> = answer
                    .states
                    .iter()
                    .map(|state| match &state.body {
                        Some(body) => serde_json::from_str(&body.to_text()).unwrap(),
                        None => Value::Null,
                    })
                    .collect();
                for (id, body) in ids.iter().zip(&bodies) {
                    let by_sql = rebuilt.entry(*id).or_insert_with(|| {
                        let text: Option<String> =
                            rebuild.query_row([id], |row| row.get(0)).unwrap();
                        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
                    });
                    assert_eq!(by_sql, body, "{name} {id}");
                }
                let is_found = bodies.contains(&state.body);
                let is_in_gap = world.gaps.iter().any(|(of, from, to)| {
                    **of == *world.kinds[*kind].kind && (*from..*to).contains(&at)
                });
                assert!(
                    answer.in_gap || !is_in_gap || ids.is_empty(),
                    "{name} at {at}"
                );
                if answer.is_exact {
                    assert!(
                        is_found,
                        "{name} at {at}, state {n} of {}: {}\n{answer:?}",
                        truth.len(),
                        state.body
                    );
                    compared.exact += 1;
                } else if is_found {
                    compared.one_of += 1;
                } else if at < oldest {
                    compared.trimmed += 1;
                } else {
                    let is_thinned = answer.states.iter().any(|state| state.left_out > 0);
                    assert!(
                        is_thinned || !state.is_received,
                        "{name} at {at}, state {n} of {}: {}\n{answer:?}",
                        truth.len(),
                        state.body
                    );
                    compared.not_recorded += 1;
                }
            }
        }
    }
}

#[test]
fn documented_statements_are_those_of_the_reader() {
    assert_eq!(documented("rebuild"), REBUILD);
    assert_eq!(documented("states"), STATES);
}

#[test]
fn state_in_a_gap_is_not_certain_however_many_gaps_follow() {
    let mut world = World::new();
    let object = |version: u64| {
        json!({
            "metadata": {"name": "web", "namespace": "team-0", "uid": "u", "resourceVersion": version.to_string()},
            "spec": {"replicas": 1},
        })
    };
    let item = world.read(0, &object(101), Origin::Live);
    world.commit(&[item]);
    let seconds = |n: u64| Duration::from_secs(n);
    let first = world.now;
    let answer = |world: &World, at: Timestamp| {
        let reader = Reader::open(&world.data.database(), seconds(30)).unwrap();
        let states = reader.states_at(1, at).unwrap();
        assert_eq!(states.states.len(), 1, "{states:?}");
        (states.is_exact, states.in_gap)
    };
    // It is the same at the end of each, and was perhaps another in between.
    for n in 0..600 {
        world.now = first.plus(seconds(1_000 * (n + 1)));
        world.version = 200 + n;
        let id = (0, "web".to_owned());
        world.current.insert(id, object(world.version));
        world.list(RelistCause::Expired);
        let marker = SourceMarker::Confirmed {
            version: world.version.to_string(),
            at: world.now.plus(seconds(100)),
        };
        let watch = world.watches[0];
        world.commit(&[Item::Marker { watch, marker }]);
    }
    let kept =
        world.number("SELECT max(n) FROM (SELECT count(*) AS n FROM watch_gap GROUP BY kind)");
    assert_eq!(kept, 500);
    for n in [0, 1, 100, 599] {
        let in_gap = first.plus(seconds(1_000 * n + 500));
        assert_eq!(answer(&world, in_gap), (false, true), "{n}");
    }
    for n in [598, 599] {
        let after = first.plus(seconds(1_000 * (n + 1) + 50));
        assert_eq!(answer(&world, after), (true, false), "{n}");
    }
    // One that is open.
    let begun = world.now.plus(seconds(500));
    let marker = SourceMarker::Init {
        list_generation: 0,
        cause: RelistCause::Expired,
        at: begun,
    };
    let watch = world.watches[0];
    world.commit(&[Item::Marker { watch, marker }]);
    assert_eq!(answer(&world, begun), (false, true));
    assert_eq!(answer(&world, world.now.plus(seconds(50))), (true, false));
}

#[test]
fn state_after_the_last_heartbeat_of_a_recorder_that_is_not_running_is_not_certain() {
    let mut world = World::new();
    let object = json!({
        "metadata": {"name": "web", "namespace": "team-0", "uid": "u", "resourceVersion": "101"},
        "spec": {"replicas": 1},
    });
    let item = world.read(0, &object, Origin::Live);
    world.commit(&[item]);
    let first = world.now;
    let after = |seconds: u64| first.plus(Duration::from_secs(seconds));
    let is_exact = |world: &World, at: Timestamp| {
        let reader = Reader::open(&world.data.database(), Duration::from_secs(30)).unwrap();
        reader.states_at(1, at).unwrap().is_exact
    };
    let alive = |heartbeat: Timestamp, stopped: Option<Timestamp>| {
        let sql = "INSERT OR REPLACE INTO recorder_status (id, version, started_ms, heartbeat_ms, stopped_ms, queue_rows, \
                   dropped, detail) VALUES (1, '0', 0, ?1, ?2, 0, 0, '{}')";
        let times = (heartbeat.millis(), stopped.map(Timestamp::millis));
        world.conn.execute(sql, times).unwrap();
    };
    // The real time is much later: it was killed.
    alive(after(60), None);
    assert!(is_exact(&world, after(60)));
    assert!(!is_exact(&world, after(61)));
    alive(after(60), Some(after(65)));
    assert!(is_exact(&world, after(65)));
    assert!(!is_exact(&world, after(66)));
    // It is running: its next heartbeat is not due.
    let far = Timestamp::from_secs(1 << 33);
    alive(far, None);
    assert!(is_exact(&world, far.plus(Duration::from_secs(9))));
}

#[test]
fn every_object_is_found_as_it_was_at_every_time() {
    let edits = setting("KUBE9_EDITS", EDITS);
    let mut rng = Rng(setting("KUBE9_SEED", 21));
    let names = (edits / 50).clamp(10, 200);
    // Half of the time that the edits take.
    let keep = Duration::from_secs(edits * 12);
    let mut world = World::new();
    let (mut compared, mut gaps, mut kills) = (Compared::default(), 0, 0);
    for edit in 1..=edits {
        world.now = world.now.plus(Duration::from_secs(1 + rng.below(40)));
        world.edit(&mut rng, names);
        if world.is_down {
            if rng.below(8) > 0 {
                continue;
            }
            world.start();
            // A minute later everything is received, or the position is void and a list shows what is left.
            world.now = world.now.plus(Duration::from_secs(60));
            let pending = std::mem::take(&mut world.pending);
            if rng.below(2) == 0 {
                gaps += 1;
                world.list(RelistCause::Expired);
                world.note_gap();
                let all: Vec<(usize, String)> = pending
                    .iter()
                    .map(|change| (change.kind, change.name.clone()))
                    .collect();
                for id in all {
                    world
                        .truth
                        .get_mut(&id)
                        .unwrap()
                        .last_mut()
                        .unwrap()
                        .is_received = true;
                }
            } else {
                for change in &pending {
                    let item = world.read_pending(change, Origin::Watch);
                    world.commit(&[item]);
                }
                for change in &pending {
                    world.received(change);
                }
                for kind in 0..2 {
                    let marker = SourceMarker::Confirmed {
                        version: world.version.to_string(),
                        at: world.now,
                    };
                    let watch = world.watches[kind];
                    world.commit(&[Item::Marker { watch, marker }]);
                }
            }
        } else {
            let change = world.pending.pop().unwrap();
            let item = world.read_pending(&change, Origin::Live);
            match rng.below(40) {
                0 => {
                    world.fail(&[item]);
                    kills += 1;
                    world.pending.push(change);
                    world.is_down = true;
                    continue;
                }
                1..3 => {
                    world.fail(std::slice::from_ref(&item));
                    world.commit(&[item]);
                }
                _ => world.commit(&[item]),
            }
            world.received(&change);
        }
        if rng.below(100) == 0 {
            world.start();
        }
        if edit % (edits / 6).max(1) == 0 && !world.is_down {
            // Once the file is full.
            let is_full = edit == edits / 6 * 3;
            let used = world
                .number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
            world.clean(keep, is_full.then_some(used.cast_unsigned()));
            compare(&world, keep, &mut compared);
        }
    }
    println!("{edits} edits of {names} objects, {gaps} gaps, {kills} kills: {compared:?}");
    println!(
        "{} revisions, {} patches, {} bytes, {} thinned, {} rows",
        world.number("SELECT count(*) FROM revision"),
        world.number("SELECT count(*) FROM revision WHERE is_patch"),
        world.number("SELECT sum(octet_length(body)) FROM revision"),
        world.number("SELECT count(*) FROM revision WHERE left_out > 0"),
        world.number("SELECT count(*) FROM event WHERE extra ->> 'op' IS NOT NULL"),
    );
    assert!(gaps > 0 && kills > 0, "{gaps} gaps, {kills} kills");
    let kept = compared.exact + compared.one_of + compared.not_recorded;
    assert!(compared.exact * 2 > kept, "{compared:?}");
    assert!(compared.one_of > 0, "{compared:?}");
    assert!(compared.trimmed > 0, "{compared:?}");
    assert!(compared.not_recorded * 5 < kept, "{compared:?}");
}
