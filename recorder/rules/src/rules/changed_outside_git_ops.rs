//! A field that a deployment tool wrote was changed by another manager.

use std::collections::BTreeMap;

use kube9_model::{EventType, ObjectRef, Severity};

use super::format::owner_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::findings::FROM;
use crate::world::{FieldHistory, Outside};

pub(super) const RULE: Rule = Rule {
    name: "ChangedOutsideGitOps",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A field that Argo CD, Flux or Helm wrote was changed by another manager",
        severity: "warning",
        opens: "the last change of a field was by Argo CD, Flux or Helm, the object is still labeled as deployed by such a tool, and another manager changes the field",
        opens_after: "10 times `assessment`",
        closes: "the tool writes the field again, the value before returns, or the object is deleted",
        action: "Commit the change to the repository or chart, or take it back. The next synchronization may revert it.",
        notes: "The change history must prove both authors (`certainty` `field`): who wrote a field before the record began is not known. Controllers that change deployed objects by design are excluded: those of Kubernetes, autoscalers, certificate managers, injectors, reloaders and progressive delivery.",
    },
    reads: &[],
    check: Check::Fields(check),
};

fn check(
    context: &RuleContext<'_>,
    object: &ObjectRef,
    fields: &BTreeMap<Box<str>, FieldHistory>,
    output: &mut RuleOutput,
) {
    for (path, field) in fields {
        let write = match &field.outside {
            Outside::No => continue,
            Outside::Restored(_) => {
                output.keep_open(path);
                continue;
            }
            Outside::Since(write) => write,
        };
        let name = owner_name(object);
        let tool = write.via.split(':').next().unwrap_or_default();
        let value = |value: &str| {
            if value.is_empty() {
                "(none)".to_owned()
            } else {
                value.to_owned()
            }
        };
        let description = format!(
            "{} changed {path} of {name} at {} from {} to {}. {} had written it ({}). \
             Commit the change, or take it back: the next synchronization may revert it.",
            write.manager,
            write.at,
            value(&write.from),
            value(&write.to),
            write.former,
            write.via,
        );
        let title = format!("{path} of {name} was changed outside {tool}");
        let symptom = output.add(Severity::Warning, write.at, title, description);
        symptom
            .part(&**path)
            .for_at_least(context.thresholds.assessment * 10)
            .with("path", &**path)
            .with(FROM, &*write.from)
            .with("to", &*write.to)
            .with("changed_by", &*write.manager)
            .with("managed_by", &*write.former)
            .with("via", &*write.via);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube9_model::commit_stats::{CommitDelta, FieldWrite};

    use super::*;
    use crate::tests::prelude::*;

    fn object() -> ObjectRef {
        ObjectRef {
            kind: "Ingress".into(),
            namespace: "shop".into(),
            name: "web".into(),
        }
    }

    /// A write of `spec.rules`: `former` is the tool that had written it.
    fn write(manager: &str, former: &str, to: &str, second: u64) -> Step {
        let mut delta = CommitDelta::default();
        delta.note_write(FieldWrite {
            object: object(),
            path: "spec.rules".into(),
            from: "old".into(),
            to: to.into(),
            manager: manager.into(),
            via: "Argo CD: shop".into(),
            former: former.into(),
            at: start().plus(Duration::from_secs(second)),
            ..FieldWrite::default()
        });
        Commit(delta)
    }

    fn delete() -> Step {
        let mut delta = CommitDelta::default();
        delta.note_deletion(object());
        Commit(delta)
    }

    #[test]
    fn edit_opens_after_five_minutes_and_closes_with_the_next_synchronization() {
        run(
            &RULE,
            vec![
                write("kubectl-edit", "argocd-controller", "new", 0),
                Wait(290),
                NoChange,
                Wait(20),
                Opens(Warning),
                // Another edit of the same field changes nothing.
                write("kubectl-edit", "", "newer", 320),
                Wait(7200),
                NoChange,
                write("argocd-controller", "", "old", 7600),
                Closes,
            ],
        );
    }

    #[test]
    fn edit_that_is_taken_back_does_not_open() {
        for back in [
            write("argocd-controller", "", "x", 60),
            write("kubectl-edit", "", "old", 60),
        ] {
            run(
                &RULE,
                vec![
                    write("kubectl-edit", "argocd-controller", "new", 0),
                    back,
                    Wait(600),
                    NoChange,
                ],
            );
        }
    }

    #[test]
    fn change_of_a_field_that_no_tool_wrote_does_not_open() {
        run(
            &RULE,
            vec![write("kubectl-edit", "", "new", 0), Wait(600), NoChange],
        );
    }

    #[test]
    fn finding_closes_with_its_object() {
        run(
            &RULE,
            vec![
                write("kubectl-edit", "helm", "new", 0),
                Wait(310),
                Opens(Warning),
                delete(),
                Closes,
            ],
        );
    }
}
