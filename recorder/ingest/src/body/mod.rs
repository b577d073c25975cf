//! The canonical body of an object: what the change history stores of it, from the JSON that a watch delivers.
//!
//! ```text
//!   JSON ─▶ Object::scan ─▶ metadata, managed fields, content hash      every event: one pass, nothing copied
//!                │          texts of the kept fields
//!                ▼ only if the hash differs from that of the object's last event
//!          Object::body ─▶ read (kept fields) ─▶ hide (marks, redaction, lists by identity) ─▶ Body
//! ```
//!
//! - `select` decides which fields are kept and which are hidden, for all passes alike.
//! - Values are hidden as marks (`mark_key`): a changed secret is a change, and cannot be read or guessed.
//! - A body has at most [`BODY_BYTES_MAX`] bytes, [`KEYS_MAX`] keys a map and 64 levels. The smallest part that has more is
//!   one mark with its size; if all parts together have more, the largest fields of the object are.
//!
//! Invariant: no value that is hidden, and no secret that redaction recognises, is in a [`Body`].

mod hide;
mod mark_key;
mod object;
mod read;
mod select;

pub use mark_key::MarkKey;
pub use object::{BadObject, Metadata, Object, Owner};
pub use read::{BODY_BYTES_MAX, KEYS_MAX};

use kube9_model::change::kinds::TrackedKind;
use kube9_model::hash::stable_hash;

use crate::redact;

/// Raise it when a body looks different for another reason than the tables of kinds and the redaction.
const FORM_VERSION: u32 = 3;

/// Which form a body has: bodies of different forms cannot be compared, because the same object makes different bodies.
pub fn form(kind: &TrackedKind, key: &MarkKey) -> u64 {
    let text = format!(
        "{} {} {FORM_VERSION} {} {}",
        kind.api_version(),
        kind.rules.version(),
        redact::VERSION,
        key.id()
    );
    stable_hash(text.as_bytes())
}

#[cfg(test)]
mod hidden_values;
#[cfg(test)]
mod tests;
