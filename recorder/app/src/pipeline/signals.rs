//! What goes against the flow: what the store tells a source when it begins, and its call to list again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kube9_model::time::Timestamp;
use tokio::sync::Notify;

use super::item::RelistCause;

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

/// Lets the writer tell a source that it has to relist: its items were dropped, or the database is a new one.
#[derive(Debug, Default)]
pub struct Recall {
    wanted: Mutex<Option<RelistCause>>,
    notify: Notify,
}

impl Recall {
    /// Asks for a relist. One that changes nothing of the record does not take the place of another cause.
    pub fn relist(&self, cause: RelistCause) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if cause != RelistCause::Resumed || wanted.is_none() {
            *wanted = Some(cause);
        }
        drop(wanted);
        self.notify.notify_one();
    }

    pub(crate) fn take(&self) -> Option<RelistCause> {
        self.wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The cause of the relist that is asked for; waits until one is.
    pub(crate) async fn wanted(&self) -> RelistCause {
        loop {
            let wanted = *self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            match wanted {
                Some(cause) => return cause,
                None => self.notify.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relist_that_changes_nothing_does_not_replace_another_cause() {
        let recall = Recall::default();
        recall.relist(RelistCause::Resumed);
        assert_eq!(recall.take(), Some(RelistCause::Resumed));
        recall.relist(RelistCause::Replaced);
        recall.relist(RelistCause::Resumed);
        assert_eq!(recall.take(), Some(RelistCause::Replaced));
    }
}
