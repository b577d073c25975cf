//! Faults that a caller can start in a live cluster.

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

    /// Runs an action now and writes the changes.
    fn act(&mut self, act: impl FnOnce(&mut Engine)) {
        act(&mut self.engine);
        self.flush();
    }

    /// The first container of a pod crashes `times` times, each time a while after its restart. Returns the pod's name.
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

    /// A container is killed at its memory limit `times` times. Returns the pod's name.
    pub fn oom(&mut self, workload: &str, times: u64) -> Result<String, NotFound> {
        self.crash_loop(workload, times, Cause::OutOfMemory)
    }

    /// Rolls out an image whose pull fails `times` times.
    pub fn image_pull(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        self.bad_rollout(workload, PodOutcome::PullFails(times))
    }

    /// Rolls out a template whose pods fail.
    pub fn bad_rollout(&mut self, workload: &str, outcome: PodOutcome) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.begin_rollout(workload, Some(outcome)));
        Ok(())
    }

    /// A node comes under pressure and evicts `evictions` pods.
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

    /// A node stops reporting for `span` of simulated time.
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

    /// Scales a Deployment.
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

    /// Breaks or repairs the selector of a workload's Service.
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

    /// A probe of one pod fails `times` times.
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

    /// A new pod of a workload stays unschedulable for `times` attempts.
    pub fn unschedulable(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| {
            let pod = engine.create_pod(workload);
            engine.no_node(pod, times.max(2));
        });
        Ok(())
    }

    /// A new pod of a workload refers to a Secret or `ConfigMap` that is missing for `times` attempts.
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

    /// A quota forbids a workload's pods `times` times.
    pub fn quota(&mut self, workload: &str, times: u64) -> Result<(), NotFound> {
        let workload = self.workload(workload)?;
        self.act(|engine| engine.quota_forbids(workload, times, 1.0));
        Ok(())
    }
}
