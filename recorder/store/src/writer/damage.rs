//! What the writer does when its files are damaged, removed or replaced.
//!
//! One word of SQLite's is no proof: a read that fails at the wrong moment makes it call a sound file malformed (*seen* with
//! EIO from the disk), and so may a bad page in memory. So the same work meets damage three times in a row, each time
//! through a new connection, and every byte of the files could be read in between, before they are quarantined.

use kube9_model::watch::RelistCause;
use rusqlite::Connection;
use tracing::error;

use super::{Abandoned, Applier, Writer};
use crate::open::is_damage;

/// How often the same work has to meet damage in a row, each time through a new connection.
const MET_MAX: u32 = 3;

/// Who meets damage.
#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    /// A commit or a heartbeat: nothing is recorded any more.
    Commit,
    /// The clean-up alone: an old page, an index nobody writes to.
    CleanUp,
}

/// How often damage was met in a row.
#[derive(Debug, Default)]
pub(super) struct DamageMet {
    pub(super) by_commit: u32,
    pub(super) by_clean_up: u32,
}

/// Why the database is opened again.
pub(super) enum Found {
    /// Its files are others than those that are open.
    Replaced,
    /// Perhaps it is damaged, perhaps the disk does not read.
    Doubtful,
    /// It is damaged, or gone.
    Damaged(String),
}

impl Writer {
    /// What a start reads could not be read. Where that is damage it is dealt with here, for nothing else would: the
    /// worker, whose commits would meet it, does not run yet. The caller tries again in any case.
    pub fn failed_before_run(&mut self, error: &rusqlite::Error) {
        if is_damage(error) {
            // Abandoned only when the process ends, which the caller notices by itself.
            drop(self.damaged(By::Commit, error));
        }
    }

    /// SQLite calls the file damaged.
    pub(super) fn damaged(&mut self, by: By, error: &rusqlite::Error) -> Result<(), Abandoned> {
        let met = match by {
            By::Commit => &mut self.damage.by_commit,
            By::CleanUp => &mut self.damage.by_clean_up,
        };
        *met += 1;
        if *met >= MET_MAX {
            self.damage = DamageMet::default();
            return self.replace_damaged(&error.to_string());
        }
        error!(%error, ?by, met = *met, "database corruption reported, reopening and checking the file");
        self.check
            .degraded(format!("the database may be damaged: {error}"));
        self.reopen(Found::Doubtful)
    }

    /// Quarantines what is there, begins a new one, has every source relist.
    pub(super) fn replace_damaged(&mut self, why: &str) -> Result<(), Abandoned> {
        self.check
            .degraded(format!("the database is damaged: {why}"));
        self.reopen(Found::Damaged(why.to_owned()))
    }

    /// Closes the database and opens it again, for as long as it takes; moves it aside in between where it is damaged.
    pub(super) fn reopen(&mut self, mut found: Found) -> Result<(), Abandoned> {
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

    fn open_again(&mut self, found: &mut Found) -> Result<(), String> {
        if !matches!(found, Found::Replaced)
            && let Err(error) = self.data.read_through()
        {
            // The disk is at fault, and perhaps was all along: damage has to be met anew.
            *found = Found::Doubtful;
            return Err(error.to_string());
        }
        if let Found::Damaged(why) = found {
            let aside = self.data.move_aside().map_err(|error| error.to_string())?;
            self.report_damage(&aside.display().to_string(), why);
            // Moved once: a second move would replace the copy that matters by an empty file.
            *found = Found::Replaced;
        }
        let opened = self.data.open().map_err(|error| error.to_string())?;
        self.report_opened(opened.quarantined);
        let mut applier = Applier::default();
        for (id, cluster, kind, namespace) in &self.registered {
            applier
                .watches
                .register_as(&opened.conn, *id, cluster, kind, namespace)
                .map_err(|error| format!("cannot register a watch: {error}"))?;
            // The databases are compared, and it does not matter how this one was opened: a new file that could be made only
            // in part, since the disk was full, is there already at the next attempt.
            let is_lost =
                self.applier.watches.get(*id).has_begun() && !applier.watches.get(*id).has_begun();
            if is_lost && let Some(recall) = self.recalls.get(id) {
                recall.relist(RelistCause::Replaced);
            }
        }
        self.applier = applier;
        self.conn = opened.conn;
        self.files = self.data.file_ids().unwrap_or_default();
        Ok(())
    }
}
