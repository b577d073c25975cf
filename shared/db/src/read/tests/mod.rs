//! What is asked of generated databases, compared with the naive answer.

mod equivalence;
mod reference;

#[path = "../../../tests/fixture/mod.rs"]
pub(super) mod fixture;
