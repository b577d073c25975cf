//! Memory of a recorder process in a large cluster with ConfigMaps of 100 KiB.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use kube9_model::label::Kind;

use super::live_replay::{Process, Usage, is_synced, kind_of, put, setup};
use super::{ClusterSim, Plan};
use crate::apiserver::{self, ApiServer};
use crate::generator::Rng;
use crate::recorder::wait_until;

/// Longest time for the first list.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);

/// Memory freed after the first list is returned to the system within this time.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Usage after the first list and evaluation.
    pub listed: Usage,
    /// How long that took.
    pub took: Duration,
    /// After the changes.
    pub changed: Usage,
    /// Number of changes, with Events.
    pub changes: usize,
    /// Objects by kind.
    pub objects: [usize; 5],
    /// Bytes of all of them as JSON.
    pub bytes: u64,
}

/// Text that compresses badly and has to be unescaped, as tables and certificates do.
fn padding(seed: u64, bytes: usize) -> String {
    let mut rng = Rng::new(seed);
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        text.push_str(&format!(
            "{:016x},\"{:012x}\"\n",
            rng.draw(),
            rng.draw() >> 16
        ));
    }
    text.truncate(bytes);
    text
}

/// Runs `recorder` (a `kube9-recorder` binary) against a cluster of that size, with ConfigMap values of `value_bytes`,
/// and then applies `changes` changes as fast as possible.
pub fn measure(
    recorder: &Path,
    plan: Plan,
    value_bytes: usize,
    changes: usize,
) -> anyhow::Result<Memory> {
    let server = ApiServer::start(apiserver::Config::default())?;
    let mut sim = ClusterSim::new(plan, true);
    let padding = padding(plan.seed, value_bytes);
    let mut bytes = 0;
    let kinds = super::replay::KINDS;
    for kind in kinds.into_iter().filter(|kind| *kind != Kind::ConfigMap) {
        for object in sim.objects(kind) {
            put(&server, kind, object)?;
        }
    }
    for object in sim.config_maps(&padding) {
        put(&server, Kind::ConfigMap, object)?;
    }
    for kind in kinds {
        let all = server.store().all(kind_of(kind));
        bytes += all
            .iter()
            .map(|object| object.json().len() as u64)
            .sum::<u64>();
    }
    let folder = tempfile::tempdir()?;
    let setup = setup(&server, folder.path())?;
    let config = folder.path().join("recorder.yaml");
    std::fs::write(&config, &setup.yaml)?;
    let mut command = Command::new(recorder);
    command.arg("--config").arg(&config);
    let begun = Instant::now();
    let process = Process::spawn(command, &folder.path().join("recorder.log"))?;
    while !is_synced(&setup) {
        let log =
            || std::fs::read_to_string(folder.path().join("recorder.log")).unwrap_or_default();
        ensure!(
            begun.elapsed() < SYNC_TIMEOUT,
            "not synced: {:?} {}",
            setup.health(),
            log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    std::thread::sleep(SETTLE_TIME);
    let listed = process.used()?;
    let mut done = 0;
    while let Some(delivery) = sim.next_delivery().filter(|_| done < changes) {
        let kind = kind_of(delivery.kind);
        if delivery.deleted {
            let text = |key: &str| {
                delivery.object["metadata"][key]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let deleted = server
                .store()
                .delete(kind, &text("namespace"), &text("name"));
            deleted.map_err(|status| anyhow!("{status:?}"))?;
        } else {
            put(&server, delivery.kind, delivery.object)?;
        }
        done += 1;
    }
    let seen = || {
        let metrics = setup.metrics();
        let received = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("kube9_watch_items_total"));
        received.map(|(_, value)| *value).sum::<f64>()
    };
    let mut before = -1.0;
    wait_until(|| {
        let now = seen();
        std::thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut before, now) == now
    });
    std::thread::sleep(SETTLE_TIME);
    let changed = process.used()?;
    process.stop()?;
    Ok(Memory {
        listed,
        took,
        changed,
        changes: done,
        objects: kinds.map(|kind| server.store().count(kind_of(kind))),
        bytes,
    })
}
