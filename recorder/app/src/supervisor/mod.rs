//! Supervises the recorder: starts everything in order, runs until a signal or a failed task, stops everything in order.
//!
//! ```text
//!   port ─▶ database ─▶ cluster ─▶ watchers + writer ──── signal, or a defect: a task panicked or exited
//!                                                           1. the watchers stop
//!                                                           2. "stopped" row, the queue closes, the writer drains
//!                                                           3. the HTTP server stops last, so that probes work until then
//! ```

mod database;
mod sources;
mod watch_targets;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow};
use kube9_base::clock::Clock;
use kube9_base::health::Health;
use kube9_base::throttle::Throttle;
use kube9_ingest::filter::{Filter, SeverityOverrides};
use kube9_ingest::item::Item;
use kube9_ingest::owners::Owners;
use kube9_ingest::sanitize::sanitize;
use kube9_k8s::connect::connect;
use kube9_rules::rules::finding_names;
use kube9_store::context::WriterContext;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::writer::{Ended, Writer};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::events::EventIngest;
use crate::exit::Defect;
use crate::metrics::{Metrics, Rules};
use crate::{lifecycle, panics, serve};
use database::open_writer;
use sources::{Sources, sources};
use watch_targets::WatchTargets;

/// How long the writer may take to abandon its batch after the grace period (one statement), and then to close.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(3);

/// The runtime for [`run`]. One thread: the writer has its own, and a second one for other tasks would only cost memory.
///
/// # Errors
/// If a system resource is missing, such as file descriptors.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Records the cluster until `shutdown`, then drains and closes.
///
/// # Errors
/// Something failed permanently; a [`Defect`] is a bug in kube9.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    run_boxed(config, clock, pin!(shutdown)).await
}

/// [`run`] without type parameters, so that each program does not compile the whole recorder again.
fn run_boxed<'a>(
    config: Config,
    clock: Clock,
    shutdown: Pin<&'a mut (dyn Future<Output = ()> + 'a)>,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>> {
    Box::pin(run_inner(config, clock, shutdown))
}

async fn run_inner(
    config: Config,
    clock: Clock,
    mut shutdown: Pin<&mut dyn Future<Output = ()>>,
) -> anyhow::Result<()> {
    let filter = Filter::new(&config.filters.0).map_err(|bad| anyhow!("{bad:?}"))?;
    let overrides =
        SeverityOverrides::new(&config.severity_overrides.0).map_err(|bad| anyhow!("{bad:?}"))?;
    let rules = Rules {
        filters: filter.excluding_rules().map(str::to_owned).collect(),
        findings: finding_names().map(str::to_owned).collect(),
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
    metrics.store.queue_capacity.set(queue.capacity() as i64);
    let targets = WatchTargets::new(&config);
    targets
        .kinds()
        .for_each(|kind| metrics.k8s.watches.expect(kind));
    let measured = queue.clone();
    metrics.before_scrape(move |metrics| {
        let (items, bytes) = measured.size();
        metrics.store.queue_size.set(items as i64);
        metrics.store.queue_bytes.set(bytes as i64);
    });
    let shared = WriterContext {
        queue: queue.clone(),
        metrics: metrics.store.clone(),
        health: health.clone(),
        clock: clock.clone(),
        abandon: Arc::new(AtomicBool::new(false)),
    };
    let outcome = tokio::select! {
        () = &mut shutdown => Ok(None), // before anything is open
        outcome = async {
            let cluster = connect(&config.kube, config.source.connect_timeout).await?;
            let opened = open_writer(&config, &shared, &cluster.cluster, targets).await?;
            info!(server = cluster.server, "recording");
            let ingest = EventIngest {
                queue: queue.clone(),
                filter: Arc::new(filter),
                overrides: Arc::new(overrides),
                metrics: metrics.clone(),
                clock: clock.clone(),
                owners: Owners::default(),
                throttle: Arc::new(Throttle::default()),
            };
            let sources = sources(&config, opened.restored, &cluster, &ingest, &health);
            Ok::<_, anyhow::Error>((opened.writer, sources, cluster))
        } => outcome.map(Some),
    };
    let result = match outcome {
        Ok(Some((writer, sources, cluster))) => {
            let started = sanitize(lifecycle::started(&config, &cluster.server, clock.now()));
            push(
                &queue,
                &metrics.store,
                Item::Row(Box::new(started)),
                clock.now(),
            );
            run_tasks(&config, writer, sources, &shared, shutdown, &mut server).await
        }
        Ok(None) => {
            // An import in progress ends with its batch.
            shared.abandon.store(true, Ordering::Release);
            Ok(())
        }
        Err(error) => Err(error),
    };
    drop(stop_serving);
    // If the server was the task that exited, its handle is already consumed.
    if !server.is_finished()
        && let Err(error) = server.await
    {
        warn!(%error, "the HTTP server did not stop in time");
    }
    result
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

fn task_name(kind: &str, namespace: &str) -> String {
    format!("watch of {kind} in {namespace:?}")
}

async fn run_tasks(
    config: &Config,
    mut writer: Writer,
    sources: Sources,
    shared: &WriterContext,
    shutdown: Pin<&mut dyn Future<Output = ()>>,
    server: &mut tokio::task::JoinHandle<()>,
) -> anyhow::Result<()> {
    let mut tasks = Tasks::default();
    for (watcher, start) in sources.events {
        tasks.spawn(
            task_name(watcher.resource.name, &watcher.namespace),
            watcher.run(start),
        );
    }
    for (watcher, start) in sources.informers {
        tasks.spawn(
            task_name(watcher.resource.name, &watcher.namespace),
            watcher.run(start),
        );
    }
    for task in sources.tracked {
        let (_, resource) = task.target.resource();
        tasks.spawn(task_name(resource, &task.namespace), task.run());
    }
    tasks.spawn("analysis".to_owned(), sources.analysis.run());
    tasks.spawn("API server version".to_owned(), sources.version.run());
    if let Some(document) = sources.status_document {
        tasks.spawn("status document".to_owned(), document.run());
    }
    let (ended, mut writer_ended) = oneshot::channel();
    let (closed, writer_closed) = oneshot::channel();
    std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || {
            // The receivers are dropped only when the process ends.
            let _ = ended.send(writer.drain());
            writer.close();
            let _ = closed.send(());
        })
        .context("cannot start the writer's thread")?;

    let defect = tokio::select! {
        biased; // a named task is reported rather than a source location
        () = shutdown => None,
        ended = &mut writer_ended => Some(match ended {
            Ok(ended) => Defect(format!("the writer exited unexpectedly: {ended:?}")),
            Err(_) => writer_panicked(),
        }),
        defect = tasks.first_exit() => Some(defect),
        ended = server => Some(defect_of("HTTP server", ended)),
        place = panics::noticed() => Some(Defect(format!("a task panicked at {place}"))),
    };
    if let Some(defect) = &defect {
        error!(%defect, "stopping after an internal error");
    }
    tasks.set.shutdown().await;
    let cause = defect
        .as_ref()
        .map_or_else(|| "signal".to_owned(), ToString::to_string);
    let stopped = sanitize(lifecycle::stopped(&cause, shared.clock.now()));
    push(
        &shared.queue,
        &shared.metrics,
        Item::Row(Box::new(stopped)),
        shared.clock.now(),
    );
    shared.queue.close();
    let drained = drain(config, shared, &mut writer_ended).await;
    // Everything is committed. What is not checkpointed is read from the write-ahead log at the next start, so that this is
    // not a failure.
    if tokio::time::timeout(ABANDON_TIMEOUT, writer_closed)
        .await
        .is_err()
    {
        warn!("database still closing; the write-ahead log is kept");
    }
    match (defect, drained) {
        (None, drained) => drained,
        (Some(defect), Ok(())) => Err(defect.into()),
        // The defect decides the exit code.
        (Some(defect), Err(error)) => {
            error!(error = format!("{error:#}"), "not all items were committed");
            Err(defect.into())
        }
    }
}

/// The tasks that run until the recorder stops, by name.
#[derive(Default)]
struct Tasks {
    set: JoinSet<()>,
    names: BTreeMap<Id, String>,
}

impl Tasks {
    fn spawn(&mut self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        self.names.insert(self.set.spawn(task).id(), name);
    }

    /// Waits for a task that exits, which is a bug.
    async fn first_exit(&mut self) -> Defect {
        let (id, ended) = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, Ok(())),
            Some(Err(error)) => (error.id(), Err(error)),
            None => std::future::pending().await,
        };
        let name = self.names.get(&id).map_or("unknown", String::as_str);
        defect_of(name, ended)
    }
}

/// The defect of a task that exited. The log has the redacted text of a panic.
fn defect_of(task: &str, ended: Result<(), JoinError>) -> Defect {
    Defect(match ended {
        Err(error) if error.is_panic() => format!("task {task} panicked{}", panic_location()),
        _ => format!("task {task} exited unexpectedly"),
    })
}

fn writer_panicked() -> Defect {
    Defect(format!("the writer panicked{}", panic_location()))
}

fn panic_location() -> String {
    panics::location().map_or_else(String::new, |place| format!(" at {place}"))
}

async fn drain(
    config: &Config,
    shared: &WriterContext,
    writer_ended: &mut oneshot::Receiver<Ended>,
) -> anyhow::Result<()> {
    if writer_ended.is_terminated() {
        return Ok(()); // the writer exited first, which is the defect
    }
    let ended = match tokio::time::timeout(config.shutdown_grace, &mut *writer_ended).await {
        Ok(ended) => ended,
        Err(_) => {
            shared.abandon.store(true, Ordering::Release);
            tokio::time::timeout(ABANDON_TIMEOUT, writer_ended)
                .await
                .map_err(|_| {
                    anyhow!("the writer does not respond; uncommitted Events are read again at the next start")
                })?
        }
    };
    match ended.map_err(|_| writer_panicked())? {
        Ended::Drained => Ok(()),
        Ended::Abandoned(items) => Err(anyhow!(
            "{items} items were not committed within {} s; their Events are read again at the next start",
            config.shutdown_grace.as_secs()
        )),
    }
}
