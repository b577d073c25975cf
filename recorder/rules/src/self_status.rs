//! How kube9 itself is: what its own rules look at. A copy of the board that `/healthz` shows, and of the volume.

use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

/// What is known of kube9 itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelfStatus {
    /// The checks that are not healthy.
    pub degraded: Vec<FailedCheck>,
    /// The volume of the database, where it can be measured.
    pub volume: Option<DiskSpace>,
    /// The pod that it runs in, where it was told.
    pub pod: Option<ObjectRef>,
}

/// A check that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// Its name on the board, e.g. `database` or `watch/Pod`.
    pub check: String,
    /// What is wrong.
    pub message: String,
    /// Since when; `None`: it never was healthy.
    pub since: Option<Timestamp>,
}

/// Space of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it, in bytes.
    pub total: u64,
    /// What is free, in bytes.
    pub free: u64,
}

impl DiskSpace {
    /// What is free, in percent; of a volume without size, all of it.
    pub fn free_percent(self) -> u64 {
        match self.total {
            0 => 100,
            total => (u128::from(self.free) * 100 / u128::from(total)) as u64,
        }
    }
}

impl SelfStatus {
    /// Whether every watch of Events is open.
    pub fn events_are_watched(&self) -> bool {
        let of_events = |one: &FailedCheck| {
            let name = one.check.strip_prefix("watch/Event");
            name.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !self.degraded.iter().any(of_events)
    }

    /// Whether a rule could see a difference.
    pub fn differs(&self, other: &Self) -> bool {
        let percent = |own: &Self| own.volume.map(DiskSpace::free_percent);
        (&self.degraded, percent(self), &self.pod) != (&other.degraded, percent(other), &other.pod)
    }
}
