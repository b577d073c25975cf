//! Findings of a simulated cluster compared with its ground truth: in process and through a recorder; and their cost by
//! cluster size.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use kube9_model::label::Label;

use super::report::{Limit, Report};
use super::stories;
use crate::cluster_sim::diff::{Diff, diff};
use crate::cluster_sim::ground_truth::GroundTruth;
use crate::cluster_sim::replay::{KINDS, Replay};
use crate::cluster_sim::{ClusterSim, Plan, change_cost, live_replay, memory};

/// One timer tick, and a second because the API has whole seconds.
const SLACK_MS: i64 = 1000;

/// Differences from the ground truth; each must be 0.
fn add(diff: &Diff, truth: &GroundTruth, report: &mut Report) {
    report.add("planted faults", diff.planted as f64, "", Limit::None);
    let services = truth.without_endpoint.keys();
    let minutes: f64 = services
        .map(|service| truth.minutes_without_endpoint(service))
        .sum();
    let name = "minutes of Services without a ready endpoint";
    report.add(name, minutes, "", Limit::None);
    for (name, list) in diff.lists() {
        report.add(name, list.len() as f64, "", Limit::AtMost(0.0));
    }
    report.note(diff.to_string());
}

fn ensure_clean(diff: &Diff) -> anyhow::Result<()> {
    ensure!(
        diff.is_clean(),
        "the findings differ from the ground truth in {} places",
        diff.faults()
    );
    Ok(())
}

/// Runs a whole simulation in process.
pub fn run(plan: Plan, report: &mut Report) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut sim = ClusterSim::new(plan, false);
    let mut replay = Replay::begin(&sim)?;
    replay.run(&mut sim)?;
    let end = sim.end();
    let truth = sim.into_ground_truth();
    let diff = diff(&truth, &replay.found, end, SLACK_MS);
    report.group(format!(
        "findings: {} nodes, {} pods, {} h, seed {}",
        plan.nodes, plan.pods, plan.hours, plan.seed
    ));
    report.add("changes of objects", replay.applied as f64, "", Limit::None);
    report.add("rows of changes", replay.changes as f64, "", Limit::None);
    report.add("findings", diff.found as f64, "", Limit::None);
    report.add(
        "analysis, per change (wall)",
        replay.analysed.as_secs_f64() * 1e6 / replay.applied.max(1) as f64,
        "µs",
        Limit::None,
    );
    report.add(
        "whole replay with the generator",
        begun.elapsed().as_secs_f64(),
        "s",
        Limit::None,
    );
    add(&diff, &truth, report);
    ensure_clean(&diff)
}

/// Runs the simulation through a recorder process, `speed` times as fast; then asks `query` for the story of each fault.
pub fn through(plan: Plan, speed: f64, query: &Path, report: &mut Report) -> anyhow::Result<()> {
    let mut sim = ClusterSim::new(plan, true);
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("kube9.db");
    let outcome = live_replay::run(&mut sim, speed, Some(&database))?;
    let end = sim.end();
    let truth = sim.into_ground_truth();
    let diff = diff(&truth, &outcome.found, end, outcome.slack);
    let all = outcome.changes + outcome.events;
    report.group(format!(
        "findings through a recorder process: {} nodes, {} pods, {} h at speed {speed}, seed {}",
        plan.nodes, plan.pods, plan.hours, plan.seed
    ));
    report.add(
        "changes of objects",
        outcome.changes as f64,
        "",
        Limit::None,
    );
    report.add(
        "observations of Events",
        outcome.events as f64,
        "",
        Limit::None,
    );
    report.add(
        "largest delay of the driver",
        outcome.late as f64 / 1000.0,
        "s",
        Limit::None,
    );
    report.add(
        "allowed delay (simulated time)",
        outcome.slack as f64 / 1000.0,
        "s",
        Limit::None,
    );
    let cpu = outcome.used.cpu.saturating_sub(outcome.listed.cpu);
    report.add("CPU of the simulation", cpu.as_secs_f64(), "s", Limit::None);
    report.add(
        "CPU, per change or observation",
        cpu.as_secs_f64() * 1e6 / all.max(1) as f64,
        "µs",
        Limit::None,
    );
    report.add(
        "peak memory",
        outcome.used.peak as f64 / 1e6,
        "MB",
        Limit::AtMost(MEMORY_MAX),
    );
    add(&diff, &truth, report);
    stories::score(&truth, outcome.slack, (query, &database), report)?;
    ensure_clean(&diff)
}

/// Limit of the recorder's memory at 10,000 pods, in MB.
const MEMORY_MAX: f64 = 100.0;

/// Changes after the first list; memory is also measured after them.
const CHANGES: usize = 30_000;

/// Memory of a recorder binary in a large cluster.
pub fn memory(
    recorder: &Path,
    plan: Plan,
    value_kib: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let memory = memory::measure(recorder, plan, value_kib << 10, CHANGES)?;
    let [nodes, pods, deployments, services, maps] =
        KINDS.map(|kind| memory.objects[live_replay::kind_of(kind) as usize]);
    report.group(format!(
        "memory: {nodes} Nodes, {pods} Pods, {deployments} Deployments, {services} Services, {maps} ConfigMaps of {value_kib} KiB"
    ));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    report.add("all objects as JSON", mb(memory.bytes), "MB", Limit::None);
    report.add(
        "listed and evaluated within",
        memory.took.as_secs_f64(),
        "s",
        Limit::None,
    );
    report.add(
        "CPU of that",
        memory.listed.cpu.as_secs_f64(),
        "s",
        Limit::None,
    );
    report.add(
        "peak, first list",
        mb(memory.listed.peak),
        "MB",
        Limit::AtMost(MEMORY_MAX),
    );
    report.add(
        "resident, after it",
        mb(memory.listed.resident),
        "MB",
        Limit::None,
    );
    report.add(
        "changes at full speed",
        memory.changes as f64,
        "",
        Limit::None,
    );
    report.add(
        "peak, with them",
        mb(memory.changed.peak),
        "MB",
        Limit::AtMost(MEMORY_MAX),
    );
    report.add(
        "resident, after them",
        mb(memory.changed.resident),
        "MB",
        Limit::None,
    );
    ensure!(
        mb(memory.changed.peak) <= MEMORY_MAX,
        "memory is above the limit"
    );
    Ok(())
}

/// Allowed growth of the time per change in the largest cluster: maps that no longer fit the CPU caches are slower.
const GROWTH_MAX: f64 = 2.0;

/// Allowed growth of instructions per change of a Pod: trees are deeper.
const INSTRUCTIONS_GROWTH_MAX: f64 = 1.1;

/// Cost of a change by cluster size.
pub fn cost(
    seed: u64,
    sizes: &[usize],
    instructions: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.group("analysis: CPU per change, by cluster size");
    let mut first = None;
    let mut growth = 0.0;
    let mut counted_first = None;
    let mut counted_growth = 0.0;
    for &pods in sizes {
        let cost = change_cost::measure(seed, pods)?;
        let micros = cost.change.as_secs_f64() * 1e6;
        growth = micros / *first.get_or_insert(micros);
        report.add(
            format!("{pods} pods, per change"),
            micros,
            "µs",
            Limit::None,
        );
        report.add(
            format!("{pods} pods, relative to {} pods", sizes[0]),
            growth,
            "×",
            Limit::AtMost(GROWTH_MAX),
        );
        if instructions {
            let counted =
                change_cost::instructions(seed, pods)?.context("valgrind is not installed")?;
            counted_growth = counted / *counted_first.get_or_insert(counted);
            let name = format!("{pods} pods, instructions per change of a Pod");
            report.add(name, counted, "", Limit::None);
            report.add(
                format!("{pods} pods, instructions relative to {} pods", sizes[0]),
                counted_growth,
                "×",
                Limit::AtMost(INSTRUCTIONS_GROWTH_MAX),
            );
        }
        for (kind, time) in KINDS.iter().zip(cost.by_kind) {
            let name = format!("{pods} pods, of a {}", kind.name());
            report.add(name, time.as_secs_f64() * 1e6, "µs", Limit::None);
        }
        report.add(
            format!("{pods} pods, check of the timers"),
            cost.tick.as_secs_f64() * 1e6,
            "µs",
            Limit::None,
        );
        report.add(
            format!("{pods} pods, first list, per object"),
            cost.listed.as_secs_f64() * 1e6,
            "µs",
            Limit::None,
        );
    }
    ensure!(
        growth <= GROWTH_MAX && counted_growth <= INSTRUCTIONS_GROWTH_MAX,
        "the cost of a change grows with the cluster"
    );
    Ok(())
}
