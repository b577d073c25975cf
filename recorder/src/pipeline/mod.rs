//! Observation → row: `normalize` → `sanitize` (both pure) → `queue`.

pub mod normalize;
pub mod record;
pub mod sanitize;
