//! Where a source resumes, and what the store has of it.

use std::collections::BTreeSet;

use crate::time::Timestamp;
use crate::watch::RelistCause;

/// How a source begins after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Watch from this resourceVersion.
    Watch(String),
    /// List first.
    List(RelistCause),
}

/// Where a source resumes after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumePoint {
    /// With a watch or with a list.
    pub resume: Resume,
    /// The stored position, also if the watch cannot resume from it: it detects another history of the API server.
    pub position: Option<String>,
    /// Generation of the last list; the next one is higher.
    pub list_generation: i64,
}

/// The stored objects of one watch.
#[derive(Debug, Default)]
pub struct StoredObjects {
    /// `namespace/name` and snapshot as JSON.
    pub snapshots: Vec<(String, String)>,
    /// When the watch was last confirmed; `None`: never.
    pub confirmed_at: Option<Timestamp>,
    /// Namespaces with missing snapshots, because of the memory limit.
    pub left_out: BTreeSet<String>,
}

/// The entry that marks a namespace as left out; no object's name ends like this.
pub fn off_name(namespace: &str) -> String {
    format!("{namespace}/")
}
