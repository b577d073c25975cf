//! kube9 cannot write its database.

use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Rule};
use super::signs::Signs;
use super::words::said;
use crate::analysis::own::Own;

pub(super) const RULE: Rule = Rule {
    name: "RecorderDatabaseUnhealthy",
    event_type: EventType::Health,
    summary: "kube9: database unhealthy",
    doc: "\
Opens when the check `database` of `/healthz` has been degraded for `own`: commits fail or hang, or the file is damaged; severity critical, since nothing is recorded meanwhile.
The row can be written only when the database takes rows again; until then `/healthz`, the metrics and the log say it.
Closes when the check is healthy again.
Next: the message says whether the disk is full, read-only or slow; what the API server still holds is recorded afterwards.",
    reads: &[],
    check: Check::Recorder(check),
    #[cfg(test)]
    cases: tests::cases,
};

fn check(context: &Context<'_>, own: &Own, signs: &mut Signs) {
    let Some(degraded) = own.degraded.iter().find(|one| one.check == "database") else {
        return;
    };
    let since = degraded.since.unwrap_or(context.now);
    let description = format!(
        "kube9 could not commit to its database since {since}: {}. Events of that time are recorded late, if the API server \
         still held them. Look at the volume: is it full, read-only or slow?",
        said("", &degraded.message)
    );
    signs
        .add(
            Severity::Critical,
            since,
            "kube9 cannot write its database",
            description,
        )
        .hold(context.thresholds.own);
}

#[cfg(test)]
mod tests {
    use crate::analysis::tests::prelude::*;
    use crate::analysis::tests::table::Do;

    use crate::analysis::own::{Degraded, Own};

    fn degraded(check: &str, message: &str) -> Do {
        Notice(Own {
            degraded: vec![Degraded {
                check: check.to_owned(),
                message: message.to_owned(),
                since: Some(start()),
            }],
            ..Own::default()
        })
    }

    pub(super) fn cases() -> Vec<Case> {
        vec![
            case(
                "opens after a minute, closes when commits work again",
                vec![
                    degraded(
                        "database",
                        "commits fail (4 times so far): database or disk is full",
                    ),
                    Wait(50),
                    Quiet,
                    Wait(11),
                    Opens(Critical),
                    Notice(Own::default()),
                    Closes,
                ],
            ),
            case(
                "a retry that works is nothing",
                vec![
                    degraded("database", "commits fail"),
                    Wait(30),
                    Notice(Own::default()),
                    Wait(60),
                    Quiet,
                ],
            ),
            case(
                "another check is not its business",
                vec![degraded("queue", "it was full"), Wait(100), Quiet],
            ),
        ]
    }
}
