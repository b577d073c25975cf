//! Lets the writer request a relist.

use std::sync::{Mutex, PoisonError};

use kube9_model::watch::RelistCause;
use tokio::sync::Notify;

/// Requests a relist of a source: its items were dropped, or the database was replaced.
#[derive(Debug, Default)]
pub struct RelistSignal {
    requested: Mutex<Option<RelistCause>>,
    notify: Notify,
}

impl RelistSignal {
    /// Requests a relist. `Resumed`, which changes no rows, does not replace another cause.
    pub fn request(&self, cause: RelistCause) {
        let mut requested = self
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if cause != RelistCause::Resumed || requested.is_none() {
            *requested = Some(cause);
        }
        drop(requested);
        self.notify.notify_one();
    }

    pub fn take(&self) -> Option<RelistCause> {
        self.requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Waits for a request; returns its cause.
    pub async fn requested(&self) -> RelistCause {
        loop {
            let requested = *self
                .requested
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match requested {
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
    fn request_of_resumed_does_not_replace_another_cause() {
        let signal = RelistSignal::default();
        signal.request(RelistCause::Resumed);
        assert_eq!(signal.take(), Some(RelistCause::Resumed));
        signal.request(RelistCause::Replaced);
        signal.request(RelistCause::Resumed);
        assert_eq!(signal.take(), Some(RelistCause::Replaced));
    }
}
