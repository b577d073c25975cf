//! Tests of the parts, in this process.

mod damage;
mod findings;
mod pipeline;
mod restart;
mod retention;
mod secrets;
mod storage_doc;
mod store;
mod torn;
