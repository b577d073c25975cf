//! The status of kube9 itself, for the rules about it: the checks of `/healthz`, and the disk space.

use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelfStatus {
    /// The checks that are not healthy.
    pub degraded: Vec<FailedCheck>,
    /// The volume of the database; `None` if it cannot be measured.
    pub volume: Option<DiskSpace>,
    /// The pod that it runs in, if configured.
    pub pod: Option<ObjectRef>,
}

/// A check that is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// E.g. `database` or `watch/Pod`.
    pub check: String,
    pub message: String,
    /// `None` if it never was healthy.
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// In bytes.
    pub total: u64,
    /// In bytes.
    pub free: u64,
}

impl DiskSpace {
    /// 100 for a volume without a size.
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

    /// Whether the difference can change the result of a rule.
    pub fn differs(&self, other: &Self) -> bool {
        let percent = |own: &Self| own.volume.map(DiskSpace::free_percent);
        (&self.degraded, percent(self), &self.pod) != (&other.degraded, percent(other), &other.pod)
    }
}
