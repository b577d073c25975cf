//! The volume of kube9's database is nearly full.

use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::self_status::SelfStatus;

pub(super) const RULE: Rule = Rule {
    name: "RecorderDiskNearlyFull",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "The volume of kube9's database is nearly full",
        severity: "warning; critical below a quarter of `disk_free_percent`",
        opens: "less than `disk_free_percent` percent of the volume is free",
        opens_after: "",
        closes: "5 percentage points more than `disk_free_percent` are free",
        action: "Free space, or enlarge the volume. When it is full, kube9 deletes its oldest rows to continue recording.",
        notes: "kube9 keeps its own files within `storage.max_bytes`, so usually something else fills the volume.",
    },
    reads: &[],
    check: Check::Recorder(check),
};

/// It closes this far above the limit, so that one batch more or less does not open and close it.
const BAND: u64 = 5;

fn check(context: &RuleContext<'_>, status: &SelfStatus, output: &mut RuleOutput) {
    let Some(space) = status.volume else { return };
    let limit = u64::from(context.thresholds.disk_free_percent);
    let free = space.free_percent();
    let band = if (context.is_open)("") { BAND } else { 0 };
    if free >= limit + band {
        return;
    }
    let severity = if free < limit.div_ceil(4) {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let description = format!(
        "{free} % of the volume of kube9's database is free: {} MiB of {} MiB. When it is full, kube9 deletes its oldest \
         rows to continue recording. Free space, or enlarge the volume.",
        space.free >> 20,
        space.total >> 20
    );
    output
        .add(
            severity,
            context.now,
            "The volume of kube9's database is nearly full",
            description,
        )
        .with("free_percent", free);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    use crate::self_status::{DiskSpace, SelfStatus};

    fn free(percent: u64) -> Step {
        SetSelfStatus(SelfStatus {
            volume: Some(DiskSpace {
                total: 1 << 30,
                free: (1 << 30) / 100 * percent + (1 << 20),
            }),
            ..SelfStatus::default()
        })
    }

    #[test]
    fn low_space_opens_gets_critical_then_closes_well_above() {
        run(
            &RULE,
            vec![
                free(9),
                Opens(Warning),
                free(1),
                Opens(Critical),
                free(12),
                NoChange,
                free(15),
                Closes,
            ],
        );
    }

    #[test]
    fn enough_space_does_not_open() {
        run(&RULE, vec![free(10), Wait(60), NoChange]);
    }

    #[test]
    fn unmeasured_volume_does_not_open() {
        run(&RULE, vec![SetSelfStatus(SelfStatus::default()), NoChange]);
    }
}
