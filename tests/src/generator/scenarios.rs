//! What can be made to go wrong in a living cluster.

use std::time::Duration;

use super::actions::{Cause, Probe, Shortage};
use super::cluster::{ChangedObject, PodId, PodOutcome};
use super::engine::Engine;
use super::live::{LiveCluster, NotFound};

impl LiveCluster {
    fn workload(&self, name: &str) -> Result<usize, NotFound> {
        let found = self
            .engine
            .cluster
            .workloads
            .iter()
            .position(|w| &*w.name == name);
        found.ok_or_else(|| NotFound {
            what: format!("workload {name}"),
        })
    }

    fn pod_of(&self, name: &str) -> Result<PodId, NotFound> {
        let workload = self.workload(name)?;
        let cluster = &self.engine.cluster;
        let alive = |id: &&PodId| {
            cluster
                .pod(**id)
                .is_some_and(|p| p.deleting.is_none() && p.node.is_some())
        };
        let found = cluster.workloads[workload].pods.iter().find(alive);
        found.copied().ok_or_else(|| NotFound {
            what: format!("running pod of {name}"),
        })
    }

    fn pod_name(&self, pod: PodId) -> String {
        self.engine
            .cluster
            .pod(pod)
            .map(|p| p.name.to_string())
            .unwrap_or_default()
    }

    fn node(&self, number: usize) -> Result<usize, NotFound> {
        if number < self.engine.cluster.nodes.len() {
            Ok(number)
        } else {
            Err(NotFound {
                what: format!("node number {number}"),
            })
        }
    }

    /// Does something to the cluster now, and writes what came of it.
    fn act(&mut self, act: impl FnOnce(&mut Engine)) {
        act(&mut self.engine);
        self.flush();
    }

    /// The first container of a pod ends so often, each time a while after its restart. Returns the pod's name.
    pub fn crash_loop(
        &mut self,
        workload: &str,
        times: u64,
        cause: Cause,
    ) -> Result<String, NotFound> {
        let pod = self.pod_of(workload)?;
        self.act(|engine| engine.crash(pod, times, cause));
        Ok(self.pod_name(pod))
    }

    /// A container is killed for its memory limit so often. Returns the pod's name.
    pub fn oom(&mut self, workload: &str, times: u64) -> Result<String, NotFound> {
        self.crash_loop(workload, times, Cause::OutOfMemory)
    }

    /// A Deployment is rolled out with an image that its registry refuses so often before it gives it.
    pub fn image_pull(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        self.bad_rollout(workload, PodOutcome::PullFails(times))
    }

    /// A Deployment gets a new template whose pods do not fare well.
    pub fn bad_rollout(&mut self, workload: &str, outcome: PodOutcome) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.begin_rollout(workload, Some(outcome)));
        Ok(())
    }

    /// Rollouts of a Deployment are held, or go on with the next one.
    pub fn pause(&mut self, workload: &str, paused: bool) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.cluster.workload_mut(workload).paused = paused);
        Ok(())
    }

    /// A pod of a workload is deleted and stays, held by a finalizer. Returns its name.
    pub fn stuck_terminating(&mut self, workload: &str) -> Result<String, NotFound> {
        let pod = self.pod_of(workload)?;
        self.act(|engine| {
            if let Some(pod) = engine.cluster.pod_mut(pod) {
                pod.has_finalizer = true;
            }
            engine.kill(pod);
        });
        Ok(self.pod_name(pod))
    }

    /// A node gets a further condition that is `True`, e.g. `KernelDeadlock` or `NetworkUnavailable`, or loses it.
    pub fn node_problem(
        &mut self,
        node: usize,
        condition: Option<&'static str>,
    ) -> Result<(), NotFound> {
        let node = self.node(node)?;
        self.act(|engine| {
            let now = engine.now;
            let state = &mut engine.cluster.node_mut(node).state;
            (state.problem, state.since) = (condition, now);
        });
        Ok(())
    }

    /// A node runs short and evicts so many pods.
    pub fn node_pressure(
        &mut self,
        node: usize,
        what: Shortage,
        evictions: u64,
    ) -> Result<(), NotFound> {
        let node = self.node(node)?;
        self.act(|engine| engine.pressure(node, what, evictions));
        Ok(())
    }

    /// A node stops reporting for so long (in the world's time).
    pub fn node_down(&mut self, node: usize, span: Duration) -> Result<(), NotFound> {
        let node = self.node(node)?;
        self.act(|engine| engine.node_down(node, span.as_secs_f64()));
        Ok(())
    }

    /// A workload gets a new image.
    pub fn rollout(&mut self, workload: &str) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.begin_rollout(workload, None));
        Ok(())
    }

    /// A Deployment gets so many pods.
    pub fn scale(&mut self, workload: &str, replicas: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.scale(workload, replicas));
        Ok(())
    }

    /// A workload's `ConfigMap` changes.
    pub fn config_change(&mut self, workload: &str) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.change_config(workload));
        Ok(())
    }

    /// A workload's Service selects pods that there are not, or selects its own again.
    pub fn break_service(&mut self, workload: &str, broken: bool) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| {
            let of = engine.cluster.workload_mut(workload);
            (of.service, of.service_broken) = (true, broken);
            engine
                .cluster
                .changed
                .push(ChangedObject::Service(workload));
        });
        Ok(())
    }

    /// A probe of one pod fails so often.
    pub fn probe_failures(
        &mut self,
        workload: &str,
        probe: Probe,
        times: u64,
    ) -> Result<(), NotFound> {
        let pod = self.pod_of(workload)?;
        self.act(|engine| engine.probe_fails(pod, times, probe));
        Ok(())
    }

    /// A new pod of a workload finds no node so often.
    pub fn unschedulable(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| {
            let pod = engine.create_pod(workload);
            engine.no_node(pod, times.max(2));
        });
        Ok(())
    }

    /// A new pod of a workload refers to a Secret or `ConfigMap` that is missing for so many attempts.
    pub fn config_missing(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| {
            let pod = engine.create_pod(workload);
            engine.assign(pod);
            let why = engine.config_error(pod);
            engine.config_fails(pod, times, why);
        });
        Ok(())
    }

    /// A quota forbids a workload's pods so often.
    pub fn quota(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.quota_forbids(workload, times, 1.0));
        Ok(())
    }
}
