//! The recorder's life: start in order, run until told or until a task fails, stop in order.
//!
//! ```text
//!   port ─▶ database ─▶ cluster ─▶ sources + writer ──── shutdown, or a task ended by itself (a fault)
//!                                                          1. sources stop
//!                                                          2. "stopped" row, queue closes, writer drains and closes
//!                                                          3. the HTTP server goes last, so that probes see it all
//! ```

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::analysis::engine::{Engine, NEWS_MAX, STUCK_AFTER};
use crate::analysis::state::{Analysis, Before, close_all, finding_ids};
use crate::clock::Clock;
use crate::config::Config;
use crate::health::Health;
use crate::life;
use crate::metrics::{Kind, Label, Metrics, Rules};
use crate::pipeline::filter::{Filter, SeverityOverrides};
use crate::pipeline::heard::{Heard, History};
use crate::pipeline::item::{Item, RelistCause, WatchId};
use crate::pipeline::owners::Owners;
use crate::pipeline::queue::{Queue, QueueLimits};
use crate::pipeline::sanitize::sanitize;
use crate::pipeline::signals::Recall;
use crate::pipeline::signals::Remembered;
use crate::pipeline::signals::{Resume, Start};
use crate::serve;
use crate::source::api::Api;
use crate::source::connect::{Connected, connect};
use crate::source::events::EventsSource;
use crate::source::intake::{Intake, push};
use crate::source::objects::informer::Informer;
use crate::source::report::{FirstSync, Report};
use crate::status_document::StatusDocument;
use crate::store::open::{DataDir, OpenError};
use crate::store::shared::Shared;
use crate::store::snapshot::remove_leftovers;
use crate::store::writer::{Ended, Writer};

/// How long the writer may take to give up after the grace period (one statement), and then to close.
const GIVE_UP: Duration = Duration::from_secs(3);

/// Kinds that the analysis reads.
const INFORMED: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// Kind of the Events watch in `watch_state`.
const EVENT_KIND: &str = "Event";

/// Records the cluster until `shutdown`, then drains and closes. An error means that something failed for good.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut shutdown = pin!(shutdown);
    let filter = Filter::new(&config.filters.0).map_err(|bad| anyhow!("{bad:?}"))?;
    let overrides =
        SeverityOverrides::new(&config.severity_overrides.0).map_err(|bad| anyhow!("{bad:?}"))?;
    let rules = Rules {
        filters: filter.excluding_rules().map(str::to_owned).collect(),
        findings: finding_ids(),
    };
    let metrics = Metrics::new(&rules);
    let health = Health::new(clock.clone());
    let listener = serve::bind(config.listen).await?;
    let (stop_serving, served) = oneshot::channel::<()>();
    let state = serve::State {
        metrics: metrics.clone(),
        health: health.clone(),
    };
    let mut server = tokio::spawn(serve::run(listener, config.http.clone(), state, async {
        drop(served.await);
    }));
    info!(address = %config.listen, "serving /metrics and /healthz");

    let queue = Arc::new(Queue::new(queue_limits(&config)));
    metrics.queue_capacity.set(queue.capacity() as i64);
    let scopes = Scopes::of(&config);
    scopes.kinds().for_each(|kind| metrics.watches.expect(kind));
    let seen = queue.clone();
    metrics.before_scrape(move |metrics| {
        let (items, bytes) = seen.size();
        metrics.queue_size.set(items as i64);
        metrics.queue_bytes.set(bytes as i64);
    });
    let shared = Shared {
        queue: queue.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        clock: clock.clone(),
        abandon: Arc::new(AtomicBool::new(false)),
    };
    let outcome = tokio::select! {
        () = &mut shutdown => Ok(None), // before anything was opened
        outcome = async {
            let cluster = connect(&config.kube, config.source.connect_timeout).await?;
            let opened = open_writer(&config, &shared, &cluster.cluster, scopes).await?;
            info!(server = cluster.server, "recording");
            let intake = Intake {
                queue: queue.clone(),
                filter: Arc::new(filter),
                overrides: Arc::new(overrides),
                metrics: metrics.clone(),
                clock: clock.clone(),
                owners: Owners::default(),
            };
            let sources = sources(&config, opened.known, &cluster, &intake, &health);
            Ok::<_, anyhow::Error>((opened.writer, sources, cluster))
        } => outcome.map(Some),
    };
    let result = match outcome {
        Ok(Some((writer, sources, cluster))) => {
            let started = sanitize(life::started(&config, &cluster.server, clock.now()));
            push(&queue, &metrics, Item::Row(Box::new(started)), clock.now());
            work(&config, writer, sources, &shared, shutdown, &mut server).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    drop(stop_serving);
    // Where the server was the task that ended by itself, its handle was used up by that.
    if !server.is_finished()
        && let Err(error) = server.await
    {
        warn!(%error, "the HTTP server did not end in order");
    }
    result
}

/// The writer, and what the database knows of the watches and findings.
struct OpenedWriter {
    writer: Writer,
    known: Known,
}

/// What a start goes on from.
struct Known {
    events: Vec<EventWatch>,
    informers: Vec<InformerWatch>,
    /// What the analysis goes on from.
    before: Before,
    /// What the writer will tell it.
    heard: Arc<Heard>,
}

/// One informer's watch as the database has it.
struct InformerWatch {
    id: WatchId,
    kind: Kind,
    namespace: String,
    remembered: Remembered,
    position: Option<String>,
    recall: Arc<Recall>,
}

/// One Events watch as the database has it.
struct EventWatch {
    id: WatchId,
    namespace: String,
    start: Start,
    recall: Arc<Recall>,
}

/// Opens the database; a disk that is not there, full or read-only is waited for, as `/healthz` says meanwhile.
async fn open_writer(
    config: &Config,
    shared: &Shared,
    cluster: &str,
    scopes: Scopes,
) -> anyhow::Result<OpenedWriter> {
    let check = shared.health.check("start", None);
    let again = async |error: OpenError| match error {
        OpenError::Unavailable { .. } => {
            error!(%error, "the database cannot be opened, trying again");
            check.degraded(error.to_string());
            tokio::time::sleep(config.writer.retry_max).await;
            Ok(())
        }
        other => Err(other),
    };
    let mut writer = loop {
        let (config, shared) = (config.clone(), shared.clone());
        let opened = off_thread(move || {
            let data = DataDir::lock(&config.data_dir)?;
            remove_leftovers(data.directory());
            Writer::open(
                data,
                config.writer,
                config.retention,
                &config.storage,
                shared,
            )
        });
        match opened.await? {
            Ok(writer) => break writer,
            Err(error) => again(error).await?,
        }
    };
    loop {
        let (cluster, scopes) = (cluster.to_owned(), scopes.clone());
        let registered = off_thread(move || {
            let known = register(&mut writer, &cluster, &scopes);
            if let Err(error) = &known {
                writer.failed_before_run(error);
            }
            (writer, known)
        });
        let known;
        (writer, known) = registered.await?;
        match known {
            Ok(known) => {
                check.healthy();
                return Ok(OpenedWriter { writer, known });
            }
            Err(source) => {
                let path = config.data_dir.clone();
                let source = source.into();
                again(OpenError::Unavailable { path, source }).await?;
            }
        }
    }
}

/// What is watched: a watch of its own for each kind and namespace, where '' is all of them.
#[derive(Clone)]
struct Scopes {
    events: Vec<String>,
    informers: Vec<(Kind, String)>,
}

impl Scopes {
    fn of(config: &Config) -> Self {
        let everywhere = vec![String::new()];
        let namespaces = match config.kube.namespaces.as_slice() {
            [] => everywhere.clone(),
            some => some.to_vec(),
        };
        let informers = INFORMED
            .into_iter()
            .filter(|_| config.analysis.enabled)
            .flat_map(|kind| {
                // Nodes have no namespace and are watched once.
                let scopes = if kind == Kind::Node {
                    &everywhere
                } else {
                    &namespaces
                };
                scopes
                    .iter()
                    .map(move |namespace| (kind, namespace.clone()))
                    .collect::<Vec<_>>()
            })
            .collect();
        Self {
            events: namespaces,
            informers,
        }
    }

    /// The kind of each watch.
    fn kinds(&self) -> impl Iterator<Item = Kind> {
        let events = self.events.iter().map(|_| Kind::Event);
        events.chain(self.informers.iter().map(|(kind, _)| *kind))
    }
}

/// Runs what may wait for the disk on a thread of its own, so that `/healthz` can say so meanwhile.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("opening the database panicked")
}

fn register(writer: &mut Writer, cluster: &str, scopes: &Scopes) -> rusqlite::Result<Known> {
    let mut known = Known {
        events: Vec::with_capacity(scopes.events.len()),
        informers: Vec::with_capacity(scopes.informers.len()),
        before: Before::default(),
        heard: writer.heard(),
    };
    for namespace in &scopes.events {
        let recall = Arc::new(Recall::default());
        let (id, start) = writer.register(cluster, EVENT_KIND, namespace, recall.clone())?;
        known.events.push(EventWatch {
            id,
            namespace: namespace.clone(),
            start,
            recall,
        });
    }
    for (kind, namespace) in &scopes.informers {
        let recall = Arc::new(Recall::default());
        let (id, start) = writer.register(cluster, kind.name(), namespace, recall.clone())?;
        let remembered = writer.remembered(id)?;
        let position = match start.resume {
            Resume::Watch(position) if remembered.proven.is_some() => Some(position),
            _ => None,
        };
        known.informers.push(InformerWatch {
            id,
            kind: *kind,
            namespace: namespace.clone(),
            remembered,
            position,
            recall,
        });
    }
    known.before.findings = writer.open_findings()?;
    if !scopes.informers.is_empty() {
        // It reads much of the file. Where that is damaged, the writer finds out and begins a new one; the start must not
        // wait for something that only I10 needs.
        known.before.history = writer.history().unwrap_or_else(|error| {
            warn!(%error, "the warnings of the last week cannot be read");
            History::default()
        });
    }
    Ok(known)
}

fn queue_limits(config: &Config) -> QueueLimits {
    let capacity = config.queue.capacity;
    let high_water = (capacity * usize::from(config.queue.high_water_percent) / 100).max(1);
    QueueLimits {
        capacity,
        bytes_max: config.queue.max_bytes.get() as usize,
        high_water,
    }
}

/// Everything that talks to the API server.
struct Sources {
    events: Vec<(EventsSource, Start)>,
    informers: Vec<(Informer, RelistCause)>,
    analysis: AnalysisTask,
    status_document: Option<StatusDocument>,
}

/// What becomes of the findings.
enum AnalysisTask {
    /// The rules run.
    Runs(Box<Engine>),
    /// They are switched off: what was open is closed.
    Off(Intake, Vec<Item>),
}

impl AnalysisTask {
    /// Works for ever; the caller drops the future to stop it.
    async fn run(self) {
        match self {
            Self::Runs(engine) => engine.run().await,
            Self::Off(intake, closings) => {
                for item in closings {
                    // There may be more than the queue holds, and it must not drop one: the finding would stay open.
                    intake.queue.room().await;
                    intake.push(item);
                }
                std::future::pending().await
            }
        }
    }
}

fn sources(
    config: &Config,
    known: Known,
    cluster: &Connected,
    intake: &Intake,
    health: &Health,
) -> Sources {
    let first_sync = FirstSync::of(known.events.len() + known.informers.len(), health.clone());
    let report = |kind: Kind, namespace: &str| {
        let name = match namespace {
            "" => format!("watch/{}", kind.name()),
            namespace => format!("watch/{}/{namespace}", kind.name()),
        };
        let check = health.check(name, None);
        Report::new(
            intake.metrics.clone(),
            check,
            kind,
            intake.clock.clone(),
            first_sync.clone(),
        )
    };
    let source = |watch: EventWatch| {
        let source = EventsSource {
            api: Api::new(cluster.client.clone()),
            watch: watch.id,
            report: report(Kind::Event, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            intake: intake.clone(),
            recall: watch.recall,
        };
        (source, watch.start)
    };
    let events = known.events.into_iter().map(source).collect();
    let status_document = StatusDocument::new(
        &config.kube,
        cluster.client.clone(),
        health.clone(),
        intake.clock.clone(),
    );
    if known.informers.is_empty() {
        let closings = close_all(known.before.findings, intake.now());
        return Sources {
            events,
            informers: Vec::new(),
            analysis: AnalysisTask::Off(intake.clone(), closings),
            status_document,
        };
    }
    let mut analysis = Analysis::new(config.analysis.clone(), intake.owners.clone(), known.before);
    let (out, inbox) = mpsc::channel(NEWS_MAX);
    let mut informers = Vec::with_capacity(known.informers.len());
    for watch in known.informers {
        let first = analysis.add_source(watch.id, watch.kind, &watch.namespace, watch.remembered);
        let informer = Informer {
            api: Api::new(cluster.client.clone()),
            watch: watch.id,
            kind: watch.kind,
            report: report(watch.kind, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            out: out.clone(),
            metrics: intake.metrics.clone(),
            clock: intake.clock.clone(),
            recall: watch.recall,
            position: watch.position,
        };
        informers.push((informer, first));
    }
    let engine = Engine {
        analysis,
        inbox,
        heard: known.heard,
        health: health.clone(),
        data_dir: config.data_dir.clone(),
        pod: life::pod(config),
        queue: intake.queue.clone(),
        metrics: intake.metrics.clone(),
        clock: intake.clock.clone(),
        pulse: health.task("analysis", STUCK_AFTER),
    };
    Sources {
        events,
        informers,
        analysis: AnalysisTask::Runs(Box::new(engine)),
        status_document,
    }
}

async fn work(
    config: &Config,
    mut writer: Writer,
    sources: Sources,
    shared: &Shared,
    shutdown: impl Future<Output = ()>,
    server: &mut tokio::task::JoinHandle<()>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (source, start) in sources.events {
        tasks.spawn(source.run(start));
    }
    for (informer, first) in sources.informers {
        tasks.spawn(informer.run(first));
    }
    tasks.spawn(sources.analysis.run());
    if let Some(document) = sources.status_document {
        tasks.spawn(document.run());
    }
    let (ended, mut writer_ended) = oneshot::channel();
    let (closed, writer_closed) = oneshot::channel();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            // Nobody listens any more only when the process ends anyway.
            let _ = ended.send(writer.drain());
            writer.close();
            let _ = closed.send(());
        })
        .context("cannot start the writer's thread")?;

    let fault = tokio::select! {
        () = shutdown => None,
        ended = &mut writer_ended => Some(match ended {
            Ok(ended) => anyhow!("the writer ended by itself: {ended:?}"),
            Err(_) => anyhow!("the writer panicked"),
        }),
        Some(ended) = tasks.join_next() => Some(anyhow!("a source ended by itself: {ended:?}")),
        ended = server => Some(anyhow!("the HTTP server ended by itself: {ended:?}")),
    };
    if let Some(fault) = &fault {
        error!(%fault, "stopping because a task ended by itself");
    }
    tasks.shutdown().await;
    let cause = fault
        .as_ref()
        .map_or_else(|| "signal".to_owned(), ToString::to_string);
    let stopped = sanitize(life::stopped(&cause, shared.clock.now()));
    push(
        &shared.queue,
        &shared.metrics,
        Item::Row(Box::new(stopped)),
        shared.clock.now(),
    );
    shared.queue.close();
    let drained = drain(config, shared, &mut writer_ended).await;
    // Everything is committed by now: what is not copied into the database by its end is read from the log at the next
    // start, and no reason to call the stop a failure.
    if tokio::time::timeout(GIVE_UP, writer_closed).await.is_err() {
        warn!("the database is still being closed; the write-ahead log stays");
    }
    drained?;
    fault.map_or(Ok(()), Err)
}

async fn drain(
    config: &Config,
    shared: &Shared,
    writer_ended: &mut oneshot::Receiver<Ended>,
) -> anyhow::Result<()> {
    if writer_ended.is_terminated() {
        return Ok(()); // it ended before: that was the fault
    }
    let ended = match tokio::time::timeout(config.shutdown_grace, &mut *writer_ended).await {
        Ok(ended) => ended,
        Err(_) => {
            shared.abandon.store(true, Ordering::Release);
            tokio::time::timeout(GIVE_UP, writer_ended)
                .await
                .map_err(|_| {
                    anyhow!("the writer hangs; what it held comes again at the next start")
                })?
        }
    };
    match ended.context("the writer panicked while it drained the queue")? {
        Ended::Drained => Ok(()),
        Ended::Abandoned(items) => Err(anyhow!(
            "{items} items were not committed within {} s; their Events come again at the next start",
            config.shutdown_grace.as_secs()
        )),
    }
}
