//! The load: new Events, repeats in each of the three forms that clients write, and deletions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::apiserver::{ApiServer, Kind};
use crate::clock::Micros;
use crate::generator::Rng;

/// When Events were deleted by a client, by uid. Those that expired are not in it.
pub type DeletedEvents = HashMap<String, Micros>;

/// The load, running.
pub(super) struct Load {
    thread: JoinHandle<DeletedEvents>,
}

/// An Event that may be repeated.
struct LiveEvent {
    namespace: String,
    name: String,
}

/// Events that are repeated at most; older ones are left to expire.
const LIVE_MAX: usize = 400;

impl Load {
    /// Writes `rate` times a second until `stop`.
    pub(super) fn start(
        server: Arc<ApiServer>,
        mut random: Rng,
        rate: u64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let thread = std::thread::spawn(move || {
            let mut live: Vec<LiveEvent> = Vec::new();
            let mut deleted = DeletedEvents::new();
            let mut number = 0;
            let begun = Instant::now();
            while !stop.load(Ordering::Acquire) {
                let due = begun.elapsed().as_millis() as u64 * rate / 1000;
                while number < due {
                    number += 1;
                    write(&server, &mut random, &mut live, &mut deleted, number);
                }
                // Occasional pauses, because idle watches have their own faults.
                let pause = if random.below(2_000) == 0 { 8_000 } else { 10 };
                std::thread::sleep(Duration::from_millis(pause));
            }
            deleted
        });
        Self { thread }
    }

    /// Waits for the last write; returns the deletions.
    pub(super) fn finish(self) -> anyhow::Result<DeletedEvents> {
        self.thread.join().map_err(|_| anyhow!("the load panicked"))
    }
}

fn write(
    server: &ApiServer,
    random: &mut Rng,
    live: &mut Vec<LiveEvent>,
    deleted: &mut DeletedEvents,
    number: u64,
) {
    let repeat = !live.is_empty() && random.percent(65);
    if repeat {
        let index = random.index(live.len());
        let LiveEvent { namespace, name } = &live[index];
        if random.percent(4) {
            if let Ok(gone) = server.store().delete(Kind::Event, namespace, name) {
                deleted.insert(gone.uid.to_string(), Micros::now());
            }
            live.swap_remove(index);
            return;
        }
        let grow = random.between(1, 3) as i64;
        let changed = server
            .store()
            .modify(Kind::Event, namespace, name, |event| count_up(event, grow));
        if changed.is_err() {
            live.swap_remove(index); // it has expired
        }
        return;
    }
    let namespace = format!("ns-{}", random.below(4));
    let name = format!("pod-{}.{number:016x}", random.below(50));
    let event = new_event(random, &namespace, &name);
    if server.store().create(Kind::Event, event).is_ok() {
        if live.len() >= LIVE_MAX {
            live.swap_remove(random.index(LIVE_MAX));
        }
        live.push(LiveEvent { namespace, name });
    }
}

fn new_event(random: &mut Rng, namespace: &str, name: &str) -> Value {
    let now = Micros::now();
    let pod = name.split('.').next().unwrap_or_default();
    let mut event = json!({
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": { "kind": "Pod", "namespace": namespace, "name": pod, "uid": format!("uid-{pod}") },
        "reason": "BackOff",
        "message": format!("Back-off restarting failed container app in pod {pod}_{namespace}"),
        "type": "Warning",
        "source": { "component": "kubelet", "host": "node-1" },
    });
    match random.below(4) {
        // events.k8s.io clients: eventTime, and a series once it repeats.
        0 => event["eventTime"] = json!(now.micros_text().to_string()),
        // The scheduler's single shots: no time but the creation's.
        1 if random.percent(10) => {}
        _ => {
            event["count"] = json!(1);
            event["firstTimestamp"] = json!(now.seconds_text().to_string());
            event["lastTimestamp"] = json!(now.seconds_text().to_string());
        }
    }
    event
}

fn count_up(event: &mut Value, by: i64) {
    let now = Micros::now();
    if event["eventTime"].is_string() {
        let count = event["series"]["count"].as_i64().unwrap_or(1) + by;
        event["series"] = json!({
            "count": count,
            "lastObservedTime": now.micros_text().to_string(),
        });
        return;
    }
    event["count"] = json!(event["count"].as_i64().unwrap_or(1) + by);
    event["lastTimestamp"] = json!(now.seconds_text().to_string());
}
