//! Building a cluster in good health.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{
    Cluster, Container, Cron, Node, NodeState, Phase, Size, Template, Weaknesses, Workload,
    WorkloadKind,
};
use super::event_correlator::random_uid;
use super::names;
use super::rng::Rng;
use crate::clock::Micros;

impl Cluster {
    /// A cluster in good health, determined by the stream of chance.
    pub fn build(size: Size, now: Micros, rng: &mut Rng) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            namespaces: names::namespaces(size.namespaces),
            workloads: Vec::new(),
            crons: Vec::new(),
            control_plane: Arc::from("ip-10-0-0-10"),
            pods: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            version: 1_000_000 + rng.below(50_000_000),
        };
        for i in 0..size.nodes {
            cluster.nodes.push(Node {
                name: names::node(i, rng),
                uid: random_uid(rng),
                subnet: u16::try_from(i % 65_536).unwrap_or(0),
                kubelet: if rng.percent(90) {
                    "v1.35.4"
                } else {
                    "v1.34.6"
                },
                state: NodeState {
                    since: now,
                    ..NodeState::default()
                },
                created: now - Duration::from_secs(rng.between(86_400, 90 * 86_400)),
                boots: 1,
            });
        }
        for i in 0..size.deployments {
            let replicas = rng.between(1, size.replicas * 2 - 1);
            cluster.add_workload(
                WorkloadKind::Deployment,
                names::service(i),
                replicas,
                now,
                rng,
            );
        }
        for i in 0..size.stateful_sets {
            cluster.add_workload(WorkloadKind::StatefulSet, names::database(i), 3, now, rng);
        }
        for i in 0..size.daemon_sets {
            cluster.add_workload(
                WorkloadKind::DaemonSet,
                names::agent(i),
                size.nodes as u64,
                now,
                rng,
            );
        }
        for i in 0..size.cron_jobs {
            let (minutes, takes) = *rng.pick(&[
                (1, 3.0),
                (5, 8.0),
                (5, 20.0),
                (10, 30.0),
                (15, 60.0),
                (60, 240.0),
            ]);
            cluster.crons.push(Cron {
                namespace: cluster.tenant(rng),
                name: names::cron(i),
                uid: random_uid(rng),
                template: template(&names::cron(i), WorkloadKind::Deployment, rng),
                every: Duration::from_secs(minutes * 60),
                takes,
                kept: Vec::new(),
            });
        }
        cluster
    }

    /// A namespace that is not `kube-system`.
    fn tenant(&self, rng: &mut Rng) -> Arc<str> {
        let tenants = &self.namespaces[..self.namespaces.len() - 1];
        // The square makes some namespaces busy and many quiet, as they are.
        let at = (rng.unit() * rng.unit() * tenants.len() as f64) as usize;
        Arc::clone(&tenants[at])
    }

    fn add_workload(
        &mut self,
        runs: WorkloadKind,
        name: Arc<str>,
        replicas: u64,
        now: Micros,
        rng: &mut Rng,
    ) {
        let namespace = match runs {
            WorkloadKind::DaemonSet => Arc::from("kube-system"),
            _ => self.tenant(rng),
        };
        let index = self.workloads.len();
        self.workloads.push(Workload {
            runs,
            namespace,
            template: template(&name, runs, rng),
            name,
            uid: random_uid(rng),
            replicas,
            revision: 1,
            hash: Arc::from(names::template_hash(rng)),
            set_uid: random_uid(rng),
            pods: Vec::new(),
            autoscaled: runs == WorkloadKind::Deployment && rng.percent(30),
            service: runs != WorkloadKind::DaemonSet && rng.percent(85),
            service_broken: false,
            created: now - Duration::from_secs(rng.between(3600, 60 * 86_400)),
            stuck: false,
            outcome: None,
            replica_failure: None,
            config_revision: 1,
        });
        for i in 0..replicas {
            let id = self.new_pod(index, now, rng);
            let node = match runs {
                WorkloadKind::DaemonSet => usize::try_from(i).unwrap_or(0),
                _ => rng.index(self.nodes.len()),
            };
            if let Some(pod) = self.pod_mut(id) {
                pod.created = now - Duration::from_secs(rng.between(600, 20 * 86_400));
                pod.started = pod.created + Duration::from_secs(3);
                (pod.node, pod.phase, pod.ready) = (Some(node), Phase::Running, true);
            }
        }
    }
}

fn template(name: &str, runs: WorkloadKind, rng: &mut Rng) -> Template {
    let registry = rng.pick(&[
        "registry.example.com/shop",
        "ghcr.io/example",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    ]);
    let mut containers = vec![Container {
        name: Arc::from(*rng.pick(&["app", "app", "main", "server", "web"])),
        image: Arc::from(format!("{registry}/{name}:{}", image_tag(rng))),
        image_bytes: rng.between(8_000_000, 900_000_000),
        port: *rng.pick(&[8080, 8080, 80, 3000, 9090]),
        limit_mib: *rng.pick(&[0, 128, 256, 512, 1024, 2048]),
        cpu_millis: *rng.pick(&[0, 50, 100, 250, 500]),
    }];
    if rng.percent(25) {
        let (sidecar, image) = *rng.pick(&[
            ("istio-proxy", "docker.io/istio/proxyv2:1.27.1"),
            ("fluent-bit", "cr.fluentbit.io/fluent/fluent-bit:4.1.0"),
            (
                "cloudsql-proxy",
                "gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.18.2",
            ),
        ]);
        containers.push(Container {
            name: Arc::from(sidecar),
            image: Arc::from(image),
            image_bytes: 70_000_000,
            port: 0,
            limit_mib: 128,
            cpu_millis: 10,
        });
    }
    let daemon = runs == WorkloadKind::DaemonSet;
    Template {
        containers,
        readiness: rng.percent(75),
        liveness: rng.percent(60),
        volume: runs == WorkloadKind::StatefulSet,
        weaknesses: Weaknesses {
            privileged: rng.percent(if daemon { 60 } else { 2 }),
            host: daemon || rng.percent(2),
            literal_secret: rng.percent(6),
            root: rng.percent(5),
        },
    }
}

/// Mostly a version; some people say `latest`.
fn image_tag(rng: &mut Rng) -> String {
    if rng.percent(6) {
        "latest".to_owned()
    } else {
        names::tag(rng)
    }
}
