//! Rows about the database file itself: it was corrupted.

use std::path::PathBuf;
use std::time::Instant;

use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use serde_json::{Map, json};
use tracing::error;

use super::Writer;
use crate::queue::push;

impl Writer {
    /// Reports a file that was quarantined at opening.
    pub(super) fn report_opened(&mut self, quarantined: Option<(PathBuf, String)>) {
        if let Some((aside, why)) = quarantined {
            self.report_damage(&aside.display().to_string(), &why);
        }
    }

    /// Logs it, shows it on `/healthz` for a while, and queues a row.
    pub(super) fn report_damage(&mut self, aside: &str, why: &str) {
        let now = self.context.clock.now();
        self.quarantined = Some(Instant::now());
        self.file_check.degraded(format!(
            "the database was damaged ({why}): it was renamed to {aside} and a new one was created"
        ));
        error!(
            file = aside,
            why, "database damaged: file quarantined, new database created"
        );
        let record = Record {
            event_type: EventType::System,
            severity: Severity::Critical,
            title: "Database was damaged".to_owned(),
            description: format!(
                "The database could not be read ({why}). It was renamed to {aside} and a new one was created. \
             What the API server still has is recorded again."
            ),
            reason: "DatabaseDamaged".to_owned(),
            extra: Map::from_iter([
                ("moved_to".to_owned(), json!(aside)),
                ("cause".to_owned(), json!(why)),
            ]),
            ..Record::internal(now)
        };
        self.push(record, now);
    }

    fn push(&self, record: Record, now: Timestamp) {
        let row = Item::Row(Box::new(sanitize(record)));
        push(&self.context.queue, &self.context.metrics, row, now);
    }
}
