//! Cost of one change in the analysis, by cluster size. It must not grow with the cluster.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use kube9_ingest::objects::Object;
use kube9_model::label::Kind;

use super::replay::{KINDS, Replay};
use super::{ClusterSim, Ms, Plan};
use crate::bench::populate::thread_cpu;

/// Measured changes, of the usual mix.
const CHANGES: usize = 20_000;

/// Changes before the measurement, to warm up caches and allocator.
const WARM_UP: usize = 2_000;

/// What was measured of one size.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Pods of the cluster.
    pub pods: usize,
    /// CPU time per change, with the evaluation of everything it affects.
    pub change: Duration,
    /// The same by kind, in the order of [`super::replay::KINDS`].
    pub by_kind: [Duration; 5],
    /// CPU time of checking the timers when none is due.
    pub tick: Duration,
    /// CPU time of the first list, per object.
    pub listed: Duration,
}

/// A change, decoded.
type Change = (Ms, Kind, bool, Object);

/// A cluster with twenty pods per node, and changes to apply.
struct Prepared {
    replay: Replay,
    listed: Duration,
    changes: Vec<Change>,
}

impl Prepared {
    /// Prepares `wanted` changes, after the warm-up.
    fn new(seed: u64, pods: usize, wanted: usize) -> anyhow::Result<Self> {
        let plan = Plan {
            nodes: (pods / 20).max(12),
            pods,
            hours: 24,
            seed,
        };
        let mut sim = ClusterSim::new(plan, false);
        let objects: usize = KINDS.iter().map(|kind| sim.objects(*kind).len()).sum();
        let mut replay = Replay::begin(&sim)?;
        let listed = replay.analysed / u32::try_from(objects).unwrap_or(u32::MAX);
        // The rules wait two seconds after a list, then evaluate everything once.
        replay.pass(super::START + 60_000);
        let mut changes = Vec::with_capacity(wanted);
        for _ in 0..WARM_UP + wanted {
            let Some(delivery) = sim.next_delivery() else {
                break;
            };
            if delivery.kind != Kind::Event {
                let object = replay.decode(delivery.kind, delivery.object)?;
                changes.push((delivery.at, delivery.kind, delivery.deleted, object));
            }
        }
        ensure!(
            changes.len() > WARM_UP + wanted / 2,
            "the day has too few changes"
        );
        let measured = changes.split_off(WARM_UP);
        for change in changes {
            take(&mut replay, change);
        }
        Ok(Self {
            replay,
            listed,
            changes: measured,
        })
    }
}

/// Measures a cluster of `pods` pods, twenty per node.
pub fn measure(seed: u64, pods: usize) -> anyhow::Result<Cost> {
    let Prepared {
        mut replay,
        listed,
        changes,
    } = Prepared::new(seed, pods, CHANGES)?;
    let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
    let mut kinds = [(Duration::ZERO, 0_u32); 5];
    let begun = thread_cpu();
    play(&mut replay, changes, &mut kinds);
    let change = (thread_cpu() - begun) / count;
    let by_kind = kinds.map(|(time, count)| time / count.max(1));
    let begun = thread_cpu();
    for _ in 0..CHANGES {
        replay.evaluate_timers();
    }
    let tick = (thread_cpu() - begun) / u32::try_from(CHANGES).unwrap_or(u32::MAX);
    Ok(Cost {
        pods,
        change,
        by_kind,
        tick,
        listed,
    })
}

/// Name of the hidden subcommand that [`instructions`] runs under valgrind.
pub const SUBCOMMAND: &str = "play-changes";

/// Changes applied there: valgrind is fifty times slower.
const PLAYED: usize = 5_000;

/// Runs the hidden subcommand: applies changes and returns how many were of Pods.
pub fn play_changes(seed: u64, pods: usize) -> anyhow::Result<usize> {
    let mut scene = Prepared::new(seed, pods, PLAYED)?;
    let mut of_pods = 0;
    for change in scene.changes {
        if change.1 == Kind::Pod {
            of_pods += 1;
            counted(&mut scene.replay, change);
        } else {
            take(&mut scene.replay, change);
        }
    }
    Ok(of_pods)
}

/// A separate function, so that valgrind can count its instructions alone.
#[inline(never)]
fn counted(replay: &mut Replay, change: Change) {
    take(replay, change);
}

fn take(replay: &mut Replay, (at, kind, deleted, object): Change) {
    replay.set_time(at);
    replay.take(kind, deleted, object);
}

/// Instructions per change of a Pod: independent of caches, of the load of the machine and of the mix of changes.
/// `None` without valgrind.
pub fn instructions(seed: u64, pods: usize) -> anyhow::Result<Option<f64>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*cluster_sim::change_cost::counted",
        ])
        .arg(std::env::current_exe()?)
        .args(["--no-cpu", "--seed", &seed.to_string()])
        .args([SUBCOMMAND, &pods.to_string()])
        .output()?;
    let count = String::from_utf8_lossy(&done.stderr);
    let collected = count
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
    let changes: f64 = String::from_utf8_lossy(&done.stdout)
        .trim()
        .parse()
        .with_context(|| count.to_string())?;
    let collected = collected.filter(|count| *count > 0.0);
    Ok(Some(
        collected.with_context(|| count.to_string())? / changes,
    ))
}

fn play(replay: &mut Replay, changes: Vec<Change>, kinds: &mut [(Duration, u32); 5]) {
    let mut last = thread_cpu();
    for change in changes {
        let kind = change.1;
        take(replay, change);
        let now = thread_cpu();
        let of = KINDS.iter().position(|one| *one == kind).unwrap_or(0);
        kinds[of] = (kinds[of].0 + (now - last), kinds[of].1 + 1);
        last = now;
    }
}
