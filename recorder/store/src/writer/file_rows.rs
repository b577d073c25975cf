//! What the writer has to say of its own file, as rows of the record: it was damaged.

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
use crate::push::push;

impl Writer {
    /// Reports a damaged file that was quarantined at opening, and why.
    pub(super) fn report_opened(&mut self, quarantined: Option<(PathBuf, String)>) {
        if let Some((aside, why)) = quarantined {
            self.report_damage(&aside.display().to_string(), &why);
        }
    }

    /// Logs it, shows it on `/healthz` for a while, and puts a row into the queue.
    pub(super) fn report_damage(&mut self, aside: &str, why: &str) {
        let now = self.shared.clock.now();
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
            ..Record::own(now)
        };
        self.push(record, now);
    }

    fn push(&self, record: Record, now: Timestamp) {
        let row = Item::Row(Box::new(sanitize(record)));
        push(&self.shared.queue, &self.shared.metrics, row, now);
    }
}
