use super::Do::{Closes, Gone, Opens, Quiet, Wait};
use super::*;
use Severity::{Error, Info, Warning};

fn with_container(patch: Value) -> Value {
    pod("web-1", json!({"spec": {"containers": [container(patch)]}}))
}

/// Opens after the waiting time for `bad`, closes at once for a pod without fault.
fn opens_for(rule: &str, severity: Severity, bad: Value) {
    play(
        rule,
        &bad.to_string(),
        vec![
            apply(Kind::Pod, bad),
            Wait(25),
            Quiet,
            Wait(10),
            Opens(severity),
            apply(Kind::Pod, pod("web-1", json!({}))),
            Closes,
        ],
    );
}

fn quiet_for(rule: &str, good: Value) {
    play(
        rule,
        &good.to_string(),
        vec![apply(Kind::Pod, good), Wait(60), Quiet],
    );
}

#[test]
fn templates_are_assessed() {
    opens_for(
        "A1",
        Warning,
        with_container(json!({"image": "registry/web:latest"})),
    );
    quiet_for(
        "A1",
        with_container(json!({"image": "registry/web:latest@sha256:1"})),
    );
    opens_for(
        "A2",
        Warning,
        with_container(json!({"resources": {"limits": null}})),
    );
    opens_for(
        "A2",
        Info,
        with_container(json!({"resources": {"requests": null}})),
    );
    quiet_for(
        "A2",
        with_container(json!({"resources": {"requests": {"cpu": null}}})),
    );
    opens_for(
        "A6",
        Error,
        with_container(json!({"securityContext": {"privileged": true}})),
    );
    opens_for(
        "A6",
        Error,
        pod("web-1", json!({"spec": {"hostPID": true}})),
    );
    opens_for(
        "A6",
        Warning,
        pod(
            "web-1",
            json!({"spec": {"volumes": [{"hostPath": {"path": "/var/log"}}]}}),
        ),
    );
    opens_for(
        "A6",
        Warning,
        with_container(json!({"securityContext": {"runAsUser": 0}})),
    );
    opens_for(
        "A6",
        Error,
        with_container(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
    );
    quiet_for(
        "A6",
        with_container(
            json!({"securityContext": {"runAsUser": 1000, "capabilities": {"add": ["NET_BIND_SERVICE"]}}}),
        ),
    );
    opens_for(
        "A7",
        Info,
        pod(
            "web-1",
            json!({"spec": {"automountServiceAccountToken": null}}),
        ),
    );
    quiet_for(
        "A7",
        pod(
            "web-1",
            json!({"spec": {"automountServiceAccountToken": null, "serviceAccountName": "web"}}),
        ),
    );
    opens_for(
        "A9",
        Warning,
        with_container(json!({"env": [{"name": "DB_PASSWORD", "value": "x"}]})),
    );
    quiet_for(
        "A9",
        with_container(
            json!({"env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s"}}},
                                                   {"name": "AUTHOR", "value": "x"}]}),
        ),
    );
}

#[test]
fn a3_probe_behind_a_service() {
    let bare = || with_container(json!({"readinessProbe": null}));
    play(
        "A3",
        "opens behind a Service, closes when that goes",
        vec![
            apply(Kind::Pod, bare()),
            Wait(60),
            Quiet,
            apply(Kind::Service, service(json!({}))),
            Opens(Warning),
            Gone(Kind::Service, service(json!({}))),
            Closes,
        ],
    );
}

#[test]
fn a4_single_replica() {
    let replicas = |n: i64| deployment(json!({"spec": {"replicas": n}}));
    play(
        "A4",
        "one replica behind a Service",
        vec![
            Do::Apply(vec![
                (Kind::Pod, pod("web-1", json!({}))),
                (Kind::Deployment, replicas(1)),
                (Kind::Service, service(json!({}))),
            ]),
            Wait(31),
            Opens(Info),
            apply(Kind::Deployment, replicas(2)),
            Closes,
        ],
    );
    play(
        "A4",
        "one replica behind none",
        vec![
            Do::Apply(vec![
                (Kind::Pod, pod("web-1", json!({}))),
                (Kind::Deployment, replicas(1)),
            ]),
            Wait(60),
            Quiet,
        ],
    );
}

#[test]
fn a5_all_on_one_node() {
    let two = || {
        Do::Apply(vec![
            (Kind::Pod, pod("web-1", json!({}))),
            (Kind::Pod, pod("web-2", json!({}))),
        ])
    };
    let nodes = |patch: Value| {
        Do::Apply(vec![
            (Kind::Node, node("w1", json!({}))),
            (Kind::Node, node("w2", patch)),
        ])
    };
    play(
        "A5",
        "two pods on one of two nodes",
        vec![
            nodes(json!({})),
            two(),
            Wait(310),
            Opens(Warning),
            apply(Kind::Pod, pod("web-2", json!({"spec": {"nodeName": "w2"}}))),
            Closes,
        ],
    );
    play(
        "A5",
        "the other node takes no pods",
        vec![
            nodes(json!({"spec": {"unschedulable": true}})),
            two(),
            Wait(400),
            Quiet,
        ],
    );
}

#[test]
fn a8_secret_in_a_config_map() {
    let secret = || config_map(json!({"data": {"db-password": "hunter2hunter2"}}));
    play(
        "A8",
        "opens, closes when the key goes",
        vec![
            apply(Kind::ConfigMap, secret()),
            Wait(31),
            Opens(Warning),
            apply(Kind::ConfigMap, config_map(json!({}))),
            Closes,
        ],
    );
    let opted_out = over(
        secret(),
        json!({"metadata": {"labels": {"kube9.io/ignore": "A1_A8"}}}),
    );
    play(
        "A8",
        "opted out",
        vec![apply(Kind::ConfigMap, opted_out), Wait(60), Quiet],
    );
    let system = over(secret(), json!({"metadata": {"namespace": "kube-system"}}));
    play(
        "A8",
        "not the user's to change",
        vec![apply(Kind::ConfigMap, system), Wait(60), Quiet],
    );
}

#[test]
fn a10_missing_config_map() {
    let needs = |optional: bool| {
        pod(
            "web-1",
            json!({"spec": {"volumes": [{"configMap": {"name": "conf", "optional": optional}}]}}),
        )
    };
    play(
        "A10",
        "opens, closes when it comes",
        vec![
            apply(Kind::Pod, needs(false)),
            Wait(31),
            Opens(Error),
            apply(Kind::ConfigMap, config_map(json!({}))),
            Closes,
            Gone(Kind::ConfigMap, config_map(json!({}))),
            Wait(31),
            Opens(Error),
        ],
    );
    play(
        "A10",
        "optional is not needed",
        vec![apply(Kind::Pod, needs(true)), Wait(60), Quiet],
    );
}

#[test]
fn a11_target_port() {
    let to =
        |target: Value| service(json!({"spec": {"ports": [{"port": 80, "targetPort": target}]}}));
    let with = |target: Value| {
        Do::Apply(vec![
            (Kind::Pod, pod("web-1", json!({}))),
            (Kind::Service, to(target)),
        ])
    };
    play(
        "A11",
        "a name that no pod has",
        vec![
            with(json!("htpp")),
            Wait(31),
            Opens(Error),
            apply(Kind::Service, to(json!("http"))),
            Closes,
        ],
    );
    play(
        "A11",
        "a number beside the declared ones",
        vec![with(json!(8081)), Wait(31), Opens(Warning)],
    );
    play(
        "A11",
        "the right number",
        vec![with(json!(8080)), Wait(60), Quiet],
    );
}
