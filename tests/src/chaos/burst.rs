//! A burst larger than the queue: Events created as fast as the simulated API server accepts them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

use super::comparison::{self, Comparison};
use super::load::DeletedEvents;
use super::process::RecorderProcess;
use crate::apiserver::{ApiServer, Config, Kind};
use crate::clock::Micros;
use crate::recorder::{Setup, balance};

/// Result of a burst.
#[derive(Debug)]
pub struct Burst {
    /// Events created.
    pub events: usize,
    /// From the first creation to the last commit.
    pub took: Duration,
    /// Items that the queue dropped.
    pub dropped: f64,
    /// Largest queue size in a scrape, and the capacity.
    pub queued: (f64, f64),
    /// Largest resident size of the recorder, in KiB; 0 if unknown.
    pub peak_kib: u64,
    /// Scrapes whose event counts did not balance.
    pub unbalanced: usize,
    pub comparison: Comparison,
}

impl Burst {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        self.comparison.is_clean()
            && self.dropped == 0.0
            && self.unbalanced == 0
            && self.queued.0 <= self.queued.1
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "burst: {} Events in {:.1} s, queue at most {} of {}, {} dropped, peak {} KiB, {} scrapes unbalanced",
            self.events,
            self.took.as_secs_f64(),
            self.queued.0,
            self.queued.1,
            self.dropped,
            self.peak_kib,
            self.unbalanced
        )?;
        write!(f, "{}", self.comparison)
    }
}

/// Creates `events` Events as fast as possible, and waits until the recorder process has stored every one.
///
/// Returns an error if it cannot run; faults of the recorder are in the result.
pub fn burst(events: usize, folder: &Path) -> anyhow::Result<Burst> {
    let server = ApiServer::start(Config::default())?;
    let setup = Setup::new(&server, folder, "")?;
    let mut process = RecorderProcess::new(setup.clone(), std::env::current_exe()?, Vec::new());
    process.start()?;
    comparison::wait_for_the_first_list(&setup)?;
    let begun = Instant::now();
    for n in 0..events {
        let now = Micros::now().seconds_text().to_string();
        let event = json!({
            "metadata": { "name": format!("burst.{n:08x}"), "namespace": "shop" },
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": format!("web-{}", n % 500) },
            "reason": "BackOff", "type": "Warning",
            "message": format!("Back-off restarting failed container app in pod web-{}_shop", n % 500),
            "source": { "component": "kubelet", "host": "node-1" },
            "count": 1, "firstTimestamp": now, "lastTimestamp": now,
        });
        let created = server.store().create(Kind::Event, event);
        created.map_err(|status| anyhow::anyhow!("not created: {status:?}"))?;
    }
    let (mut unbalanced, mut dropped, mut queued) = (0, 0.0, (0.0, 0.0));
    let mut poll = || {
        let metrics = setup.metrics();
        let of = |name: &str| metrics.iter().find(|(n, _)| n == name).map_or(0.0, |m| m.1);
        unbalanced += usize::from(!metrics.is_empty() && balance(&metrics).is_none());
        dropped = of("kube9_events_dropped_total");
        queued = (
            of("kube9_events_queue_size").max(queued.0),
            of("kube9_queue_capacity"),
        );
        of("kube9_events_stored_total") as usize
    };
    let deadline = begun + Duration::from_secs(600);
    while poll() < events && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = begun.elapsed();
    let peak_kib = process
        .id()
        .map_or(Ok(0), |id| peak(id.as_raw_nonzero().get()))?;
    process.terminate()?;
    let comparison = comparison::compare(&server.store().truth(), &DeletedEvents::new(), &setup)?;
    Ok(Burst {
        events,
        took,
        dropped,
        queued,
        peak_kib,
        unbalanced,
        comparison,
    })
}

fn peak(process: i32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("/proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.and_then(|kib| kib.parse().ok()).unwrap_or(0))
}
