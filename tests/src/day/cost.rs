//! What one change costs the analysis, by the size of the cluster. It must not grow with it.

use std::time::Duration;

use anyhow::ensure;
use kube9_recorder::metrics::Kind;
use kube9_recorder::source::objects::Object;
use rustix::time::{ClockId, clock_gettime};

use super::replay::{KINDS, Replay};
use super::{Day, Ms, Plan};

/// Changes that are measured, of a day's usual mix.
const CHANGES: usize = 20_000;

/// Changes before that: caches and allocator in full swing.
const WARM_UP: usize = 2_000;

/// What was measured of one size.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Pods of the cluster.
    pub pods: usize,
    /// CPU time a change: taken in, and all that it touches looked at.
    pub change: Duration,
    /// The same by kind, in the order of [`super::replay::KINDS`].
    pub by_kind: [Duration; 5],
    /// CPU time of a look at the timers, where nothing is due.
    pub tick: Duration,
    /// CPU time of the first list, an object.
    pub listed: Duration,
}

/// A change, decoded.
type Change = (Ms, Kind, bool, Object);

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// Measures a cluster of so many pods, twenty a node.
pub fn measure(seed: u64, pods: usize) -> anyhow::Result<Cost> {
    let plan = Plan {
        nodes: (pods / 20).max(12),
        pods,
        hours: 24,
        seed,
    };
    let mut day = Day::new(plan, false);
    let objects: usize = KINDS.iter().map(|kind| day.objects(*kind).len()).sum();
    let mut replay = Replay::begin(&day)?;
    let listed = replay.analysed / u32::try_from(objects).unwrap_or(u32::MAX);
    // The rules wait two seconds after a list, then look at everything once.
    replay.pass(super::MORNING + 60_000);
    let mut changes = Vec::with_capacity(CHANGES);
    for _ in 0..WARM_UP + CHANGES {
        let Some(delivery) = day.next_delivery() else {
            break;
        };
        if delivery.kind != Kind::Event {
            let object = replay.decode(delivery.kind, delivery.object)?;
            changes.push((delivery.at, delivery.kind, delivery.gone, object));
        }
    }
    ensure!(
        changes.len() > WARM_UP + CHANGES / 2,
        "the day has too few changes"
    );
    let measured = changes.split_off(WARM_UP);
    for (at, kind, gone, object) in changes {
        replay.set_time(at);
        replay.take(kind, gone, object);
    }
    let count = u32::try_from(measured.len()).unwrap_or(u32::MAX);
    let mut kinds = [(Duration::ZERO, 0_u32); 5];
    let begun = cpu();
    play(&mut replay, measured, &mut kinds);
    let change = (cpu() - begun) / count;
    let by_kind = kinds.map(|(time, count)| time / count.max(1));
    let begun = cpu();
    for _ in 0..CHANGES {
        replay.look();
    }
    let tick = (cpu() - begun) / u32::try_from(CHANGES).unwrap_or(u32::MAX);
    Ok(Cost {
        pods,
        change,
        by_kind,
        tick,
        listed,
    })
}

/// A function of its own, so that a profiler can count its instructions alone: they do not depend on a busy machine.
#[inline(never)]
fn play(replay: &mut Replay, changes: Vec<Change>, kinds: &mut [(Duration, u32); 5]) {
    let mut last = cpu();
    for (at, kind, gone, object) in changes {
        replay.set_time(at);
        replay.take(kind, gone, object);
        let now = cpu();
        let of = KINDS.iter().position(|one| *one == kind).unwrap_or(0);
        kinds[of] = (kinds[of].0 + (now - last), kinds[of].1 + 1);
        last = now;
    }
}
