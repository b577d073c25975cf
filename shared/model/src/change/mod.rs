//! How an object changes: which kinds are tracked, what a stored body looks like, how two of them differ, and how older
//! ones are kept.
//!
//! ```text
//!   kinds      the tracked kinds as data: lists, ignored and silent fields, and so on
//!     rules    one kind's lines as one state machine ── automaton ── path
//!   stored     JSON with sorted maps
//!   body       the stored form: JSON in which lists with identities are maps with an order
//!     diff     two bodies → changed fields: path, op, from, to
//!     json_patch two bodies → the JSON Patch between them (RFC 6902)
//!     patch    the newest body whole, older ones as reverse merge patches (RFC 7396)
//!     erase    removes values from all of these
//! ```

pub mod automaton;
pub mod body;
pub mod diff;
pub mod erase;
pub mod json_patch;
pub mod kinds;
pub mod patch;
pub mod path;
pub mod rules;
pub mod stored;
