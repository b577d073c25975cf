use super::Do::{Closes, Gone, Opens, Quiet, Wait};
use super::*;
use Severity::{Critical, Error, Info, Warning};

fn one(state: Value, last: Value) -> Value {
    pod_with("web-1", 1, state, last)
}

#[test]
fn h1_out_of_memory() {
    let oom = terminated("OOMKilled", 137, 0, 10);
    play(
        "H1",
        "opens at once, stays between two kills, closes when it has run for long",
        vec![
            apply(Kind::Pod, one(waiting("CrashLoopBackOff"), oom.clone())),
            Opens(Error),
            apply(Kind::Pod, one(running(20), oom.clone())),
            Wait(300),
            Quiet,
            Wait(400),
            Closes,
        ],
    );
    play(
        "H1",
        "SIGKILL without OOM",
        vec![
            apply(Kind::Pod, one(running(5), terminated("Error", 137, 0, 3))),
            Opens(Error),
        ],
    );
    play(
        "H1",
        "another code is not its business",
        vec![
            apply(Kind::Pod, one(running(5), terminated("Error", 1, 0, 3))),
            Quiet,
        ],
    );
    let deleted = over(
        one(terminated("Error", 137, 0, 3), json!({})),
        json!({"metadata": {"deletionTimestamp": t(30)}}),
    );
    play(
        "H1",
        "a deleted pod is killed by right",
        vec![apply(Kind::Pod, deleted), Quiet],
    );
    play(
        "H1",
        "closes with its pod",
        vec![
            apply(Kind::Pod, one(waiting("CrashLoopBackOff"), oom.clone())),
            Opens(Error),
            Gone(Kind::Pod, one(waiting("CrashLoopBackOff"), oom)),
            Closes,
        ],
    );
}

#[test]
fn h2_crash_loop() {
    let end = terminated("Error", 1, 0, 1);
    play(
        "H2",
        "opens when kubelet says so, closes when it has settled",
        vec![
            apply(Kind::Pod, one(waiting("CrashLoopBackOff"), end.clone())),
            Opens(Error),
            apply(Kind::Pod, one(running(60), end.clone())),
            Wait(500),
            Quiet,
            Wait(200),
            Closes,
        ],
    );
    play(
        "H2",
        "three restarts in ten minutes",
        vec![
            apply(Kind::Pod, pod_with("web-1", 0, running(0), json!({}))),
            apply(
                Kind::Pod,
                pod_with("web-1", 1, running(10), terminated("Error", 1, 0, 9)),
            ),
            apply(
                Kind::Pod,
                pod_with("web-1", 2, running(20), terminated("Error", 1, 10, 19)),
            ),
            Quiet,
            apply(
                Kind::Pod,
                pod_with("web-1", 3, running(30), terminated("Error", 1, 20, 29)),
            ),
            Opens(Error),
        ],
    );
    play(
        "H2",
        "one crash is no loop",
        vec![apply(Kind::Pod, one(running(2), end)), Wait(60), Quiet],
    );
}

#[test]
fn h3_exit_with_an_error() {
    let end = terminated("Error", 3, 0, 1);
    play(
        "H3",
        "opens, closes when settled",
        vec![
            apply(Kind::Pod, one(running(2), end.clone())),
            Opens(Warning),
            Wait(700),
            Closes,
        ],
    );
    let failed = over(
        one(end.clone(), json!({})),
        json!({"status": {"phase": "Failed"}}),
    );
    play(
        "H3",
        "a pod that failed for good is an error",
        vec![apply(Kind::Pod, failed), Opens(Error)],
    );
    play(
        "H3",
        "a good end is none",
        vec![
            apply(Kind::Pod, one(running(2), terminated("Completed", 0, 0, 1))),
            Quiet,
        ],
    );
    let deleted = over(
        one(end, json!({})),
        json!({"metadata": {"deletionTimestamp": t(30)}}),
    );
    play(
        "H3",
        "a deleted pod may end as it likes",
        vec![apply(Kind::Pod, deleted), Quiet],
    );
}

#[test]
fn h4_image_pull() {
    let pulling = || one(waiting("ErrImagePull"), json!({}));
    play(
        "H4",
        "opens after a minute, also between the two words for it",
        vec![
            apply(Kind::Pod, pulling()),
            Wait(30),
            apply(Kind::Pod, one(waiting("ImagePullBackOff"), json!({}))),
            Wait(29),
            Quiet,
            Wait(2),
            Opens(Error),
            apply(Kind::Pod, one(running(70), json!({}))),
            Closes,
        ],
    );
    play(
        "H4",
        "a pull that works in time is none",
        vec![
            apply(Kind::Pod, pulling()),
            Wait(50),
            apply(Kind::Pod, one(running(50), json!({}))),
            Wait(60),
            Quiet,
        ],
    );
}

#[test]
fn h5_config_error() {
    play(
        "H5",
        "opens and closes",
        vec![
            apply(
                Kind::Pod,
                one(waiting("CreateContainerConfigError"), json!({})),
            ),
            Opens(Error),
            apply(Kind::Pod, one(running(9), json!({}))),
            Closes,
        ],
    );
    play(
        "H5",
        "creating is no error",
        vec![
            apply(Kind::Pod, one(waiting("ContainerCreating"), json!({}))),
            Quiet,
        ],
    );
}

fn unscheduled(name: &str, reason: &str, message: &str) -> Value {
    pod(
        name,
        json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "containerStatuses": [],
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message,
                        "lastTransitionTime": t(0)}]}}),
    )
}

#[test]
fn h6_unschedulable() {
    play(
        "H6",
        "opens after five minutes, closes with a node",
        vec![
            apply(
                Kind::Pod,
                unscheduled(
                    "web-1",
                    "Unschedulable",
                    "0/1 nodes are available: 1 Insufficient cpu.",
                ),
            ),
            Wait(290),
            Quiet,
            Wait(20),
            Opens(Error),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
    play(
        "H6",
        "a gate is somebody's wish",
        vec![
            apply(Kind::Pod, unscheduled("web-1", "SchedulingGated", "gated")),
            Wait(400),
            Quiet,
        ],
    );
}

#[test]
fn h7_stuck_creating() {
    let creating = |reason: &str| {
        over(
            one(waiting(reason), json!({})),
            json!({"status": {"phase": "Pending"}}),
        )
    };
    play(
        "H7",
        "opens after ten minutes",
        vec![
            apply(Kind::Pod, creating("ContainerCreating")),
            Wait(590),
            Quiet,
            Wait(20),
            Opens(Warning),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
    play(
        "H7",
        "an image pull has its own rule",
        vec![
            apply(Kind::Pod, creating("ImagePullBackOff")),
            Wait(700),
            Quiet,
        ],
    );
}

#[test]
fn h8_not_ready() {
    let unready = || pod_with("web-1", 0, running(0), json!({}));
    play(
        "H8",
        "opens after a quarter of an hour",
        vec![
            apply(Kind::Pod, unready()),
            Wait(890),
            Quiet,
            Wait(20),
            Opens(Warning),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
    let crashing = one(waiting("CrashLoopBackOff"), terminated("Error", 1, 0, 1));
    play(
        "H8",
        "a crash has its own rules",
        vec![apply(Kind::Pod, crashing), Wait(1000), Quiet],
    );
    let done = over(unready(), json!({"status": {"phase": "Succeeded"}}));
    play(
        "H8",
        "a finished pod is not ready by right",
        vec![apply(Kind::Pod, done), Wait(1000), Quiet],
    );
}

#[test]
fn h9_stuck_terminating() {
    let deleted = || pod("web-1", json!({"metadata": {"deletionTimestamp": t(30)}}));
    play(
        "H9",
        "opens five minutes after the grace period",
        vec![
            apply(Kind::Pod, deleted()),
            Wait(320),
            Quiet,
            Wait(10),
            Opens(Warning),
            Gone(Kind::Pod, deleted()),
            Closes,
        ],
    );
    play(
        "H9",
        "a long grace period is not late",
        vec![
            apply(
                Kind::Pod,
                pod("web-1", json!({"metadata": {"deletionTimestamp": t(3600)}})),
            ),
            Wait(1000),
            Quiet,
        ],
    );
}

#[test]
fn h10_evicted() {
    let evicted = || {
        pod(
            "web-1",
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}}),
        )
    };
    play(
        "H10",
        "opens, closes when the pod is deleted",
        vec![
            apply(Kind::Pod, evicted()),
            Opens(Warning),
            Gone(Kind::Pod, evicted()),
            Closes,
        ],
    );
    let failed = pod(
        "web-1",
        json!({"status": {"phase": "Failed", "reason": "NodeShutdown"}}),
    );
    play(
        "H10",
        "another failure is none",
        vec![apply(Kind::Pod, failed), Quiet],
    );
}

#[test]
fn h11_node_not_ready() {
    let down = |status: &str, since: i64| {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", status, since)]}}),
        )
    };
    play(
        "H11",
        "error at once, critical later, closes when ready",
        vec![
            apply(Kind::Node, node("w1", json!({}))),
            Quiet,
            apply(Kind::Node, down("Unknown", 3)),
            Opens(Error),
            Wait(310),
            Opens(Critical),
            apply(Kind::Node, node("w1", json!({}))),
            Closes,
        ],
    );
    play(
        "H11",
        "a removed node has no troubles",
        vec![
            apply(Kind::Node, down("False", 0)),
            Opens(Error),
            Gone(Kind::Node, down("False", 0)),
            Closes,
        ],
    );
}

#[test]
fn h12_and_h13_conditions_of_nodes() {
    let with = |kind: &str, status: &str| {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", "True", 0), condition(kind, status, 0)]}}),
        )
    };
    for (rule, kind) in [
        ("H12", "MemoryPressure"),
        ("H12", "DiskPressure"),
        ("H13", "NetworkUnavailable"),
        ("H13", "KernelDeadlock"),
    ] {
        play(
            rule,
            kind,
            vec![
                apply(Kind::Node, with(kind, "True")),
                Opens(Error),
                apply(Kind::Node, with(kind, "False")),
                Closes,
            ],
        );
    }
    play(
        "H12",
        "no pressure",
        vec![apply(Kind::Node, with("PIDPressure", "False")), Quiet],
    );
    play(
        "H13",
        "a condition that may mean anything",
        vec![apply(Kind::Node, with("EtcdIsVoter", "True")), Quiet],
    );
}

#[test]
fn h14_rollout_stuck() {
    let progressing = |status: &str, reason: &str| {
        let progressing = over(
            condition("Progressing", status, 0),
            json!({"reason": reason}),
        );
        deployment(
            json!({"status": {"conditions": [progressing, condition("Available", "True", 0)]}}),
        )
    };
    play(
        "H14",
        "opens and closes",
        vec![
            apply(
                Kind::Deployment,
                progressing("False", "ProgressDeadlineExceeded"),
            ),
            Opens(Error),
            apply(Kind::Deployment, deployment(json!({}))),
            Closes,
        ],
    );
    play(
        "H14",
        "a rollout under way",
        vec![
            apply(Kind::Deployment, progressing("True", "ReplicaSetUpdated")),
            Wait(60),
            Quiet,
        ],
    );
}

#[test]
fn h15_unavailable() {
    let short = |available: i64, status: &str| {
        deployment(
            json!({"spec": {"replicas": 4}, "status": {"availableReplicas": available,
            "conditions": [condition("Available", status, 0)]}}),
        )
    };
    play(
        "H15",
        "opens after five minutes, worse without any",
        vec![
            apply(Kind::Deployment, short(1, "False")),
            Wait(290),
            Quiet,
            Wait(20),
            Opens(Error),
            apply(Kind::Deployment, short(0, "False")),
            Opens(Critical),
            apply(Kind::Deployment, short(4, "True")),
            Closes, // its condition is true since long ago
        ],
    );
    play(
        "H15",
        "within what the rollout may lack",
        vec![apply(Kind::Deployment, short(3, "True")), Wait(400), Quiet],
    );
}

#[test]
fn h16_replica_failure() {
    let failure = |status: &str| {
        deployment(json!({"status": {"conditions": [condition("ReplicaFailure", status, 0)]}}))
    };
    play(
        "H16",
        "opens and closes",
        vec![
            apply(Kind::Deployment, failure("True")),
            Opens(Error),
            apply(Kind::Deployment, failure("False")),
            Closes,
        ],
    );
}

#[test]
fn h17_service_without_pods() {
    play(
        "H17",
        "opens after a minute, closes when a pod comes",
        vec![
            apply(Kind::Service, service(json!({}))),
            Wait(59),
            Quiet,
            Wait(2),
            Opens(Error),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
    play(
        "H17",
        "opens when the last pod goes",
        vec![
            Do::Apply(vec![
                (Kind::Pod, pod("web-1", json!({}))),
                (Kind::Service, service(json!({}))),
            ]),
            Wait(100),
            Quiet,
            Gone(Kind::Pod, pod("web-1", json!({}))),
            Wait(61),
            Opens(Error),
        ],
    );
    play(
        "H17",
        "scaled to 0 looks meant",
        vec![
            apply(
                Kind::Deployment,
                deployment(json!({"spec": {"replicas": 0}})),
            ),
            apply(Kind::Service, service(json!({}))),
            Wait(61),
            Opens(Info),
        ],
    );
    play(
        "H17",
        "no selector, no claim",
        vec![
            apply(Kind::Service, service(json!({"spec": {"selector": null}}))),
            Wait(100),
            Quiet,
        ],
    );
    play(
        "H17",
        "a pod with another label, or in another namespace, is none",
        vec![
            apply(
                Kind::Pod,
                pod("web-1", json!({"metadata": {"labels": {"app": "other"}}})),
            ),
            apply(
                Kind::Pod,
                pod("web-2", json!({"metadata": {"namespace": "else"}})),
            ),
            apply(Kind::Service, service(json!({}))),
            Wait(61),
            Opens(Error),
        ],
    );
}

#[test]
fn h18_service_without_ready_pods() {
    let unready = || pod_with("web-1", 0, running(0), json!({}));
    play(
        "H18",
        "opens after a minute, closes when one is ready",
        vec![
            Do::Apply(vec![
                (Kind::Service, service(json!({}))),
                (Kind::Pod, unready()),
            ]),
            Wait(50),
            Quiet,
            Wait(20),
            Opens(Critical),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
    let ready = |name: &str, since: i64| {
        pod(
            name,
            json!({"status": {"conditions": [condition("Ready", "True", since)]}}),
        )
    };
    play(
        "H18",
        "a pod that is ready for moments is no recovery",
        vec![
            Do::Apply(vec![
                (Kind::Service, service(json!({}))),
                (Kind::Pod, unready()),
            ]),
            Wait(70),
            Opens(Critical),
            apply(Kind::Pod, ready("web-1", 73)),
            Wait(20),
            apply(Kind::Pod, unready()),
            Wait(20),
            Quiet,
            apply(Kind::Pod, ready("web-1", 113)),
            Wait(50),
            Quiet,
            Wait(20),
            Closes,
        ],
    );
    play(
        "H18",
        "one ready pod is enough",
        vec![
            Do::Apply(vec![
                (Kind::Service, service(json!({}))),
                (Kind::Pod, unready()),
                (Kind::Pod, pod("web-2", json!({}))),
            ]),
            Wait(100),
            Quiet,
        ],
    );
}
