//! What depends on an object, at a time: pods, the workloads that they are of, the Services that would have no pod left.
//!
//! ```text
//!   Node ──────────────── its pods ─┐
//!   workload ──────────── its pods ─┼─▶ workloads: pods hit of all ─▶ Services: pods left ─▶ Ingresses
//!   Namespace ─────────── its pods ─┘
//!   ConfigMap, Secret, claim, ServiceAccount ─▶ workloads whose template refers to it
//!   Service ─▶ Ingresses that send requests to it
//! ```
//!
//! Readiness is not recorded in states of pods: a Service "would have no pod left", whether the others are ready or not.

use std::collections::{BTreeMap, BTreeSet};

use kube9_db::read::{ReadError, Reader, RecordedKind};
use kube9_model::change::kinds::is_own_group;
use kube9_model::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::story::related::{body, is_selected, spec_references, template};
use crate::target::Target;

/// Names of pods that are listed for a workload.
const PODS_MAX: usize = 5;

/// Kinds whose objects make pods by a template.
const WORKLOADS: [&str; 5] = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];

/// What depends on an object.
#[derive(Debug, Serialize)]
pub(crate) struct Impact {
    /// `Node/worker-1`, `ConfigMap/settings/shop`
    pub(crate) object: String,
    pub(crate) at: String,
    /// Pods that would not run without it.
    pub(crate) pods: usize,
    /// Workloads, the ones without a pod left first.
    pub(crate) workloads: Vec<Hit>,
    /// Services, the ones without a pod left first.
    pub(crate) services: Vec<Hit>,
    /// Ingresses whose backend is such a Service, or the Service itself.
    pub(crate) ingresses: Vec<Reached>,
    /// Kinds that are not recorded, so that nothing is known of them.
    pub(crate) not_recorded: Vec<&'static str>,
}

/// A workload or a Service, and how many of its pods are hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hit {
    pub(crate) object: String,
    /// Why it depends on the object, in words.
    pub(crate) because: String,
    pub(crate) pods_hit: usize,
    pub(crate) pods: usize,
    /// Some of the pods that are hit.
    pub(crate) names: Vec<String>,
}

impl Hit {
    /// It has no other pod.
    pub(crate) const fn has_none_left(&self) -> bool {
        self.pods > 0 && self.pods_hit == self.pods
    }
}

/// An Ingress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Reached {
    pub(crate) object: String,
    pub(crate) because: String,
}

/// A pod as it was.
struct Pod {
    namespace: String,
    name: String,
    labels: Map<String, Value>,
    node: String,
    /// `Deployment/web`; of a pod without a controller, itself.
    workload: String,
}

/// What depended on an object at a time.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn impact(reader: &Reader, target: &Target, at: Timestamp) -> Result<Impact, ReadError> {
    let record = Record {
        reader,
        kinds: reader.recorded_kinds()?,
        at,
    };
    let kind = &*target.kind.kind;
    let own = is_own_group(&target.kind.group);
    let scope = match kind {
        "Node" if own => None,
        "Namespace" if own => Some(&*target.object.name),
        _ => Some(&*target.object.namespace),
    };
    let pods = record.pods(scope)?;
    let (hit, referring) = match kind {
        "Node" if own => (
            pods.iter()
                .map(|pod| pod.node == target.object.name)
                .collect(),
            Vec::new(),
        ),
        "Namespace" if own => (vec![true; pods.len()], Vec::new()),
        "Pod" if own => (
            pods.iter()
                .map(|pod| pod.name == target.object.name)
                .collect(),
            Vec::new(),
        ),
        "ConfigMap" | "Secret" | "PersistentVolumeClaim" | "ServiceAccount" if own => {
            let referring = record.referring(kind, &target.object.name, scope)?;
            (vec![false; pods.len()], referring)
        }
        kind if WORKLOADS.contains(&kind) && own => {
            let name = format!("{kind}/{}", target.object.name);
            (
                pods.iter().map(|pod| pod.workload == name).collect(),
                Vec::new(),
            )
        }
        _ => (vec![false; pods.len()], Vec::new()),
    };
    let mut workloads = of_workloads(&pods, &hit);
    workloads.extend(referring.into_iter().map(|(workload, namespace, because)| {
        let of = |pod: &&Pod| pod.workload == workload && pod.namespace == namespace;
        Hit {
            object: format!("{workload}/{namespace}"),
            because,
            pods_hit: 0,
            pods: pods.iter().filter(of).count(),
            names: Vec::new(),
        }
    }));
    let services = record.services(scope, &pods, &hit)?;
    let mut backends: BTreeMap<(String, String), String> = BTreeMap::new();
    for service in services.iter().filter(|service| service.has_none_left()) {
        if let [_, name, namespace] = service.object.split('/').collect::<Vec<_>>()[..] {
            let because = format!("Service {name} would have no pod left");
            backends.insert((namespace.to_owned(), name.to_owned()), because);
        }
    }
    if kind == "Service" && own {
        let place = (target.object.namespace.clone(), target.object.name.clone());
        backends.insert(
            place,
            format!("sends requests to Service {}", target.object.name),
        );
    }
    let ingresses = record.ingresses(scope, &backends)?;
    let not_recorded = ["Pod", "Service", "Ingress"];
    Ok(Impact {
        object: target.title(),
        at: at.to_string(),
        pods: hit.iter().filter(|hit| **hit).count(),
        workloads: sorted(workloads),
        services: sorted(services),
        ingresses,
        not_recorded: not_recorded
            .into_iter()
            .chain(WORKLOADS)
            .filter(|kind| record.kind(kind).is_none())
            .collect(),
    })
}

fn sorted(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|one, other| {
        let rank = |hit: &Hit| (!hit.has_none_left(), hit.object.clone());
        rank(one).cmp(&rank(other))
    });
    hits
}

/// The workloads of the pods that are hit.
fn of_workloads(pods: &[Pod], hit: &[bool]) -> Vec<Hit> {
    let mut found: BTreeMap<String, Hit> = BTreeMap::new();
    for (pod, is_hit) in pods.iter().zip(hit) {
        let object = format!("{}/{}", pod.workload, pod.namespace);
        let workload = found.entry(object.clone()).or_insert_with(|| Hit {
            object,
            because: "its pods".to_owned(),
            pods_hit: 0,
            pods: 0,
            names: Vec::new(),
        });
        workload.add(pod, *is_hit);
    }
    found
        .into_values()
        .filter(|workload| workload.pods_hit > 0)
        .collect()
}

impl Hit {
    fn add(&mut self, pod: &Pod, is_hit: bool) {
        self.pods += 1;
        if is_hit {
            self.pods_hit += 1;
            if self.names.len() < PODS_MAX {
                self.names.push(pod.name.clone());
            }
        }
    }
}

struct Record<'r> {
    reader: &'r Reader,
    kinds: Vec<RecordedKind>,
    at: Timestamp,
}

impl Record<'_> {
    /// A kind of Kubernetes itself, if objects of it are recorded.
    fn kind(&self, kind: &str) -> Option<&RecordedKind> {
        self.kinds
            .iter()
            .find(|known| known.kind.kind == kind && is_own_group(&known.kind.group))
    }

    /// The states of a kind at the time: namespace, name, owner and body.
    fn states(
        &self,
        kind: &str,
        namespace: Option<&str>,
        mut take: impl FnMut(&str, &str, Option<&str>, &Value),
    ) -> Result<(), ReadError> {
        let Some(known) = self.kind(kind) else {
            return Ok(());
        };
        for object in self.reader.objects_at(known.id, namespace, self.at)? {
            if let Some(body) = body(self.reader, object.id, self.at)? {
                take(
                    &object.namespace,
                    &object.name,
                    object.owner.as_deref(),
                    &body,
                );
            }
        }
        Ok(())
    }

    fn pods(&self, namespace: Option<&str>) -> Result<Vec<Pod>, ReadError> {
        let mut pods = Vec::new();
        self.states("Pod", namespace, |namespace, name, owner, body| {
            let labels = body.pointer("/metadata/labels").and_then(Value::as_object);
            let labels = labels.cloned().unwrap_or_default();
            let node = body.pointer("/spec/nodeName").and_then(Value::as_str);
            pods.push(Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                node: node.unwrap_or_default().to_owned(),
                workload: owner
                    .map_or_else(|| format!("Pod/{name}"), |owner| workload(owner, &labels)),
                labels,
            });
        })?;
        Ok(pods)
    }

    /// The Services that select pods that are hit.
    fn services(
        &self,
        namespace: Option<&str>,
        pods: &[Pod],
        hit: &[bool],
    ) -> Result<Vec<Hit>, ReadError> {
        let mut found = Vec::new();
        if !hit.contains(&true) {
            return Ok(found);
        }
        self.states("Service", namespace, |namespace, name, _, body| {
            let Some(selector) = body.pointer("/spec/selector").and_then(Value::as_object) else {
                return;
            };
            let mut service = Hit {
                object: format!("Service/{name}/{namespace}"),
                because: "selects them".to_owned(),
                pods_hit: 0,
                pods: 0,
                names: Vec::new(),
            };
            for (pod, is_hit) in pods.iter().zip(hit) {
                if pod.namespace == namespace && is_selected(selector, &pod.labels) {
                    service.add(pod, *is_hit);
                }
            }
            if service.pods_hit > 0 {
                found.push(service);
            }
        })?;
        Ok(found)
    }

    /// The workloads whose template refers to an object: `Kind/name`, namespace, why.
    fn referring(
        &self,
        kind: &str,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<(String, String, String)>, ReadError> {
        let mut found = Vec::new();
        for workload in WORKLOADS {
            self.states(workload, namespace, |namespace, own, owner, body| {
                let spec = template(workload, body).and_then(|template| template.get("spec"));
                let mut names = BTreeSet::new();
                if let Some(spec) = spec {
                    spec_references(spec, &mut names);
                }
                let is_it = names.iter().any(|(of, one)| *of == kind && one == name);
                // The Jobs of a CronJob come and go.
                if is_it && owner.is_none() {
                    let because = format!("its template refers to {kind} {name}");
                    found.push((format!("{workload}/{own}"), namespace.to_owned(), because));
                }
            })?;
        }
        Ok(found)
    }

    /// The Ingresses with one of these Services as a backend, by namespace and name.
    fn ingresses(
        &self,
        namespace: Option<&str>,
        backends: &BTreeMap<(String, String), String>,
    ) -> Result<Vec<Reached>, ReadError> {
        let mut found = Vec::new();
        if backends.is_empty() {
            return Ok(found);
        }
        self.states("Ingress", namespace, |namespace, name, _, body| {
            let mut services = BTreeSet::new();
            backend_services(body.get("spec").unwrap_or(&Value::Null), &mut services);
            let because = services
                .into_iter()
                .find_map(|service| backends.get(&(namespace.to_owned(), service)));
            if let Some(because) = because {
                found.push(Reached {
                    object: format!("Ingress/{name}/{namespace}"),
                    because: because.clone(),
                });
            }
        })?;
        Ok(found)
    }
}

/// The Deployment of a ReplicaSet: its pods have the hash by which it is named.
fn workload(owner: &str, labels: &Map<String, Value>) -> String {
    let hash = labels.get("pod-template-hash").and_then(Value::as_str);
    let deployment = owner
        .strip_prefix("ReplicaSet/")
        .zip(hash)
        .and_then(|(name, hash)| name.strip_suffix(hash)?.strip_suffix('-'));
    match deployment {
        Some(name) => format!("Deployment/{name}"),
        None => owner.to_owned(),
    }
}

/// The Services that an Ingress sends requests to.
fn backend_services(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|one| backend_services(one, found)),
        Value::Object(fields) => {
            let service = fields
                .get("service")
                .and_then(|service| service.get("name"));
            found.extend(service.and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|one| backend_services(one, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deployment_of_a_replica_set_is_known_by_the_hash() {
        let labels = |hash: &str| {
            json!({"pod-template-hash": hash})
                .as_object()
                .unwrap()
                .clone()
        };
        for (owner, hash, expected) in [
            ("ReplicaSet/web-7d9f", "7d9f", "Deployment/web"),
            ("ReplicaSet/web-api-7d9f", "7d9f", "Deployment/web-api"),
            ("ReplicaSet/web", "7d9f", "ReplicaSet/web"),
            ("StatefulSet/db", "", "StatefulSet/db"),
        ] {
            assert_eq!(workload(owner, &labels(hash)), expected);
        }
    }
}
