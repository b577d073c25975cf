//! Tests on real SQLite files.

mod causes;
mod database_corruption;
mod findings;
mod pipeline;
mod retention;
mod states;
mod storage_doc;
mod store;
mod tracked;
mod transaction;
mod wal_corruption;
