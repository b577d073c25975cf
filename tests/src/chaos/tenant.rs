//! Attacks of a tenant who may edit one namespace: the shipped recorder in a memory cgroup with the chart's limit,
//! objects as large as the API server accepts, and Events of other namespaces meanwhile.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, Config, Kind};
use crate::recorder::Setup;

/// The memory limit of the recorder's container in the chart.
pub const LIMIT: u64 = 128 << 20;

/// Restarts of a killed recorder before the attack counts as lost.
const STARTS_MAX: u32 = 5;

/// Events of other namespaces per second.
const EVENTS_A_SECOND: u32 = 40;

/// The tenant's namespace.
const NAMESPACE: &str = "tenant";

/// Objects, generated one by one: an attack can have gigabytes.
type Objects = Box<dyn Iterator<Item = (Kind, Value)>>;

/// An attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    pub name: &'static str,
    /// Description.
    pub what: &'static str,
    objects: fn(round: usize) -> Objects,
    /// Whether the analysis must stay on in every namespace.
    ordinary: bool,
}

/// All attacks.
pub const ATTACKS: [Attack; 18] = [
    attack("configmaps", "60 ConfigMaps of 3,500 keys", config_maps),
    attack(
        "images",
        "60 Deployments, 25 images of 50,000 characters each",
        images,
    ),
    attack("ports", "50 Services of 4,000 ports", ports),
    attack("volumes", "40 Pods of 5,000 ConfigMap volumes", volumes),
    attack(
        "mix",
        "the four, and the variations that follow, together",
        mix,
    ),
    attack("largest", "300 Pods of 1.45 MiB", largest),
    attack("labels", "100 Pods of 4,000 labels", labels),
    attack(
        "selectors",
        "300 Services of 900 labels to select",
        selectors,
    ),
    attack("env", "60 Pods of 15,000 secret variables", env),
    attack("containers", "60 Pods of 1,000 containers", containers),
    attack(
        "messages",
        "300 Pods whose status is all messages",
        messages,
    ),
    attack(
        "owners",
        "3,000 Pods with an owner each and unpulled images",
        owners,
    ),
    attack(
        "escapes",
        "15 ConfigMaps of 1 MiB of control characters, 6 MiB as JSON",
        escapes,
    ),
    attack(
        "annotations",
        "200 ConfigMaps with 256 KiB of annotations",
        annotations,
    ),
    attack(
        "events",
        "150 Events of 1.4 MB, 10 of them 8.4 MB as JSON",
        events,
    ),
    attack("pods", "20,000 small Pods in one namespace", pods),
    attack("namespaces", "400 namespaces of 50 Pods each", namespaces),
    Attack {
        name: "honest",
        what: "no attack: 10,000 Pods and what belongs to them in 40 namespaces",
        objects: ordinary,
        ordinary: true,
    },
];

const fn attack(name: &'static str, what: &'static str, objects: fn(usize) -> Objects) -> Attack {
    Attack {
        name,
        what,
        objects,
        ordinary: false,
    }
}

/// The memory of one second, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Resident memory of the process.
    pub resident: f64,
    /// Memory of the cgroup, with page cache.
    pub group: f64,
}

/// Result of one attack.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub attack: Attack,
    /// Kills of the recorder.
    pub kills: u32,
    /// Time of the first kill, in seconds.
    pub first_kill: Option<f64>,
    /// Memory, second by second.
    pub samples: Vec<Sample>,
    /// Peak memory of the cgroup in MiB, as counted by the kernel.
    pub peak: f64,
    /// Peak resident memory of the process.
    pub resident_peak: f64,
    /// Written Events of other namespaces.
    pub sent: i64,
    pub recorded: i64,
    /// Metrics and health of the recorder at the end.
    pub self_report: String,
    /// Whether a finding about another namespace is open.
    pub others_are_analysed: bool,
    /// Namespaces without analysis.
    pub off: i64,
}

impl Outcome {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        self.kills == 0
            && self.sent == self.recorded
            && self.others_are_analysed
            && !(self.attack.ordinary && self.off > 0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<5} kills {}  peak {:>5.1} MiB (resident {:>5.1})  Events {}/{}  others analysed: {}  namespaces off: {}  {}",
            self.attack.name,
            if self.is_clean() { "ok" } else { "LOST" },
            self.kills,
            self.peak,
            self.resident_peak,
            self.recorded,
            self.sent,
            self.others_are_analysed,
            self.off,
            self.attack.what,
        )?;
        let mut line = String::new();
        for sample in &self.samples {
            write!(line, " {:.0}", sample.resident)?;
        }
        writeln!(f, "             resident MiB by second:{line}")?;
        if let Some(at) = self.first_kill {
            writeln!(f, "             first killed after {at:.1} s")?;
        }
        writeln!(f, "             {}", self.self_report)
    }
}

/// A memory cgroup (v1 or v2); removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    is_v1: bool,
}

impl Cgroup {
    /// Creates a cgroup with that limit.
    pub fn new(limit: u64) -> io::Result<Self> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let is_v1 = v1.join("memory.limit_in_bytes").exists();
        let root = if is_v1 {
            v1
        } else {
            Path::new("/sys/fs/cgroup")
        };
        let path = root.join(format!("kube9-tenant-{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Self { path, is_v1 };
        let file = if is_v1 {
            "memory.limit_in_bytes"
        } else {
            "memory.max"
        };
        fs::write(group.path.join(file), limit.to_string())?;
        Ok(group)
    }

    fn number(&self, v1: &str, v2: &str) -> f64 {
        let file = self.path.join(if self.is_v1 { v1 } else { v2 });
        let text = fs::read_to_string(file).unwrap_or_default();
        text.trim().parse::<f64>().unwrap_or(0.0) / f64::from(1 << 20)
    }

    /// The file that a process writes its id into to enter.
    pub(super) fn processes(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    fn usage(&self) -> f64 {
        self.number("memory.usage_in_bytes", "memory.current")
    }

    /// Peak memory with page cache, in MiB.
    pub(super) fn peak(&self) -> f64 {
        self.number("memory.max_usage_in_bytes", "memory.peak")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Empty by now; otherwise it stays visible.
        drop(fs::remove_dir(&self.path));
    }
}

/// Runs one attack in three phases: objects are listed at the start, changed while watched, and listed after a restart.
///
/// Returns an error if it cannot run; faults of the recorder are in the outcome.
pub fn run(
    attack: Attack,
    program: &Path,
    phase: Duration,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    fs::create_dir_all(folder)?;
    let group = Cgroup::new(LIMIT).context("cannot create a memory cgroup")?;
    let server = ApiServer::start(Config::default())?;
    for (kind, object) in other_namespaces() {
        server.store().create(kind, object).map_err(refused)?;
    }
    for (kind, object) in (attack.objects)(0) {
        server.store().create(kind, object).map_err(refused)?;
    }
    let mut setup = Setup::new(&server, folder, "")?;
    // Short thresholds, so that findings and their memory arise within seconds.
    let place: Vec<&str> = setup.yaml.lines().take(3).collect();
    setup.yaml = format!(
        "{}\nlog: {{format: text}}\nanalysis: {{thresholds: {{service: 1s, assessment: 1s, image_pull: 1s, creating: 1s, not_ready: 1s}}}}\n",
        place.join("\n")
    );
    setup.config().context("the configuration of the attack")?;
    fs::write(folder.join("recorder.yaml"), &setup.yaml)?;
    let mut run = AttackRun {
        outcome: Outcome {
            attack,
            kills: 0,
            first_kill: None,
            samples: Vec::new(),
            peak: 0.0,
            resident_peak: 0.0,
            sent: 0,
            recorded: 0,
            self_report: String::new(),
            others_are_analysed: false,
            off: 0,
        },
        group,
        server,
        setup,
        program: program.to_owned(),
        recorder: None,
        begun: Instant::now(),
        sent: Instant::now(),
        measured: Instant::now(),
    };
    run.start()?;
    run.run_for(phase)?;
    for (kind, object) in (attack.objects)(1) {
        run.server.store().apply(kind, object).map_err(refused)?;
        run.tick()?;
    }
    run.run_for(phase)?;
    run.stop()?;
    run.start()?;
    let service_without_pods = run
        .server
        .store()
        .create(Kind::Service, service_without_pods("late"));
    service_without_pods.map_err(refused)?;
    run.run_for(phase)?;
    run.read_results()?;
    run.stop()?;
    Ok(run.outcome.clone())
}

fn refused(status: crate::apiserver::Status) -> anyhow::Error {
    anyhow::anyhow!("the API server refused an object: {status:?}")
}

struct AttackRun {
    outcome: Outcome,
    group: Cgroup,
    server: ApiServer,
    setup: Setup,
    program: PathBuf,
    recorder: Option<Child>,
    begun: Instant,
    /// Times of the last Event and of the last sample.
    sent: Instant,
    measured: Instant,
}

impl AttackRun {
    fn start(&mut self) -> anyhow::Result<()> {
        let folder = &self.setup.folder;
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("recorder.log"))?;
        // The shell enters the cgroup before `exec`, so that all memory of the recorder counts.
        let child = Command::new("sh")
            .args(["-c", "echo $$ >\"$1\" && exec \"$2\" --config \"$3\"", "sh"])
            .arg(self.group.processes())
            .arg(&self.program)
            .arg(folder.join("recorder.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.recorder = Some(child);
        Ok(())
    }

    /// Sends Events and measures every second for `time`; restarts a killed recorder.
    fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tick()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Periodic work.
    fn tick(&mut self) -> anyhow::Result<()> {
        if self.sent.elapsed() >= Duration::from_secs(1) / EVENTS_A_SECOND {
            self.sent = Instant::now();
            self.event();
        }
        if self.measured.elapsed() >= Duration::from_secs(1) {
            self.measured = Instant::now();
            self.measure();
        }
        self.restart_if_killed()
    }

    fn restart_if_killed(&mut self) -> anyhow::Result<()> {
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        let Some(ended) = recorder.try_wait()? else {
            return Ok(());
        };
        self.recorder = None;
        ensure!(
            ended.signal() == Some(9),
            "the recorder ended with {ended}: see {}",
            self.setup.folder.display()
        );
        self.outcome.kills += 1;
        let at = self.begun.elapsed().as_secs_f64();
        self.outcome.first_kill.get_or_insert(at);
        if self.outcome.kills < STARTS_MAX {
            self.start()?;
        }
        Ok(())
    }

    fn measure(&mut self) {
        let Some(recorder) = &self.recorder else {
            return;
        };
        let status = fs::read_to_string(format!("/proc/{}/status", recorder.id()));
        let status = status.unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
            number.unwrap_or(0.0) / 1024.0
        };
        let outcome = &mut self.outcome;
        outcome.samples.push(Sample {
            resident: mib("VmRSS:"),
            group: self.group.usage(),
        });
        outcome.resident_peak = outcome.resident_peak.max(mib("VmHWM:"));
        outcome.peak = self.group.peak();
    }

    /// An Event about another namespace.
    fn event(&mut self) {
        let n = self.outcome.sent;
        let event = json!({
            "metadata": {"name": format!("other.{n}"), "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("web-{}", n % 50)},
            "reason": "Probe", "message": format!("number {n}"), "type": "Normal", "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(),
            "source": {"component": "kubelet"},
        });
        if self.server.store().create(Kind::Event, event).is_ok() {
            self.outcome.sent += 1;
        }
    }

    fn recorded(&self) -> i64 {
        let sql = "SELECT ifnull(sum(occurrences), 0) FROM event e JOIN event_class r ON r.id = e.class WHERE r.reason = 'Probe'";
        self.setup.number(sql).unwrap_or(0)
    }

    /// Waits until all Events are recorded, then reads metrics and health.
    fn read_results(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            self.outcome.recorded = self.recorded();
            let metrics = self.setup.metrics();
            let of = |name: &str| {
                let found = metrics.iter().find(|(series, _)| series == name);
                found.map_or(0.0, |(_, value)| *value)
            };
            self.outcome.off = of("kube9_analysis_namespaces_suspended") as i64;
            self.outcome.others_are_analysed = self.setup.number(FOUND).unwrap_or(0) > 0;
            self.outcome.self_report = format!(
                "estimated {:.1} of {:.1} MiB; {} objects trimmed, {} left out; {}",
                of("kube9_analysis_bytes") / f64::from(1 << 20),
                of("kube9_analysis_max_bytes") / f64::from(1 << 20),
                of("kube9_analysis_objects_truncated_total"),
                of("kube9_analysis_objects_skipped_total"),
                self.health(),
            );
            let complete = self.outcome.recorded >= self.outcome.sent;
            if (complete && self.outcome.others_are_analysed) || Instant::now() > until {
                return Ok(());
            }
            self.measure();
            self.restart_if_killed()?;
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn health(&self) -> String {
        let Some((code, document)) = self.setup.health() else {
            return "/healthz does not answer".to_owned();
        };
        let checks = document["checks"].as_object().cloned().unwrap_or_default();
        let unwell: Vec<String> = checks
            .iter()
            .filter(|(_, check)| check["status"] != "healthy")
            .map(|(name, check)| format!("{name}: {}", check["message"]))
            .collect();
        format!("/healthz {code} {}", unwell.join("; "))
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.measure();
        let Some(mut recorder) = self.recorder.take() else {
            return Ok(());
        };
        if let Some(id) = i32::try_from(recorder.id()).ok().and_then(Pid::from_raw) {
            kill_process(id, Signal::TERM)?;
        }
        let until = Instant::now() + Duration::from_secs(40);
        while recorder.try_wait()?.is_none() {
            if Instant::now() > until {
                recorder.kill()?;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for AttackRun {
    fn drop(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            // No recorder is left running.
            drop(recorder.kill());
            drop(recorder.wait());
        }
    }
}

fn now() -> String {
    kube9_base::clock::Clock::system().now().to_string()
}

/// The finding about the Service of another namespace that was created at the end.
const FOUND: &str = "SELECT count(*) FROM event e JOIN event_class r ON r.id = e.class JOIN object o ON o.id = e.object \
                     WHERE r.reason = 'ServiceSelectsNoPod' AND o.name = 'late'";

/// A Service without pods, which is a finding.
fn service_without_pods(name: &str) -> Value {
    json!({"metadata": meta("shop", name), "spec": {"selector": {"app": "nothing"}, "ports": [{"port": 80}]}})
}

/// Objects of other namespaces, whose analysis must continue.
fn other_namespaces() -> Vec<(Kind, Value)> {
    let mut all = vec![(Kind::Service, service_without_pods("lonely"))];
    all.extend((0..50).map(|n| (Kind::Pod, pod("shop", &format!("web-{n}"), json!({})))));
    all.extend((0..3).map(|n| {
        let node = json!({
            "metadata": {"name": format!("node-{n}")},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "64", "memory": "256Gi"}},
        });
        (Kind::Node, node)
    }));
    all
}

fn meta(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name, "labels": {"app": "a"}})
}

fn pod(namespace: &str, name: &str, spec: Value) -> Value {
    let mut all = json!({"nodeName": "node-1", "containers": [{"name": "c", "image": "registry.example/a:1"}]});
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), spec) {
        all.extend(more);
    }
    json!({
        "metadata": meta(namespace, name), "spec": all,
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                   "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]},
    })
}

/// `prefix`, a number, and filler up to that length.
fn long(prefix: &str, n: usize, length: usize) -> String {
    format!("{prefix}-{n}-{}", "x".repeat(length))
}

fn config_maps(round: usize) -> Objects {
    let data = move |map: usize| -> serde_json::Map<String, Value> {
        let keys = 0..3500;
        keys.map(|n| (long(&format!("k{map}"), n, 225), json!(format!("{round}"))))
            .collect()
    };
    let objects = (0..60).map(move |n| {
        let object = json!({"metadata": meta(NAMESPACE, &format!("cm-{n}")), "data": data(n)});
        (Kind::ConfigMap, object)
    });
    Box::new(objects)
}

fn images(round: usize) -> Objects {
    let containers = move |deployment: usize| -> Vec<Value> {
        let image = |n: usize| long(&format!("r{round}/{deployment}"), n, 50_000);
        (0..25)
            .map(|n| json!({"name": format!("c{n}"), "image": image(n)}))
            .collect()
    };
    let objects = (0..60)
        .map(move |n| {
            let template = json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers(n)}});
            let object = json!({"metadata": meta(NAMESPACE, &format!("d-{n}")), "spec": {"replicas": 1, "template": template}});
            (Kind::Deployment, object)
        });
    Box::new(objects)
}

fn ports(round: usize) -> Objects {
    let ports: Vec<Value> = (0..4000)
        .map(|n| json!({"name": format!("p{round}-{n:012}"), "port": n + 1, "protocol": "TCP", "targetPort": format!("target-{n}")}))
        .collect();
    let objects = (0..50)
        .map(move |n| {
            let object = json!({"metadata": meta(NAMESPACE, &format!("s-{n}")),
                "spec": {"type": "ClusterIP", "selector": {"app": format!("none-{n}")}, "ports": ports}});
            (Kind::Service, object)
        });
    Box::new(objects)
}

fn volumes(round: usize) -> Objects {
    let volumes = move |pod: usize| -> Vec<Value> {
        (0..5000)
            .map(|n| json!({"name": format!("v{n}"), "configMap": {"name": long(&format!("m{round}-{pod}"), n, 220)}}))
            .collect()
    };
    let objects = (0..40).map(move |n| {
        (
            Kind::Pod,
            pod(NAMESPACE, &format!("p-{n}"), json!({"volumes": volumes(n)})),
        )
    });
    Box::new(objects)
}

fn mix(round: usize) -> Objects {
    let all: [fn(usize) -> Objects; 11] = [
        config_maps,
        images,
        ports,
        volumes,
        labels,
        selectors,
        env,
        containers,
        messages,
        owners,
        escapes,
    ];
    Box::new(all.into_iter().flat_map(move |objects| objects(round)))
}

fn largest(round: usize) -> Objects {
    let volumes: Vec<Value> = (0..2000)
        .map(|n| json!({"name": format!("v{n}"), "configMap": {"name": long("m", n, 200)}}))
        .collect();
    let env: Vec<Value> = (0..12_000)
        .map(|n| json!({"name": format!("PASSWORD_{n}_{round}_{}", "X".repeat(40)), "value": "v"}))
        .collect();
    let labels: serde_json::Map<String, Value> = (0..60)
        .map(|n| (format!("label-{n}"), json!("v")))
        .collect();
    let objects = (0..300).map(move |n| {
        let containers = json!([{"name": "c", "image": "registry.example/a:1", "env": env}]);
        let mut pod = pod(
            NAMESPACE,
            &format!("big-{n}"),
            json!({"volumes": volumes, "containers": containers}),
        );
        pod["metadata"]["labels"] = json!(labels);
        (Kind::Pod, pod)
    });
    Box::new(objects)
}

fn labels(round: usize) -> Objects {
    let objects = (0..100).map(move |n| {
        let mut pod = pod(NAMESPACE, &format!("l-{n}"), json!({}));
        let labels = (0..4000).map(|m| (format!("l{m}-{n}"), json!(long("v", m + round, 50))));
        pod["metadata"]["labels"] = json!(labels.collect::<serde_json::Map<_, _>>());
        (Kind::Pod, pod)
    });
    Box::new(objects)
}

fn selectors(round: usize) -> Objects {
    let objects = (0..300)
        .map(move |n| {
            let labels = (0..900).map(|m| (format!("l{m}-{n}"), json!(long("v", m + round, 20))));
            let selector: serde_json::Map<String, Value> = labels.collect();
            let object = json!({"metadata": meta(NAMESPACE, &format!("sel-{n}")), "spec": {"selector": selector, "ports": [{"port": 80}]}});
            (Kind::Service, object)
        });
    Box::new(objects)
}

fn env(round: usize) -> Objects {
    let objects = (0..60)
        .map(move |n| {
            let env: Vec<Value> = (0..15_000)
                .map(|m| json!({"name": format!("DB_PASSWORD_{n}_{m}_{round}_{}", "X".repeat(30)), "value": "v"}))
                .collect();
            let containers = json!([{"name": "c", "image": "registry.example/a:1", "env": env}]);
            (Kind::Pod, pod(NAMESPACE, &format!("e-{n}"), json!({"containers": containers})))
        });
    Box::new(objects)
}

fn containers(round: usize) -> Objects {
    let objects = (0..60)
        .map(move |n| {
            let containers: Vec<Value> = (0..1000)
                .map(|m| json!({"name": format!("c{m}"), "image": long(&format!("i{n}-{round}"), m, 100), "ports": [{"name": "http", "containerPort": 80}]}))
                .collect();
            (Kind::Pod, pod(NAMESPACE, &format!("c-{n}"), json!({"containers": containers})))
        });
    Box::new(objects)
}

fn messages(round: usize) -> Objects {
    let objects = (0..300)
        .map(move |n| {
            let mut pod = pod(NAMESPACE, &format!("m-{n}"), json!({}));
            let conditions: Vec<Value> = (0..30)
                .map(|m| json!({"type": long("T", m, 300), "status": "False", "reason": long("R", m + round, 1000), "message": "m".repeat(32 << 10)}))
                .collect();
            pod["status"]["conditions"] = json!(conditions);
            (Kind::Pod, pod)
        });
    Box::new(objects)
}

fn owners(round: usize) -> Objects {
    let objects = (0..3000)
        .map(move |n| {
            let image = long(&format!("registry.example/{round}/{n}"), n, 400);
            let mut pod = pod(NAMESPACE, &format!("o-{n}"), json!({"containers": [{"name": "c", "image": image}]}));
            pod["metadata"]["ownerReferences"] =
                json!([{"kind": "Thing", "name": long("owner", n, 200), "controller": true, "apiVersion": "x/v1", "uid": "u"}]);
            pod["status"] = json!({"phase": "Pending", "containerStatuses": [
                {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "m".repeat(2000)}}}]});
            (Kind::Pod, pod)
        });
    Box::new(objects)
}

fn escapes(round: usize) -> Objects {
    let objects = (0..15)
        .map(move |n| {
            let object = json!({"metadata": meta(NAMESPACE, &format!("esc-{n}")), "data": {"k": "\u{1}".repeat((1 << 20) - round)}});
            (Kind::ConfigMap, object)
        });
    Box::new(objects)
}

fn annotations(round: usize) -> Objects {
    let objects = (0..200).map(move |n| {
        let mut meta = meta(NAMESPACE, &format!("an-{n}"));
        let all = (0..1000).map(|m| (format!("a{m}"), json!(long("v", m + round, 240))));
        meta["annotations"] = json!(all.collect::<serde_json::Map<_, _>>());
        meta["annotations"]["kube9.io/ignore"] = json!("ImageNotPinned,".repeat(3000));
        (
            Kind::ConfigMap,
            json!({"metadata": meta, "data": {"k": "v"}}),
        )
    });
    Box::new(objects)
}

fn events(round: usize) -> Objects {
    let objects = (0..150).map(move |n| {
        let message = if n < 10 {
            "\u{1}".repeat(1_400_000)
        } else {
            "m".repeat(1_400_000)
        };
        let event = json!({
            "metadata": {"name": format!("large.{n}"), "namespace": NAMESPACE},
            "involvedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": format!("p-{n}")},
            "reason": "Large", "message": message, "type": "Warning", "count": 1 + round,
            "firstTimestamp": now(), "lastTimestamp": now(), "source": {"component": "tenant"},
        });
        (Kind::Event, event)
    });
    Box::new(objects)
}

fn pods(round: usize) -> Objects {
    // Changes only some: 20,000 changes would take longer than the phase.
    let step = if round == 0 { 1 } else { 20 };
    let objects = (0..20_000).step_by(step).map(move |n| {
        let mut pod = pod(NAMESPACE, &format!("small-{n}"), json!({}));
        pod["metadata"]["labels"] =
            json!({"app": "a", "unique": format!("u-{n}-{round}"), "pod": format!("p-{n}")});
        (Kind::Pod, pod)
    });
    Box::new(objects)
}

fn namespaces(round: usize) -> Objects {
    let step = if round == 0 { 1 } else { 20 };
    let objects = (0..20_000).step_by(step).map(move |n| {
        let mut pod = pod(
            &format!("tenant-{}", n % 400),
            &format!("small-{n}"),
            json!({}),
        );
        let labels = (0..10).map(|m| (format!("l{m}-{n}"), json!(format!("v{round}"))));
        pod["metadata"]["labels"] = json!(labels.collect::<serde_json::Map<_, _>>());
        (Kind::Pod, pod)
    });
    Box::new(objects)
}

/// A realistic cluster: a Deployment, a Service and a ConfigMap for ten pods, with the usual labels, probes, requests
/// and conditions.
fn ordinary(round: usize) -> Objects {
    let mut all = Vec::new();
    let step = if round == 0 { 1 } else { 20 };
    for app in (0..1000).step_by(step) {
        let namespace = format!("team-{}", app % 40);
        let name = format!("service-{app}");
        let labels = json!({
            "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name, "app.kubernetes.io/version": "1.2.3",
            "app.kubernetes.io/component": "backend", "app.kubernetes.io/part-of": "shop", "helm.sh/chart": "service-1.2.3",
        });
        let container = json!({
            "name": "app", "image": format!("registry.example/shop/{name}:1.2.{round}"),
            "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}, "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "securityContext": {"runAsNonRoot": true},
            "env": [{"name": "MODE", "value": "production"}, {"name": "LOG_LEVEL", "value": "info"}],
        });
        let spec = json!({
            "nodeName": format!("node-{}", app % 3), "serviceAccountName": name, "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": name}}],
        });
        for n in 0..10 {
            let mut labels = labels.clone();
            labels["pod-template-hash"] = json!("5d4f6c7b8");
            let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready", "PodReadyToStartContainers"]
                .iter()
                .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-11-01T00:00:00Z"}))
                .collect();
            let pod = json!({
                "metadata": {"namespace": namespace, "name": format!("{name}-5d4f6c7b8-{n:05}"), "labels": labels,
                    "creationTimestamp": "2026-11-01T00:00:00Z",
                    "ownerReferences": [{"kind": "ReplicaSet", "name": format!("{name}-5d4f6c7b8"), "controller": true}]},
                "spec": spec,
                "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [
                    {"name": "app", "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}}]},
            });
            all.push((Kind::Pod, pod));
        }
        let template =
            json!({"metadata": {"labels": labels}, "spec": {"containers": spec["containers"]}});
        let meta = json!({"namespace": namespace, "name": name, "labels": labels});
        all.push((Kind::Deployment, json!({"metadata": meta, "spec": {"replicas": 10, "template": template},
            "status": {"updatedReplicas": 10, "availableReplicas": 10, "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}, {"type": "Available", "status": "True"}]}})));
        all.push((
            Kind::Service,
            json!({"metadata": meta, "spec": {"selector": {"app.kubernetes.io/name": name},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
        ));
        let data: serde_json::Map<String, Value> = (0..10)
            .map(|n| {
                (
                    format!("setting-{n}.yaml"),
                    json!(format!("value: {round}")),
                )
            })
            .collect();
        all.push((Kind::ConfigMap, json!({"metadata": meta, "data": data})));
    }
    Box::new(all.into_iter())
}
