//! Messages of the components of Kubernetes 1.35, word for word.
//!
//! The texts are those of kubelet, kube-scheduler, kube-controller-manager, cluster-autoscaler, the EBS CSI driver,
//! ingress-nginx, cert-manager, Flux and Argo CD, taken from their source or from a running cluster.

use std::sync::Arc;

use super::cluster::{Cluster, Container, PodId};
use super::event::{Involved, InvolvedKind, Reporter, Uid};
use super::event_correlator::EventDraft;

/// Reporter and involved object; [`EventSource::normal`] and [`EventSource::warning`] create an Event draft.
#[derive(Debug, Clone)]
pub(super) struct EventSource {
    reporter: Reporter,
    involved: Involved,
}

impl EventSource {
    pub(super) fn normal(&self, reason: &'static str, message: impl Into<Arc<str>>) -> EventDraft {
        self.emit(reason, message.into(), false)
    }

    pub(super) fn warning(&self, reason: &'static str, message: impl Into<Arc<str>>) -> EventDraft {
        self.emit(reason, message.into(), true)
    }

    fn emit(&self, reason: &'static str, message: Arc<str>, warning: bool) -> EventDraft {
        EventDraft {
            reporter: self.reporter.clone(),
            involved: self.involved.clone(),
            reason,
            message,
            warning,
            times: 1,
        }
    }
}

impl EventDraft {
    /// The same, repeated `times` times.
    pub(super) fn times(self, times: i64) -> Self {
        Self {
            times: times.max(1),
            ..self
        }
    }
}

fn record(component: &'static str, host: &Arc<str>) -> Reporter {
    Reporter::Record {
        component,
        host: Arc::clone(host),
    }
}

/// The kubelet of the pod's node, about a container; `None` for a pod that was deleted or is not bound.
pub(super) fn kubelet(
    cluster: &mut Cluster,
    pod: PodId,
    container: &Arc<str>,
) -> Option<EventSource> {
    let node = cluster.pod(pod)?.node?;
    let reporter = record("kubelet", &cluster.nodes[node].name);
    let involved = cluster.involved_pod(pod, container)?;
    Some(EventSource { reporter, involved })
}

/// The kubelet about its own node.
pub(super) fn kubelet_of_node(cluster: &Cluster, node: usize) -> EventSource {
    let node = &cluster.nodes[node];
    EventSource {
        reporter: record("kubelet", &node.name),
        involved: node_involved(&node.name, node.uid),
    }
}

/// A controller about a node.
pub(super) fn controller_of_node(
    cluster: &Cluster,
    component: &'static str,
    node: usize,
) -> EventSource {
    let node = &cluster.nodes[node];
    let reporter = record(component, &Arc::from(""));
    EventSource {
        reporter,
        involved: node_involved(&node.name, node.uid),
    }
}

fn node_involved(name: &Arc<str>, uid: Uid) -> Involved {
    Involved::new(InvolvedKind::Node, &Arc::from(""), name, uid)
}

/// The scheduler about a pod.
pub(super) fn scheduler(
    cluster: &mut Cluster,
    pod: PodId,
    action: &'static str,
) -> Option<EventSource> {
    let instance = Arc::from(format!("default-scheduler-{}", cluster.control_plane));
    let involved = cluster.involved_pod(pod, &Arc::from(""))?;
    Some(EventSource {
        reporter: Reporter::Events {
            component: "default-scheduler",
            instance,
            action,
        },
        involved,
    })
}

/// A controller about a pod.
pub(super) fn controller_of_pod(
    cluster: &mut Cluster,
    component: &'static str,
    pod: PodId,
) -> Option<EventSource> {
    let involved = cluster.involved_pod(pod, &Arc::from(""))?;
    Some(EventSource {
        reporter: record(component, &Arc::from("")),
        involved,
    })
}

/// A controller about an object by name.
pub(super) fn controller(
    cluster: &mut Cluster,
    component: &'static str,
    about: InvolvedKind,
    namespace: &Arc<str>,
    name: &Arc<str>,
    uid: Uid,
) -> EventSource {
    let involved = Involved {
        version: cluster.next_version(),
        ..Involved::new(about, namespace, name, uid)
    };
    EventSource {
        reporter: record(component, &Arc::from("")),
        involved,
    }
}

/// `Pulled` for an image that the node has.
pub(super) fn present(image: &str) -> String {
    format!("Container image \"{image}\" already present on machine and can be accessed by the pod")
}

/// `Pulled` for an image that was fetched.
pub(super) fn pulled(container: &Container, millis: u64, waited: u64) -> String {
    format!(
        "Successfully pulled image \"{}\" in {} ({} including waiting). Image size: {} bytes.",
        container.image,
        go_duration(millis),
        go_duration(millis + waited),
        container.image_bytes
    )
}

/// A duration as Go prints it, to the millisecond: `1.204s`, `834ms`, `1m2.5s`.
pub(super) fn go_duration(millis: u64) -> String {
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = |millis: u64| {
        let text = format!("{}.{:03}", millis / 1000, millis % 1000);
        format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match millis / 60_000 {
        0 => seconds(millis),
        minutes => format!("{minutes}m{}", seconds(millis % 60_000)),
    }
}

/// `BackOff` of a container that keeps failing.
pub(super) fn restarting(container: &str, pod: &str, namespace: &str, uid: Uid) -> String {
    format!("Back-off restarting failed container {container} in pod {pod}_{namespace}({uid})")
}
