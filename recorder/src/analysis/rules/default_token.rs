//! A pod that can talk to the API server though nothing says that it does.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Group, Rule, Signs, owner_words};
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "A7",
    event_type: EventType::Assessment,
    name: "default service account's token mounted",
    doc: "\
Opens when a pod runs as the namespace's `default` service account and does not switch its token off; severity info.
What is granted to `default` is granted to each such pod.
Closes when the newest pod has an account of its own, or `automountServiceAccountToken: false`.
The account itself may switch the token off; kube9 does not read accounts, so opt out there with the label.",
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let newest = group.newest();
    let spec = &newest.pod.spec;
    if !matches!(&*spec.service_account, "" | "default") || !spec.mounts_token {
        return;
    }
    let owner = owner_words(&newest.owner);
    let description = format!(
        "Pods of {owner} mount the token of the default service account. \
         Set `automountServiceAccountToken: false`, or give them an account of their own."
    );
    let title = format!("Pods of {owner} mount the default service account's token");
    signs
        .add(Severity::Info, newest.pod.meta.created, title, description)
        .hold(context.thresholds.assessment);
}
