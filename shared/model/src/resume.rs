//! What the store tells a source when it begins.

use std::collections::BTreeSet;

use crate::time::Timestamp;
use crate::watch::RelistCause;

/// Where a source begins after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// Watch from this resourceVersion.
    Watch(String),
    /// List first.
    List(RelistCause),
}

/// How a source begins after a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// With a watch or with a list.
    pub resume: Resume,
    /// The stored position, also where it cannot be resumed: the API server's history is compared with it.
    pub position: Option<String>,
    /// Number of the last list begun; the next one is higher.
    pub listing: i64,
}

/// What is stored of one watch's objects.
#[derive(Debug, Default)]
pub struct Remembered {
    /// `namespace/name` and facts as JSON.
    pub facts: Vec<(String, String)>,
    /// When the view was last proven current; `None`: it never was.
    pub proven: Option<Timestamp>,
    /// Namespaces of which nothing, or not all, is stored, for lack of memory.
    pub left_out: BTreeSet<String>,
}

/// The name under which it is stored that nothing of a namespace is: no object has one that ends so.
pub fn off_name(namespace: &str) -> String {
    format!("{namespace}/")
}
