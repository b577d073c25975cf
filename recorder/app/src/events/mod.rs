//! Events, from their watcher to the queue.

mod consumer;
mod ingest;

pub use consumer::EventConsumer;
pub use ingest::EventIngest;
