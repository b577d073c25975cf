//! Detects that the API server's history regressed; shared by the watchers of all kinds.
//!
//! An etcd that was restored from a backup issues resourceVersions again that it issued before. Each watcher compares the
//! API server's newest version with the highest version of its own kind, since another kind may be stored in another etcd
//! (`--etcd-servers-overrides`). The first watcher that finds a regression makes all others relist, since the cluster as
//! a whole was restored.
//!
//! A watcher that gets a response again after a failure wakes all others, so that they do not wait for their own back-off
//! to end.

use std::sync::Arc;

use tokio::sync::watch;

/// WriterContext by the watchers of one API server.
#[derive(Debug, Clone)]
pub struct ServerHistory(Arc<watch::Sender<Epoch>>);

#[derive(Debug, Clone, Default)]
struct Epoch {
    epoch: u64,
    found: String,
    /// How often the API server responded again to a kind whose requests had failed.
    recoveries: u64,
}

impl Default for ServerHistory {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Epoch::default())))
    }
}

impl ServerHistory {
    /// How often the history regressed.
    pub(super) fn epoch(&self) -> u64 {
        self.0.borrow().epoch
    }

    /// If the history regressed after `epoch`: the new epoch, and the API server's newest version at that time.
    pub(super) fn regressed_since(&self, epoch: u64) -> Option<(u64, String)> {
        let now = self.0.borrow();
        (now.epoch > epoch).then(|| (now.epoch, now.found.clone()))
    }

    /// Waits until the history regresses after `epoch`.
    pub(super) async fn wait_for_regression(&self, epoch: u64) {
        let mut seen = self.0.subscribe();
        if seen.wait_for(|now| now.epoch > epoch).await.is_err() {
            std::future::pending::<()>().await; // unreachable: `self` holds the sender
        }
    }

    /// How often the API server recovered.
    pub(super) fn recoveries(&self) -> u64 {
        self.0.borrow().recoveries
    }

    /// The API server responds again.
    pub(super) fn report_recovery(&self) {
        self.0.send_modify(|now| now.recoveries += 1);
    }

    /// Waits until the API server recovers after the given number of recoveries.
    pub(super) async fn wait_for_recovery(&self, recoveries: u64) {
        let mut seen = self.0.subscribe();
        if seen
            .wait_for(|now| now.recoveries > recoveries)
            .await
            .is_err()
        {
            std::future::pending::<()>().await; // unreachable: `self` holds the sender
        }
    }

    /// The history regressed to `found`. Returns whether this is the first report since `epoch`.
    pub(super) fn report_regression(&self, epoch: u64, found: &str) -> bool {
        self.0.send_if_modified(|now| {
            let is_new = now.epoch == epoch;
            if is_new {
                now.epoch += 1;
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
    async fn wait_for_recovery_ends_once_for_each_recovery() {
        let history = ServerHistory::default();
        let before = history.recoveries();
        let wakes = |recoveries| {
            let history = history.clone();
            async move {
                let limit = std::time::Duration::from_millis(20);
                let woken = tokio::time::timeout(limit, history.wait_for_recovery(recoveries));
                woken.await.is_ok()
            }
        };
        assert!(!wakes(before).await);
        history.report_recovery();
        assert!(wakes(before).await);
        assert!(!wakes(history.recoveries()).await);
        assert_eq!(history.epoch(), 0, "the history did not regress");
    }
}
