//! kube9 cannot write its database.

use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::self_status::SelfStatus;

pub(super) const RULE: Rule = Rule {
    name: "RecorderDatabaseUnhealthy",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "kube9 cannot write its database",
        severity: "critical",
        opens: "the check `database` of `/healthz` is degraded: commits fail or hang, or the file is damaged",
        opens_after: "`recorder_check`",
        closes: "the check is healthy",
        action: "Read the message: the disk is full, read-only or slow. When the database works again, kube9 records what the API server still holds.",
        notes: "kube9 can write this row only when the database works again. Until then, `/healthz`, the metrics and the log report it.",
    },
    reads: &[],
    check: Check::Recorder(check),
};

fn check(context: &RuleContext<'_>, status: &SelfStatus, output: &mut RuleOutput) {
    let Some(degraded) = status.degraded.iter().find(|one| one.check == "database") else {
        return;
    };
    let since = degraded.since.unwrap_or(context.now);
    let description = format!(
        "kube9 has not been able to commit to its database since {since}: {}. It records the Events of that time late, \
         if the API server still holds them. Check whether the volume is full, read-only or slow.",
        reason_and_message("", &degraded.message)
    );
    output
        .add(
            Severity::Critical,
            since,
            "kube9 cannot write its database",
            description,
        )
        .for_at_least(context.thresholds.recorder_check);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    use crate::self_status::{FailedCheck, SelfStatus};

    fn degraded(check: &str, message: &str) -> Step {
        SetSelfStatus(SelfStatus {
            degraded: vec![FailedCheck {
                check: check.to_owned(),
                message: message.to_owned(),
                since: Some(start()),
            }],
            ..SelfStatus::default()
        })
    }

    #[test]
    fn degraded_database_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                degraded(
                    "database",
                    "commits fail (4 times so far): database or disk is full",
                ),
                Wait(50),
                NoChange,
                Wait(11),
                Opens(Critical),
                SetSelfStatus(SelfStatus::default()),
                Closes,
            ],
        );
    }

    #[test]
    fn retry_that_succeeds_does_not_open() {
        run(
            &RULE,
            vec![
                degraded("database", "commits fail"),
                Wait(30),
                SetSelfStatus(SelfStatus::default()),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn other_check_does_not_open() {
        run(
            &RULE,
            vec![degraded("queue", "it was full"), Wait(100), NoChange],
        );
    }
}
