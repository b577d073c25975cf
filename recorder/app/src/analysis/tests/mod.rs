//! The analysis as a whole: news in, rows out. The cases of each rule stand beside it (`rules`).

mod changes;
mod lab;
mod life;
mod memory;
mod objects;
mod scene;
pub(in crate::analysis) mod table;

/// What the tables of cases are written with.
pub(in crate::analysis) mod prelude {
    pub(in crate::analysis) use kube9_model::Severity::{Critical, Error, Info, Warning};
    pub(in crate::analysis) use serde_json::{Value, json};

    pub(in crate::analysis) use super::lab::{start, t};
    pub(in crate::analysis) use super::objects::*;
    pub(in crate::analysis) use super::table::Do::*;
    pub(in crate::analysis) use super::table::{apply, run, run_after};
    pub(in crate::analysis) use kube9_model::label::Kind;
}
