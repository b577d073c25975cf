//! Who writes what in the day: fields and frequencies as the controllers have them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};

use super::world::{Id, World};
use crate::bench::changes::object::{ApiObject, Writer};
use crate::bench::changes::{config_map, deployment};

const KUBELET: Writer = Writer("kubelet", "status");
const KCM: Writer = Writer("kube-controller-manager", "");
const HAND: Writer = Writer("kubectl-edit", "");

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// Plans everything.
pub(super) fn begin(world: &mut World) -> anyhow::Result<()> {
    let nodes: Vec<Id> = (0..20)
        .map(|n| node(world, &format!("ip-10-0-0-{n}"), json!({})))
        .collect::<Result<_, _>>()?;
    for (n, id) in nodes.iter().enumerate() {
        heartbeats(world, *id, n);
    }
    let deployments: Vec<Id> = (0..30)
        .map(|n| {
            let object = deployment("shop", &format!("service-{n}"), &mut world.rng);
            world.add("deployments", object)
        })
        .collect::<Result<_, _>>()?;
    cron_jobs(world)?;
    autoscalers(world, &deployments)?;
    rollouts(world, &deployments[8..]);
    controller_maps(world)?;
    argo(world)?;
    operators(world)?;
    karpenter(world);
    by_hand(world, &deployments, &nodes)
}

fn object(
    world: &mut World,
    type_of: (&str, &str),
    id: (&str, &str),
    content: Value,
    writer: Writer,
) -> ApiObject {
    let now = world.now;
    ApiObject::new(type_of, id, content, writer, now, &mut world.rng)
}

fn node(world: &mut World, name: &str, more: Value) -> anyhow::Result<Id> {
    let mut content = json!({
        "metadata": {
            "labels": { "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux" },
            "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
        },
        "spec": { "providerID": format!("aws:///eu-central-1a/{name}") },
        "status": {
            "capacity": { "cpu": "8", "memory": "32Gi", "pods": "110" },
            "allocatable": { "cpu": "7910m", "memory": "30Gi", "pods": "110" },
            "addresses": [{ "type": "Hostname", "address": name }],
            "nodeInfo": { "kubeletVersion": "v1.35.4", "kernelVersion": "6.1.0" },
        },
    });
    if let (Value::Object(content), Value::Object(more)) = (&mut content, more) {
        content.extend(more);
    }
    let node = object(
        world,
        ("v1", "Node"),
        ("", name),
        content,
        Writer("kubelet", ""),
    );
    world.add("nodes", node)
}

/// What writes to a Node that nothing happens to.
fn heartbeats(world: &mut World, id: Id, n: usize) {
    world.every(5 * MINUTE, move |world| world.status(id, "kubelet"));
    // Images that are pulled and collected.
    world.every(20 * MINUTE, move |world| {
        let images = json!([{ "names": [world.rng.draw().to_string()], "sizeBytes": 1 }]);
        world.write(id, KUBELET, &[(&["status", "images"], Some(images))])
    });
    // Volumes that are attached and detached.
    world.every(HOUR, move |world| {
        let volumes = json!([format!("kubernetes.io/csi/ebs^{}", world.rng.draw())]);
        world.write(id, KUBELET, &[(&["status", "volumesInUse"], Some(volumes))])
    });
    world.every(DAY, move |world| {
        let ttl = json!(["0", "15"][world.rng.index(2)]);
        let path: &[&str] = &["metadata", "annotations", "node.alpha.kubernetes.io/ttl"];
        world.write(id, KCM, &[(path, Some(ttl))])
    });
    if n < 5 {
        // The cluster-autoscaler considers nodes for removal, and decides otherwise.
        world.every(2 * HOUR, move |world| {
            let autoscaler = Writer("cluster-autoscaler", "");
            let since = world.now.second().to_string();
            let taint = json!([{ "key": "DeletionCandidateOfClusterAutoscaler", "value": since, "effect": "PreferNoSchedule" }]);
            world.write(id, autoscaler, &[(&["spec", "taints"], Some(taint))])?;
            world.after(4 * MINUTE, move |world| {
                world.write(id, autoscaler, &[(&["spec", "taints"], None)])
            });
            Ok(())
        });
    }
    if n < 10 {
        // Rancher counts what the pods of a node request.
        world.every(30 * MINUTE, move |world| {
            let requests =
                json!({ "cpu": world.rng.below(8).to_string(), "memory": "9Gi" }).to_string();
            let path: &[&str] = &[
                "metadata",
                "annotations",
                "management.cattle.io/pod-requests",
            ];
            world.write(id, Writer("rancher", ""), &[(path, Some(json!(requests)))])
        });
    }
    if n < 3 {
        // GPU feature discovery starts again.
        world.every(6 * HOUR, move |world| {
            let path: &[&str] = &["metadata", "labels", "nvidia.com/gfd.timestamp"];
            let now = json!(world.now.second().to_string());
            world.write(id, Writer("nfd-master", ""), &[(path, Some(now))])
        });
    }
}

fn owner(kind: &str, api_version: &str, name: &str) -> Value {
    json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": format!("uid-of-{name}"), "controller": true }])
}

/// A pod that starts; its kubelet reports.
fn pod(
    world: &mut World,
    namespace: &str,
    name: &str,
    owner: Value,
    finalizers: Value,
) -> anyhow::Result<Id> {
    let content = json!({
        "metadata": {
            "labels": { "app.kubernetes.io/name": "x", "pod-template-hash": "abc" },
            "ownerReferences": owner, "finalizers": finalizers,
        },
        "spec": { "containers": [{ "name": "app", "image": "registry.example.com/shop/job:v1", "resources": {} }] },
    });
    let pod = object(world, ("v1", "Pod"), (namespace, name), content, KCM);
    let id = world.add("pods", pod)?;
    world.after(1, move |world| {
        let path: &[&str] = &["spec", "nodeName"];
        world.write(
            id,
            Writer("kube-scheduler", ""),
            &[(path, Some(json!("ip-10-0-0-1")))],
        )
    });
    for seconds in [2, 4, 6] {
        world.after(seconds, move |world| {
            let statuses = json!([{ "name": "app", "imageID": if seconds > 2 { "sha256:1" } else { "" }, "restartCount": 0 }]);
            let path: &[&str] = &["status", "containerStatuses"];
            world.write(id, KUBELET, &[(path, Some(statuses))])
        });
    }
    Ok(id)
}

fn pod_goes(world: &mut World, id: Id) -> anyhow::Result<()> {
    let path: &[&str] = &["metadata", "deletionTimestamp"];
    let grace: &[&str] = &["metadata", "deletionGracePeriodSeconds"];
    let now = json!(world.now.seconds_text().as_str());
    world.write(id, KCM, &[(path, Some(now)), (grace, Some(json!(0)))])?;
    world.after(2, move |world| world.delete(id));
    Ok(())
}

/// Twelve, each every minute: a Job and its pod; the fourth last is deleted.
fn cron_jobs(world: &mut World) -> anyhow::Result<()> {
    for n in 0..12 {
        let (namespace, name) = (["shop", "billing", "reports"][n % 3], format!("sync-{n}"));
        let template = json!({ "spec": { "containers": [{ "name": "app", "image": "registry.example.com/shop/job:v1" }] } });
        let content = json!({ "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": { "template": template } } } });
        let cron = object(
            world,
            ("batch/v1", "CronJob"),
            (namespace, &name),
            content.clone(),
            Writer("helm", ""),
        );
        let id = world.add("cronjobs", cron)?;
        let kept: Rc<RefCell<VecDeque<(Id, Id)>>> = Rc::default();
        world.every(MINUTE, move |world| {
            world.status(id, "kube-controller-manager")?;
            let job_name = format!("{name}-{}", world.now.second() / 60);
            let mut content = content["spec"]["jobTemplate"].clone();
            content["metadata"] = json!({ "ownerReferences": owner("CronJob", "batch/v1", &name) });
            let job = object(
                world,
                ("batch/v1", "Job"),
                (namespace, &job_name),
                content,
                KCM,
            );
            let job = world.add("jobs", job)?;
            let owner = owner("Job", "batch/v1", &job_name);
            let tracking = json!(["batch.kubernetes.io/job-tracking"]);
            let pod = pod(
                world,
                namespace,
                &format!("{job_name}-x7k2p"),
                owner,
                tracking,
            )?;
            let kept = kept.clone();
            world.after(20, move |world| {
                world.status(pod, "kubelet")?;
                world.write(pod, KCM, &[(&["metadata", "finalizers"], None)])?;
                world.status(job, "kube-controller-manager")?;
                world.status(id, "kube-controller-manager")?;
                kept.borrow_mut().push_back((job, pod));
                if kept.borrow().len() > 3
                    && let Some((job, pod)) = kept.borrow_mut().pop_front()
                {
                    world.delete(job)?;
                    pod_goes(world, pod)?;
                }
                Ok(())
            });
            Ok(())
        });
    }
    Ok(())
}

/// Eight HorizontalPodAutoscalers that swing every ten to twenty minutes; three of them at their limit now and then.
fn autoscalers(world: &mut World, deployments: &[Id]) -> anyhow::Result<()> {
    for (n, &target) in deployments.iter().take(8).enumerate() {
        let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-18T00:00:00Z" });
        let conditions = move |is_limited: bool| {
            json!([
                condition("AbleToScale", "True", "ReadyForNewScale"),
                condition("ScalingActive", "True", "ValidMetricFound"),
                if is_limited {
                    condition("ScalingLimited", "True", "TooManyReplicas")
                } else {
                    condition("ScalingLimited", "False", "DesiredWithinRange")
                },
            ])
        };
        let content = json!({
            "spec": { "minReplicas": 2, "maxReplicas": 8, "scaleTargetRef": { "kind": "Deployment", "name": format!("service-{n}") } },
            "status": { "conditions": conditions(false) },
        });
        let name = format!("service-{n}");
        let type_of = ("autoscaling/v2", "HorizontalPodAutoscaler");
        let hpa = object(world, type_of, ("shop", &name), content, Writer("helm", ""));
        let hpa = world.add("horizontalpodautoscalers", hpa)?;
        let controller = Writer("kube-controller-manager", "status");
        world.every(15, move |world| {
            let metrics = json!([{ "averageUtilization": world.rng.below(90) }]);
            world.write(
                hpa,
                controller,
                &[(&["status", "currentMetrics"], Some(metrics))],
            )
        });
        let replicas = Rc::new(RefCell::new(3_u64));
        let pods: Rc<RefCell<Vec<Id>>> = Rc::default();
        world.every(10 * MINUTE + n as u64 * 97, move |world| {
            let before = *replicas.borrow();
            let wanted = world.rng.between(2, 8);
            if wanted == before {
                return Ok(());
            }
            *replicas.borrow_mut() = wanted;
            let scale = Writer("kube-controller-manager", "scale");
            world.write(
                target,
                scale,
                &[(&["spec", "replicas"], Some(json!(wanted)))],
            )?;
            if n < 3 {
                let path: &[&str] = &["status", "conditions"];
                world.write(hpa, controller, &[(path, Some(conditions(wanted == 8)))])?;
            }
            for _ in before..wanted {
                let name = format!("service-{n}-abc-{:05}", world.rng.below(100_000));
                let owner = owner("ReplicaSet", "apps/v1", &format!("service-{n}-abc"));
                let id = pod(world, "shop", &name, owner, json!([]))?;
                pods.borrow_mut().push(id);
            }
            for _ in wanted..before {
                let oldest = pods.borrow_mut().pop();
                if let Some(id) = oldest {
                    pod_goes(world, id)?;
                }
            }
            world.status(target, "kube-controller-manager")
        });
    }
    Ok(())
}

/// Forty rollouts a day by Argo CD, each with its writes to the status and its pods.
fn rollouts(world: &mut World, deployments: &[Id]) {
    let deployments = deployments.to_vec();
    world.every(DAY / 40, move |world| {
        let id = deployments[world.rng.index(deployments.len())];
        let app = [
            "spec",
            "template",
            "spec",
            "containers",
            "name=app",
            "image",
        ];
        let image = format!("registry.example.com/shop/service:v{}", world.now.second());
        let argo = Writer("argocd-application-controller", "");
        world.write(id, argo, &[(&app, Some(json!(image)))])?;
        let revision: &[&str] = &[
            "metadata",
            "annotations",
            "deployment.kubernetes.io/revision",
        ];
        let number = world.now.second() / 100;
        world.write(id, KCM, &[(revision, Some(json!(number.to_string())))])?;
        for n in 0..6 {
            world.after(5 + n * 5, move |world| {
                world.status(id, "kube-controller-manager")
            });
        }
        let deployment = world.name(id);
        for n in 0..3 {
            let name = format!("{deployment}-{number}-{n}");
            let owner = owner("ReplicaSet", "apps/v1", &format!("{deployment}-{number}"));
            let pod = pod(world, "shop", &name, owner, json!([]))?;
            world.after(9 * MINUTE, move |world| pod_goes(world, pod));
        }
        Ok(())
    });
}

/// ConfigMaps and annotations that controllers keep their state in.
fn controller_maps(world: &mut World) -> anyhow::Result<()> {
    let status = |world: &World| {
        format!(
            "time: {}\nautoscalerStatus: Running\nclusterWide:\n  health: {{status: Healthy}}",
            world.now.micros_text().as_str()
        )
    };
    let text = status(world);
    let autoscaler = Writer("cluster-autoscaler", "");
    let content = json!({
        "metadata": { "annotations": { "cluster-autoscaler.kubernetes.io/last-updated": "2026-11-18" } },
        "data": { "status": text },
    });
    let name = ("kube-system", "cluster-autoscaler-status");
    let map = object(world, ("v1", "ConfigMap"), name, content, autoscaler);
    let id = world.add("configmaps", map)?;
    world.every(10, move |world| {
        let updated: &[&str] = &[
            "metadata",
            "annotations",
            "cluster-autoscaler.kubernetes.io/last-updated",
        ];
        let (text, now) = (status(world), world.now.micros_text().as_str().to_owned());
        let edits = [
            (&["data", "status"][..], Some(json!(text))),
            (updated, Some(json!(now))),
        ];
        world.write(id, autoscaler, &edits)
    });
    for name in [
        "ingress-controller-leader",
        "operator-lock",
        "karpenter-leader-election",
    ] {
        let map = config_map("kube-system", name, &mut world.rng);
        let id = world.add("configmaps", map)?;
        world.every(2, move |world| {
            let path: &[&str] = &[
                "metadata",
                "annotations",
                "control-plane.alpha.kubernetes.io/leader",
            ];
            let record =
                json!({ "holderIdentity": "a", "renewTime": world.now.seconds_text().as_str() });
            world.write(
                id,
                Writer("controller", ""),
                &[(path, Some(json!(record.to_string())))],
            )
        });
    }
    // Patroni with ConfigMaps.
    let leader = config_map("billing", "postgres-leader", &mut world.rng);
    let leader = world.add("configmaps", leader)?;
    world.every(10, move |world| {
        let now = json!(world.now.micros_text().as_str());
        let optime = json!(world.now.0.to_string());
        let edits = [
            (&["metadata", "annotations", "renewTime"][..], Some(now)),
            (&["metadata", "annotations", "optime"][..], Some(optime)),
        ];
        world.write(leader, Writer("Patroni", ""), &edits)
    });
    // A failover, which someone wants to know.
    world.every(DAY, move |world| {
        let path: &[&str] = &["metadata", "annotations", "leader"];
        let name = format!("postgres-{}", world.now.second());
        world.write(leader, Writer("Patroni", ""), &[(path, Some(json!(name)))])
    });
    // Rancher's conditions in annotations of namespaces.
    for n in 0..5 {
        let content = json!({ "metadata": { "labels": { "kubernetes.io/metadata.name": format!("team-{n}") } },
            "spec": { "finalizers": ["kubernetes"] } });
        let name = format!("team-{n}");
        let namespace = object(
            world,
            ("v1", "Namespace"),
            ("", &name),
            content,
            Writer("helm", ""),
        );
        let id = world.add("namespaces", namespace)?;
        world.every(4 * HOUR, move |world| {
            let path: &[&str] = &["metadata", "annotations", "cattle.io/status"];
            let text = json!({ "Conditions": [{ "Type": "ResourceQuotaInit", "LastUpdateTime": world.now.seconds_text().as_str() }] });
            world.write(id, Writer("rancher", ""), &[(path, Some(json!(text.to_string())))])
        });
    }
    Ok(())
}

/// Twenty Applications that are refreshed every three minutes; one is synchronized every hour.
fn argo(world: &mut World) -> anyhow::Result<()> {
    let argo = Writer("argocd-application-controller", "");
    for n in 0..20 {
        let content = json!({ "spec": { "project": "default", "source": { "repoURL": "https://git.example.com/shop", "path": format!("app-{n}"),
            "targetRevision": "main" }, "destination": { "namespace": "shop" } } });
        let (type_of, name) = (("argoproj.io/v1alpha1", "Application"), format!("app-{n}"));
        let app = object(
            world,
            type_of,
            ("argocd", &name),
            content,
            Writer("argocd-server", ""),
        );
        let id = world.add("argoproj.io/v1alpha1/applications", app)?;
        world.every(3 * MINUTE, move |world| {
            let path: &[&str] = &["metadata", "annotations", "argocd.argoproj.io/refresh"];
            world.write(id, argo, &[(path, Some(json!("normal")))])?;
            world.after(1, move |world| {
                world.write(id, argo, &[(path, None)])?;
                world.status(id, "argocd-application-controller")
            });
            Ok(())
        });
        world.every(20 * HOUR, move |world| {
            let operation = json!({ "sync": { "revision": format!("{:040x}", world.rng.draw()) }, "initiatedBy": { "automated": true } });
            world.write(id, argo, &[(&["operation"], Some(operation))])?;
            world.after(2, move |world| {
                world.write(id, argo, &[(&["operation"], None)])?;
                world.status(id, "argocd-application-controller")
            });
            Ok(())
        });
    }
    Ok(())
}

/// cert-manager, External Secrets, VPA, an ingress controller and a load balancer.
fn operators(world: &mut World) -> anyhow::Result<()> {
    for n in 0..10 {
        let name = format!("tls-{n}");
        let content = json!({ "spec": { "secretName": name, "dnsNames": [format!("app-{n}.example.com")],
            "issuerRef": { "name": "letsencrypt" } } });
        let type_of = ("cert-manager.io/v1", "Certificate");
        let certificate = object(world, type_of, ("shop", &name), content, Writer("helm", ""));
        let id = world.add("cert-manager.io/v1/certificates", certificate)?;
        // A renewal is five writes to the status.
        world.every(DAY, move |world| {
            for n in 0..5 {
                world.after(n * 3, move |world| {
                    world.status(id, "cert-manager-certificates-issuing")
                });
            }
            Ok(())
        });
        let secret = json!({ "spec": { "refreshInterval": "1m", "secretStoreRef": { "name": "vault" }, "target": { "name": name } } });
        let type_of = ("external-secrets.io/v1", "ExternalSecret");
        let secret = object(world, type_of, ("shop", &name), secret, Writer("helm", ""));
        let id = world.add("external-secrets.io/v1/externalsecrets", secret)?;
        world.every(MINUTE, move |world| world.status(id, "external-secrets"));
        let vpa = json!({ "spec": { "targetRef": { "kind": "Deployment", "name": format!("service-{n}") }, "updatePolicy": { "updateMode": "InPlaceOrRecreate" } } });
        let type_of = ("autoscaling.k8s.io/v1", "VerticalPodAutoscaler");
        let vpa = object(world, type_of, ("shop", &name), vpa, Writer("helm", ""));
        let id = world.add("autoscaling.k8s.io/v1/verticalpodautoscalers", vpa)?;
        world.every(MINUTE, move |world| world.status(id, "vpa-recommender"));
        // Its pod is resized in place.
        let owner = owner("ReplicaSet", "apps/v1", &format!("service-{n}-abc"));
        let content = json!({
            "metadata": { "labels": { "pod-template-hash": "abc" }, "ownerReferences": owner },
            "spec": { "nodeName": "ip-10-0-0-1", "containers": [{ "name": "app", "image": "registry.example.com/shop/service:v1",
                "resources": { "requests": { "cpu": "100m" } } }] },
        });
        let pod = format!("service-{n}-abc-vpa");
        let pod = object(world, ("v1", "Pod"), ("shop", &pod), content, KCM);
        let id = world.add("pods", pod)?;
        world.every(8 * HOUR, move |world| {
            let path: &[&str] = &[
                "spec",
                "containers",
                "name=app",
                "resources",
                "requests",
                "cpu",
            ];
            let cpu = format!("{}m", 100 + world.rng.below(300));
            world.write(id, Writer("vpa-updater", ""), &[(path, Some(json!(cpu)))])
        });
        let (name, content) = (
            format!("web-{n}"),
            json!({
                "metadata": { "annotations": { "kubernetes.io/ingress.class": "gce" } },
                "spec": { "rules": [{ "host": format!("app-{n}.example.com") }] },
            }),
        );
        let type_of = ("networking.k8s.io/v1", "Ingress");
        let ingress = object(world, type_of, ("shop", &name), content, Writer("helm", ""));
        let id = world.add("ingresses", ingress)?;
        // The cloud's controller writes the health of its backends.
        world.every(2 * HOUR, move |world| {
            let path: &[&str] = &["metadata", "annotations", "ingress.kubernetes.io/backends"];
            let health = ["HEALTHY", "UNHEALTHY"][world.rng.index(2)];
            let text = json!({ format!("k8s1-{n}"): health }).to_string();
            world.write(id, Writer("glbc", ""), &[(path, Some(json!(text)))])
        });
    }
    // The CA of a webhook is replaced twice a day.
    let content = json!({ "webhooks": [{ "name": "webhook.cert-manager.io", "clientConfig": { "caBundle": "QUJD" } }] });
    let type_of = (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
    );
    let webhook = object(
        world,
        type_of,
        ("", "cert-manager-webhook"),
        content,
        Writer("helm", ""),
    );
    let id = world.add("validatingwebhookconfigurations", webhook)?;
    world.every(12 * HOUR, move |world| {
        let path: &[&str] = &[
            "webhooks",
            "name=webhook.cert-manager.io",
            "clientConfig",
            "caBundle",
        ];
        let bundle = json!(format!("QUJD{}", world.rng.draw()));
        world.write(
            id,
            Writer("cert-manager-cainjector", ""),
            &[(path, Some(bundle))],
        )
    });
    Ok(())
}

/// Fifteen nodes come and go.
fn karpenter(world: &mut World) {
    let count = Rc::new(RefCell::new(0_usize));
    world.every(DAY / 15, move |world| {
        *count.borrow_mut() += 1;
        let name = format!("default-{:05}", *count.borrow());
        let karpenter = Writer("karpenter", "");
        let content = json!({
            "metadata": { "annotations": { "karpenter.sh/nodepool-hash": "1" }, "finalizers": ["karpenter.sh/termination"],
                "ownerReferences": [{ "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "default", "uid": "uid-pool" }] },
            "spec": { "nodeClassRef": { "name": "default" }, "requirements": [] },
        });
        let type_of = ("karpenter.sh/v1", "NodeClaim");
        let claim = object(world, type_of, ("", &name), content, karpenter);
        let claim = world.add("karpenter.sh/v1/nodeclaims", claim)?;
        for n in 0..6 {
            world.after(n * 10, move |world| world.status(claim, "karpenter"));
        }
        world.after(40, move |world| {
            let taints = json!([{ "key": "karpenter.sh/unregistered", "effect": "NoExecute" },
                { "key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule" }]);
            let more = json!({ "spec": { "taints": taints } });
            let node = node(world, &format!("ip-10-1-{}", name), more)?;
            let labels = |world: &mut World, writer: Writer, labels: &[(&str, &str)]| {
                let paths: Vec<[&str; 3]> = labels.iter().map(|(key, _)| ["metadata", "labels", key]).collect();
                let edits: Vec<(&[&str], Option<Value>)> = paths
                    .iter()
                    .zip(labels)
                    .map(|(path, (_, value))| (&path[..], Some(json!(value))))
                    .collect();
                world.write(node, writer, &edits)
            };
            let cloud = Writer("aws-cloud-controller-manager", "");
            let taints = json!([{ "key": "karpenter.sh/unregistered", "effect": "NoExecute" }]);
            world.write(node, cloud, &[(&["spec", "taints"], Some(taints))])?;
            labels(
                world,
                cloud,
                &[
                    ("topology.kubernetes.io/zone", "eu-central-1a"),
                    ("topology.kubernetes.io/region", "eu-central-1"),
                    ("node.kubernetes.io/instance-type", "m7i.2xlarge"),
                ],
            )?;
            world.write(node, karpenter, &[(&["spec", "taints"], None)])?;
            labels(world, karpenter, &[("karpenter.sh/registered", "true"), ("karpenter.sh/nodepool", "default")])?;
            let csi: &[&str] = &["metadata", "annotations", "csi.volume.kubernetes.io/nodeid"];
            world.write(node, Writer("kubelet", ""), &[(csi, Some(json!("{\"ebs\":\"i-1\"}")))])?;
            world.after(20, move |world| {
                let initialized: &[&str] = &["metadata", "labels", "karpenter.sh/initialized"];
                world.write(node, karpenter, &[(initialized, Some(json!("true")))])?;
                let allocatable: &[&str] = &["status", "allocatable", "vpc.amazonaws.com/pod-eni"];
                world.write(node, Writer("kubelet", "status"), &[(allocatable, Some(json!("9")))])
            });
            world.after(3 * HOUR, move |world| {
                let disrupted = json!([{ "key": "karpenter.sh/disrupted", "effect": "NoSchedule" }]);
                world.write(node, karpenter, &[(&["spec", "taints"], Some(disrupted))])?;
                world.after(90, move |world| {
                    world.delete(node)?;
                    world.delete(claim)
                });
                Ok(())
            });
            Ok(())
        });
        Ok(())
    });
}

/// What a person changes meanwhile; each must be a row of its own.
fn by_hand(world: &mut World, deployments: &[Id], nodes: &[Id]) -> anyhow::Result<()> {
    let map = config_map("shop", "settings", &mut world.rng);
    let map = world.add("configmaps", map)?;
    let service = json!({ "spec": { "selector": { "app": "x" }, "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }] } });
    let service = object(
        world,
        ("v1", "Service"),
        ("shop", "web"),
        service,
        Writer("helm", ""),
    );
    let service = world.add("services", service)?;
    let app = ["spec", "template", "spec", "containers", "name=app"];
    let env = [&app[..], &["env", "name=LOG_LEVEL", "value"]].concat();
    let memory = [&app[..], &["resources", "limits", "memory"]].concat();
    // Of an HPA's target, of one that is rolled out, of a Node with heartbeats.
    let edits: [(Id, Vec<&'static str>); 9] = [
        (deployments[0], env.clone()),
        (deployments[1], vec!["spec", "replicas"]),
        (deployments[9], memory),
        (deployments[10], vec!["metadata", "labels", "team"]),
        (nodes[0], vec!["metadata", "labels", "example.com/pool"]),
        (
            nodes[1],
            vec!["metadata", "annotations", "example.com/note"],
        ),
        (map, vec!["data", "LOG_LEVEL"]),
        (service, vec!["spec", "selector", "app"]),
        (nodes[2], vec!["spec", "unschedulable"]),
    ];
    for (n, (id, path)) in edits.into_iter().enumerate() {
        world.every(4 * HOUR, move |world| {
            world.by_hand += 1;
            let value = match *path.last().unwrap_or(&"") {
                "replicas" => json!(20 + world.by_hand),
                "unschedulable" => json!(world.by_hand % 2 == 0),
                _ => json!(format!("by-hand-{n}-{}", world.by_hand)),
            };
            world.write(id, HAND, &[(&path, Some(value))])
        });
    }
    Ok(())
}
