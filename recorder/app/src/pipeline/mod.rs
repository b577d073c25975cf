//! Observation → row: `decode` → `filter` → `normalize` → `sanitize` ─ `template` · `names` (all pure) → `queue`.

pub mod decode;
pub mod filter;
mod fit;
pub mod heard;
pub mod identity;
pub mod item;
pub mod meaning;
pub mod names;
pub mod normalize;
pub mod owners;
pub mod push;
pub mod queue;
mod reason_table;
pub mod record;
pub mod sanitize;
pub mod signals;
pub mod template;
