//! Shares out what must be evicted when the database is too large. Pure.
//!
//! Severities are evicted from the least severe on. Within a severity, the largest tenant is reduced to the size of the
//! next one; no tenant goes below its floor. So a namespace that floods the database loses its own rows, and one below the
//! floor loses nothing.
//!
//! Invariant: the floors add up to half of what is left, so that any amount can be freed above them.

use std::collections::HashMap;

use kube9_model::{Severity, Tenant};

/// Tenants that are tracked: Kubernetes is tested with 10,000 namespaces. About 1.5 MB. Rows of further tenants are counted
/// as one.
pub(super) const TENANTS_MAX: usize = 10_000;

const SEVERITIES: usize = Severity::ALL.len();

/// Rows and bytes of one tenant, by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    rows: [u64; SEVERITIES],
    bytes: [u64; SEVERITIES],
}

/// Rows and bytes by tenant and severity.
#[derive(Debug, Default)]
pub(super) struct Holdings(HashMap<Tenant, Held>);

/// Rows to evict by tenant and severity.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Quotas(HashMap<Tenant, [u64; SEVERITIES]>);

/// Counts the rows of tenants beyond [`TENANTS_MAX`].
fn rest() -> Tenant {
    Tenant::Namespace("*".into())
}

impl Holdings {
    /// Adds a row.
    pub(super) fn add(&mut self, tenant: Tenant, severity: Severity, bytes: u64) {
        let is_known = self.0.len() < TENANTS_MAX || self.0.contains_key(&tenant);
        let held = self
            .0
            .entry(if is_known { tenant } else { rest() })
            .or_default();
        held.rows[severity as usize] += 1;
        held.bytes[severity as usize] += bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.values().flat_map(|held| held.bytes).sum()
    }

    /// The quotas that free `need` bytes.
    pub(super) fn quotas(&self, need: u64) -> Quotas {
        let mut left: Vec<(&Tenant, &Held, u64)> = self
            .0
            .iter()
            .map(|(tenant, held)| (tenant, held, held.bytes.iter().sum()))
            .collect();
        let floor = self.bytes().saturating_sub(need) / (2 * left.len().max(1) as u64);
        let mut need = need;
        // Each tracked tenant has an entry, so that only untracked ones count for the rest.
        let mut quotas = Quotas(
            self.0
                .keys()
                .map(|one| (one.clone(), [0; SEVERITIES]))
                .collect(),
        );
        for severity in 0..SEVERITIES {
            let give = |held: &Held, total: u64, level: u64| {
                held.bytes[severity].min(total.saturating_sub(level))
            };
            let freed = |level: u64| -> u64 {
                left.iter()
                    .map(|(_, held, total)| give(held, *total, level))
                    .sum()
            };
            // The highest level that frees enough; else the floor.
            let (mut low, mut high) = (floor, left.iter().map(|(.., t)| *t).max().unwrap_or(0));
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                if freed(middle) >= need {
                    low = middle;
                } else {
                    high = middle - 1;
                }
            }
            let mut sum = 0;
            for (tenant, held, total) in &mut left {
                let bytes = give(held, *total, low);
                if bytes == 0 {
                    continue;
                }
                *total -= bytes;
                sum += bytes;
                // The number of rows that have that many bytes on average.
                let rows = u128::from(held.rows[severity]) * u128::from(bytes);
                let rows = rows.div_ceil(u128::from(held.bytes[severity])) as u64;
                quotas.0.entry((*tenant).clone()).or_default()[severity] = rows;
            }
            need = need.saturating_sub(sum);
            if need == 0 {
                break;
            }
        }
        quotas
    }
}

impl Quotas {
    /// Rows still to be evicted.
    pub(super) fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// Whether to evict a row of `tenant`; counts it.
    pub(super) fn take(&mut self, tenant: &Tenant, severity: Severity) -> bool {
        let rest = rest();
        let tenant = if self.0.contains_key(tenant) {
            tenant
        } else {
            &rest
        };
        match self
            .0
            .get_mut(tenant)
            .map(|rows| &mut rows[severity as usize])
        {
            Some(rows) if *rows > 0 => {
                *rows -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Tenant {
        Tenant::Namespace(name.into())
    }

    fn holdings(rows: &[(&str, Severity, u64, u64)]) -> Holdings {
        let mut holdings = Holdings::default();
        for &(name, severity, rows, bytes) in rows {
            (0..rows).for_each(|_| holdings.add(namespace(name), severity, bytes));
        }
        holdings
    }

    fn given(quotas: &Quotas, name: &str) -> [u64; 4] {
        quotas.0.get(&namespace(name)).copied().unwrap_or_default()
    }

    #[test]
    fn quotas_largest_tenant_is_reduced_to_the_next() {
        let all = holdings(&[
            ("large", Severity::Info, 1_000, 100),
            ("middle", Severity::Info, 400, 100),
            ("small", Severity::Info, 100, 100),
        ]);
        let quotas = all.quotas(50_000);
        assert_eq!(given(&quotas, "large"), [500, 0, 0, 0]);
        assert_eq!((quotas.total(), given(&quotas, "middle")), (500, [0; 4]));
        let quotas = all.quotas(80_000);
        assert_eq!(given(&quotas, "large"), [700, 0, 0, 0]);
        assert_eq!(given(&quotas, "middle"), [100, 0, 0, 0]);
        assert_eq!(given(&quotas, "small"), [0; 4]);
    }

    #[test]
    fn quotas_count_bytes_not_rows() {
        let all = holdings(&[
            ("few-large", Severity::Info, 100, 10_000),
            ("many-small", Severity::Info, 3_000, 100),
        ]);
        let quotas = all.quotas(500_000);
        assert_eq!(given(&quotas, "few-large"), [50, 0, 0, 0]);
        assert_eq!(given(&quotas, "many-small"), [0; 4]);
    }

    #[test]
    fn quotas_least_severe_first_down_to_the_floor() {
        let all = holdings(&[
            ("errors", Severity::Error, 900, 100),
            ("info", Severity::Info, 300, 100),
            ("little", Severity::Info, 50, 100),
        ]);
        // 75,000 are left, so that the floor is 12,500.
        let quotas = all.quotas(50_000);
        assert_eq!(given(&quotas, "info"), [175, 0, 0, 0]);
        assert_eq!(given(&quotas, "errors"), [0, 0, 325, 0]);
        assert_eq!(given(&quotas, "little"), [0; 4], "below its floor");
    }

    #[test]
    fn quotas_can_free_everything() {
        let all = holdings(&[
            ("a", Severity::Info, 10, 100),
            ("b", Severity::Critical, 10, 100),
        ]);
        assert_eq!(all.quotas(2_000).total(), 20);
        assert_eq!(Holdings::default().quotas(10), Quotas::default());
    }

    #[test]
    fn holdings_beyond_the_bound_are_counted_together() {
        let mut all = Holdings::default();
        for n in 0..TENANTS_MAX + 100 {
            all.add(namespace(&format!("n{n}")), Severity::Info, 1_000);
        }
        assert_eq!(all.0.len(), TENANTS_MAX + 1);
        let mut quotas = all.quotas(99_000);
        assert_eq!(quotas.total(), 99);
        assert!(!quotas.take(&namespace("n0"), Severity::Info));
        assert!(quotas.take(&namespace(&format!("n{TENANTS_MAX}")), Severity::Info));
        assert_eq!(quotas.total(), 98);
    }
}
