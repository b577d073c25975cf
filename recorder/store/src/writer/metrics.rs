//! Counts a commit in the metrics, and writes the health checks for the query side.

use kube9_base::health::Health;
use serde_json::json;

use crate::apply::TxReport;
use crate::gap::Recovery;
use crate::metrics::{self, Metrics};

/// The health checks for the status row.
pub(super) fn status_detail(health: &Health, over_budget: &[String]) -> serde_json::Value {
    let checks: Vec<_> = health
        .checks()
        .into_iter()
        .map(|check| json!({ "name": check.name, "healthy": check.healthy, "message": check.message }))
        .collect();
    let absent: Vec<_> = health
        .absent()
        .into_iter()
        .map(|(kind, why)| json!({ "kind": kind, "why": why }))
        .collect();
    json!({ "checks": checks, "tracking": { "absent": absent, "over_budget": over_budget } })
}

/// Counts what a committed transaction did.
pub(super) fn account(metrics: &Metrics, outcomes: &TxReport) {
    metrics.account(&outcomes.events);
    for recovery in &outcomes.gaps_closed {
        let label = match recovery {
            Recovery::Complete => metrics::Recovery::Complete,
            Recovery::Partial => metrics::Recovery::Partial,
            Recovery::None => metrics::Recovery::None,
        };
        metrics.gaps.get(label).inc();
    }
    for delay in &outcomes.delays_ms {
        metrics.store_delay.observe((*delay).max(0) as f64 / 1000.0);
    }
}
