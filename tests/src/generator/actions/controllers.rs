//! What controllers do on their own: scheduled jobs, quotas, metrics, GitOps.

use std::sync::Arc;

use super::super::cluster::{Ended, Phase, PodId};
use super::super::engine::Engine;
use super::super::event::{InvolvedKind, Uid};
use super::super::event_correlator::random_uid;
use super::super::messages;
use super::super::names::{hex, safe_string};
use super::Action;

/// Jobs that a `CronJob` keeps (`successfulJobsHistoryLimit`).
const JOBS_KEPT: usize = 3;

impl Engine {
    pub(in super::super) fn cron_fires(&mut self, cron: usize, again: bool) {
        let of = &self.cluster.crons[cron];
        let every = of.every.as_secs_f64();
        // Jobs are named by the minute they were due in.
        let minute = self.now.second() / 60;
        let mut job: Arc<str> = Arc::from(format!("{}-{minute}", of.name));
        if of.kept.contains(&job) {
            // Two random firings in one minute: the second gets the next minute's name.
            job = Arc::from(format!("{}-{}", of.name, minute + 1));
        }
        let (namespace, name, uid) = (Arc::clone(&of.namespace), Arc::clone(&of.name), of.uid);
        let takes = of.takes;
        let source = messages::controller(
            &mut self.cluster,
            "cronjob-controller",
            InvolvedKind::CronJob,
            &namespace,
            &name,
            uid,
        );
        self.emit(Some(
            source.normal("SuccessfulCreate", format!("Created job {job}")),
        ));
        let job_uid = random_uid(&mut self.rng);
        self.cluster.crons[cron].kept.push(Arc::clone(&job));
        let fails = self.rng.percent(2);
        self.job_pod(cron, &job, job_uid, takes, (0, fails));
        if again {
            self.after(every, Action::CronFires { cron, again });
        }
    }

    fn job_pod(
        &mut self,
        cron: usize,
        job: &Arc<str>,
        job_uid: Uid,
        takes: f64,
        (failures, fails): (u64, bool),
    ) {
        let namespace = Arc::clone(&self.cluster.crons[cron].namespace);
        let pod = self
            .cluster
            .new_job_pod(cron, job, job_uid, self.now, &mut self.rng);
        let name = self
            .cluster
            .pod(pod)
            .map(|p| Arc::clone(&p.name))
            .unwrap_or_default();
        let source = messages::controller(
            &mut self.cluster,
            "job-controller",
            InvolvedKind::Job,
            &namespace,
            job,
            job_uid,
        );
        self.emit(Some(
            source.normal("SuccessfulCreate", format!("Created pod: {name}")),
        ));
        self.after(0.05, Action::Schedule(pod));
        let run = self.rng.waiting(takes) + 2.0;
        // Long enough for an image pull.
        self.after(
            run + 12.0,
            Action::JobEnds {
                cron,
                pod,
                failures,
                fails,
            },
        );
    }

    pub(super) fn job_ends(&mut self, cron: usize, pod: PodId, failures: u64, fails: bool) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        let (code, reason, phase) = if fails {
            (1, "Error", Phase::Failed)
        } else {
            (0, "Completed", Phase::Succeeded)
        };
        target.ended = Some(Ended {
            code,
            reason,
            at: now,
        });
        (target.phase, target.ready) = (phase, false);
        let (job, job_uid) = (Arc::clone(&target.set_name), target.set_uid);
        let of = &self.cluster.crons[cron];
        let (namespace, name, uid) = (Arc::clone(&of.namespace), Arc::clone(&of.name), of.uid);
        if fails && failures < 3 {
            return self.job_pod(cron, &job, job_uid, 5.0, (failures + 1, true));
        }
        let condition = if fails { "Failed" } else { "Complete" };
        let source = messages::controller(
            &mut self.cluster,
            "job-controller",
            InvolvedKind::Job,
            &namespace,
            &job,
            job_uid,
        );
        self.emit(Some(if fails {
            source.warning(
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        } else {
            source.normal("Completed", "Job completed")
        }));
        let source = messages::controller(
            &mut self.cluster,
            "cronjob-controller",
            InvolvedKind::CronJob,
            &namespace,
            &name,
            uid,
        );
        self.emit(Some(source.normal(
            "SawCompletedJob",
            format!("Saw completed job: {job}, condition: {condition}"),
        )));
        let kept = &mut self.cluster.crons[cron].kept;
        if kept.len() > JOBS_KEPT {
            let oldest = kept.remove(0);
            self.emit(Some(
                source.normal("SuccessfulDelete", format!("Deleted job {oldest}")),
            ));
        }
        // Pods are deleted with their job. That relation is not stored, so each pod is deleted a while after its end.
        self.after(600.0, Action::Remove(pod));
    }

    /// A `ReplicaSet` may not create pods.
    pub(in super::super) fn quota_forbids(&mut self, workload: usize, left: u64, wait: f64) {
        let of = &self.cluster.workloads[workload];
        let (namespace, set, uid) = (Arc::clone(&of.namespace), of.set_name(), of.set_uid);
        let used = 20 + of.replicas * 500 / 1000;
        let pod = format!("{set}-{}", safe_string(&mut self.rng, 5));
        let message = format!(
            "Error creating: pods \"{pod}\" is forbidden: exceeded quota: team-quota, requested: limits.cpu=500m, used: \
             limits.cpu={used}, limited: limits.cpu={used}"
        );
        let source = messages::controller(
            &mut self.cluster,
            "replicaset-controller",
            InvolvedKind::ReplicaSet,
            &namespace,
            &set,
            uid,
        );
        let failure = (left > 1).then(|| Arc::from(message.trim_start_matches("Error creating: ")));
        self.cluster.workload_mut(workload).replica_failure = failure;
        self.emit(Some(source.warning("FailedCreate", message)));
        if left > 1 {
            let act = Action::QuotaForbids {
                workload,
                left: left - 1,
                wait: (wait * 2.0).min(900.0),
            };
            self.after(wait, act);
        }
    }

    /// An autoscaler has no metrics: it reports that every fifteen seconds.
    pub(super) fn metrics_fail(&mut self, workload: usize, left: u64) {
        let of = &self.cluster.workloads[workload];
        let (namespace, name, uid) = (
            Arc::clone(&of.namespace),
            Arc::clone(&of.name),
            Uid(!of.uid.0),
        );
        let cause =
            "unable to get metrics for resource cpu: no metrics returned from resource metrics API";
        let source = messages::controller(
            &mut self.cluster,
            "horizontal-pod-autoscaler",
            InvolvedKind::Autoscaler,
            &namespace,
            &name,
            uid,
        );
        self.emit(Some(source.warning(
            "FailedGetResourceMetric",
            format!("failed to get cpu utilization: {cause}"),
        )));
        self.emit(Some(source.warning(
            "FailedComputeMetricsReplicas",
            format!(
                "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed \
                 to get cpu utilization: {cause}"
            ),
        )));
        if left > 1 {
            self.after(
                15.0,
                Action::MetricsFail {
                    workload,
                    left: left - 1,
                },
            );
        }
    }

    /// Flux, Argo CD, ingress-nginx, cert-manager and leader election: what runs beside Kubernetes itself.
    pub(super) fn reconciled(&mut self, which: u64, left: u64) {
        let revision = hex(&mut self.rng, 20);
        let seconds = self.rng.between(200, 9000);
        let uid = Uid(u128::from(which) << 64 | 0xf1);
        let name = |of: &str| -> Arc<str> { Arc::from(format!("{of}-{which}")) };
        let system = |of: &str| -> Arc<str> { Arc::from(of) };
        let draft = match which % 5 {
            0 => {
                let source = messages::controller(
                    &mut self.cluster,
                    "kustomize-controller",
                    InvolvedKind::Kustomization,
                    &system("flux-system"),
                    &name("apps"),
                    uid,
                );
                let took = messages::go_duration(seconds);
                source.normal(
                    "ReconciliationSucceeded",
                    format!("Reconciliation finished in {took}, next run in 10m0s (main@sha1:{revision})"),
                )
            }
            1 => {
                let source = messages::controller(
                    &mut self.cluster,
                    "argocd-application-controller",
                    InvolvedKind::Application,
                    &system("argocd"),
                    &name("app"),
                    uid,
                );
                if self.rng.percent(50) {
                    source.normal(
                        "ResourceUpdated",
                        "Updated sync status: Synced -> OutOfSync",
                    )
                } else {
                    source.normal(
                        "OperationCompleted",
                        format!("Partial sync operation to {revision} succeeded"),
                    )
                }
            }
            2 => {
                let namespace = Arc::clone(self.rng.pick(&self.cluster.namespaces));
                let source = messages::controller(
                    &mut self.cluster,
                    "nginx-ingress-controller",
                    InvolvedKind::Ingress,
                    &namespace,
                    &name("public"),
                    uid,
                );
                source.normal("Sync", "Scheduled for sync")
            }
            3 => {
                let source = messages::controller(
                    &mut self.cluster,
                    "cert-manager-certificates-issuing",
                    InvolvedKind::Certificate,
                    &system("ingress"),
                    &name("tls"),
                    uid,
                );
                source.normal("Issuing", "The certificate has been successfully issued")
            }
            _ => {
                let leader = format!(
                    "ip-10-0-0-{}_{}",
                    10 + which,
                    super::super::event::Uid(random_uid(&mut self.rng).0)
                );
                let source = messages::controller(
                    &mut self.cluster,
                    "kube-controller-manager",
                    InvolvedKind::Lease,
                    &system("kube-system"),
                    &name("leader"),
                    uid,
                );
                source.normal("LeaderElection", format!("{leader} became leader"))
            }
        };
        self.emit(Some(draft));
        if left > 0 {
            let wait = self.rng.waiting(300.0) + 60.0;
            self.after(
                wait,
                Action::Reconciled {
                    which,
                    left: left - 1,
                },
            );
        }
    }
}
