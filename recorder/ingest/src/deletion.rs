//! Why an object was deleted: from what the object says of itself, and from what happened to those that it belongs to.
//!
//! The first that fits wins: what the API server or a controller stated about the object, then what follows from its owner,
//! its namespace or its node, and else a request. Kubernetes does not say who made it.

use std::time::Duration;

use kube9_model::time::Timestamp;

/// How long after an owner's change a controller still deletes because of it: a StatefulSet deletes one pod after another.
const EFFECT_MAX: Duration = Duration::from_secs(600);

/// The controller that deletes finished Jobs runs late under load.
const TTL_LATE_MAX: Duration = Duration::from_secs(300);

/// The kinds whose deletion another object causes, or is the cause of.
pub const CRON_JOB: &str = "CronJob";
pub const STATEFUL_SET: &str = "StatefulSet";
/// Makes the pods of a Deployment; it is not tracked.
pub const REPLICA_SET: &str = "ReplicaSet";

/// The strategy of a controller that waits until another deletes its pods.
pub const ON_DELETE: &str = "OnDelete";
pub const CLAIM: &str = "PersistentVolumeClaim";
pub const DEFINITION: &str = "CustomResourceDefinition";
pub const VOLUME: &str = "PersistentVolume";

/// Why an object was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeletionCause {
    /// The eviction API: a drain, the descheduler, an autoscaler.
    EvictionApi,
    /// The scheduler made room for a pod of higher priority.
    Preemption,
    /// The pod does not tolerate a taint of its node.
    TaintManager,
    /// The pod's node does not exist any more, or the pod ended long ago.
    PodGc,
    /// The kubelet ended the pod: node pressure, or a node that shuts down.
    Kubelet,
    /// The garbage collector, because the owner was deleted.
    OwnerDeleted,
    /// Its namespace was deleted.
    NamespaceDeleted,
    /// Its controller has fewer replicas.
    ScaleDown,
    /// Its controller has another template.
    Rollout,
    /// The Job's time to live after it finished.
    JobTtl,
    /// The CronJob keeps only so many finished Jobs.
    CronJobHistoryLimit,
    /// The CronJob replaces a Job that still runs when the next one is due.
    Replaced,
    /// The StatefulSet's retention policy for claims.
    ClaimRetention,
    /// The definition of its kind was deleted.
    DefinitionDeleted,
    /// The claim of a volume was deleted, and its reclaim policy is `Delete`.
    ClaimDeleted,
    /// Its node was deleted.
    NodeRemoved,
    /// The garbage collector, because its owner does not exist.
    Orphaned,
    /// A request; who made it is unknown.
    Request,
    /// A controller or a request: what would tell was not seen.
    Unknown,
}

impl DeletionCause {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EvictionApi => "eviction API",
            Self::Preemption => "preemption",
            Self::TaintManager => "taint manager",
            Self::PodGc => "pod GC",
            Self::Kubelet => "kubelet",
            Self::OwnerDeleted => "owner deleted",
            Self::NamespaceDeleted => "namespace deleted",
            Self::ScaleDown => "scale-down",
            Self::Rollout => "rollout",
            Self::JobTtl => "Job TTL",
            Self::CronJobHistoryLimit => "CronJob history limit",
            Self::Replaced => "replaced by the CronJob",
            Self::ClaimRetention => "StatefulSet claim retention",
            Self::DefinitionDeleted => "CRD deleted",
            Self::ClaimDeleted => "claim deleted",
            Self::NodeRemoved => "node removed",
            Self::Orphaned => "orphaned",
            Self::Request => "request",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a cause was read or concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CauseCertainty {
    /// The object says so.
    Stated,
    /// It follows from what else happened.
    Inferred,
}

impl CauseCertainty {
    /// The word that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::Inferred => "inferred",
        }
    }
}

/// What is known of the controller of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerState {
    /// The object has no owner, or none that is recorded.
    #[default]
    Unknown,
    /// It is being deleted, or was deleted.
    Deleted,
    /// It never existed under this uid.
    Missing,
    /// It exists.
    Exists {
        /// When its replicas were last reduced.
        scaled_down: Option<Timestamp>,
        /// When its template last changed.
        template_changed: Option<Timestamp>,
    },
}

/// What is known of a deleted object.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeletedObject<'a> {
    /// Its kind, and that of its controller.
    pub kind: &'a str,
    /// The kind of its controller; empty if it has none.
    pub owner_kind: &'a str,
    /// What is known of its controller.
    pub owner: OwnerState,
    /// When it was created or first seen.
    pub since: Option<Timestamp>,
    /// When it was deleted, or when the deletion began.
    pub at: Timestamp,
    /// The reason of the pod's condition `DisruptionTarget`, if its status is `True`.
    pub disruption: Option<&'a str>,
    /// Its namespace is being deleted.
    pub is_namespace_deleted: bool,
    /// The definition of its kind is being deleted.
    pub is_definition_deleted: bool,
    /// The claim that a volume was bound to was deleted.
    pub is_claim_deleted: bool,
    /// The node that it ran on, or that it describes, was deleted.
    pub is_node_deleted: bool,
    /// When a Job finished.
    pub finished: Option<Timestamp>,
    /// `spec.ttlSecondsAfterFinished` of a Job.
    pub ttl: Option<Duration>,
    /// The owner's limit for finished Jobs of this outcome, and how many newer ones it has.
    pub history: Option<(u32, u32)>,
    /// Its CronJob replaces Jobs that still run.
    pub replaces: bool,
    /// Without it, a pod's controller still has as many pods as it wants.
    pub is_surplus: bool,
    /// A pod's controller wants none.
    pub wants_none: bool,
    /// Its last states were missed: a pod may have been evicted, a Job may have finished.
    pub is_end_unseen: bool,
}

/// Why an object was deleted, and whether that was read or concluded.
pub fn cause(object: &DeletedObject<'_>) -> (DeletionCause, CauseCertainty) {
    if let Some(stated) = object.disruption.and_then(stated) {
        return (stated, CauseCertainty::Stated);
    }
    (inferred(object), CauseCertainty::Inferred)
}

/// What the condition `DisruptionTarget` of a pod means (KEP-3329).
fn stated(reason: &str) -> Option<DeletionCause> {
    Some(match reason {
        "EvictionByEvictionAPI" => DeletionCause::EvictionApi,
        "PreemptionByScheduler" | "PreemptionByKubeScheduler" => DeletionCause::Preemption,
        "DeletionByTaintManager" => DeletionCause::TaintManager,
        "DeletionByPodGC" => DeletionCause::PodGc,
        "TerminationByKubelet" => DeletionCause::Kubelet,
        _ => return None,
    })
}

fn inferred(object: &DeletedObject<'_>) -> DeletionCause {
    let within = |since: Option<Timestamp>| {
        since.is_some_and(|since| since <= object.at && object.at.since(since) <= EFFECT_MAX)
    };
    if object.is_namespace_deleted {
        return DeletionCause::NamespaceDeleted;
    }
    if object.is_definition_deleted {
        return DeletionCause::DefinitionDeleted;
    }
    if object.is_claim_deleted {
        return DeletionCause::ClaimDeleted;
    }
    if object.is_node_deleted {
        return DeletionCause::NodeRemoved;
    }
    let is_of_claims = object.kind == CLAIM && matches!(object.owner_kind, STATEFUL_SET | "Pod");
    match object.owner {
        // A claim has an owner only if the StatefulSet's retention policy is `Delete` (KEP-1847).
        OwnerState::Deleted if is_of_claims => return DeletionCause::ClaimRetention,
        OwnerState::Deleted => return DeletionCause::OwnerDeleted,
        OwnerState::Missing => return DeletionCause::Orphaned,
        OwnerState::Unknown | OwnerState::Exists { .. } => {}
    }
    if object.kind == "Job" {
        if let (Some(finished), Some(ttl)) = (object.finished, object.ttl) {
            let due = finished.plus(ttl);
            // Times of the API are whole seconds.
            if due <= object.at.plus(Duration::from_secs(1)) && object.at.since(due) <= TTL_LATE_MAX
            {
                return DeletionCause::JobTtl;
            }
        }
        if let Some((limit, newer)) = object.history
            && object.owner_kind == CRON_JOB
            && object.finished.is_some()
            && newer >= limit
        {
            return DeletionCause::CronJobHistoryLimit;
        }
        if object.replaces && object.finished.is_none() && !object.is_end_unseen {
            return DeletionCause::Replaced;
        }
    }
    if let OwnerState::Exists {
        scaled_down,
        template_changed,
    } = object.owner
    {
        if within(scaled_down) && object.wants_none {
            return DeletionCause::ScaleDown;
        }
        // One that is created within the second of the change has the new template.
        let is_older = |changed: Timestamp| {
            object
                .since
                .is_none_or(|since| since.second() < changed.second())
        };
        if within(template_changed) && template_changed.is_some_and(is_older) {
            return DeletionCause::Rollout;
        }
        if within(scaled_down) && object.is_surplus {
            return DeletionCause::ScaleDown;
        }
    }
    let may_have_ended = match object.kind {
        "Pod" => true,
        "Job" => {
            let is_controlled = object.ttl.is_some() || object.owner_kind == CRON_JOB;
            is_controlled && object.finished.is_none()
        }
        _ => false,
    };
    if object.is_end_unseen && may_have_ended {
        return DeletionCause::Unknown;
    }
    DeletionCause::Request
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_secs(10_000);

    fn object(kind: &'static str) -> DeletedObject<'static> {
        DeletedObject {
            kind,
            at: AT,
            ..DeletedObject::default()
        }
    }

    fn exists(scaled_down: Option<i64>, template_changed: Option<i64>) -> OwnerState {
        OwnerState::Exists {
            scaled_down: scaled_down.map(Timestamp::from_secs),
            template_changed: template_changed.map(Timestamp::from_secs),
        }
    }

    fn inferred_of(object: DeletedObject<'_>) -> DeletionCause {
        let (cause, certainty) = cause(&object);
        assert_eq!(certainty, CauseCertainty::Inferred);
        cause
    }

    #[test]
    fn condition_of_a_pod_is_stated() {
        for (reason, expected) in [
            ("EvictionByEvictionAPI", DeletionCause::EvictionApi),
            ("PreemptionByScheduler", DeletionCause::Preemption),
            ("DeletionByTaintManager", DeletionCause::TaintManager),
            ("DeletionByPodGC", DeletionCause::PodGc),
            ("TerminationByKubelet", DeletionCause::Kubelet),
        ] {
            let pod = DeletedObject {
                disruption: Some(reason),
                // It was also scaled down, which is not why.
                owner: exists(Some(9_999), None),
                ..object("Pod")
            };
            assert_eq!(cause(&pod), (expected, CauseCertainty::Stated));
        }
        let unknown = DeletedObject {
            disruption: Some("SomethingNew"),
            ..object("Pod")
        };
        assert_eq!(inferred_of(unknown), DeletionCause::Request);
    }

    #[test]
    fn pod_of_a_controller_is_deleted_by_a_rollout_or_a_scale_down() {
        let pod = |owner: OwnerState| {
            inferred_of(DeletedObject {
                owner,
                since: Some(Timestamp::from_secs(9_000)),
                is_surplus: true,
                ..object("Pod")
            })
        };
        assert_eq!(pod(exists(Some(9_990), None)), DeletionCause::ScaleDown);
        assert_eq!(pod(exists(None, Some(9_990))), DeletionCause::Rollout);
        assert_eq!(
            pod(exists(Some(9_300), Some(9_300))),
            DeletionCause::Request
        );
        assert_eq!(pod(exists(Some(10_001), None)), DeletionCause::Request);
        assert_eq!(pod(exists(None, None)), DeletionCause::Request);
        // A rollout is under way, but no pod is wanted.
        let none = DeletedObject {
            owner: exists(Some(9_990), Some(9_980)),
            since: Some(Timestamp::from_secs(9_000)),
            wants_none: true,
            ..object("Pod")
        };
        assert_eq!(inferred_of(none), DeletionCause::ScaleDown);
        // Of the new template, and one that the controller replaces.
        let new = DeletedObject {
            owner: exists(Some(9_990), Some(9_990)),
            since: Some(Timestamp::from_secs(9_990)),
            ..object("Pod")
        };
        assert_eq!(inferred_of(new), DeletionCause::Request);
    }

    #[test]
    fn owner_namespace_and_node_take_their_objects_with_them() {
        let of = |change: fn(&mut DeletedObject<'_>)| {
            let mut pod = object("Pod");
            change(&mut pod);
            inferred_of(pod)
        };
        assert_eq!(
            of(|pod| pod.owner = OwnerState::Deleted),
            DeletionCause::OwnerDeleted
        );
        assert_eq!(
            of(|pod| pod.owner = OwnerState::Missing),
            DeletionCause::Orphaned
        );
        assert_eq!(
            of(|pod| pod.is_namespace_deleted = true),
            DeletionCause::NamespaceDeleted
        );
        assert_eq!(
            of(|pod| pod.is_node_deleted = true),
            DeletionCause::NodeRemoved
        );
        let claim = |owner_kind| {
            inferred_of(DeletedObject {
                owner_kind,
                owner: OwnerState::Deleted,
                ..object("PersistentVolumeClaim")
            })
        };
        assert_eq!(claim("StatefulSet"), DeletionCause::ClaimRetention);
        assert_eq!(claim("Pod"), DeletionCause::ClaimRetention);
        assert_eq!(claim("Application"), DeletionCause::OwnerDeleted);
    }

    #[test]
    fn finished_job_is_deleted_by_its_time_to_live_or_its_cron_job() {
        let job = |ttl: Option<u64>, history| {
            inferred_of(DeletedObject {
                owner_kind: "CronJob",
                owner: exists(None, None),
                finished: Some(Timestamp::from_secs(9_900)),
                ttl: ttl.map(Duration::from_secs),
                history,
                ..object("Job")
            })
        };
        assert_eq!(job(Some(100), None), DeletionCause::JobTtl);
        assert_eq!(job(Some(101), None), DeletionCause::JobTtl);
        assert_eq!(job(Some(200), None), DeletionCause::Request);
        assert_eq!(job(None, Some((3, 3))), DeletionCause::CronJobHistoryLimit);
        assert_eq!(job(None, Some((3, 2))), DeletionCause::Request);
        let running = DeletedObject {
            replaces: true,
            ..object("Job")
        };
        assert_eq!(inferred_of(running), DeletionCause::Replaced);
        // Whether it had finished was not seen.
        let of_cron_job = |finished: Option<i64>| {
            inferred_of(DeletedObject {
                owner_kind: "CronJob",
                owner: exists(None, None),
                replaces: true,
                finished: finished.map(Timestamp::from_secs),
                is_end_unseen: true,
                ..object("Job")
            })
        };
        assert_eq!(of_cron_job(None), DeletionCause::Unknown);
        assert_eq!(of_cron_job(Some(9_900)), DeletionCause::Request);
        for (kind, expected) in [
            ("Pod", DeletionCause::Unknown),
            ("Job", DeletionCause::Request),
            ("ConfigMap", DeletionCause::Request),
        ] {
            let unseen = DeletedObject {
                is_end_unseen: true,
                ..object(kind)
            };
            assert_eq!(inferred_of(unseen), expected, "{kind}");
        }
        // Long overdue: another request deleted it.
        let overdue = DeletedObject {
            finished: Some(Timestamp::from_secs(1)),
            ttl: Some(Duration::from_secs(10)),
            ..object("Job")
        };
        assert_eq!(inferred_of(overdue), DeletionCause::Request);
        assert_eq!(inferred_of(object("ConfigMap")), DeletionCause::Request);
    }
}
