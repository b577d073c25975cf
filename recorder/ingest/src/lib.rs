//! Turns Events into rows, and objects into what the rules read of them. Pure: no I/O, no clock.
//!
//! ```text
//!   Event   decode → filter → normalize → sanitize ─ template · intern_keys → item
//!   object  objects (decoded and trimmed) → informer_event
//!   change  body (what is stored of an object) · attribution (who changed it) · deletion (why it was deleted)
//!   text    redact · sensitive_key
//! ```

pub mod attribution;
pub mod body;
pub mod change_row;
pub mod classify;
pub mod decode;
pub mod deletion;
pub mod field_writes;
pub mod filter;
pub mod informer_event;
pub mod intern_keys;
pub mod item;
pub mod maps;
pub mod normalize;
pub mod objects;
pub mod owners;
mod reason_table;
pub mod redact;
pub mod sanitize;
pub mod sensitive_key;
pub mod template;
pub mod tracker;
mod truncate;
