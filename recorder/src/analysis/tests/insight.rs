use super::Do::{Closes, Opens, Quiet, Wait};
use super::*;
use Severity::{Error, Warning};

fn crashing(name: &str, at: i64) -> Value {
    pod_with(
        name,
        1,
        waiting("CrashLoopBackOff"),
        terminated("Error", 1, at - 1, at),
    )
}

fn pulling(name: &str, on: &str, image: &str) -> Value {
    let wait = pod_with(name, 0, waiting("ImagePullBackOff"), json!({}));
    over(
        wait,
        json!({"spec": {"nodeName": on, "containers": [container(json!({"image": image}))]}}),
    )
}

#[test]
fn i1_pods_fail_alike() {
    play(
        "I1",
        "three of one owner; closes when fewer than two are left",
        vec![
            Do::Apply(vec![
                (Kind::Pod, crashing("web-1", 2)),
                (Kind::Pod, crashing("web-2", 2)),
            ]),
            Quiet,
            apply(Kind::Pod, crashing("web-3", 2)),
            Opens(Error),
            apply(Kind::Pod, pod("web-3", json!({}))),
            Quiet,
            apply(Kind::Pod, pod("web-2", json!({}))),
            Closes,
        ],
    );
    play(
        "I1",
        "three in different ways are no one thing",
        vec![
            apply(Kind::Pod, crashing("web-1", 2)),
            apply(
                Kind::Pod,
                pod_with(
                    "web-2",
                    1,
                    waiting("CrashLoopBackOff"),
                    terminated("OOMKilled", 137, 1, 2),
                ),
            ),
            apply(Kind::Pod, pulling("web-3", "w1", "i:1")),
            Quiet,
        ],
    );
}

#[test]
fn i2_failure_after_a_change() {
    let image = |tag: &str| {
        deployment(
            json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": format!("registry/web:{tag}")}]}}}}),
        )
    };
    play(
        "I2",
        "image, then crash; closes when the pod is well",
        vec![
            Do::Apply(vec![
                (Kind::Deployment, image("1")),
                (Kind::Pod, pod("web-1", json!({}))),
            ]),
            Wait(100),
            apply(Kind::Deployment, image("2")),
            Quiet,
            Wait(20),
            apply(Kind::Pod, crashing("web-2", 120)),
            Opens(Error),
            apply(Kind::Pod, pod("web-2", json!({}))),
            Closes,
        ],
    );
    let reads = json!({"spec": {"containers": [container(json!({"envFrom": [{"configMapRef": {"name": "conf"}}]}))]}});
    play(
        "I2",
        "ConfigMap, then crash",
        vec![
            Do::Apply(vec![
                (Kind::ConfigMap, config_map(json!({}))),
                (Kind::Pod, over(pod("web-1", json!({})), reads.clone())),
            ]),
            Wait(60),
            apply(Kind::ConfigMap, config_map(json!({"data": {"mode": "b"}}))),
            Wait(30),
            apply(Kind::Pod, over(crashing("web-1", 90), reads.clone())),
            Opens(Error),
        ],
    );
    play(
        "I2",
        "a crash before the change is not its fault",
        vec![
            apply(Kind::Deployment, image("1")),
            Wait(60),
            apply(Kind::Pod, crashing("web-1", 50)),
            apply(Kind::Deployment, image("2")),
            Wait(30),
            Quiet,
        ],
    );
    play(
        "I2",
        "nor is one long after",
        vec![
            apply(Kind::Deployment, image("1")),
            apply(Kind::Deployment, image("2")),
            Wait(700),
            apply(Kind::Pod, crashing("web-1", 700)),
            Quiet,
        ],
    );
    play(
        "I2",
        "scaling breaks nothing",
        vec![
            apply(Kind::Deployment, image("1")),
            apply(
                Kind::Deployment,
                over(image("1"), json!({"spec": {"replicas": 5}})),
            ),
            Wait(5),
            apply(Kind::Pod, crashing("web-1", 6)),
            Quiet,
        ],
    );
}

#[test]
fn i3_repeated_oom() {
    let oom = |restarts: i64, at: i64| {
        pod_with(
            "web-1",
            restarts,
            running(at + 1),
            terminated("OOMKilled", 137, at - 5, at),
        )
    };
    play(
        "I3",
        "the third kill within an hour; closes an hour after",
        vec![
            apply(Kind::Pod, oom(1, 10)),
            Wait(100),
            apply(Kind::Pod, oom(2, 100)),
            Quiet,
            Wait(100),
            apply(Kind::Pod, oom(3, 200)),
            Opens(Error),
            Wait(3000),
            Quiet,
            Wait(1000),
            Closes,
        ],
    );
    play(
        "I3",
        "the same kill seen again is one",
        vec![
            apply(Kind::Pod, oom(1, 10)),
            apply(Kind::Pod, oom(1, 10)),
            apply(Kind::Pod, oom(1, 10)),
            Quiet,
        ],
    );
}

#[test]
fn i4_flapping() {
    let is = |status: &str, since: i64| {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", status, since)]}}),
        )
    };
    play(
        "I4",
        "four changes within an hour; closes after half an hour of quiet",
        vec![
            apply(Kind::Node, is("True", 0)),
            apply(Kind::Node, is("False", 10)),
            apply(Kind::Node, is("True", 20)),
            apply(Kind::Node, is("False", 30)),
            Quiet,
            apply(Kind::Node, is("True", 40)),
            Opens(Error),
            Wait(1700),
            Quiet,
            Wait(200),
            Closes,
        ],
    );
}

#[test]
fn i5_and_i6_image_or_node() {
    let nodes = || {
        Do::Apply(vec![
            (Kind::Node, node("w1", json!({}))),
            (Kind::Node, node("w2", json!({}))),
        ])
    };
    let same_image = || {
        Do::Apply(vec![
            (Kind::Pod, pulling("web-1", "w1", "i:1")),
            (Kind::Pod, pulling("web-2", "w2", "i:1")),
        ])
    };
    let same_node = || {
        Do::Apply(vec![
            (Kind::Pod, pulling("web-1", "w1", "i:1")),
            (Kind::Pod, pulling("web-2", "w1", "j:1")),
        ])
    };
    play(
        "I5",
        "one image on two nodes",
        vec![
            nodes(),
            same_image(),
            Wait(61),
            Opens(Error),
            apply(Kind::Pod, pod("web-2", json!({"spec": {"nodeName": "w2"}}))),
            Closes,
        ],
    );
    play(
        "I5",
        "two images on one node",
        vec![nodes(), same_node(), Wait(100), Quiet],
    );
    play(
        "I6",
        "two images on one node",
        vec![
            nodes(),
            same_node(),
            Wait(61),
            Opens(Error),
            apply(Kind::Pod, pod("web-2", json!({}))),
            Closes,
        ],
    );
    play(
        "I6",
        "one image on two nodes",
        vec![nodes(), same_image(), Wait(100), Quiet],
    );
    play(
        "I6",
        "a cluster of one node cannot tell",
        vec![
            apply(Kind::Node, node("w1", json!({}))),
            same_node(),
            Wait(100),
            Quiet,
        ],
    );
}

#[test]
fn i7_pods_wait_for_one_cause() {
    let unscheduled = |name: &str, message: &str| {
        pod(
            name,
            json!({"spec": {"nodeName": null}, "status": {"phase": "Pending",
        "containerStatuses": [], "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": message, "lastTransitionTime": t(0)}]}}),
        )
    };
    let cpu = "0/3 nodes are available: 3 Insufficient cpu.";
    play(
        "I7",
        "two for CPU",
        vec![
            Do::Apply(vec![
                (Kind::Pod, unscheduled("web-1", cpu)),
                (Kind::Pod, unscheduled("web-2", cpu)),
            ]),
            Wait(301),
            Opens(Error),
            apply(Kind::Pod, pod("web-2", json!({}))),
            Closes,
        ],
    );
    let taint = "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.";
    play(
        "I7",
        "two for different causes",
        vec![
            Do::Apply(vec![
                (Kind::Pod, unscheduled("web-1", cpu)),
                (Kind::Pod, unscheduled("web-2", taint)),
            ]),
            Wait(400),
            Quiet,
        ],
    );
}

#[test]
fn i8_node_nearly_full() {
    let asks = |name: &str, cpu: &str| {
        pod(
            name,
            json!({"spec": {"containers": [container(json!({"resources": {"requests": {"cpu": cpu}}}))]}}),
        )
    };
    play(
        "I8",
        "opens at 95 %, not closed by one point, closes well below",
        vec![
            apply(Kind::Node, node("w1", json!({}))),
            apply(Kind::Pod, asks("web-1", "3700m")),
            Quiet,
            apply(Kind::Pod, asks("web-1", "3800m")),
            Opens(Warning),
            apply(Kind::Pod, asks("web-1", "3700m")),
            Quiet,
            apply(Kind::Pod, asks("web-1", "3500m")),
            Closes,
        ],
    );
}
