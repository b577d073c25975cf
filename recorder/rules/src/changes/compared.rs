//! What is compared: two states of an object, and what is known of the time between.

use kube9_ingest::objects::Object;
use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

use super::snapshot::Facts;

/// When a change was seen, if not as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// It happened after this…
    pub from: Timestamp,
    /// …and before this.
    pub to: Timestamp,
}

/// What is compared.
#[derive(Debug)]
pub struct Compared<'a> {
    /// The object as it was; `None`: it was not there.
    pub before: Option<&'a Facts>,
    /// Facts of the object as it is; `None`: it is gone.
    pub after: Option<&'a Facts>,
    /// The object as it is, or was last seen; `None` where it went while nobody watched.
    pub object: Option<&'a Object>,
    /// Keys of a ConfigMap whose values changed while this process watched, whatever their length.
    pub rewritten: Vec<String>,
    /// Who it is.
    pub subject: ObjectRef,
    /// Now.
    pub at: Timestamp,
    /// Not seen as it happened.
    pub late: Option<Late>,
}
