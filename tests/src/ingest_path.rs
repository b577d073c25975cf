//! The path of one watch line from bytes to a committed row, in one thread, for property tests and the fuzzer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use kube9_base::clock::Clock;
use kube9_ingest::filter::{Filter, SeverityOverrides};
use kube9_ingest::owners::Owners;
use kube9_k8s::pages::WatchLine;
use kube9_k8s::watcher::Cursor;
use kube9_model::identity::ResourceVersion;
use kube9_model::watch::WatchId;
use kube9_recorder::events::EventIngest;
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use kube9_store::queue::{Queue, QueueLimits};
use rusqlite::Connection;
use serde_json::Value;

/// Longest texts of a row, including the ellipsis and escaped control characters.
const TITLE_CHARS_MAX: usize = 201;
const DESCRIPTION_BYTES_MAX: usize = (4 << 10) + 16;
const METADATA_BYTES_MAX: usize = (10 << 10) + 1024;

/// Decode, filter, normalize, sanitize, queue, fold, store.
pub struct IngestPath {
    ingest: EventIngest,
    queue: Arc<Queue>,
    conn: Connection,
    applier: Applier,
    watch: WatchId,
    _data: DataDir,
}

/// Result of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedOutcome {
    /// Not an item.
    NotAnItem,
    /// Committed as a row, a repeat, a duplicate, a deletion or a stub.
    Committed,
}

impl IngestPath {
    /// Creates a new database in `folder`.
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        let data = DataDir::lock(folder)?;
        let conn = data.open()?.conn;
        let mut applier = Applier::default();
        let (watch, _) = applier.watches.register(&conn, "cluster", "Event", "")?;
        let queue = Arc::new(Queue::new(QueueLimits {
            capacity: 10,
            bytes_max: 64 << 20,
            high_water: 10,
        }));
        let rules = Rules {
            filters: Vec::new(),
            findings: Vec::new(),
        };
        let ingest = EventIngest {
            queue: queue.clone(),
            filter: Arc::new(Filter::new(&[]).map_err(|bad| anyhow!("{bad:?}"))?),
            overrides: Arc::new(SeverityOverrides::new(&[]).map_err(|bad| anyhow!("{bad:?}"))?),
            owners: Owners::default(),
            metrics: Metrics::new(&rules),
            clock: Clock::system(),
            throttle: Arc::default(),
        };
        Ok(Self {
            ingest,
            queue,
            conn,
            applier,
            watch,
            _data: data,
        })
    }

    /// Processes one line and checks the invariants of the written row.
    pub fn feed(&mut self, line: &[u8]) -> anyhow::Result<FeedOutcome> {
        match WatchLine::decode(&String::from_utf8_lossy(line)) {
            Ok(WatchLine::Item { action, object }) => {
                let mut cursor = Cursor::new("0", ResourceVersion::Number(0));
                self.ingest
                    .on_watch_event(self.watch, action, object, &mut cursor);
            }
            Ok(WatchLine::Bookmark(_) | WatchLine::Error(_)) => return Ok(FeedOutcome::NotAnItem),
            Err(cause) => self.ingest.on_undecodable(self.watch, &cause),
        }
        let batch = self
            .queue
            .take_batch(10, usize::MAX, Duration::ZERO, Duration::ZERO);
        ensure!(batch.items.len() == 1, "one line is one item");
        let now = self.ingest.now();
        let tx = self.conn.unchecked_transaction()?;

        self.applier
            .apply(&tx, &batch.items, now)
            .context("the store refused it")?;
        self.applier.finish(&tx)?;
        tx.commit()?;
        self.applier.committed();
        self.check_newest()?;
        Ok(FeedOutcome::Committed)
    }

    /// Occurrences of all rows of an Event including those before, its largest count and its last time.
    pub fn stored(&self, uid: &str) -> rusqlite::Result<(i64, i64, String)> {
        self.conn.query_row(
            "SELECT sum(m ->> 'occurrences' + ifnull(m ->> 'occurrences_before', 0)), max(m ->> 'count'), \
             max(m ->> 'last_timestamp') FROM (SELECT metadata AS m FROM events) WHERE m ->> 'uid' = ?1",
            [uid],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
    }

    fn check_newest(&self) -> anyhow::Result<()> {
        let changed = "SELECT title, ifnull(description, ''), metadata, created_at FROM event_detail \
                       WHERE key = (SELECT event FROM change_log ORDER BY seq DESC LIMIT 1)";
        let mut statement = self.conn.prepare_cached(changed)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (title, description): (String, String) = (row.get(0)?, row.get(1)?);
            let (metadata, created): (String, String) = (row.get(2)?, row.get(3)?);
            ensure!(
                !title.is_empty() && title.chars().count() <= TITLE_CHARS_MAX,
                "title {title:?}"
            );
            ensure!(
                description.len() <= DESCRIPTION_BYTES_MAX,
                "description of {} bytes",
                description.len()
            );
            ensure!(
                metadata.len() <= METADATA_BYTES_MAX,
                "metadata of {} bytes",
                metadata.len()
            );
            let metadata: Value =
                serde_json::from_str(&metadata).context("metadata is not JSON")?;
            ensure!(metadata.is_object(), "metadata {metadata}");
            let last = metadata["last_timestamp"].as_str().unwrap_or_default();
            ensure!(
                created.as_str() <= last,
                "created {created} after its last {last}"
            );
            ensure!(created.as_str() >= "1970", "created {created}");
        }
        Ok(())
    }
}
