//! Takes in the original operator's databases, before anything is watched.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::Connection;
use tracing::{error, info};

use super::Writer;
use crate::apply::{Applier, apply_all};
use crate::import::file::{ForeignFile, Refused, databases, name, set_done};
use crate::import::row::Ready;
use crate::import::{BATCH_BYTES, BATCH_ROWS, Counts, FOLDER, Skipped, TIME_MAX, told};
use crate::report;
use crate::rows::Taken;
use crate::run::Progress;

/// Why a file is not taken in as a whole.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    /// Because of the file.
    #[error(transparent)]
    File(#[from] Refused),
    /// Because of the record.
    #[error("cannot write to the database: {0}")]
    Record(#[from] rusqlite::Error),
}

impl Writer {
    /// Takes in what lies in the folder `import` of the data directory; before a watch is registered. What cannot be taken
    /// in stays there: `/healthz` names it until a start could, or it was removed.
    pub fn import(&mut self) {
        let until = Instant::now() + TIME_MAX;
        let folder = self.data.directory().join(FOLDER);
        let files = match databases(&folder) {
            Ok(files) if files.is_empty() => return,
            Ok(files) => files,
            Err(error) => {
                error!(folder = %folder.display(), %error, "cannot read the import directory");
                let check = self.shared.health.check("import", None);
                check.degraded(format!("{} cannot be read: {error}", folder.display()));
                return;
            }
        };
        let check = self.shared.health.check("import", None);
        check.healthy();
        let mut failed = Vec::new();
        for path in files {
            if self.shared.abandon.load(Ordering::Acquire) {
                return;
            }
            if let Err(cause) = self.import_file(&path, until) {
                failed.push(format!("{}: {cause}", name(&path)));
                check.degraded(format!("not imported: {}", failed.join("; ")));
            }
        }
    }

    /// One file, its row in the record and its new name.
    fn import_file(&mut self, path: &Path, until: Instant) -> Result<(), String> {
        let begun = Instant::now();
        let file = name(path);
        info!(file, "importing a database of the original operator");
        let mut counts = Counts::default();
        let read = self.import_rows(path, until, &mut counts);
        let cause = read.as_ref().err().map(ToString::to_string);
        let said = self.say_imported(&file, &counts, cause.as_deref());
        let (rows, changed, skipped) = (counts.taken, counts.changed, counts.skipped_total());
        let reasons = counts.reasons();
        let seconds = begun.elapsed().as_secs_f64();
        // Only what is certain to be there after a power cut is done.
        let cause = cause.or_else(|| said.err().map(|error| Stopped::from(error).to_string()));
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
        let abandon = self.shared.abandon.clone();
        let go_on = move || Instant::now() < until && !abandon.load(Ordering::Acquire);
        let own = self.data.file_ids().map_err(Refused::from)?;
        let own = [own.database, own.wal, own.shm].map(Option::unwrap_or_default);
        let file = ForeignFile::open(path, &own, go_on.clone())?;
        let (keep, now) = (self.retention.clone(), self.shared.clock.now());
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let (mut seen, mut bytes) = (0, 0);
        let read = file.rows(|row| -> Result<(), Stopped> {
            // A single row may be long, and take as long to be made safe.
            self.pulse.beat();
            if !go_on() {
                return Err(Refused::Interrupted.into());
            }
            seen += 1;
            // Looked for first, since that is cheap: so each start gets further than the last one.
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
        // What was read before the file failed is worth as much.
        if !matches!(read, Err(Stopped::Record(_))) {
            self.import_batch(&batch, counts)?;
        }
        read?;
        Ok(file.is_unchanged()?)
    }

    fn import_batch(&mut self, batch: &[Ready], counts: &mut Counts) -> rusqlite::Result<()> {
        self.pulse.beat();
        self.show();
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
                    Taken::Stored => {
                        these.taken += 1;
                        these.changed += u64::from(ready.changed);
                    }
                    Taken::Known => these.skip(Skipped::Known),
                    Taken::Evicted => these.skip(Skipped::Evicted),
                    Taken::NoKey => these.skip(Skipped::NoKey),
                }
            }
            Ok(())
        })?;
        counts.add(&these);
        if self.heartbeat_is_due() {
            self.heartbeat_commit();
        }
        // The size limit holds meanwhile, too.
        while !self.shared.abandon.load(Ordering::Acquire)
            && matches!(self.clean_up(), Ok(Progress::More))
        {
            self.pulse.beat();
        }
        Ok(())
    }

    /// The row that says what became of a file, committed so that it and all before it survive a power cut.
    fn say_imported(
        &mut self,
        file: &str,
        counts: &Counts,
        cause: Option<&str>,
    ) -> rusqlite::Result<()> {
        let row = told(file, counts, cause, self.shared.clock.now());
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
        let counters = &self.shared.metrics.rows_inserted;
        inserted.for_each(|((event_type, severity), rows)| {
            counters.of(event_type, severity).inc_by(rows);
        });
        // What the analysis begins with is read from the counters later, with these rows in them.
        drop(self.applier.rows.take_told());
        Ok(())
    }
}
