//! What the writer has to say of its own file, as rows of the record: it was damaged, it has another layout.

use std::path::PathBuf;
use std::time::Instant;

use kube9_shared::model::{EventType, Severity};
use kube9_shared::schema;
use kube9_shared::time::Timestamp;
use serde_json::{Map, json};
use tracing::error;

use super::Writer;
use crate::pipeline::item::Item;
use crate::pipeline::push::push;
use crate::pipeline::record::Record;
use crate::pipeline::sanitize::sanitize;

impl Writer {
    /// Tells what was found at opening: a damaged file that was moved aside, and why; the layout that a file had.
    pub(super) fn report_opened(
        &mut self,
        moved_aside: Option<(PathBuf, String)>,
        migrated_from: Option<i64>,
    ) {
        if let Some((aside, why)) = moved_aside {
            self.report_damage(&aside.display().to_string(), &why);
        }
        if let Some(from) = migrated_from {
            self.report_migration(from);
        }
    }

    /// Logs it, shows it on `/healthz` for a while, and puts a row into the queue.
    pub(super) fn report_damage(&mut self, aside: &str, why: &str) {
        let now = self.shared.clock.now();
        self.moved_aside = Some(Instant::now());
        self.file_check.degraded(format!(
            "the database was damaged ({why}): it was moved to {aside} and a new one begun"
        ));
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
            reason: "DatabaseDamaged".to_owned(),
            extra: Map::from_iter([
                ("moved_to".to_owned(), json!(aside)),
                ("cause".to_owned(), json!(why)),
            ]),
            ..Record::own(now)
        };
        self.push(record, now);
    }

    /// Puts a row into the queue: the file has another layout than the one it came with.
    fn report_migration(&mut self, from: i64) {
        let (now, to) = (self.shared.clock.now(), schema::VERSION);
        let record = Record {
            event_type: EventType::System,
            severity: Severity::Info,
            title: "Database migrated".to_owned(),
            description: format!(
                "The database had layout {from} and has layout {to} now. An older kube9 does not read it; \
                 to go back, restore a backup from before."
            ),
            reason: "DatabaseMigrated".to_owned(),
            extra: Map::from_iter([
                ("from_version".to_owned(), json!(from)),
                ("to_version".to_owned(), json!(to)),
            ]),
            ..Record::own(now)
        };
        self.push(record, now);
    }

    fn push(&self, record: Record, now: Timestamp) {
        let row = Item::Row(Box::new(sanitize(record)));
        push(&self.shared.queue, &self.shared.metrics, row, now);
    }
}
