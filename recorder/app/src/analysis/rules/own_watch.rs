//! kube9 does not see what happens.

use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Rule};
use super::signs::Signs;
use super::words::said;
use crate::analysis::own::Own;

pub(super) const RULE: Rule = Rule {
    name: "RecorderWatchFailing",
    event_type: EventType::Health,
    summary: "kube9: watch stale",
    doc: "\
Opens when a watch of kube9 (a check `watch/…` of `/healthz`) has been degraded for `own`; severity error for Events, warning for the kinds that the analysis reads.
A kind that may not be read is `RecorderPermissionMissing`'s business, but for Events, without which there is no record.
Closes when the watch is open again; a `Recording gap` then says what may be missing.
Next: the message says what the API server answered: is it reachable, is its certificate or the token accepted?",
    reads: &[],
    check: Check::Recorder(check),
    #[cfg(test)]
    cases: tests::cases,
};

fn check(context: &Context<'_>, own: &Own, signs: &mut Signs) {
    for degraded in &own.degraded {
        let Some(watch) = degraded.check.strip_prefix("watch/") else {
            continue;
        };
        let (kind, scope) = match watch.split_once('/') {
            Some((kind, namespace)) => (kind, format!("namespace {namespace}")),
            None => (watch, "all namespaces".to_owned()),
        };
        let is_events = kind == "Event";
        if !is_events && degraded.message.contains("403") {
            continue;
        }
        let (severity, missing) = if is_events {
            (Severity::Error, "Nothing that happens there is recorded")
        } else {
            (
                Severity::Warning,
                "Changes of them are recorded late, and findings about them are frozen",
            )
        };
        let since = degraded.since.unwrap_or(context.now);
        let description = format!(
            "kube9 has not seen {kind}s of {scope} since {since}: {}. {missing}. \
             Is the API server reachable, and does it accept the recorder's token?",
            said("", &degraded.message)
        );
        let title = format!("kube9 does not see {kind}s of {scope}");
        let sign = signs.add(severity, since, title, description);
        sign.part(watch)
            .hold(context.thresholds.own)
            .with("kind", kind);
    }
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
                "Events: opens after a minute, closes when they are seen again",
                vec![
                    degraded("watch/Event", "watch failed: connection refused"),
                    Wait(61),
                    Opens(Error),
                    Notice(Own::default()),
                    Closes,
                ],
            ),
            case(
                "another kind in one namespace is less bad",
                vec![
                    degraded("watch/Pod/shop", "watch of Pods failed: connection refused"),
                    Wait(61),
                    Opens(Warning),
                ],
            ),
            case(
                "a short cut, as in every upgrade of the API server",
                vec![
                    degraded("watch/Event", "watch failed: connection refused"),
                    Wait(40),
                    Notice(Own::default()),
                    Wait(60),
                    Quiet,
                ],
            ),
            case(
                "what is forbidden is `RecorderPermissionMissing`'s",
                vec![
                    degraded("watch/Pod", "watch of Pods failed: 403 Forbidden"),
                    Wait(100),
                    Quiet,
                ],
            ),
        ]
    }
}
