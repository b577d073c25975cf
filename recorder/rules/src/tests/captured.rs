//! Objects captured from a real cluster by `tests/e2e/capture-fixtures.sh`, decoded as the informers decode them.

use kube9_ingest::decode::decode_event;
use kube9_ingest::filter::SeverityOverrides;
use kube9_ingest::normalize::normalize;
use kube9_model::commit_stats::CommitDelta;
use kube9_model::label::Kind;
use kube9_model::record::Occurred;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::harness::TestHarness;

/// A scenario: the objects of a namespace at several moments.
pub(crate) struct CapturedObjects {
    moments: Vec<Value>,
}

impl CapturedObjects {
    pub(crate) fn read(name: &str) -> Self {
        let path = format!(
            "{}/tests/fixtures/objects/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let scene: Value = serde_json::from_str(&text).unwrap();
        let moments = scene["moments"].as_array().unwrap().clone();
        Self { moments }
    }

    /// The objects of a moment, of one kind.
    pub(crate) fn objects(&self, moment: &str, kind: &str) -> Vec<Value> {
        let objects = self.moment(moment).1["objects"].as_array().unwrap();
        let of_kind = objects.iter().filter(|object| object["kind"] == kind);
        of_kind.cloned().collect()
    }

    fn moment(&self, name: &str) -> (usize, &Value) {
        let found = self
            .moments
            .iter()
            .enumerate()
            .find(|(_, moment)| moment["name"] == name);
        found.unwrap_or_else(|| panic!("no moment {name}"))
    }

    /// Applies the changes between the previous moment and this one, at its time.
    pub(crate) fn show(&self, name: &str, harness: &mut TestHarness) {
        let (index, moment) = self.moment(name);
        let at = Timestamp::parse(moment["at"].as_str().unwrap()).unwrap();
        harness.now = harness.now.max(at);
        for kind in ["Node", "ConfigMap", "Deployment", "Service", "Pod"] {
            let now = self.objects(name, kind);
            let label = kind_of(kind);
            if let Some(before) = index.checked_sub(1) {
                let before = self.moments[before]["name"].as_str().unwrap();
                let uid = |object: &Value| object["metadata"]["uid"].clone();
                for old in self.objects(before, kind) {
                    if now.iter().all(|object| uid(object) != uid(&old)) {
                        harness.delete(label, &old);
                    }
                }
            }
            for object in &now {
                harness.apply(label, object);
            }
        }
        let mut delta = CommitDelta::default();
        for event in self.objects(name, "Event") {
            let event = decode_event(event.to_string().as_bytes()).unwrap();
            let normalized = normalize(event, harness.now, &SeverityOverrides::default()).unwrap();
            let Occurred::Observed(seen) = &normalized.record.occurred else {
                panic!("an Event is observed")
            };
            // The count of a moment includes that of the moments before.
            let before = self.moments[..index]
                .iter()
                .flat_map(|moment| moment["objects"].as_array().unwrap())
                .filter(|object| object["metadata"]["uid"] == seen.uid.to_string())
                .filter_map(|object| object["count"].as_i64())
                .max();
            let times = seen.count - before.unwrap_or(0);
            delta.count_probe_kill(&normalized.record, seen.last, times);
        }
        harness.commit(delta);
    }
}

fn kind_of(name: &str) -> Kind {
    match name {
        "Node" => Kind::Node,
        "Pod" => Kind::Pod,
        "Deployment" => Kind::Deployment,
        "Service" => Kind::Service,
        _ => Kind::ConfigMap,
    }
}
