//! Observation → row, and object → what the rules read of it. Pure: no I/O, no clock.
//!
//! ```text
//!   Event   decode → filter → normalize → sanitize ─ template · names → item
//!   object  objects (decoded and trimmed) → news
//!   text    redact · sensitive_key
//! ```

pub mod decode;
pub mod filter;
mod fit;
pub mod item;
pub mod maps;
pub mod meaning;
pub mod names;
pub mod news;
pub mod normalize;
pub mod objects;
pub mod owners;
mod reason_table;
pub mod redact;
pub mod sanitize;
pub mod sensitive_key;
pub mod template;
