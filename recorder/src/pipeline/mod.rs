//! Observation → row: `normalize` → `sanitize` (both pure) → `queue`.

pub mod filter;
pub mod item;
pub mod normalize;
pub mod queue;
mod reason_table;
pub mod record;
pub mod sanitize;
