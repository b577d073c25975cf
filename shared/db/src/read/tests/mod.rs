//! What is asked of generated databases, compared with the naive answer.

mod equals_naive;
mod naive;
mod ways;

#[path = "../../../tests/fixture/mod.rs"]
mod fixture;
