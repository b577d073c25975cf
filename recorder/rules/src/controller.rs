//! The controller of a pod, derived from its metadata.

use std::time::Duration;

use kube9_ingest::objects::Meta;
use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

/// The top-level controller of a pod: the Deployment of its ReplicaSet, the CronJob of its Job.
pub fn controller(meta: &Meta) -> Option<ObjectRef> {
    let owner = meta.owner.as_ref()?;
    // The API server does not validate the kind. With a slash, the subject would name another namespace.
    if owner.kind.contains('/') {
        return None;
    }
    let (kind, name) = match (&*owner.kind, meta.labels.get("pod-template-hash")) {
        ("ReplicaSet", Some(hash)) => match owner.name.strip_suffix(&format!("-{hash}")) {
            Some(deployment) => ("Deployment", deployment),
            None => ("ReplicaSet", &*owner.name),
        },
        ("Job", _) => match cron_job(&owner.name, meta.created) {
            Some(cron_job) => ("CronJob", cron_job),
            None => ("Job", &*owner.name),
        },
        (kind, _) => (kind, &*owner.name),
    };
    let namespace = if kind == "Node" { "" } else { &meta.namespace };
    Some(ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Latest start of a run after its scheduled time. A CronJob gives up after a hundred missed runs, and one that was
/// suspended starts the last missed run.
const RUN_LATE_MAX: Duration = Duration::from_secs(8 * 86_400);

/// Tolerance for clock differences between nodes and the control plane.
const RUN_EARLY_MAX: Duration = Duration::from_secs(120);

/// The CronJob of the Job with this name, which ends in the scheduled minute since 1970. A pod has no other reference
/// to its CronJob, so the minute must be plausible for the pod's creation: `import-20261122` is not a run of a CronJob.
fn cron_job(job: &str, created: Timestamp) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    if name.is_empty() || minute.len() != 8 || !minute.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let planned = Timestamp::from_secs(minute.parse::<i64>().ok()? * 60);
    let fits = planned <= created.plus(RUN_EARLY_MAX) && created.since(planned) <= RUN_LATE_MAX;
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(json: &str) -> Meta {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn controller_kind_with_slash_is_rejected() {
        let owned = |kind: &str| {
            meta(&format!(
                r#"{{"namespace":"team","ownerReferences":[{{"kind":"{kind}","name":"n","uid":"u","controller":true}}]}}"#
            ))
        };
        assert!(controller(&owned("Rollout")).is_some());
        assert_eq!(controller(&owned("x/prod")), None);
        assert_eq!(controller(&owned("x/")), None);
    }

    #[test]
    fn controller_of_replica_set_and_job_is_their_owner() {
        for (json, expected) in [
            (
                r#"{"namespace":"n","labels":{"pod-template-hash":"5d4f"},
                    "ownerReferences":[{"kind":"ReplicaSet","name":"cart-5d4f","controller":true}]}"#,
                Some(("Deployment", "n", "cart")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"ReplicaSet","name":"cart-5d4f","controller":true}]}"#,
                Some(("ReplicaSet", "n", "cart-5d4f")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"Node","name":"w1","controller":true}]}"#,
                Some(("Node", "", "w1")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"X","name":"y"}]}"#,
                None,
            ),
            // 2026-11-22T12:00:00Z
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29922480","controller":true}]}"#,
                Some(("CronJob", "n", "nightly")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly","controller":true}]}"#,
                Some(("Job", "n", "nightly")),
            ),
            // Not a scheduled minute: a date, a minute of another month, and one in the future.
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"import-20261122","controller":true}]}"#,
                Some(("Job", "n", "import-20261122")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29879280","controller":true}]}"#,
                Some(("Job", "n", "nightly-29879280")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29922490","controller":true}]}"#,
                Some(("Job", "n", "nightly-29922490")),
            ),
        ] {
            let found = controller(&meta(json));
            let found = found.as_ref().map(|o| (&*o.kind, &*o.namespace, &*o.name));
            assert_eq!(found, expected, "{json}");
        }
    }
}
