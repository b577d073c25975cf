//! Tests of the parts, in this process.

mod database_corruption;
mod findings;
mod pipeline;
mod restart;
mod retention;
mod secrets;
mod storage_doc;
mod store;
mod wal_corruption;
