//! What the writer does when its files are damaged, removed or replaced.
//!
//! Damage that a commit meets stops the recording, so the file is moved aside at once. Damage that only the clean-up meets
//! (an old page, an index nobody writes to) is met a second time first, through a new connection: a bad page in memory,
//! or one bad read, is no reason to begin anew.

use kube9_shared::model::{EventType, Severity};
use rusqlite::Connection;
use serde_json::{Map, json};
use tracing::error;

use super::{Applier, Writer};
use crate::pipeline::item::{Item, RelistCause};
use crate::pipeline::record::{Occurred, Record};
use crate::pipeline::sanitize::sanitize;
use crate::store::writer::Shared;

impl Writer {
    /// The clean-up met damage. `false`: given up because the grace period is over.
    pub(super) fn damage_at_clean_up(&mut self, error: &rusqlite::Error) -> bool {
        if std::mem::replace(&mut self.damage_met, true) {
            self.damage_met = false;
            self.maintenance.begin_again();
            return self.replace_damaged(error);
        }
        error!(%error, "the clean-up met damage: the database is opened again and looked at again");
        let reopened = self.reopen(None);
        self.maintenance.begin_again();
        reopened
    }

    /// The file is damaged or gone: move aside what is there, begin a new one, have every source relist.
    /// `false`: given up because the grace period is over.
    pub(super) fn replace_damaged(&mut self, error: &rusqlite::Error) -> bool {
        let why = error.to_string();
        self.check
            .degraded(format!("the database is damaged: {why}"));
        self.reopen(Some(why))
    }

    /// Closes the database and opens it again, for as long as it takes; moves it aside between where it is `damaged`.
    /// `false`: given up because the grace period is over.
    pub(super) fn reopen(&mut self, mut damaged: Option<String>) -> bool {
        // The old connection must be closed before files are moved. Until the new one is there, every commit fails.
        match Connection::open_in_memory() {
            Ok(placeholder) => drop(std::mem::replace(&mut self.conn, placeholder)),
            Err(error) => error!(%error, "no memory for a new connection"),
        }
        loop {
            match self.open_again(&mut damaged) {
                Ok(()) => return true,
                Err(error) => {
                    error!(error, "cannot open the database again");
                    self.check.degraded(error);
                    if !self.wait(self.config.retry_max) {
                        return false;
                    }
                }
            }
        }
    }

    fn open_again(&mut self, damaged: &mut Option<String>) -> Result<(), String> {
        if let Some(why) = damaged {
            let aside = self.data.move_aside().map_err(|error| error.to_string())?;
            report_damage(&self.shared, &aside.display().to_string(), why);
            // Moved once: a second move would replace the copy that matters by an empty file.
            *damaged = None;
        }
        let opened = self.data.open().map_err(|error| error.to_string())?;
        if let Some((aside, why)) = &opened.moved_aside {
            report_damage(&self.shared, &aside.display().to_string(), why);
        }
        // Registered in a database that has them already, this changes nothing.
        let mut applier = Applier::default();
        for (id, cluster, kind, namespace) in &self.registered {
            applier
                .watches
                .register_as(&opened.conn, *id, cluster, kind, namespace)
                .map_err(|error| format!("cannot register a watch: {error}"))?;
        }
        self.applier = applier;
        self.conn = opened.conn;
        self.files = self.data.file_ids().unwrap_or_default();
        if opened.created || opened.moved_aside.is_some() {
            for recall in self.recalls.values() {
                recall.relist(RelistCause::Replaced);
            }
        }
        Ok(())
    }
}

pub(super) fn report_damage(shared: &Shared, aside: &str, why: &str) {
    let now = shared.clock.now();
    error!(
        aside,
        why, "the database was damaged: it was moved aside and a new one begun"
    );
    let record = Record {
        event_type: EventType::System,
        severity: Severity::Critical,
        title: "Database was damaged".to_owned(),
        description: format!(
            "The database could not be read ({why}). It was moved to {aside} and a new one was begun; \
             what the API server still holds is recorded again."
        ),
        object: None,
        owner: None,
        reason: "DatabaseDamaged".to_owned(),
        component: "kube9".to_owned(),
        container: String::new(),
        kube_type: String::new(),
        node: None,
        extra: Map::from_iter([
            ("moved_to".to_owned(), json!(aside)),
            ("cause".to_owned(), json!(why)),
        ]),
        occurred: Occurred::At(now),
    };
    shared
        .queue
        .push(Item::Row(Box::new(sanitize(record))), now);
}
