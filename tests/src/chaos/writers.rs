//! Four hostile writers against the change history: the recorder in a memory cgroup with the chart's limit, and changes and
//! Events of another namespace meanwhile, each of which must be recorded.
//!
//! ```text
//!   huge-values   ConfigMaps of 1 MiB          ┐
//!   many-fields   1,000 variables each         ├─▶ API server ─▶ recorder (cgroup of 128 MiB) ─▶ kube9.db
//!   new-names     deep custom resources        │
//!   same-object   one object, ever new labels  ┘   ◀── shop: changes and Events that are compared afterwards
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use super::tenant::{Cgroup, LIMIT};
use crate::apiserver::{ApiServer, Config, Kind, Store};
use crate::generator::Rng;
use crate::recorder::Setup;

/// Writes of each writer per second.
const WRITES_A_SECOND: u32 = 20;

/// Events of the other namespace per second.
const EVENTS_A_SECOND: u32 = 40;

/// Its objects of each kind; one of them changes each second.
const OTHERS: usize = 40;

/// Limit of the database, in MiB.
const DATABASE_MIB: u64 = 64;

/// Used bytes may exceed the limit while a clean-up runs, and the write-ahead log comes on top of it.
const FILES_MIB_MAX: f64 = DATABASE_MIB as f64 + 128.0;

/// After the last write everything is recorded within this time.
const DRAIN: Duration = Duration::from_secs(240);

/// A writer: its namespace, and its n-th write.
type Writer = (
    &'static str,
    fn(&Store, &str, &mut Rng, u64) -> Result<(), crate::apiserver::Status>,
);

const WRITERS: [Writer; 4] = [
    ("huge-values", huge_values),
    ("many-fields", many_fields),
    ("new-names", new_names),
    ("same-object", same_object),
];

/// Text that compresses badly.
fn text(rng: &mut Rng, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.push_str(&format!("{:016x}", rng.draw()));
    }
    text
}

fn meta(namespace: &str, name: &str) -> Value {
    json!({ "namespace": namespace, "name": name })
}

fn huge_values(
    store: &Store,
    namespace: &str,
    rng: &mut Rng,
    n: u64,
) -> Result<(), crate::apiserver::Status> {
    let (values, bytes) = match n % 3 {
        0 => (1, 1 << 20),
        1 => (16, 60 << 10),
        _ => (900, 1 << 10),
    };
    let part = text(rng, 1 << 10);
    let data: Map<String, Value> = (0..values)
        .map(|key| {
            (
                format!("key-{key}-{}", n % 7),
                json!(part.repeat(bytes >> 10)),
            )
        })
        .collect();
    let object = json!({ "metadata": meta(namespace, &format!("map-{}", n % 10)), "data": data });
    store.apply(Kind::ConfigMap, object).map(drop)
}

fn many_fields(
    store: &Store,
    namespace: &str,
    rng: &mut Rng,
    n: u64,
) -> Result<(), crate::apiserver::Status> {
    let env: Vec<Value> = (0..1_000)
        .map(|key| json!({ "name": format!("VARIABLE_{key}"), "value": rng.below(5).to_string() }))
        .collect();
    let containers =
        json!([{ "name": "app", "image": format!("registry.example.com/a:{n}"), "env": env }]);
    let object = json!({
        "metadata": meta(namespace, &format!("web-{}", n % 10)),
        "spec": { "replicas": n % 5, "template": { "metadata": { "labels": { "app": "a" } }, "spec": { "containers": containers } } },
    });
    store.apply(Kind::Deployment, object).map(drop)
}

fn new_names(
    store: &Store,
    namespace: &str,
    rng: &mut Rng,
    n: u64,
) -> Result<(), crate::apiserver::Status> {
    let mut spec = json!(text(rng, 100));
    for depth in 0..100 {
        spec = match depth % 3 {
            0 => json!([spec, depth]),
            _ => json!({ format!("field-{}", rng.below(1_000)): spec, "other": text(rng, 200) }),
        };
    }
    let object =
        json!({ "metadata": meta(namespace, &format!("widget-{n}")), "spec": { "config": spec } });
    store.apply(Kind::Widget, object)?;
    if n >= 500 {
        store.delete(Kind::Widget, namespace, &format!("widget-{}", n - 500))?;
    }
    Ok(())
}

fn same_object(
    store: &Store,
    namespace: &str,
    rng: &mut Rng,
    n: u64,
) -> Result<(), crate::apiserver::Status> {
    let labels: Map<String, Value> = (0..20)
        .map(|key| (format!("label-{n}-{key}"), json!(text(rng, 40))))
        .collect();
    let object = json!({
        "metadata": { "namespace": namespace, "name": "one", "labels": labels },
        "spec": { "selector": { "app": format!("a-{n}") }, "ports": [{ "port": 1 + n % 60_000 }] },
    });
    store.apply(Kind::Service, object).map(drop)
}

/// The n-th change of the other namespace; its value is found in a row.
fn change(store: &Store, n: usize) -> Result<String, crate::apiserver::Status> {
    let value = format!("changed-{n}");
    let (kind, path) = [
        (Kind::ConfigMap, "labels"),
        (Kind::Deployment, "labels"),
        (Kind::Service, "annotations"),
        (Kind::Widget, "labels"),
    ][n % 4];
    let name = format!("shop-{}", n / 4 % OTHERS);
    store.modify(kind, "shop", &name, |object| {
        object["metadata"][path]["example.com/version"] = json!(value);
    })?;
    Ok(value)
}

fn event(store: &Store, n: u64) -> Result<(), crate::apiserver::Status> {
    let now = kube9_base::clock::Clock::system().now().to_string();
    let event = json!({
        "metadata": { "name": format!("other.{n}"), "namespace": "shop" },
        "involvedObject": { "kind": "Pod", "namespace": "shop", "name": format!("web-{}", n % 50) },
        "reason": "Probe", "message": format!("number {n}"), "type": "Normal", "count": 1,
        "firstTimestamp": now, "lastTimestamp": now, "source": { "component": "kubelet" },
    });
    store.create(Kind::Event, event).map(drop)
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Accepted writes, by writer.
    pub writes: Vec<(&'static str, u64)>,
    pub seconds: f64,
    /// How long the rest took after the last write.
    pub drained: f64,
    pub kills: u32,
    /// Peak of the cgroup (with page cache) and of the process, in MiB.
    pub group_peak: f64,
    pub resident_peak: f64,
    /// Resident memory at the end.
    pub resident: f64,
    /// CPU of the recorder, in seconds.
    pub cpu: f64,
    /// Changes of the other namespace: made, and without a row.
    pub changes: usize,
    pub changes_missing: Vec<String>,
    pub events: u64,
    pub events_recorded: i64,
    /// Largest sum of the database's files, in MiB.
    pub files_peak: f64,
    /// Rows and revisions of each namespace at the end.
    pub held: Vec<String>,
    pub metrics: Vec<String>,
    /// Namespaces of writers that the status names as those whose changes are folded.
    pub named: BTreeSet<&'static str>,
    /// Gaps in the record.
    pub gaps: i64,
}

impl Outcome {
    /// Nothing of others is missing, and all limits hold.
    pub fn is_clean(&self) -> bool {
        self.kills == 0
            && self.changes_missing.is_empty()
            && self.events_recorded == self.events as i64
            && self.resident_peak <= (LIMIT >> 20) as f64
            && self.files_peak <= FILES_MIB_MAX
            && self.named.len() == WRITERS.len()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_clean() { "ok" } else { "LOST" };
        writeln!(f, "{word}: {:.0} s, {:?}", self.seconds, self.writes)?;
        writeln!(
            f,
            "  memory: resident peak {:.1} MiB, at the end {:.1}, cgroup peak {:.1} of {} MiB, kills {}; CPU {:.0} s",
            self.resident_peak,
            self.resident,
            self.group_peak,
            LIMIT >> 20,
            self.kills,
            self.cpu,
        )?;
        writeln!(
            f,
            "  others: {} of {} changes without a row {:?}; Events {} of {}; gaps {}; recorded {:.1} s after the last write",
            self.changes_missing.len(),
            self.changes,
            self.changes_missing.iter().take(5).collect::<Vec<_>>(),
            self.events_recorded,
            self.events,
            self.gaps,
            self.drained,
        )?;
        writeln!(
            f,
            "  database: files at most {:.1} MiB, limit {DATABASE_MIB} MiB",
            self.files_peak
        )?;
        writeln!(f, "  status names: {:?}", self.named)?;
        for line in self.held.iter().chain(&self.metrics) {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

struct Recorder {
    child: Child,
    outcome: Outcome,
    group: Cgroup,
}

impl Recorder {
    fn start(program: &Path, folder: &Path, group: Cgroup) -> anyhow::Result<Self> {
        let log = File::create(folder.join("recorder.log"))?;
        // The shell enters the cgroup before `exec`, so that all memory of the recorder counts.
        let child = Command::new("sh")
            .args(["-c", "echo $$ >\"$1\" && exec \"$2\" --config \"$3\"", "sh"])
            .arg(group.processes())
            .arg(program)
            .arg(folder.join("recorder.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            child,
            outcome: Outcome::default(),
            group,
        })
    }

    fn measure(&mut self, setup: &Setup) -> anyhow::Result<()> {
        if let Some(ended) = self.child.try_wait()? {
            ensure!(ended.signal() == Some(9), "the recorder ended with {ended}");
            self.outcome.kills += 1;
            anyhow::bail!("the recorder was killed: {:?}", self.outcome);
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
            number.unwrap_or(0.0) / 1024.0
        };
        let outcome = &mut self.outcome;
        outcome.resident = mib("VmRSS:");
        outcome.resident_peak = outcome.resident_peak.max(mib("VmHWM:"));
        outcome.group_peak = self.group.peak();
        let path = setup.database();
        let files: u64 = ["", "-wal", "-shm"]
            .iter()
            .filter_map(|suffix| fs::metadata(format!("{}{suffix}", path.display())).ok())
            .map(|file| file.len())
            .sum();
        outcome.files_peak = outcome.files_peak.max(files as f64 / f64::from(1 << 20));
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(id, Signal::TERM);
        }
        let until = Instant::now() + Duration::from_secs(40);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs `program` for `time` in `folder`.
///
/// # Errors
/// It cannot run, or the recorder was killed.
pub fn run(program: &Path, time: Duration, seed: u64, folder: &Path) -> anyhow::Result<Outcome> {
    fs::create_dir_all(folder)?;
    let group = Cgroup::new(LIMIT).context("cannot create a memory cgroup")?;
    let server = ApiServer::start(Config {
        every_kind: true,
        // Objects of 1 MiB: five minutes of them would be gigabytes of this process.
        compaction_interval: Some(Duration::from_secs(100)),
        ..Config::default()
    })?;
    for kind in [
        Kind::ConfigMap,
        Kind::Deployment,
        Kind::Service,
        Kind::Widget,
    ] {
        for n in 0..OTHERS {
            let object = json!({
                "metadata": { "namespace": "shop", "name": format!("shop-{n}"),
                    "labels": { "app": "shop" }, "annotations": { "example.com/team": "shop" } },
            });
            let created = server.store().create(kind, object);
            created.map_err(|status| anyhow::anyhow!("{status:?}"))?;
        }
    }
    let mut setup = Setup::new(&server, folder, "")?;
    let place: Vec<&str> = setup.yaml.lines().take(3).collect();
    setup.yaml = format!(
        "{}\nlog: {{format: text}}\nchanges: {{resources: [example.com/v1/widgets]}}\nstorage: {{max_bytes: {DATABASE_MIB}Mi}}\n",
        place.join("\n")
    );
    setup.config().context("the configuration")?;
    fs::write(folder.join("recorder.yaml"), &setup.yaml)?;
    let mut recorder = Recorder::start(program, folder, group)?;
    let listed = "SELECT count(*) FROM tracked_object WHERE namespace = 'shop'";
    let begun = Instant::now();
    while setup.number(listed).unwrap_or(0) < 4 * OTHERS as i64 {
        ensure!(
            begun.elapsed() < DRAIN,
            "the recorder does not list: {:?}",
            setup.health()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let is_over = AtomicBool::new(false);
    let counts: [AtomicU64; 4] = Default::default();
    let (mut made, mut events) = (Vec::new(), 0);
    let begun = Instant::now();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for (n, (namespace, write)) in WRITERS.iter().enumerate() {
            let (store, is_over, count) = (server.store().clone(), &is_over, &counts[n]);
            scope.spawn(move || {
                let mut rng = Rng::new(seed + n as u64);
                let begun = Instant::now();
                let mut written = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    let due = begun.elapsed().as_secs_f64() * f64::from(WRITES_A_SECOND);
                    if written as f64 <= due && write(&store, namespace, &mut rng, written).is_ok()
                    {
                        written += 1;
                        count.store(written, Ordering::Relaxed);
                    } else {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
        let mut measured = Instant::now();
        let honest = loop {
            let passed = begun.elapsed();
            if passed >= time {
                break Ok(());
            }
            if (made.len() as f64) < passed.as_secs_f64() {
                let value = change(server.store(), made.len());
                made.push(value.map_err(|status| anyhow::anyhow!("{status:?}"))?);
            }
            if (events as f64) < passed.as_secs_f64() * f64::from(EVENTS_A_SECOND)
                && event(server.store(), events).is_ok()
            {
                events += 1;
            }
            if measured.elapsed() >= Duration::from_secs(1) {
                measured = Instant::now();
                if let Err(error) = recorder.measure(&setup) {
                    break Err(error);
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        is_over.store(true, Ordering::Relaxed);
        honest
    })?;
    let ended = Instant::now();
    recorder.outcome.seconds = begun.elapsed().as_secs_f64();
    recorder.outcome.writes = (WRITERS.iter().zip(&counts))
        .map(|((name, _), count)| (*name, count.load(Ordering::Relaxed)))
        .collect();
    (recorder.outcome.changes, recorder.outcome.events) = (made.len(), events);
    loop {
        read_results(&setup, &made, &mut recorder.outcome)?;
        recorder.measure(&setup)?;
        let outcome = &recorder.outcome;
        if outcome.changes_missing.is_empty() && outcome.events_recorded >= events as i64
            || ended.elapsed() > DRAIN
        {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    recorder.outcome.drained = ended.elapsed().as_secs_f64();
    describe(&setup, &recorder.child, &mut recorder.outcome)?;
    let outcome = std::mem::take(&mut recorder.outcome);
    Ok(outcome)
}

fn read_results(setup: &Setup, made: &[String], outcome: &mut Outcome) -> anyhow::Result<()> {
    let values = setup.column(
        "SELECT DISTINCT f.value ->> 'to' FROM events e, json_each(e.metadata, '$.fields') f \
         WHERE e.object_namespace = 'shop' AND e.metadata ->> 'op' = 'changed'",
    )?;
    let found: BTreeSet<&str> = values.iter().map(String::as_str).collect();
    let missing = made.iter().filter(|value| !found.contains(value.as_str()));
    outcome.changes_missing = missing.cloned().collect();
    let sql = "SELECT ifnull(sum(occurrences), 0) FROM event e JOIN event_class r ON r.id = e.class WHERE r.reason = 'Probe'";
    outcome.events_recorded = setup.number(sql).unwrap_or(0);
    Ok(())
}

fn describe(setup: &Setup, child: &Child, outcome: &mut Outcome) -> anyhow::Result<()> {
    let stat = fs::read_to_string(format!("/proc/{}/schedstat", child.id()))?;
    let main: f64 = stat
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    let mut cpu = main;
    for task in fs::read_dir(format!("/proc/{}/task", child.id()))? {
        let task = task?.path();
        let nanos = fs::read_to_string(task.join("schedstat"))?;
        if !task.ends_with(child.id().to_string()) {
            cpu += nanos
                .split(' ')
                .next()
                .and_then(|n| n.parse::<f64>().ok())
                .unwrap_or(0.0);
        }
    }
    outcome.cpu = cpu / 1e9;
    outcome.gaps = setup
        .number("SELECT count(*) FROM events WHERE title = 'Recording gap'")
        .unwrap_or(0);
    outcome.held = setup.column(
        "SELECT o.namespace || ': ' || count(DISTINCT o.id) || ' objects, ' || count(r.id) || ' states of ' || \
         sum(ifnull(octet_length(r.body), 0)) / 1024 || ' KiB' FROM tracked_object o \
         LEFT JOIN revision r ON r.id >> 24 = o.id GROUP BY o.namespace ORDER BY o.namespace",
    )?;
    let rows = setup.column(
        "SELECT ifnull(object_namespace, '-') || ': ' || count(*) || ' rows' FROM events GROUP BY object_namespace ORDER BY object_namespace",
    )?;
    outcome.held.extend(rows);
    let metrics = setup.metrics().into_iter();
    let chosen = metrics.filter(|(name, value)| {
        let is_chosen = ["tracked", "changes", "revision", "dropped", "evict"]
            .iter()
            .any(|word| name.contains(word));
        is_chosen && *value != 0.0 && !name.contains("bucket")
    });
    outcome.metrics = chosen
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let named = setup.column(
        "SELECT f.value ->> 'namespace' FROM recorder_status, json_each(detail, '$.tracking.folded') f",
    )?;
    for (namespace, _) in WRITERS {
        if named.iter().any(|name| name == namespace) {
            outcome.named.insert(namespace);
        }
    }
    Ok(())
}
