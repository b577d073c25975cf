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
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::health::Health;
use crate::life;
use crate::metrics::{Kind, Metrics, Rules};
use crate::pipeline::filter::{Filter, SeverityOverrides};
use crate::pipeline::item::{Item, WatchId};
use crate::pipeline::queue::{Queue, QueueLimits};
use crate::pipeline::sanitize::sanitize;
use crate::serve;
use crate::source::api::Api;
use crate::source::connect::{Connected, connect};
use crate::source::events::{EventsSource, Recall};
use crate::source::intake::{Intake, push};
use crate::source::report::{FirstSync, Report};
use crate::store::open::{DataDir, OpenError};
use crate::store::watches::Start;
use crate::store::writer::{Ended, Shared, Writer};

/// How long the writer may take to give up after the grace period: one statement and the close.
const GIVE_UP: Duration = Duration::from_secs(3);

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
        findings: Vec::new(),
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
            let opened = open_writer(&config, &shared, &cluster.cluster).await?;
            info!(server = cluster.server, "recording");
            let intake = Intake {
                queue: queue.clone(),
                filter: Arc::new(filter),
                overrides: Arc::new(overrides),
                metrics: metrics.clone(),
                clock: clock.clone(),
            };
            let sources = sources(&config, opened.watches, &cluster, &intake, &health);
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

/// The writer and the Events watches that it knows.
struct OpenedWriter {
    writer: Writer,
    watches: Vec<EventWatch>,
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
) -> anyhow::Result<OpenedWriter> {
    let check = shared.health.check("start", None);
    let again = async |error: OpenError| match error {
        OpenError::Unavailable { .. } => {
            error!(%error, "trying again");
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
    let namespaces = match config.kube.namespaces.as_slice() {
        [] => vec![String::new()], // one watch of all namespaces
        some => some.to_vec(),
    };
    loop {
        let (cluster, namespaces) = (cluster.to_owned(), namespaces.clone());
        let registered = off_thread(move || {
            let watches = register(&mut writer, &cluster, &namespaces);
            (writer, watches)
        });
        let watches;
        (writer, watches) = registered.await?;
        match watches {
            Ok(watches) => {
                check.healthy();
                return Ok(OpenedWriter { writer, watches });
            }
            Err(source) => {
                let path = config.data_dir.clone();
                let source = source.into();
                again(OpenError::Unavailable { path, source }).await?;
            }
        }
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

fn register(
    writer: &mut Writer,
    cluster: &str,
    namespaces: &[String],
) -> rusqlite::Result<Vec<EventWatch>> {
    let one = |namespace: &String| {
        let recall = Arc::new(Recall::default());
        let (id, start) = writer.register(cluster, EVENT_KIND, namespace, recall.clone())?;
        Ok(EventWatch {
            id,
            namespace: namespace.clone(),
            start,
            recall,
        })
    };
    namespaces.iter().map(one).collect()
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

type Sources = Vec<(EventsSource, Start)>;

fn sources(
    config: &Config,
    watches: Vec<EventWatch>,
    cluster: &Connected,
    intake: &Intake,
    health: &Health,
) -> Sources {
    let first_sync = FirstSync::of(watches.len(), health.clone());
    let source = |watch: EventWatch| {
        let name = if watch.namespace.is_empty() {
            "watch/Event".to_owned()
        } else {
            format!("watch/Event/{}", watch.namespace)
        };
        let report = Report::new(
            intake.metrics.clone(),
            health.check(name, None),
            Kind::Event,
            intake.clock.clone(),
            first_sync.clone(),
        );
        let source = EventsSource {
            api: Api::new(cluster.client.clone()),
            watch: watch.id,
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            intake: intake.clone(),
            recall: watch.recall,
            report,
        };
        (source, watch.start)
    };
    watches.into_iter().map(source).collect()
}

async fn work(
    config: &Config,
    writer: Writer,
    sources: Sources,
    shared: &Shared,
    shutdown: impl Future<Output = ()>,
    server: &mut tokio::task::JoinHandle<()>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (source, start) in sources {
        tasks.spawn(source.run(start));
    }
    let (ended, mut writer_ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            // Nobody listens any more only when the process ends anyway.
            let _ = ended.send(writer.run());
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
    drain(config, shared, &mut writer_ended).await?;
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
