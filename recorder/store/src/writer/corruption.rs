//! Handles database files that are corrupted, removed or replaced.
//!
//! One report by SQLite is not proof: a read that fails at the wrong moment makes it report a sound file as malformed (*seen*
//! with EIO from the disk), and so may a bad page in memory. The files are quarantined only after three consecutive reports
//! by the same work, each through a new connection, with every byte of the files readable in between.

use kube9_model::watch::RelistCause;
use rusqlite::Connection;
use tracing::error;

use super::{Abandoned, Applier, Writer};
use crate::open::is_corruption;

/// Consecutive reports of corruption by the same work before the files are quarantined.
const CORRUPTION_REPORTS_MAX: u32 = 3;

/// What detected the corruption.
#[derive(Debug, Clone, Copy)]
pub(super) enum DetectedBy {
    /// A commit or a heartbeat: recording has stopped.
    Commit,
    /// Retention: an old page or an index that no commit writes.
    CleanUp,
}

/// Consecutive reports of corruption.
#[derive(Debug, Default)]
pub(super) struct CorruptionCounter {
    pub(super) by_commit: u32,
    pub(super) by_clean_up: u32,
}

/// Why the database is reopened.
pub(super) enum ReopenReason {
    /// The files on disk are not the open ones.
    Replaced,
    /// Either the file is corrupted or the disk fails to read.
    SuspectedCorruption,
    /// It is corrupted or was removed.
    Corrupted(String),
}

impl Writer {
    /// A read at startup failed. Handles corruption, because the writer thread does not run yet. The caller retries in any
    /// case.
    pub fn on_startup_error(&mut self, error: &rusqlite::Error) {
        if is_corruption(error) {
            // Abandoned only when the process ends, which the caller checks itself.
            drop(self.on_corruption(DetectedBy::Commit, error));
        }
    }

    /// SQLite reported corruption.
    pub(super) fn on_corruption(
        &mut self,
        by: DetectedBy,
        error: &rusqlite::Error,
    ) -> Result<(), Abandoned> {
        let met = match by {
            DetectedBy::Commit => &mut self.corruption.by_commit,
            DetectedBy::CleanUp => &mut self.corruption.by_clean_up,
        };
        *met += 1;
        if *met >= CORRUPTION_REPORTS_MAX {
            self.corruption = CorruptionCounter::default();
            return self.replace_damaged(&error.to_string());
        }
        error!(%error, ?by, met = *met, "database corruption reported, reopening and checking the file");
        self.check
            .degraded(format!("the database may be damaged: {error}"));
        self.reopen(ReopenReason::SuspectedCorruption)
    }

    /// Quarantines the database, creates a new one and makes every source relist.
    pub(super) fn replace_damaged(&mut self, why: &str) -> Result<(), Abandoned> {
        self.check
            .degraded(format!("the database is damaged: {why}"));
        self.reopen(ReopenReason::Corrupted(why.to_owned()))
    }

    /// Closes the database and opens it again, with retries; quarantines it in between if it is corrupted.
    pub(super) fn reopen(&mut self, mut found: ReopenReason) -> Result<(), Abandoned> {
        // The old connection must be closed before files are moved. Until the new one is there, every commit fails.
        match Connection::open_in_memory() {
            Ok(placeholder) => drop(std::mem::replace(&mut self.conn, placeholder)),
            Err(error) => error!(%error, "not enough memory for a new connection"),
        }
        loop {
            match self.open_again(&mut found) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    error!(error, "cannot reopen the database");
                    self.check.degraded(error);
                    self.wait(self.config.retry_max)?;
                }
            }
        }
    }

    fn open_again(&mut self, found: &mut ReopenReason) -> Result<(), String> {
        if !matches!(found, ReopenReason::Replaced)
            && let Err(error) = self.data.read_through()
        {
            // The disk fails, and perhaps caused the reports: count them again.
            *found = ReopenReason::SuspectedCorruption;
            return Err(error.to_string());
        }
        if let ReopenReason::Corrupted(why) = found {
            let moved_to = self.data.quarantine().map_err(|error| error.to_string())?;
            self.report_damage(&moved_to.display().to_string(), why);
            // Moved once: a second move would overwrite the quarantined copy with an empty file.
            *found = ReopenReason::Replaced;
        }
        let opened = self.data.open().map_err(|error| error.to_string())?;
        self.report_opened(opened.quarantined);
        let mut applier = Applier::default();
        applier.tracked.restore(&opened.conn);
        for (id, cluster, kind, namespace) in &self.registered {
            applier
                .watches
                .register_as(&opened.conn, *id, cluster, kind, namespace)
                .map_err(|error| format!("cannot register a watch: {error}"))?;
            // Compare the databases instead of checking whether a file was created: on a full disk, a previous attempt may
            // have created part of the new file.
            let is_lost =
                self.applier.watches.get(*id).has_begun() && !applier.watches.get(*id).has_begun();
            if is_lost && let Some(relist_signal) = self.relist_signals.get(id) {
                relist_signal.request(RelistCause::Replaced);
            }
        }
        self.applier = applier;
        self.conn = opened.conn;
        self.files = self.data.file_ids().unwrap_or_default();
        Ok(())
    }
}
