//! The one generator of cluster data.

mod names;
mod rng;

pub use names::{suffix_of, uuid_text};
pub use rng::Rng;
