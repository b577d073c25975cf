//! Which watches there are, and which of them are connected.
//!
//! A kind has one watch, or one for each namespace. Only kinds that are watched have a series: a 0 means trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::families::{Family, Type};
use super::labels::{Kind, Label};

const CONNECTED: Family = Family {
    name: "kube9_watch_connected",
    help: "1 while every watch of the kind is connected; only for kinds that are watched.",
    kind: Type::Gauge,
    labels: &["kind"],
};

#[derive(Debug, Default)]
struct Watches {
    all: AtomicUsize,
    connected: AtomicUsize,
}

/// The watches by kind.
#[derive(Debug, Default)]
pub struct Connections {
    kinds: [Watches; Kind::ALL.len()],
}

impl Connections {
    /// There is one more watch of `kind`; it is not connected yet.
    pub fn expect(&self, kind: Kind) {
        self.kinds[kind.index()].all.fetch_add(1, Ordering::Relaxed);
    }

    /// A watch of `kind` is connected that was not.
    pub fn connected(&self, kind: Kind) {
        let connected = &self.kinds[kind.index()].connected;
        connected.fetch_add(1, Ordering::Relaxed);
    }

    /// A watch of `kind` that was connected is so no more.
    pub fn disconnected(&self, kind: Kind) {
        let connected = &self.kinds[kind.index()].connected;
        connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the registry holds.
pub(super) struct ConnectionsCollector {
    connections: Arc<Connections>,
    desc: Desc,
}

impl ConnectionsCollector {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            desc: CONNECTED.desc(),
        }
    }
}

impl Collector for ConnectionsCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let kinds = Kind::ALL.iter().zip(&self.connections.kinds);
        let samples = kinds.filter_map(|(kind, watches)| {
            let all = watches.all.load(Ordering::Relaxed);
            let connected = watches.connected.load(Ordering::Relaxed);
            let value = if connected >= all { 1.0 } else { 0.0 };
            (all > 0).then(|| ([kind.name().to_owned()], value))
        });
        vec![CONNECTED.with(samples)]
    }
}
