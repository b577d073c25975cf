//! Whether the API server still has the history that was watched: one for all kinds.
//!
//! etcd that was restored from a backup gives out versions again that it gave out before. Each kind compares the API
//! server's newest version with the highest that it has seen itself: another kind may lie in another etcd
//! (`--etcd-servers-overrides`). The kind that finds that it went back recalls all, since the cluster as a whole went back.
//! A kind that is answered again after a failure wakes all, so that they do not wait for their own back-off to end.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by the watchers of one API server.
#[derive(Debug, Clone)]
pub struct History(Arc<watch::Sender<Epoch>>);

#[derive(Debug, Clone, Default)]
struct Epoch {
    number: u64,
    found: String,
    /// How often the API server answered a kind again that it had failed.
    returns: u64,
}

impl Default for History {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Epoch::default())))
    }
}

impl History {
    /// How often it went back.
    pub(super) fn epoch(&self) -> u64 {
        self.0.borrow().number
    }

    /// The version that the API server was found at when it went back after `epoch`, if it did.
    pub(super) fn later_than(&self, epoch: u64) -> Option<(u64, String)> {
        let now = self.0.borrow();
        (now.number > epoch).then(|| (now.number, now.found.clone()))
    }

    /// Waits until it has gone back after `epoch`.
    pub(super) async fn leaves(&self, epoch: u64) {
        let mut seen = self.0.subscribe();
        if seen.wait_for(|now| now.number > epoch).await.is_err() {
            std::future::pending::<()>().await; // cannot be: the sender is here
        }
    }

    /// How often the API server was found to be back.
    pub(super) fn returns(&self) -> u64 {
        self.0.borrow().returns
    }

    /// It answers again.
    pub(super) fn is_back(&self) {
        self.0.send_modify(|now| now.returns += 1);
    }

    /// Waits until it has been found to be back after `returns`.
    pub(super) async fn comes_back(&self, returns: u64) {
        let mut seen = self.0.subscribe();
        if seen.wait_for(|now| now.returns > returns).await.is_err() {
            std::future::pending::<()>().await; // cannot be: the sender is here
        }
    }

    /// It went back, to `found`. `false`: that is known since `epoch`.
    pub(super) fn went_back(&self, epoch: u64, found: &str) -> bool {
        self.0.send_if_modified(|now| {
            let is_new = now.number == epoch;
            if is_new {
                now.number += 1;
                found.clone_into(&mut now.found);
            }
            is_new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_failed_before_the_api_server_was_back_is_told_once() {
        let history = History::default();
        let returns = history.returns();
        let wakes = |returns| {
            let history = history.clone();
            async move {
                let limit = std::time::Duration::from_millis(20);
                let woken = tokio::time::timeout(limit, history.comes_back(returns));
                woken.await.is_ok()
            }
        };
        assert!(!wakes(returns).await);
        history.is_back();
        assert!(wakes(returns).await);
        assert!(!wakes(history.returns()).await);
        assert_eq!(history.epoch(), 0, "it did not go back");
    }
}
