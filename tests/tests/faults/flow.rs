//! More items than the queue can hold.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::Health;
use kube9_base::relist::RelistSignal;
use kube9_ingest::filter::{Filter, SeverityOverrides};
use kube9_ingest::item::Item;
use kube9_ingest::owners::Owners;
use kube9_ingest::sanitize::sanitize;
use kube9_k8s::api::Api;
use kube9_k8s::config::KubeConfig;
use kube9_k8s::connect::connect;
use kube9_k8s::resource::ApiResource;
use kube9_k8s::watch_status::{FirstSync, WatchStatus};
use kube9_k8s::watcher::{ServerHistory, Watcher};
use kube9_model::label::Kind as Watched;
use kube9_model::record::{Occurred, Record};
use kube9_model::{EventType, Severity};
use kube9_recorder::events::EventConsumer;
use kube9_recorder::events::EventIngest;
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_store::context::WriterContext;
use kube9_store::open::DataDir;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::writer::{Ended, Writer};
use kube9_tests::apiserver::Kind;
use kube9_tests::chaos::DeletedEvents;
use kube9_tests::clock::Micros;
use kube9_tests::recorder::wait_until;
use serde_json::json;

use super::harness::Harness;

/// `kube9-chaos --burst 100000` is the same with more.
#[test]
fn burst_larger_than_queue_loses_nothing() {
    const EVENTS: usize = 20_000;
    let harness = Harness::with("");
    let recorder = harness.start();
    harness.wait("ready", || harness.is_healthy());
    harness.create_many("burst", EVENTS);
    harness.wait_stored(EVENTS as i64);
    assert_eq!(harness.metric("kube9_events_dropped_total"), 0.0);
    recorder.stop().unwrap();
    harness.assert_complete();
}

const CAPACITY: usize = 200;
const BYTES_MAX: usize = 1 << 20;

/// The recorder's parts, wired as in `tasks`, with a queue that the test can access as a producer that cannot wait.
struct Parts {
    harness: Harness,
    shared: WriterContext,
    metrics: Arc<Metrics>,
    source: tokio::task::JoinHandle<()>,
    writer: std::thread::JoinHandle<Ended>,
    runtime: tokio::runtime::Runtime,
}

impl Parts {
    fn new() -> Self {
        let harness = Harness::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = harness.setup.config().unwrap();
        let clock = Clock::system();
        let metrics = Metrics::new(&Rules::default());
        let shared = WriterContext {
            queue: Arc::new(Queue::new(QueueLimits {
                capacity: CAPACITY,
                bytes_max: BYTES_MAX,
                high_water: CAPACITY * 8 / 10,
            })),
            metrics: metrics.store.clone(),
            health: Health::new(clock.clone()),
            clock: clock.clone(),
            abandon: Arc::new(AtomicBool::new(false)),
        };
        let data = DataDir::lock(&config.data_dir).unwrap();
        let mut writer = Writer::open(
            data,
            config.writer.clone(),
            config.retention.clone(),
            &config.storage,
            shared.clone(),
        )
        .unwrap();
        let relist = Arc::new(RelistSignal::default());
        let (watch, start) = writer
            .register("cluster", "Event", "", relist.clone())
            .unwrap();
        let kube = KubeConfig {
            kubeconfig: config.kube.kubeconfig.clone(),
            ..KubeConfig::default()
        };
        let cluster = runtime
            .block_on(connect(&kube, Duration::from_secs(5)))
            .unwrap();
        let check = shared.health.check("watch/Event", None);
        let ingest = EventIngest {
            queue: shared.queue.clone(),
            filter: Arc::new(Filter::new(&[]).unwrap()),
            overrides: Arc::new(SeverityOverrides::default()),
            metrics: metrics.clone(),
            clock: clock.clone(),
            owners: Owners::default(),
            throttle: Arc::default(),
        };
        let times = &config.source;
        let consumer = EventConsumer::new(watch, ingest, &start, times.page_size, times.event_ttl);
        let source = Watcher {
            api: Api::new(cluster.client),
            resource: ApiResource::of(Watched::Event),
            namespace: String::new(),
            max_wait: config.queue.max_wait,
            relist,
            history: ServerHistory::default(),
            clock: clock.clone(),
            status: WatchStatus::new(
                metrics.k8s.clone(),
                check,
                Watched::Event,
                clock,
                FirstSync::new(1, shared.health.clone()),
            ),
            config: config.source,
            consumer,
        };
        Self {
            harness,
            shared,
            metrics,
            source: runtime.spawn(source.run(start)),
            writer: std::thread::spawn(move || writer.run()),
            runtime,
        }
    }

    /// A row of kube9 from a producer that does not wait.
    fn flood(&self, n: usize) {
        let now = self.shared.clock.now();
        let row = Record {
            event_type: EventType::Cluster,
            severity: Severity::Info,
            title: "Flood".to_owned(),
            description: format!("Row {n} of a producer that cannot wait."),
            object: None,
            api_group: String::new(),
            owner: None,
            reason: "Flood".to_owned(),
            component: "kube9".to_owned(),
            container: String::new(),
            kube_type: String::new(),
            node: None,
            extra: serde_json::Map::new(),
            occurred: Occurred::At(now),
        };
        let item = Item::Row(Box::new(sanitize(row)));
        push(&self.shared.queue, &self.shared.metrics, item, now);
        let (items, bytes) = self.shared.queue.size();
        assert!(items <= CAPACITY && bytes <= BYTES_MAX, "{items} {bytes}");
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            series
                .starts_with(name)
                .then(|| value.parse::<f64>().ok())?
        };
        text.lines().filter_map(of).sum::<f64>() as u64
    }

    fn says(&self, check: &str) -> String {
        let checks = self.shared.health.checks();
        let found = checks.into_iter().find(|found| found.name == check);
        found.map(|check| check.message).unwrap_or_default()
    }

    fn stop(self) -> Harness {
        self.source.abort();
        self.shared.queue.close();
        assert_eq!(self.writer.join().unwrap(), Ended::Drained);
        self.runtime.shutdown_background();
        self.harness
    }
}

#[test]
fn dropped_items_are_counted_and_recovered_or_leave_gap() {
    let parts = Parts::new();
    let (harness, number) = (&parts.harness, |sql: &str| parts.harness.setup.number(sql));
    harness.create("first");
    harness.wait_stored(1);

    // The database is blocked: the Events source fills the queue to its mark and waits; the flood does not wait.
    let holder = harness.setup.hold_the_database().unwrap();
    harness.create("in the writer's hands");
    assert!(wait_until(|| parts.says("database").contains("locked")));
    harness.create_many("meanwhile", 500);
    assert!(wait_until(|| !parts.shared.queue.is_ready()));
    assert_eq!(parts.metric("kube9_events_dropped_total"), 0);
    (0..2 * CAPACITY).for_each(|n| parts.flood(n));
    let events = parts.metric("kube9_queue_dropped_total{bound=\"rows\",item=\"event\"}");
    let rows = parts.metric("kube9_queue_dropped_total{bound=\"rows\",item=\"row\"}");
    assert!(events > 0 && rows > 0, "{events} Events, {rows} rows");
    assert_eq!(parts.metric("kube9_events_dropped_total"), events + rows);
    assert!(wait_until(|| parts.says("queue").contains("items dropped")));
    // One of the dropped Events is deleted before the next list, so it cannot be recovered.
    let gone = harness
        .server
        .store()
        .delete(Kind::Event, "shop", "meanwhile.000100")
        .unwrap();
    let deleted = DeletedEvents::from([(gone.uid.to_string(), Micros::now())]);

    drop(holder);
    assert!(wait_until(|| number("SELECT count(*) FROM dropped_range")
        == Some(0)
        && number(
            "SELECT count(*) FROM watch_state WHERE gap IS NOT NULL"
        ) == Some(0)
        && harness.stored() >= 500));
    assert!(wait_until(|| number(
        "SELECT count(*) FROM events WHERE title = 'Flood'"
    ) == Some(
        (2 * CAPACITY) as i64 - rows as i64
    )));
    let harness = parts.stop();
    harness.assert_complete_but(&deleted);

    let gaps = harness.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["cause"], "queue_overflow");
    assert_eq!(
        (&gaps[0]["recovery"], &gaps[0]["missing"]),
        (&json!("partial"), &json!(1))
    );
    let own = "SELECT metadata FROM events WHERE title = 'Recording gap' AND metadata ->> 'source' = 'kube9' \
               AND severity = 'error'";
    let own: Vec<serde_json::Value> = harness
        .setup
        .column(own)
        .unwrap()
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let lost: i64 = own.iter().map(|gap| gap["missing"].as_i64().unwrap()).sum();
    assert_eq!(lost, rows as i64, "{own:?}");
    assert!(own.iter().all(|gap| gap["recovery"] == json!("none")));
}
