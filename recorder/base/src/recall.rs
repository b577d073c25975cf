//! The writer's call to a source to list again.

use std::sync::{Mutex, PoisonError};

use kube9_model::watch::RelistCause;
use tokio::sync::Notify;

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

    pub fn take(&self) -> Option<RelistCause> {
        self.wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The cause of the relist that is asked for; waits until one is.
    pub async fn wanted(&self) -> RelistCause {
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
