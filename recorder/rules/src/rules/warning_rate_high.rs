//! A namespace has many more warnings than usual.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "WarningRateHigh",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A namespace has many more warnings than usual",
        severity: "warning",
        opens: "a namespace had at least `warnings` warnings within an hour, and `warning_factor` times as many as in the median hour of the last seven days",
        opens_after: "",
        closes: "there are fewer than half as many warnings as open the finding",
        action: "Read the reasons in the metadata, the most frequent first. `kube9-query events timeline --object-namespace NAMESPACE --severity=warning+` shows when it began.",
        notes: "Rows of type `cluster` and severity warning or above count. Repeats of one Event within ten minutes are one row. The rule needs a day of history. Hours in which nothing was recorded do not count as quiet.",
    },
    reads: &[Kind::Event],
    check: Check::Namespace(check),
};

/// Reasons that are named.
const REASONS_MAX: usize = 5;

fn check(context: &RuleContext<'_>, namespace: &str, output: &mut RuleOutput) {
    let Some(rate) = context.world.warnings.rate(namespace, context.now) else {
        return;
    };
    let Some(usual) = rate.usual else { return };
    let thresholds = context.thresholds;
    let unusual =
        (usual * f64::from(thresholds.warning_factor)).max(f64::from(thresholds.warnings));
    let needed = if (context.is_open)("") {
        unusual / 2.0
    } else {
        unusual
    };
    if f64::from(rate.now) < needed {
        return;
    }
    if let Some(at) = rate.changes_at {
        output.recheck_at(at);
    }
    let reasons: Vec<String> = rate
        .reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, rows)| format!("{reason} ({rows})"))
        .collect();
    let reasons = reasons.join(", ");
    let description = format!(
        "Namespace {namespace} had {} warnings within the last hour; the median of its hours of the last week is {usual}. \
         Most frequent: {reasons}. \
         `kube9-query events timeline --object-namespace {namespace} --severity=warning+` shows when it began.",
        rate.now
    );
    let title = format!(
        "Namespace {namespace} has many more warnings than usual ({} in an hour, usually {usual})",
        rate.now
    );
    let symptom = output.add(Severity::Warning, context.now, title, description);
    symptom
        .with("warnings", rate.now)
        .with("usual", usual)
        .with("reasons", reasons);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kube9_model::commit_stats::{CommitDelta, SLOT_SECONDS, WarningBucket, WarningHistory};

    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    /// A day in which half of the hours had so many warnings, and the others none or as many.
    fn used_to(rows: u32) -> WarningHistory {
        let hour = start().second().div_euclid(3600);
        WarningHistory {
            recorded: (hour - 30..hour).collect(),
            hours: (hour - 30..hour - 5)
                .map(|hour| ("shop".into(), hour, rows))
                .collect(),
            slots: HashMap::new(),
        }
    }

    fn warnings(second: i64, rows: u32) -> Step {
        let full_name = WarningBucket {
            namespace: "shop".into(),
            slot: (start().second() + second).div_euclid(SLOT_SECONDS),
            reason: "BackOff".into(),
        };
        Commit(CommitDelta {
            warnings: HashMap::from([(full_name, rows)]),
            ..CommitDelta::default()
        })
    }

    #[test]
    fn five_times_the_median_opens_then_closes_when_the_hour_is_over() {
        run_after(
            &RULE,
            used_to(10),
            vec![
                warnings(0, 49),
                NoChange,
                warnings(0, 1),
                Opens(Warning),
                Wait(3_500),
                NoChange,
                Wait(100),
                Closes,
            ],
        );
    }

    #[test]
    fn few_warnings_after_none_do_not_open() {
        run_after(
            &RULE,
            used_to(0),
            vec![warnings(0, 19), Wait(700), NoChange],
        );
    }

    #[test]
    fn usual_rate_over_two_hours_does_not_open() {
        run_after(
            &RULE,
            used_to(10),
            vec![warnings(0, 45), Wait(3_700), warnings(3_700, 45), NoChange],
        );
    }

    #[test]
    fn less_than_a_day_of_history_does_not_open() {
        run(&RULE, vec![warnings(0, 1_000), Wait(60), NoChange]);
    }
}
