//! Tests of the analysis as a whole: messages in, rows out. The cases of a rule are in the rule's file.

mod captured;
pub(crate) mod case;
mod changes;
mod harness;
mod last_words;
mod memory;
mod objects;
mod pod_ends;
mod restart;

/// Imports of the rules' cases.
pub(crate) mod prelude {
    pub(crate) use kube9_model::Severity::{Critical, Error, Info, Warning};
    pub(crate) use serde_json::{Value, json};

    pub(crate) use super::case::Step::{self, *};
    pub(crate) use super::case::{
        apply, careful_manifest, careless_then_careful_manifest, run, run_after,
    };
    pub(crate) use super::harness::{TestHarness, start, t};
    pub(crate) use super::objects::*;
    pub(crate) use kube9_model::label::Kind;
}
