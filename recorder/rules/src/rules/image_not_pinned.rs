//! An image has no fixed version.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "ImageNotPinned",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "An image has no fixed version",
        severity: "warning",
        opens: "a container's image has no digest, and the tag `latest` or no tag",
        opens_after: "`assessment`",
        closes: "the newest pod's image has another tag or a digest",
        action: "Set a version, or better a digest.",
        notes: "Pods that start later may run other code than those that run now.",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

/// Whether the tag is `latest` or missing. A port of the registry is not a tag.
fn is_unpinned(image: &str) -> bool {
    if image.is_empty() || image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let owner = owner_name(&newest.owner);
    for container in newest
        .pod
        .spec
        .containers
        .iter()
        .filter(|c| is_unpinned(&c.image))
    {
        let (name, image) = (&container.name, &container.image);
        let description = format!(
            "Container {name} of {owner} runs {image}. Pods that start later may run other code than those that run now. \
             Set a version, or better a digest."
        );
        let title = format!("Image {image} of {owner} is not pinned");
        let symptom = output.add(
            Severity::Warning,
            newest.pod.meta.created,
            title,
            description,
        );
        symptom
            .container(name)
            .for_at_least(context.thresholds.assessment)
            .with("image", &**image);
    }
}

#[cfg(test)]
mod tests {
    use super::is_unpinned;

    #[test]
    fn only_latest_and_no_tag_are_unpinned() {
        for (image, expected) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("registry:5000/team/app", true),
            ("registry:5000/team/app:latest", true),
            ("nginx:1.27", false),
            ("registry:5000/team/app:2", false),
            ("nginx@sha256:abc", false),
            ("nginx:latest@sha256:abc", false),
            ("", false),
        ] {
            assert_eq!(is_unpinned(image), expected, "{image}");
        }
    }
    use super::RULE;
    use crate::tests::prelude::*;

    /// A pod of the run of CronJob `nightly` so many minutes after the start, whose Job has the minute in its name.
    fn cron_run(minute: i64, image: &str) -> Value {
        let job = format!("nightly-{}", start().second() / 60 + minute);
        let patch = json!({"metadata": {"labels": null, "creationTimestamp": t(minute * 60 + 1),
                "ownerReferences": [{"kind": "Job", "name": job, "controller": true}]},
            "spec": {"containers": [container(json!({"image": image}))]}});
        pod(&format!("{job}-x"), patch)
    }

    #[test]
    fn cron_job_without_pods_stays_open_then_closes_with_another_image() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, cron_run(0, "registry/web")),
                Wait(31),
                Opens(Warning),
                Delete(Kind::Pod, cron_run(0, "registry/web")),
                Wait(3_600),
                NoChange,
                apply(Kind::Pod, cron_run(61, "registry/web")),
                Wait(60),
                NoChange,
                Delete(Kind::Pod, cron_run(61, "registry/web")),
                apply(Kind::Pod, cron_run(63, "registry/web:2")),
                Closes,
            ],
        );
    }

    #[test]
    fn deleted_cron_job_closes_after_25_hours() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, cron_run(0, "registry/web")),
                Wait(31),
                Opens(Warning),
                Delete(Kind::Pod, cron_run(0, "registry/web")),
                Wait(24 * 3_600),
                NoChange,
                Wait(3_600),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_missing_tag_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Warning));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn tag_latest_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"image": "registry/web:latest"})),
                ),
                Wait(25),
                NoChange,
                Wait(10),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn digest_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    with_container(json!({"image": "registry/web:latest@sha256:1"})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
