//! Observation → row: `normalize` → `sanitize` (both pure) → `queue`.

pub mod filter;
pub mod item;
pub mod normalize;
pub mod queue;
pub mod reason_table;
pub mod record;
mod redact;
pub mod sanitize;
mod secret_key;
