//! Imports the original operator's databases, before any watch starts.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::Connection;
use tracing::{error, info};

use super::Writer;
use crate::apply::{Applier, apply_all};
use crate::import::file::{ForeignFile, Refused, databases, name, set_done};
use crate::import::row::Ready;
use crate::import::{BATCH_BYTES, BATCH_ROWS, Counts, FOLDER, Skipped, TIME_MAX, import_record};
use crate::report;
use crate::retention_run::Progress;
use crate::rows::ImportOutcome;

/// Why a file is not imported completely.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    File(#[from] Refused),
    #[error("cannot write to the database: {0}")]
    Record(#[from] rusqlite::Error),
}

impl Writer {
    /// Imports the files in the folder `import` of the data directory, before a watch is registered. A file that cannot be
    /// imported stays there, and `/healthz` names it until a later start imports it or it is removed.
    pub fn import(&mut self) {
        let until = Instant::now() + TIME_MAX;
        let folder = self.data.directory().join(FOLDER);
        let files = match databases(&folder) {
            Ok(files) if files.is_empty() => return,
            Ok(files) => files,
            Err(error) => {
                error!(folder = %folder.display(), %error, "cannot read the import directory");
                let check = self.context.health.check("import", None);
                check.degraded(format!("{} cannot be read: {error}", folder.display()));
                return;
            }
        };
        let check = self.context.health.check("import", None);
        check.healthy();
        let mut failed = Vec::new();
        for path in files {
            if self.context.abandon.load(Ordering::Acquire) {
                return;
            }
            if let Err(cause) = self.import_file(&path, until) {
                failed.push(format!("{}: {cause}", name(&path)));
                check.degraded(format!("not imported: {}", failed.join("; ")));
            }
        }
    }

    /// Imports one file, inserts the row about it and renames it.
    fn import_file(&mut self, path: &Path, until: Instant) -> Result<(), String> {
        let begun = Instant::now();
        let file = name(path);
        info!(file, "importing a database of the original operator");
        let mut counts = Counts::default();
        let read = self.import_rows(path, until, &mut counts);
        let cause = read.as_ref().err().map(ToString::to_string);
        let committed = self.commit_import_record(&file, &counts, cause.as_deref());
        let (rows, changed, skipped) = (counts.taken, counts.changed, counts.skipped_total());
        let reasons = counts.reasons();
        let seconds = begun.elapsed().as_secs_f64();
        // The file is done only if its rows survive a power cut.
        let cause = cause.or_else(|| {
            committed
                .err()
                .map(|error| Stopped::from(error).to_string())
        });
        if let Some(cause) = cause {
            error!(
                file,
                cause,
                rows,
                changed,
                skipped,
                reasons,
                seconds,
                "database not imported completely; the next start retries"
            );
            return Err(cause);
        }
        match set_done(path) {
            Ok(done) => {
                let done = name(&done);
                info!(
                    file,
                    done, rows, changed, skipped, reasons, seconds, "database imported"
                );
                Ok(())
            }
            Err(error) => {
                error!(
                    file, %error, rows, changed, skipped, reasons, seconds,
                    "cannot rename the imported database; the next start reads it again"
                );
                Err(format!("it is imported, but cannot be renamed: {error}"))
            }
        }
    }

    fn import_rows(
        &mut self,
        path: &Path,
        until: Instant,
        counts: &mut Counts,
    ) -> Result<(), Stopped> {
        let abandon = self.context.abandon.clone();
        let go_on = move || Instant::now() < until && !abandon.load(Ordering::Acquire);
        let own = self.data.file_ids().map_err(Refused::from)?;
        let own = [own.database, own.wal, own.shm].map(Option::unwrap_or_default);
        let file = ForeignFile::open(path, &own, go_on.clone())?;
        let (keep, now) = (self.retention.clone(), self.context.clock.now());
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let (mut seen, mut bytes) = (0, 0);
        let read = file.rows(|row| -> Result<(), Stopped> {
            // A single long row may take long to sanitize.
            self.watchdog.heartbeat();
            if !go_on() {
                return Err(Refused::Interrupted.into());
            }
            seen += 1;
            // The lookup is cheap, so each start gets further than the last one.
            let id = row.id().unwrap_or_default();
            if self.applier.rows.has_imported(&self.conn, id)? {
                counts.skip(Skipped::Known);
            } else {
                bytes += row.bytes();
                match row.ready(&keep, now) {
                    Ok(ready) => batch.push(ready),
                    Err(why) => counts.skip(why),
                }
            }
            if seen >= BATCH_ROWS || bytes >= BATCH_BYTES {
                (seen, bytes) = (0, 0);
                self.import_batch(&batch, counts)?;
                batch.clear();
            }
            Ok(())
        });
        // Keep what was read before the file failed.
        if !matches!(read, Err(Stopped::Record(_))) {
            self.import_batch(&batch, counts)?;
        }
        read?;
        Ok(file.is_unchanged()?)
    }

    fn import_batch(&mut self, batch: &[Ready], counts: &mut Counts) -> rusqlite::Result<()> {
        self.watchdog.heartbeat();
        self.refresh_health();
        let mut these = Counts::default();
        self.import_commit(|tx, applier| {
            for ready in batch {
                let taken = applier.rows.insert_imported(
                    tx,
                    &ready.row,
                    ready.created,
                    ready.last,
                    &ready.imported,
                )?;
                match taken {
                    ImportOutcome::Stored => {
                        these.taken += 1;
                        these.changed += u64::from(ready.changed);
                    }
                    ImportOutcome::Known => these.skip(Skipped::Known),
                    ImportOutcome::Evicted => these.skip(Skipped::Evicted),
                    ImportOutcome::NoKey => these.skip(Skipped::NoKey),
                }
            }
            Ok(())
        })?;
        counts.add(&these);
        if self.heartbeat_is_due() {
            self.heartbeat_commit();
        }
        // The size limit applies during the import too.
        while !self.context.abandon.load(Ordering::Acquire)
            && matches!(self.clean_up(), Ok(Progress::More))
        {
            self.watchdog.heartbeat();
        }
        Ok(())
    }

    /// Inserts the row about a file, committed so that it and all before it survive a power cut.
    fn commit_import_record(
        &mut self,
        file: &str,
        counts: &Counts,
        cause: Option<&str>,
    ) -> rusqlite::Result<()> {
        let row = import_record(file, counts, cause, self.context.clock.now());
        self.conn.pragma_update(None, "synchronous", 2)?;
        let committed = self.import_commit(|tx, applier| report::insert(tx, applier, &row));
        self.conn.pragma_update(None, "synchronous", 1)?;
        committed
    }

    fn import_commit(
        &mut self,
        work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let committed = apply_all(&mut self.conn, &mut self.applier, work);
        if committed.is_err() {
            self.applier.rolled_back();
            return committed;
        }
        let inserted = self.applier.rows.take_inserted();
        let counters = &self.context.metrics.rows_inserted;
        inserted.for_each(|((event_type, severity), rows)| {
            counters.get(event_type, severity).inc_by(rows);
        });
        // The rules read their history from the counters later, which include these rows.
        drop(self.applier.rows.take_commit_delta());
        Ok(())
    }
}
