//! Restarts of the recorder: informers resume where they stopped.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use kube9_tests::apiserver::{ApiServer, Config, Kind};
use kube9_tests::recorder::{PATIENCE, Recorder, Setup, wait_until};
use serde_json::{Value, json};

const WATCHED: [Kind; 6] = [
    Kind::Event,
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

struct Scene {
    server: ApiServer,
    setup: Setup,
    /// Deleted when dropped.
    _folder: tempfile::TempDir,
}

impl Scene {
    /// A cluster of one Deployment with one Pod.
    fn new() -> Self {
        let server = ApiServer::start(Config {
            compaction_interval: None,
            ..Config::default()
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&server, folder.path(), "").unwrap();
        let store = server.store();
        store
            .create(Kind::Deployment, deployment("registry/web:1"))
            .unwrap();
        store.create(Kind::Pod, pod("web-1")).unwrap();
        Self {
            server,
            setup,
            _folder: folder,
        }
    }

    /// Starts the recorder and waits until every kind is watched and every object is stored.
    fn start(&self, pods: i64) -> Recorder {
        let recorder = self.setup.start().unwrap();
        self.wait("every kind is watched", || {
            WATCHED
                .into_iter()
                .all(|kind| self.server.requests().open_watches(kind) == 1)
        });
        let known = format!(
            "SELECT count(*) = {pods} FROM object_snapshot JOIN watch_state w ON w.id = watch WHERE w.kind = 'Pod'"
        );
        self.wait("the pods are known", || {
            self.setup.number(&known) == Some(1)
        });
        recorder
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            wait_until(condition),
            "not within {} s: {what}; rows {:?}",
            PATIENCE.as_secs(),
            self.rows("cluster")
        );
    }

    /// Titles and metadata of the rows of a type, without recorded Events.
    fn rows(&self, event_type: &str) -> Vec<(String, String, Value)> {
        let sql = format!(
            "SELECT json_array(title, coalesce(object_name, ''), json(metadata)) FROM events \
             WHERE event_type = '{event_type}' AND metadata ->> 'source' IS NOT 'Event' ORDER BY id"
        );
        let rows = self.setup.column(&sql).unwrap_or_default();
        rows.iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    }

    fn count(&self, object: &str) -> usize {
        let rows = self.rows("cluster");
        rows.iter().filter(|(_, name, _)| name == object).count()
    }
}

fn deployment(image: &str) -> Value {
    json!({
        "metadata": { "name": "web", "namespace": "shop", "generation": 1 },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "app", "image": image }] },
            },
        },
        "status": { "replicas": 1, "availableReplicas": 1, "observedGeneration": 1 },
    })
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "labels": { "app": "web" } },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "app", "image": "registry/web:1" }] },
        "status": {
            "phase": "Running",
            "containerStatuses": [{ "name": "app", "ready": true, "restartCount": 0, "state": { "running": {} } }],
        },
    })
}

/// Everything that happens between stop and start is recorded once, including the last state of a pod created and
/// deleted meanwhile, which is in no list.
#[test]
fn restart_after_downtime_reports_created_and_deleted_objects() {
    let scene = Scene::new();
    scene.start(1).stop().unwrap();
    let store = scene.server.store();
    let image = |deployment: &mut Value| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry/web:2");
    };
    store
        .modify(Kind::Deployment, "shop", "web", image)
        .unwrap();
    store.create(Kind::Pod, pod("ghost")).unwrap();
    let fail = |pod: &mut Value| {
        pod["status"] = json!({
            "phase": "Failed",
            "containerStatuses": [{
                "name": "app", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": 3, "reason": "Error" } },
            }],
        });
    };
    store.modify(Kind::Pod, "shop", "ghost", fail).unwrap();
    store.delete(Kind::Pod, "shop", "ghost").unwrap();

    let recorder = scene.start(1);
    scene.wait("the change of the image is a row", || {
        scene.count("web") == 1
    });
    scene.wait("the pod's creation, end and deletion are rows", || {
        scene.count("ghost") == 3
    });
    let rows = scene.rows("cluster");
    for (title, _, metadata) in rows
        .iter()
        .filter(|(_, name, _)| name == "web" || name == "ghost")
    {
        assert_eq!(metadata["observed_late"], true, "{title}: {metadata}");
    }
    let (_, _, end) = rows
        .iter()
        .find(|(_, name, metadata)| name == "ghost" && metadata["reason"] == "PodEnded")
        .unwrap();
    assert!(end.to_string().contains('3'), "the exit code: {end}");
    assert_eq!(scene.rows("system"), [], "no gap");
    recorder.stop().unwrap();

    // Further starts report nothing again.
    for _ in 0..2 {
        scene.start(1).stop().unwrap();
    }
    assert_eq!((scene.count("web"), scene.count("ghost")), (1, 3));
    assert_eq!(scene.rows("system"), []);
}

#[test]
fn expired_position_leaves_gap_and_net_changes() {
    let scene = Scene::new();
    scene.start(1).stop().unwrap();
    let store = scene.server.store();
    let image = |deployment: &mut Value| {
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry/web:2");
    };
    store
        .modify(Kind::Deployment, "shop", "web", image)
        .unwrap();
    store.delete(Kind::Pod, "shop", "web-1").unwrap();
    scene.server.compact_now();
    let recorder = scene.start(0);
    scene.wait("the change of the image is a row", || {
        scene.count("web") == 1
    });
    let gap = |kind: &str| {
        let rows = scene.rows("system");
        let mut parts = rows.iter().filter_map(|(_, _, m)| m["sources"].as_array());
        let of_kind = parts.next()?.iter().find(|part| part["source"] == kind)?;
        Some(of_kind["recovery"].clone())
    };
    scene.wait("the gaps are closed", || {
        [("Deployment", "complete"), ("Pod", "partial")]
            .iter()
            .all(|(kind, recovery)| gap(kind) == Some(json!(recovery)))
    });
    recorder.stop().unwrap();
}

/// Without the analysis, open findings cannot be updated.
#[test]
fn disabled_analysis_closes_open_findings() {
    let mut scene = Scene::new();
    let plain = scene.setup.yaml.clone();
    scene
        .setup
        .yaml
        .push_str("analysis: {thresholds: {assessment: 0s}}\n");
    let mut privileged = pod("web-2");
    privileged["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    scene.server.store().create(Kind::Pod, privileged).unwrap();
    let recorder = scene.start(2);
    let of_a6 = |scene: &Scene| {
        let rows = scene.rows("assessment").into_iter();
        rows.filter(|(_, _, metadata)| metadata["rule"] == "PrivilegedPod")
            .collect::<Vec<_>>()
    };
    scene.wait("it is found", || of_a6(&scene).len() == 1);
    recorder.stop().unwrap();
    let mut setup = scene.setup.clone();
    setup.yaml = plain + "analysis: {enabled: false}\nchanges: {enabled: false}\n";
    let recorder = setup.start().unwrap();
    scene.wait("it is closed", || of_a6(&scene).len() == 2);
    assert_eq!(scene.setup.number("SELECT count(*) FROM finding"), Some(0));
    let because = &of_a6(&scene)[1].2["resolved_because"];
    assert_eq!(because, "the analysis is disabled");
    assert_eq!(scene.server.requests().open_watches(Kind::Pod), 0);
    recorder.stop().unwrap();
}
