//! Batches as the writer commits them, or fails to.

#![allow(clippy::unwrap_used, reason = "a test")]

use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;
use kube9_store::apply::Applier;
use rusqlite::Connection;

pub(crate) fn commit(conn: &Connection, applier: &mut Applier, items: &[Item], now: Timestamp) {
    let tx = conn.unchecked_transaction().unwrap();
    applier.apply(&tx, items, now).unwrap();
    applier.finish(&tx).unwrap();
    tx.commit().unwrap();
    applier.committed();
}

/// The transaction is not committed.
pub(crate) fn fail(conn: &Connection, applier: &mut Applier, items: &[Item], now: Timestamp) {
    let tx = conn.unchecked_transaction().unwrap();
    applier.apply(&tx, items, now).unwrap();
    drop(tx);
    applier.rolled_back();
}
