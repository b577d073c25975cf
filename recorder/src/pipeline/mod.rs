//! Observation → row: `normalize` → `sanitize` ─ `template` (all pure) → `queue`.

pub mod filter;
mod fit;
pub mod heard;
pub mod item;
pub mod meaning;
pub mod normalize;
pub mod queue;
mod reason_table;
pub mod record;
mod redact;
pub mod sanitize;
pub(crate) mod secret_key;
pub mod template;
