//! What a day of a large cluster showed (`kube9-bench day`): findings about many pods that heal without a word, and pods
//! that fail by no fault of their own.

use super::Do::{Closes, Gone, Opens, Quiet, Wait};
use super::*;
use crate::analysis::world::World;
use Severity::{Error, Warning};

/// It ended badly at `ended`, and has run since `since`.
fn restarted(name: &str, ended: i64, since: i64) -> Value {
    over(
        pod_with(
            name,
            1,
            running(since),
            terminated("Error", 1, ended - 1, ended),
        ),
        json!({"status": {"conditions": [condition("PodScheduled", "True", 0), condition("Ready", "True", since)]}}),
    )
}

fn pulling(name: &str) -> Value {
    pod_with(name, 0, waiting("ErrImagePull"), json!({}))
}

fn evicted(name: &str) -> Value {
    let failed = pod_with(name, 0, terminated("Error", 137, 0, 5), json!({}));
    over(
        failed,
        json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
    )
}

fn three(of: impl Fn(&str) -> Value) -> Do {
    let names = ["web-1", "web-2", "web-3"];
    Do::Apply(names.map(|name| (Kind::Pod, of(name))).to_vec())
}

fn new_image() -> Vec<Do> {
    let image = |tag: &str| {
        deployment(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": format!("registry/web:{tag}")}]}}}}))
    };
    vec![
        apply(Kind::Deployment, image("1")),
        apply(Kind::Deployment, image("2")),
    ]
}

#[test]
fn groups_close_when_their_pods_have_run_for_long_enough_without_a_word() {
    play(
        "I1",
        "nothing changes any more once the pods run",
        vec![
            Wait(10),
            three(|name| restarted(name, 10, 12)),
            Opens(Error),
            Wait(590),
            Quiet,
            Wait(20),
            Closes,
        ],
    );
    let mut steps = new_image();
    steps.extend([
        Wait(10),
        apply(Kind::Pod, restarted("web-1", 10, 12)),
        Opens(Error),
        Wait(590),
        Quiet,
        Wait(20),
        Closes,
    ]);
    play("I2", "the same of one pod", steps);
}

#[test]
fn groups_wait_as_long_for_an_image_as_a_pod_does() {
    play(
        "I1",
        "an image that is late is no failure; one that does not come is",
        vec![
            three(pulling),
            Wait(50),
            Quiet,
            apply(Kind::Pod, pod("web-3", json!({}))),
            Wait(20),
            Quiet,
            apply(Kind::Pod, pulling("web-3")),
            Wait(65),
            Opens(Error),
            three(|name| pod(name, json!({}))),
            Closes,
        ],
    );
    let mut steps = new_image();
    steps.extend([
        apply(Kind::Pod, pulling("web-1")),
        Wait(50),
        Quiet,
        Wait(20),
        Opens(Error),
        apply(Kind::Pod, pod("web-1", json!({}))),
        Closes,
    ]);
    play("I2", "it opens by itself when the wait is over", steps);
    let mut steps = new_image();
    steps.extend([
        apply(Kind::Pod, pulling("web-1")),
        Wait(50),
        apply(Kind::Pod, pod("web-1", json!({}))),
        Wait(60),
        Quiet,
    ]);
    play("I2", "a registry that hiccups", steps);
}

#[test]
fn a_pod_that_its_node_evicted_failed_by_no_fault_of_its_own() {
    play(
        "H1",
        "H10 says it",
        vec![apply(Kind::Pod, evicted("web-1")), Quiet],
    );
    play("I1", "nor do three of them", vec![three(evicted), Quiet]);
    let mut steps = new_image();
    steps.extend([apply(Kind::Pod, evicted("web-1")), Quiet]);
    play("I2", "nor is a new image to blame", steps);
}

#[test]
fn a_pod_that_crashes_is_not_called_unready_between_two_crashes() {
    let crashed = |ended: i64| {
        pod_with(
            "web-1",
            7,
            running(ended + 300),
            terminated("Error", 1, ended - 3, ended),
        )
    };
    play(
        "H8",
        "H2 says it",
        vec![
            Wait(1300),
            apply(Kind::Pod, crashed(1000)),
            Wait(3),
            Quiet,
            // It goes on running, and is still not ready.
            Wait(600),
            Opens(Warning),
        ],
    );
}

#[test]
fn a_service_is_well_when_its_first_pod_has_been_ready_for_long_enough() {
    let ready = |name: &str, since: i64| {
        let conditions = json!([
            condition("PodScheduled", "True", 0),
            condition("Ready", "True", since)
        ]);
        pod(name, json!({"status": {"conditions": conditions}}))
    };
    let unready = |name: &str| pod_with(name, 0, running(0), json!({}));
    play(
        "H18",
        "others that become ready after it do not put it off",
        vec![
            apply(Kind::Service, service(json!({}))),
            three(unready),
            Wait(70),
            Opens(Severity::Critical),
            Wait(30),
            apply(Kind::Pod, ready("web-2", 100)),
            Wait(30),
            apply(Kind::Pod, ready("web-1", 130)),
            apply(Kind::Pod, ready("web-3", 130)),
            Wait(25),
            Quiet,
            Wait(10),
            Closes,
        ],
    );
}

#[test]
fn a_node_is_not_blamed_for_a_moment_in_which_its_images_fail_nowhere_else() {
    let on = |name: &str, node: &str, image: &str| {
        over(
            pulling(name),
            json!({"spec": {"nodeName": node, "containers": [container(json!({"image": image}))]}}),
        )
    };
    let begin = || {
        Do::Apply(vec![
            (Kind::Node, node("w1", json!({}))),
            (Kind::Node, node("w2", json!({}))),
            (Kind::Pod, on("a-1", "w1", "i:a")),
            (Kind::Pod, on("b-1", "w1", "i:b")),
            (Kind::Pod, on("a-2", "w2", "i:a")),
        ])
    };
    let other = || on("a-2", "w2", "i:a");
    play(
        "I6",
        "a pod elsewhere is replaced while the registry is down",
        vec![
            begin(),
            Wait(300),
            Gone(Kind::Pod, other()),
            Wait(20),
            apply(Kind::Pod, other()),
            Wait(100),
            Quiet,
        ],
    );
    play(
        "I6",
        "it is the node",
        vec![
            begin(),
            Wait(300),
            Gone(Kind::Pod, other()),
            Wait(65),
            Opens(Error),
        ],
    );
}

#[test]
fn a_node_that_says_only_that_it_is_alive_is_not_looked_at() {
    let mut world = World::default();
    let mut touched = |version: &str, patch: Value| {
        let beat = json!({"metadata": {"resourceVersion": version}});
        let object = decoded(Kind::Node, &over(node("w1", patch), beat));
        let mut dirty = std::collections::BTreeSet::new();
        world.apply(object, start(), Duration::from_secs(600), &mut dirty);
        dirty.len()
    };
    assert_eq!(touched("1", json!({})), 1);
    assert_eq!(touched("2", json!({})), 0);
    assert_eq!(touched("3", json!({"spec": {"unschedulable": true}})), 1);
    assert_eq!(
        touched(
            "4",
            json!({"spec": {"unschedulable": true}, "metadata": {"labels": {"kube9.io/ignore": "all"}}})
        ),
        1
    );
    assert_eq!(
        touched(
            "5",
            json!({"status": {"conditions": [condition("Ready", "False", 9)]}})
        ),
        1
    );
}
