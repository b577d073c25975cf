//! The objects of the day, its clock, and the queue of writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::changes::BEGIN;
use crate::bench::changes::object::{ApiObject, Writer};
use crate::bench::changes::path::{ChangePath, Source};
use crate::clock::Micros;
use crate::generator::Rng;
use crate::timer_queue::TimerQueue;

/// What happens at a time.
type Step = Box<dyn FnOnce(&mut World) -> anyhow::Result<()>>;

/// An object.
pub(super) type Id = usize;

/// Kinds that are tracked: name, and kind of a custom resource.
const KINDS: [(&str, &str); 18] = [
    ("nodes", ""),
    ("namespaces", ""),
    ("pods", ""),
    ("services", ""),
    ("configmaps", ""),
    ("persistentvolumeclaims", ""),
    ("deployments", ""),
    ("statefulsets", ""),
    ("cronjobs", ""),
    ("jobs", ""),
    ("horizontalpodautoscalers", ""),
    ("ingresses", ""),
    ("validatingwebhookconfigurations", ""),
    ("argoproj.io/v1alpha1/applications", "Application"),
    ("cert-manager.io/v1/certificates", "Certificate"),
    ("external-secrets.io/v1/externalsecrets", "ExternalSecret"),
    (
        "autoscaling.k8s.io/v1/verticalpodautoscalers",
        "VerticalPodAutoscaler",
    ),
    ("karpenter.sh/v1/nodeclaims", "NodeClaim"),
];

pub(super) struct World {
    pub(super) path: ChangePath,
    pub(super) rng: Rng,
    pub(super) now: Micros,
    sources: BTreeMap<&'static str, Source>,
    objects: Vec<Option<(&'static str, ApiObject)>>,
    /// Objects that exist before the day begins.
    before: Vec<(&'static str, ApiObject)>,
    timers: TimerQueue<i64, Step>,
    /// Writes that a watch shows, by kind.
    pub(super) writes: BTreeMap<String, u64>,
    /// Changes that a person made, each of which must be a row.
    pub(super) by_hand: u64,
    has_begun: bool,
}

impl World {
    pub(super) fn new(seed: u64, folder: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            path: ChangePath::new(folder)?,
            rng: Rng::new(seed),
            now: BEGIN,
            sources: BTreeMap::new(),
            objects: Vec::new(),
            before: Vec::new(),
            timers: TimerQueue::new(),
            writes: BTreeMap::new(),
            by_hand: 0,
            has_begun: false,
        })
    }

    /// Adds an object; before the day begins without a line.
    pub(super) fn add(&mut self, kind: &'static str, object: ApiObject) -> anyhow::Result<Id> {
        let id = self.objects.len();
        if self.has_begun {
            self.objects.push(Some((kind, object)));
            self.show(id, "ADDED")?;
        } else {
            self.objects.push(None);
            self.before.push((kind, object));
        }
        Ok(id)
    }

    fn show(&mut self, id: Id, action: &str) -> anyhow::Result<()> {
        let Some((kind, object)) = &mut self.objects[id] else {
            return Ok(()); // it was deleted
        };
        let line = object.line(action, self.path.next_version());
        let name = object.json["kind"].as_str().unwrap_or_default();
        *self.writes.entry(name.to_owned()).or_default() += 1;
        self.path.receive(self.sources[kind], &line, self.now)
    }

    /// One write of several fields.
    pub(super) fn write(
        &mut self,
        id: Id,
        writer: Writer,
        edits: &[(&[&str], Option<Value>)],
    ) -> anyhow::Result<()> {
        let now = self.now;
        if let Some((_, object)) = &mut self.objects[id] {
            for (path, value) in edits {
                object.edit(writer, now, path, value.clone());
            }
        }
        self.show(id, "MODIFIED")
    }

    /// A write of the status.
    pub(super) fn status(&mut self, id: Id, manager: &'static str) -> anyhow::Result<()> {
        let value = json!({ "observed": self.now.seconds_text().as_str(), "phase": "Running" });
        let edits: [(&[&str], _); 1] = [(&["status", "last"], Some(value))];
        self.write(id, Writer(manager, "status"), &edits)
    }

    pub(super) fn delete(&mut self, id: Id) -> anyhow::Result<()> {
        self.show(id, "DELETED")?;
        self.objects[id] = None;
        Ok(())
    }

    pub(super) fn name(&self, id: Id) -> String {
        let object = self.objects[id].as_ref().map(|(_, object)| object.name());
        object.unwrap_or_default().to_owned()
    }

    pub(super) fn after(
        &mut self,
        seconds: u64,
        step: impl FnOnce(&mut Self) -> anyhow::Result<()> + 'static,
    ) {
        let at = self.now + Duration::from_secs(seconds);
        self.timers.add(at.0, Box::new(step));
    }

    /// Repeats a step; the first time at a random moment of the period.
    pub(super) fn every(
        &mut self,
        seconds: u64,
        step: impl FnMut(&mut Self) -> anyhow::Result<()> + 'static,
    ) {
        let first = self.rng.below(seconds);
        self.after(first, move |world| again(world, seconds, step));
    }

    /// Plays the day.
    pub(super) fn play(&mut self, hours: u64) -> anyhow::Result<()> {
        let mut before = std::mem::take(&mut self.before);
        for kind in KINDS {
            let of_kind = before.iter_mut().filter(|(of, _)| *of == kind.0);
            let mut listed: Vec<&mut ApiObject> = of_kind.map(|(_, object)| object).collect();
            let source = self.path.track(kind, &mut listed, self.now)?;
            self.sources.insert(kind.0, source);
        }
        for (id, object) in before.into_iter().enumerate() {
            self.objects[id] = Some(object);
        }
        self.has_begun = true;
        let end = self.now + Duration::from_secs(hours * 3_600);
        while let Some((at, step)) = self.timers.pop() {
            if at >= end.0 {
                break;
            }
            self.now = Micros(at);
            step(self)?;
            self.path.commit(self.now)?;
        }
        Ok(())
    }
}

fn again(
    world: &mut World,
    seconds: u64,
    mut step: impl FnMut(&mut World) -> anyhow::Result<()> + 'static,
) -> anyhow::Result<()> {
    step(world)?;
    world.after(seconds, move |world| again(world, seconds, step));
    Ok(())
}
