//! A watch of kube9 fails.

use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::self_status::SelfStatus;

pub(super) const RULE: Rule = Rule {
    name: "RecorderWatchFailing",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A watch of kube9 fails",
        severity: "error for Events; warning for other kinds",
        opens: "a check `watch/…` of `/healthz` is degraded",
        opens_after: "`recorder_check`",
        closes: "the watch is open again; a row `RecordingGap` then lists what may be missing",
        action: "Read the API server's answer in the message. Check that the API server is reachable, and that it accepts kube9's token and kube9 its certificate.",
        notes: "`RecorderPermissionMissing` reports kinds that the recorder may not read. Events are the exception, because the record is made of them. Kinds that only the change history reads share the check `watch/changes` and one finding; those that are denied or not served open none.",
    },
    reads: &[],
    check: Check::Recorder(check),
};

/// The check of all kinds that only the change history reads.
const CHANGES: &str = "changes";

fn check(context: &RuleContext<'_>, status: &SelfStatus, output: &mut RuleOutput) {
    for degraded in &status.degraded {
        let Some(watch) = degraded.check.strip_prefix("watch/") else {
            continue;
        };
        let (kind, scope) = match watch.split_once('/') {
            Some((kind, namespace)) => (kind, format!("namespace {namespace}")),
            None => (watch, "all namespaces".to_owned()),
        };
        if kind == CHANGES {
            let title = "Changes of some kinds are not being recorded".to_owned();
            let description = format!(
                "kube9 has not received all kinds of the change history since {}: {}. \
                 Their changes are recorded late. Check what the API server answers for these kinds.",
                degraded.since.unwrap_or(context.now),
                reason_and_message("", &degraded.message)
            );
            let since = degraded.since.unwrap_or(context.now);
            let symptom = output.add(Severity::Warning, since, title, description);
            symptom
                .part(watch)
                .for_at_least(context.thresholds.recorder_check);
            continue;
        }
        let is_events = kind == "Event";
        if !is_events && degraded.message.contains("403") {
            continue;
        }
        let (severity, verb, missing) = if is_events {
            (Severity::Error, "recorded", "They are not being recorded")
        } else {
            (
                Severity::Warning,
                "watched",
                "Their changes are recorded late, and findings about them are suspended",
            )
        };
        let since = degraded.since.unwrap_or(context.now);
        let description = format!(
            "kube9 has not received {kind}s in {scope} since {since}: {}. {missing}. \
             Check whether the API server is reachable, and whether it accepts the recorder's token.",
            reason_and_message("", &degraded.message)
        );
        let title = format!("{kind}s in {scope} are not being {verb}");
        let symptom = output.add(severity, since, title, description);
        symptom
            .part(watch)
            .for_at_least(context.thresholds.recorder_check)
            .with("kind", kind);
    }
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
    fn events_open_after_the_delay_then_close() {
        run(
            &RULE,
            vec![
                degraded("watch/Event", "watch failed: connection refused"),
                Wait(61),
                Opens(Error),
                SetSelfStatus(SelfStatus::default()),
                Closes,
            ],
        );
    }

    #[test]
    fn other_kind_in_one_namespace_opens_as_warning() {
        run(
            &RULE,
            vec![
                degraded("watch/Pod/shop", "watch of Pods failed: connection refused"),
                Wait(61),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn kinds_of_the_change_history_open_as_one_warning() {
        run(
            &RULE,
            vec![
                degraded(
                    "watch/changes",
                    "ingresses.networking.k8s.io and 30 other kinds: refused",
                ),
                Wait(61),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn short_interruption_does_not_open() {
        run(
            &RULE,
            vec![
                degraded("watch/Event", "watch failed: connection refused"),
                Wait(40),
                SetSelfStatus(SelfStatus::default()),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn forbidden_kind_does_not_open() {
        run(
            &RULE,
            vec![
                degraded("watch/Pod", "watch of Pods failed: 403 Forbidden"),
                Wait(100),
                NoChange,
            ],
        );
    }
}
