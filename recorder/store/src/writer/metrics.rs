//! Counts a commit in the metrics, and writes the health checks for the query side.

use kube9_base::health::Health;
use kube9_model::time::Timestamp;
use serde_json::json;

use crate::apply::TxReport;
use crate::gap::Recovery;
use crate::metrics::{self, Metrics};
use crate::tracked::{FoldedNamespaces, TrackingReport};

/// Namespaces over their budget of bytes that the status names.
const OVER_BUDGET_SHOWN: usize = 20;

/// The health checks for the status row.
pub(super) fn status_detail(
    health: &Health,
    tracking: &TrackingReport,
    folded: &FoldedNamespaces,
    now: Timestamp,
) -> serde_json::Value {
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
    let over_budget = &tracking.over_budget;
    let over_budget = &over_budget[..over_budget.len().min(OVER_BUDGET_SHOWN)];
    let unwatched: Vec<_> = tracking
        .unwatched
        .iter()
        .map(|one| {
            let since = one.since.to_string();
            json!({ "kind": one.kind, "objects": one.objects, "since": since })
        })
        .collect();
    let (folded, folded_total) = folded.to_json(now);
    json!({
        "checks": checks,
        "tracking": {
            "absent": absent,
            "unwatched": unwatched,
            "over_budget": over_budget,
            "folded": folded,
            "folded_total": folded_total,
        },
    })
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
