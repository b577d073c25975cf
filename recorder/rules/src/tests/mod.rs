//! The analysis as a whole: news in, rows out. The cases of each rule stand beside it (`rules`).

mod changes;
mod lab;
mod life;
mod memory;
mod objects;
mod scene;
pub(crate) mod table;

/// What the tables of cases are written with.
pub(crate) mod prelude {
    pub(crate) use kube9_model::Severity::{Critical, Error, Info, Warning};
    pub(crate) use serde_json::{Value, json};

    pub(crate) use super::lab::{start, t};
    pub(crate) use super::objects::*;
    pub(crate) use super::table::Do::*;
    pub(crate) use super::table::{apply, run, run_after};
    pub(crate) use kube9_model::label::Kind;
}
