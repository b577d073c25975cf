//! The path of tracked objects from a line of their watch to the commit, in one thread and with the caller's clock.
//!
//! ```text
//!   line ─ WatchLine ─ Tracker (ingest) ─▶ Queue ─ take_batch ─ Applier (store) ─▶ kube9.db
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use kube9_ingest::body::MarkKey;
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::tracker::Tracker;
use kube9_k8s::pages::{Action, WatchLine};
use kube9_k8s::watcher::Cursor;
use kube9_model::change::kinds::{BUILT_IN, ResourceId, TrackedKind};
use kube9_model::commit_stats::{CommitDelta, CommitStats};
use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_store::apply::{Applier, apply_all};
use kube9_store::open::DataDir;
use kube9_store::queue::{Queue, QueueLimits, push};
use rusqlite::Connection;

use super::object::ApiObject;
use crate::clock::Micros;

/// Defaults of the queue and of the writer.
const QUEUE_ROWS: usize = 1_000;
const QUEUE_BYTES: usize = 8 << 20;
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;

struct Watched {
    kind: Arc<TrackedKind>,
    watch: WatchId,
    tracker: Tracker,
    cursor: Cursor,
}

/// A database with the sources and the writer of its tracked kinds.
pub struct ChangePath {
    _data: DataDir,
    pub conn: Connection,
    applier: Applier,
    queue: Queue,
    metrics: Arc<Metrics>,
    watched: Vec<Watched>,
    version: u64,
}

/// A watched kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(usize);

/// The API's time as the record's.
pub fn timestamp(at: Micros) -> Timestamp {
    Timestamp::from_millis(at.0 / 1000)
}

/// What a source does first.
pub fn decode(line: &str) -> anyhow::Result<WatchLine<'_>> {
    WatchLine::decode(line).map_err(|bad| anyhow!(bad))
}

impl ChangePath {
    /// Creates a database in `folder`.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let data = DataDir::lock(folder)?;
        let conn = data.open()?.conn;
        let rules = Rules {
            filters: Vec::new(),
            findings: Vec::new(),
        };
        Ok(Self {
            _data: data,
            conn,
            applier: Applier::default(),
            queue: Queue::new(QueueLimits {
                capacity: QUEUE_ROWS,
                bytes_max: QUEUE_BYTES,
                high_water: QUEUE_ROWS / 5 * 4,
            }),
            metrics: Metrics::new(&rules),
            watched: Vec::new(),
            version: 1_000_000,
        })
    }

    /// Tracks a kind by its name (`deploy`), or a custom resource (`argoproj.io/v1alpha1/applications` of kind
    /// `Application`), and lists its objects.
    pub fn track(
        &mut self,
        (name, custom_kind): (&str, &str),
        objects: &mut [&mut ApiObject],
        at: Micros,
    ) -> anyhow::Result<Source> {
        let kind = match TrackedKind::find(BUILT_IN.iter(), name) {
            Ok(kind) => kind.clone(),
            Err(_) => {
                let id: ResourceId = name.parse()?;
                let is_namespaced = objects
                    .iter()
                    .any(|object| object.json["metadata"]["namespace"].is_string());
                TrackedKind::custom(&id, custom_kind, is_namespaced)
            }
        };
        let kind = Arc::new(kind);
        let watch_name = format!("{}.{}", kind.resource, kind.group);
        let registered = self
            .applier
            .watches
            .register(&self.conn, "bench", &watch_name, "")?;
        self.watched.push(Watched {
            tracker: Tracker::new(kind.clone(), MarkKey::new(&[7; 32])),
            cursor: Cursor::new("0", ResourceVersion::Number(0)),
            watch: registered.0,
            kind,
        });
        let source = Source(self.watched.len() - 1);
        self.list(source, objects, at)?;
        Ok(source)
    }

    fn list(
        &mut self,
        source: Source,
        objects: &mut [&mut ApiObject],
        at: Micros,
    ) -> anyhow::Result<()> {
        let now = timestamp(at);
        let watch = self.watched[source.0].watch;
        let cause = RelistCause::FirstStart;
        let begins = self.watched[source.0].tracker.list_begins(cause, now);
        self.push(source, begins, now);
        self.mark(
            watch,
            SourceMarker::Init {
                list_generation: 0,
                cause,
                at: now,
            },
            now,
        );
        let listed = objects.len() as u64;
        for object in objects {
            self.version += 1;
            object.json["metadata"]["resourceVersion"] = self.version.to_string().into();
            let tracker = &mut self.watched[source.0].tracker;
            let reading = tracker
                .applied(&object.json.to_string(), Origin::List, now)
                .map_err(|bad| anyhow!("{}: {bad}", object.name()))?;
            let event = tracker.emit(reading);
            self.push(source, event, now);
            if !self.queue.is_ready() {
                self.commit(at)?;
            }
        }
        let version = self.version.to_string();
        let ends = self.watched[source.0].tracker.list_ends(&version);
        self.push(source, ends, now);
        self.mark(
            watch,
            SourceMarker::Synced {
                version,
                at: now,
                server_time: now,
                listed,
                vanished: 0,
            },
            now,
        );
        self.commit(at)?;
        Ok(())
    }

    /// A new resourceVersion.
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// What a source does with a line.
    pub fn receive(&mut self, source: Source, line: &str, at: Micros) -> anyhow::Result<()> {
        self.receive_decoded(source, &decode(line)?, at)
    }

    /// What a source does with a line that is decoded: with the kind of its event, and the text of its object.
    pub fn receive_decoded(
        &mut self,
        source: Source,
        line: &WatchLine<'_>,
        at: Micros,
    ) -> anyhow::Result<()> {
        let now = timestamp(at);
        let WatchLine::Item { action, object } = line else {
            bail!("not an item");
        };
        let watched = &mut self.watched[source.0];
        let json = object.get();
        let read = match action {
            Action::Added | Action::Modified => watched.tracker.applied(json, Origin::Watch, now),
            Action::Deleted => watched.tracker.deleted(json, Origin::Watch, now),
        };
        let reading = read.map_err(|bad| anyhow!("{bad}: {json}"))?;
        watched.cursor.advance_to(&reading.version());
        // The caller's clock is that of a watch that has caught up.
        let event = watched.tracker.emit(reading.live(now));
        self.push(source, event, now);
        Ok(())
    }

    fn push(&self, source: Source, event: TrackedEvent, now: Timestamp) {
        let watched = &self.watched[source.0];
        let item = Item::Tracked {
            watch: watched.watch,
            kind: watched.kind.clone(),
            event,
        };
        push(&self.queue, &self.metrics.store, item, now);
    }

    fn mark(&self, watch: WatchId, marker: SourceMarker, now: Timestamp) {
        let item = Item::Marker { watch, marker };
        push(&self.queue, &self.metrics.store, item, now);
    }

    /// What the writer does: commits everything in the queue, in as few transactions as its bounds allow. Returns what it
    /// reports to the rules.
    pub fn commit(&mut self, at: Micros) -> anyhow::Result<CommitDelta> {
        let stats = CommitStats::default();
        loop {
            let batch =
                self.queue
                    .take_batch(BATCH_ROWS, BATCH_BYTES, Duration::ZERO, Duration::ZERO);
            if batch.is_empty() {
                return Ok(stats.take());
            }
            apply_all(&mut self.conn, &mut self.applier, |session, applier| {
                applier.apply(session, &batch.items, timestamp(at))
            })
            .context("a batch")?;
            self.applier.outcomes = Default::default();
            drop(self.applier.rows.take_inserted());
            stats.add(self.applier.rows.take_commit_delta());
        }
    }
}
