//! Opens the database, and restores the state of the last run: positions of the watches, open findings.

use std::sync::Arc;

use kube9_base::relist::RelistSignal;
use kube9_ingest::body::MarkKey;
use kube9_model::commit_stats::{CommitStats, WarningHistory};
use kube9_model::label::{Kind, Label};
use kube9_model::resume::{ResumePoint, StoredObjects};
use kube9_model::watch::WatchId;
use kube9_rules::state::RestoredState;
use kube9_store::context::WriterContext;
use kube9_store::open::{DataDir, OpenError};
use kube9_store::snapshot::remove_partial_snapshots;
use kube9_store::writer::{StoredVersions, Writer};
use tracing::{error, warn};

use super::watch_targets::{WatchTargets, tracked_kind, watch_name};
use crate::config::Config;
use crate::exit::Defect;
use crate::mark_key;
use crate::tracked_task::TrackedTarget;

/// The writer, and the state that the database contains.
pub(super) struct OpenedWriter {
    pub(super) writer: Writer,
    pub(super) restored: StoredState,
}

/// The state to resume from.
pub(super) struct StoredState {
    pub(super) events: Vec<EventWatch>,
    pub(super) informers: Vec<InformerWatch>,
    pub(super) tracked: Vec<TrackedWatch>,
    /// Of the marks that stand for hidden values.
    pub(super) mark_key: MarkKey,
    /// The state of the analysis.
    pub(super) analysis: RestoredState,
    /// What the writer reports to the analysis.
    pub(super) commit_stats: Arc<CommitStats>,
}

/// The watch of an informer, as stored.
pub(super) struct InformerWatch {
    pub(super) id: WatchId,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) stored_objects: StoredObjects,
    /// Those of the change history.
    pub(super) tracked: StoredVersions,
    /// The position to resume from; without one, the analysis decides the cause of the first list.
    pub(super) start: ResumePoint,
    pub(super) relist: Arc<RelistSignal>,
}

/// The watch of a kind that only the change history reads, as stored.
pub(super) struct TrackedWatch {
    pub(super) id: WatchId,
    pub(super) target: TrackedTarget,
    pub(super) namespace: String,
    pub(super) stored: StoredVersions,
    pub(super) start: ResumePoint,
    pub(super) relist: Arc<RelistSignal>,
}

/// A watch of Events, as stored.
pub(super) struct EventWatch {
    pub(super) id: WatchId,
    pub(super) namespace: String,
    pub(super) start: ResumePoint,
    pub(super) relist: Arc<RelistSignal>,
}

/// Opens the database. Retries while the disk is missing, full or read-only, which `/healthz` reports.
pub(super) async fn open_writer(
    config: &Config,
    shared: &WriterContext,
    cluster: &str,
    targets: WatchTargets,
) -> anyhow::Result<OpenedWriter> {
    let check = shared.health.check("start", None);
    let retry = async |error: OpenError| match error {
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
            Err(error) => retry(error).await?,
        }
    };
    let directory = config.data_dir.clone();
    let mark_key = off_thread(move || mark_key::load_or_create(&directory)).await??;
    writer = off_thread(move || {
        writer.import();
        writer
    })
    .await?;
    loop {
        let (cluster, targets) = (cluster.to_owned(), targets.clone());
        let mark_key = mark_key.clone();
        let registered = off_thread(move || {
            let restored = register(&mut writer, &cluster, &targets, mark_key);
            if let Err(error) = &restored {
                writer.on_startup_error(error);
            }
            (writer, restored)
        });
        let restored;
        (writer, restored) = registered.await?;
        match restored {
            Ok(restored) => {
                check.healthy();
                return Ok(OpenedWriter { writer, restored });
            }
            Err(source) => {
                let path = config.data_dir.clone();
                let source = source.into();
                retry(OpenError::Unavailable { path, source }).await?;
            }
        }
    }
}

/// Runs work that may block on the disk on another thread, so that `/healthz` responds meanwhile.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Defect("opening the database panicked".to_owned()).into())
}

fn register(
    writer: &mut Writer,
    cluster: &str,
    targets: &WatchTargets,
    mark_key: MarkKey,
) -> rusqlite::Result<StoredState> {
    let mut restored = StoredState {
        events: Vec::with_capacity(targets.events.len()),
        informers: Vec::with_capacity(targets.informers.len()),
        tracked: Vec::with_capacity(targets.tracked.len()),
        mark_key,
        analysis: RestoredState::default(),
        commit_stats: writer.commit_stats(),
    };
    for namespace in &targets.events {
        let relist = Arc::new(RelistSignal::default());
        let (id, start) =
            writer.register(cluster, Kind::Event.name(), namespace, relist.clone())?;
        restored.events.push(EventWatch {
            id,
            namespace: namespace.clone(),
            start,
            relist,
        });
    }
    for (kind, namespace) in &targets.informers {
        let relist = Arc::new(RelistSignal::default());
        let (id, start) = writer.register(cluster, kind.name(), namespace, relist.clone())?;
        let stored_objects = writer.stored_objects(id)?;
        let tracked = match tracked_kind(*kind) {
            Some(kind) => writer.tracked_versions((&kind.group, &kind.resource), namespace)?,
            None => StoredVersions::default(),
        };
        restored.informers.push(InformerWatch {
            id,
            kind: *kind,
            namespace: namespace.clone(),
            stored_objects,
            tracked,
            start,
            relist,
        });
    }
    for (target, namespace) in &targets.tracked {
        let relist = Arc::new(RelistSignal::default());
        let name = watch_name(target);
        let (id, start) = writer.register(cluster, &name, namespace, relist.clone())?;
        restored.tracked.push(TrackedWatch {
            id,
            target: target.clone(),
            namespace: namespace.clone(),
            stored: writer.tracked_versions(target.resource(), namespace)?,
            start,
            relist,
        });
    }
    restored.analysis.at = writer.now();
    restored.analysis.findings = writer.open_findings()?;
    if !targets.informers.is_empty() {
        // This reads much of the file. If the file is corrupt, the writer detects it and replaces the file; the start must
        // not wait for data that only `WarningRateHigh` needs.
        restored.analysis.changes = writer.recent_changes().unwrap_or_else(|error| {
            warn!(%error, "cannot read the changes of the last hour");
            Vec::new()
        });
        restored.analysis.history = writer.history().unwrap_or_else(|error| {
            warn!(%error, "cannot read the warnings of the last week");
            WarningHistory::default()
        });
    }
    Ok(restored)
}
