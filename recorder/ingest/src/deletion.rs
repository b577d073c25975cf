//! Why an object was deleted: from what the object says of itself, and from what happened to those that it belongs to.
//!
//! The first that fits wins: what the API server or a controller stated about the object, then what follows from its owner,
//! its namespace or its node, and else a request. Kubernetes does not say who made it.

use std::time::Duration;

use kube9_model::time::Timestamp;

/// How long after an owner's change a controller still deletes because of it: a StatefulSet deletes one pod after another.
const EFFECT_MAX: Duration = Duration::from_secs(600);

/// The CronJob controller acts this long after the beginning of a minute at most, unless it is down.
const SCHEDULE_LATE_MAX: i64 = 10;

/// The controller that deletes finished Jobs runs late under load.
const TTL_LATE_MAX: Duration = Duration::from_secs(300);

/// The kinds whose deletion another object causes, or is the cause of.
pub const CRON_JOB: &str = "CronJob";
pub const STATEFUL_SET: &str = "StatefulSet";
pub const DAEMON_SET: &str = "DaemonSet";
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

/// Which template of its controller a pod was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TemplateAge {
    /// The one in force, or an older one.
    #[default]
    Unknown,
    Older,
    Current,
}

/// When pods with one hash of a template were created: the first one and the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateUse {
    pub first: Timestamp,
    pub last: Timestamp,
}

impl TemplateUse {
    pub const fn once(at: Timestamp) -> Self {
        Self {
            first: at,
            last: at,
        }
    }

    pub fn add(&mut self, at: Timestamp) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

impl TemplateAge {
    /// By when pods with the hash of this pod, and pods of the same controller with other hashes, were created. The creation
    /// of the pod alone does not tell: until a rollout is complete, a controller also makes pods of the template before.
    pub fn of(changed: Timestamp, own: TemplateUse, others: &[TemplateUse]) -> Self {
        // Times of the API are whole seconds.
        let changed = changed.second();
        let (first, last) = (own.first.second(), own.last.second());
        let newest = others.iter().map(|other| other.first.second()).max();
        if first < changed {
            // A template that is in force again has the hash that it had before, and no new hash appears.
            return if newest.is_some_and(|newest| newest >= changed) || last < changed {
                Self::Older
            } else {
                Self::Unknown
            };
        }
        match newest {
            Some(newest) if newest > first => Self::Older,
            Some(newest) if newest == first => Self::Unknown,
            _ => Self::Current,
        }
    }
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
    /// When its deletion was requested, a pod's controller had as many other pods as it wants; `None` if that is unknown.
    pub is_surplus: Option<bool>,
    /// Which template a pod was made from.
    pub template: TemplateAge,
    /// A pod had succeeded or failed.
    pub has_ended: bool,
    /// The node of a pod was changed shortly before.
    pub is_node_changed: bool,
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
        // Its owner may have been deleted, or its controller deleted it.
        OwnerState::Unknown if !object.owner_kind.is_empty() => return DeletionCause::Unknown,
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
        // The next Job tells, which is created directly afterwards.
        if object.replaces
            && object.finished.is_none()
            && object.at.second().rem_euclid(60) <= SCHEDULE_LATE_MAX
        {
            return DeletionCause::Unknown;
        }
    }
    if object.kind == "Pod"
        && let OwnerState::Exists {
            scaled_down,
            template_changed,
        } = object.owner
        && let Some(cause) = by_controller(object, scaled_down, template_changed)
    {
        return cause;
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

/// Why the controller of a pod deleted it; `None` if it did not.
fn by_controller(
    object: &DeletedObject<'_>,
    scaled_down: Option<Timestamp>,
    template_changed: Option<Timestamp>,
) -> Option<DeletionCause> {
    let is_before = |at: Timestamp| at <= object.at;
    match object.owner_kind {
        // The Job controller also deletes the pods of a Job that failed or is suspended.
        "Job" => return (!object.has_ended).then_some(DeletionCause::Unknown),
        // The kubelet deletes what stands for a static pod.
        "Node" => return Some(DeletionCause::Unknown),
        // They replace what has ended.
        STATEFUL_SET | DAEMON_SET if object.has_ended => return Some(DeletionCause::Unknown),
        _ if object.has_ended => return None,
        _ => {}
    }
    if object.wants_none && scaled_down.is_none_or(is_before) {
        return Some(DeletionCause::ScaleDown);
    }
    let is_scaled =
        scaled_down.is_some_and(|down| is_before(down) && object.at.since(down) <= EFFECT_MAX);
    if template_changed.is_some_and(is_before) {
        match object.template {
            TemplateAge::Older if is_scaled && object.is_surplus == Some(true) => {
                return Some(DeletionCause::Unknown);
            }
            TemplateAge::Older => return Some(DeletionCause::Rollout),
            TemplateAge::Unknown => return Some(DeletionCause::Unknown),
            TemplateAge::Current => {}
        }
    }
    // Its controller deletes pods of nodes that they may not run on.
    if object.owner_kind == DAEMON_SET {
        return object.is_node_changed.then_some(DeletionCause::Unknown);
    }
    match object.is_surplus {
        Some(false) => None,
        Some(true) if is_scaled => Some(DeletionCause::ScaleDown),
        Some(true) => Some(DeletionCause::Unknown),
        None => scaled_down.map(|_| DeletionCause::Unknown),
    }
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

    fn pod(
        owner: OwnerState,
        template: TemplateAge,
        is_surplus: Option<bool>,
    ) -> DeletedObject<'static> {
        DeletedObject {
            owner_kind: "Deployment",
            owner,
            template,
            is_surplus,
            ..object("Pod")
        }
    }

    #[test]
    fn pod_of_a_controller_is_deleted_by_a_rollout_or_a_scale_down() {
        use DeletionCause::{Request, Rollout, ScaleDown, Unknown};
        let older = TemplateAge::Older;
        let current = TemplateAge::Current;
        for (owner, template, is_surplus, expected) in [
            (exists(Some(9_990), None), current, Some(true), ScaleDown),
            (exists(Some(9_990), None), current, Some(false), Request),
            (exists(Some(9_990), None), current, None, Unknown),
            // A change that was long ago, or after the request, has no effect on it; but more pods than wanted do not stay.
            (exists(Some(9_300), None), current, Some(true), Unknown),
            (exists(Some(10_001), None), current, Some(true), Unknown),
            (exists(Some(10_001), None), current, Some(false), Request),
            (exists(None, None), current, Some(false), Request),
            (
                exists(None, None),
                TemplateAge::Unknown,
                Some(false),
                Request,
            ),
            (exists(None, Some(9_990)), older, Some(false), Rollout),
            // A rollout may take hours.
            (exists(None, Some(1)), older, Some(false), Rollout),
            (exists(None, Some(10_001)), older, Some(false), Request),
            (exists(None, Some(9_990)), current, Some(false), Request),
            (
                exists(None, Some(9_990)),
                TemplateAge::Unknown,
                Some(false),
                Unknown,
            ),
            // Both.
            (exists(Some(9_990), Some(9_990)), older, Some(true), Unknown),
            (
                exists(Some(9_990), Some(9_990)),
                older,
                Some(false),
                Rollout,
            ),
            (
                exists(Some(9_990), Some(9_990)),
                current,
                Some(false),
                Request,
            ),
        ] {
            let found = inferred_of(pod(owner, template, is_surplus));
            assert_eq!(found, expected, "{owner:?} {template:?} {is_surplus:?}");
        }
        // A rollout is under way, but no pod is wanted.
        let none = DeletedObject {
            wants_none: true,
            ..pod(exists(Some(9_990), Some(9_980)), older, Some(true))
        };
        assert_eq!(inferred_of(none), ScaleDown);
    }

    #[test]
    fn pod_that_a_controller_may_have_deleted_has_no_cause() {
        let of = |owner_kind, owner, has_ended| {
            inferred_of(DeletedObject {
                owner_kind,
                owner,
                has_ended,
                is_surplus: Some(false),
                ..object("Pod")
            })
        };
        let there = exists(None, None);
        for (owner_kind, owner, has_ended, expected) in [
            ("Job", there, false, DeletionCause::Unknown),
            ("Job", there, true, DeletionCause::Request),
            ("Node", there, false, DeletionCause::Unknown),
            ("StatefulSet", there, true, DeletionCause::Unknown),
            ("DaemonSet", there, true, DeletionCause::Unknown),
            ("DaemonSet", there, false, DeletionCause::Request),
            ("Deployment", there, true, DeletionCause::Request),
            (
                "Rollout",
                OwnerState::Unknown,
                false,
                DeletionCause::Unknown,
            ),
            ("", OwnerState::Unknown, false, DeletionCause::Request),
        ] {
            assert_eq!(
                of(owner_kind, owner, has_ended),
                expected,
                "{owner_kind} {has_ended}"
            );
        }
        let moved = DeletedObject {
            owner_kind: "DaemonSet",
            owner: there,
            is_node_changed: true,
            ..object("Pod")
        };
        assert_eq!(inferred_of(moved), DeletionCause::Unknown);
    }

    #[test]
    fn age_of_a_template_is_known_by_the_pods_that_have_its_hash() {
        let used = |first, last| TemplateUse {
            first: Timestamp::from_secs(first),
            last: Timestamp::from_secs(last),
        };
        let changed = Timestamp::from_secs(100);
        for (own, others, expected) in [
            // In use before; also if the controller made another pod of it after the change.
            (used(50, 50), vec![], TemplateAge::Older),
            (used(50, 100), vec![used(100, 101)], TemplateAge::Older),
            (used(50, 130), vec![used(101, 101)], TemplateAge::Older),
            // It may be in force again.
            (used(50, 100), vec![], TemplateAge::Unknown),
            (used(50, 110), vec![used(60, 90)], TemplateAge::Unknown),
            (used(60, 90), vec![used(50, 110)], TemplateAge::Older),
            (used(100, 100), vec![used(50, 100)], TemplateAge::Current),
            (used(101, 150), vec![], TemplateAge::Current),
            // Replaced before its first pod was created.
            (used(100, 100), vec![used(101, 101)], TemplateAge::Older),
            (used(100, 100), vec![used(100, 101)], TemplateAge::Unknown),
        ] {
            assert_eq!(
                TemplateAge::of(changed, own, &others),
                expected,
                "{own:?} {others:?}"
            );
        }
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
        // Only at the beginning of a minute, a CronJob replaces a Job.
        for (at, expected) in [(60, DeletionCause::Unknown), (75, DeletionCause::Request)] {
            let running = DeletedObject {
                replaces: true,
                at: Timestamp::from_secs(at),
                ..object("Job")
            };
            assert_eq!(inferred_of(running), expected);
        }
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
