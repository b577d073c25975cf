//! Opening the database, and what it knows of the time before: where each watch goes on, which findings are open.

use std::sync::Arc;

use kube9_base::relist::RelistSignal;
use kube9_model::commit_stats::{CommitStats, WarningHistory};
use kube9_model::label::{Kind, Label};
use kube9_model::resume::{ResumePoint, StoredObjects};
use kube9_model::watch::WatchId;
use kube9_rules::state::RestoredState;
use kube9_store::context::WriterContext;
use kube9_store::open::{DataDir, OpenError};
use kube9_store::snapshot::remove_partial_snapshots;
use kube9_store::writer::Writer;
use tracing::{error, warn};

use super::scopes::Scopes;
use crate::config::Config;
use crate::exit::Defect;

/// The writer, and what the database knows of the watches and findings.
pub(super) struct OpenedWriter {
    pub(super) writer: Writer,
    pub(super) known: Known,
}

/// What a start goes on from.
pub(super) struct Known {
    pub(super) events: Vec<EventWatch>,
    pub(super) informers: Vec<InformerWatch>,
    /// What the analysis goes on from.
    pub(super) before: RestoredState,
    /// What the writer will tell it.
    pub(super) heard: Arc<CommitStats>,
}

/// One informer's watch as the database has it.
pub(super) struct InformerWatch {
    pub(super) id: WatchId,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) remembered: StoredObjects,
    /// A position to go on from; without one, the analysis says why the first list is needed.
    pub(super) start: ResumePoint,
    pub(super) recall: Arc<RelistSignal>,
}

/// One Events watch as the database has it.
pub(super) struct EventWatch {
    pub(super) id: WatchId,
    pub(super) namespace: String,
    pub(super) start: ResumePoint,
    pub(super) recall: Arc<RelistSignal>,
}

/// Opens the database; a disk that is not there, full or read-only is waited for, as `/healthz` says meanwhile.
pub(super) async fn open_writer(
    config: &Config,
    shared: &WriterContext,
    cluster: &str,
    scopes: Scopes,
) -> anyhow::Result<OpenedWriter> {
    let check = shared.health.check("start", None);
    let again = async |error: OpenError| match error {
        OpenError::Unavailable { .. } => {
            error!(%error, "cannot open the database, retrying");
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
            remove_partial_snapshots(data.directory());
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
    writer = off_thread(move || {
        writer.import();
        writer
    })
    .await?;
    loop {
        let (cluster, scopes) = (cluster.to_owned(), scopes.clone());
        let registered = off_thread(move || {
            let known = register(&mut writer, &cluster, &scopes);
            if let Err(error) = &known {
                writer.on_startup_error(error);
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

/// Runs what may wait for the disk on a thread of its own, so that `/healthz` can say so meanwhile.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Defect("opening the database panicked".to_owned()).into())
}

fn register(writer: &mut Writer, cluster: &str, scopes: &Scopes) -> rusqlite::Result<Known> {
    let mut known = Known {
        events: Vec::with_capacity(scopes.events.len()),
        informers: Vec::with_capacity(scopes.informers.len()),
        before: RestoredState::default(),
        heard: writer.commit_stats(),
    };
    for namespace in &scopes.events {
        let recall = Arc::new(RelistSignal::default());
        let (id, start) =
            writer.register(cluster, Kind::Event.name(), namespace, recall.clone())?;
        known.events.push(EventWatch {
            id,
            namespace: namespace.clone(),
            start,
            recall,
        });
    }
    for (kind, namespace) in &scopes.informers {
        let recall = Arc::new(RelistSignal::default());
        let (id, start) = writer.register(cluster, kind.name(), namespace, recall.clone())?;
        let remembered = writer.stored_objects(id)?;
        known.informers.push(InformerWatch {
            id,
            kind: *kind,
            namespace: namespace.clone(),
            remembered,
            start,
            recall,
        });
    }
    known.before.findings = writer.open_findings()?;
    if !scopes.informers.is_empty() {
        // It reads much of the file. Where that is damaged, the writer finds out and begins a new one; the start must not
        // wait for something that only `WarningRateHigh` needs.
        known.before.history = writer.history().unwrap_or_else(|error| {
            warn!(%error, "cannot read the warnings of the last week");
            WarningHistory::default()
        });
    }
    Ok(known)
}
