//! Names as Kubernetes and people make them.

use std::sync::Arc;

use super::rng::Rng;

/// The letters of generated names: without vowels, so that no words come out (apimachinery's `rand.String`).
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The five letters behind a generated name, from a number.
pub fn suffix_of(number: u64) -> String {
    safe_string(&mut Rng::new(number), 5)
}

/// A name's part in the safe alphabet.
pub(crate) fn safe_string(rng: &mut Rng, length: usize) -> String {
    (0..length).map(|_| char::from(*rng.pick(SAFE))).collect()
}

/// A `pod-template-hash`: a 32-bit number, its decimal digits spelled in the safe alphabet.
pub(crate) fn template_hash(rng: &mut Rng) -> String {
    let number = rng.below(1 << 32).to_string();
    number
        .bytes()
        .map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()]))
        .collect()
}

/// Those 128 bits as a version 4 UUID.
pub fn uuid_text(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

const SERVICES: [&str; 40] = [
    "checkout",
    "cart",
    "payment",
    "catalog",
    "search",
    "inventory",
    "shipping",
    "pricing",
    "accounts",
    "gateway",
    "frontend",
    "recommendations",
    "notifications",
    "mailer",
    "reports",
    "ledger",
    "fraud",
    "media",
    "profile",
    "reviews",
    "orders",
    "invoices",
    "webhooks",
    "sessions",
    "ingest",
    "transformer",
    "indexer",
    "exports",
    "loyalty",
    "returns",
    "tax",
    "currency",
    "geo",
    "chat",
    "feeds",
    "audit",
    "billing",
    "quotes",
    "promo",
    "wishlist",
];
const ROLES: [&str; 6] = ["", "-api", "-worker", "-web", "-consumer", "-internal"];
const TEAMS: [&str; 12] = [
    "shop",
    "payments",
    "search",
    "platform",
    "data",
    "media",
    "growth",
    "logistics",
    "identity",
    "support",
    "ml",
    "partners",
];
const STAGES: [&str; 4] = ["", "-staging", "-dev", "-preview"];

/// The name of the n-th Deployment.
pub(crate) fn service(n: usize) -> Arc<str> {
    numbered(SERVICES[n % 40], ROLES[n / 40 % 6], n / 240)
}

/// The name of the n-th `StatefulSet`.
pub(crate) fn database(n: usize) -> Arc<str> {
    const KINDS: [&str; 5] = ["postgres", "redis", "kafka", "elasticsearch", "rabbitmq"];
    numbered(
        KINDS[n % 5],
        ["", "-orders", "-sessions", "-events"][n / 5 % 4],
        n / 20,
    )
}

/// The name of the n-th `DaemonSet`.
pub(crate) fn agent(n: usize) -> Arc<str> {
    const KINDS: [&str; 5] = [
        "node-exporter",
        "fluent-bit",
        "calico-node",
        "ebs-csi-node",
        "kube-proxy",
    ];
    numbered(KINDS[n % 5], "", n / 5)
}

/// The name of the n-th `CronJob`.
pub(crate) fn cron(n: usize) -> Arc<str> {
    const TASKS: [&str; 10] = [
        "cleanup",
        "report",
        "sync",
        "backup",
        "reindex",
        "rotate",
        "digest",
        "reconcile",
        "import",
        "metrics",
    ];
    numbered(
        SERVICES[(n * 7) % 40],
        &format!("-{}", TASKS[n % 10]),
        n / 40,
    )
}

fn numbered(base: &str, role: &str, number: usize) -> Arc<str> {
    match number {
        0 => Arc::from(format!("{base}{role}")),
        n => Arc::from(format!("{base}{role}-{}", n + 1)),
    }
}

/// So many namespaces, and `kube-system` behind them.
pub(crate) fn namespaces(count: usize) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = (0..count.max(1))
        .map(|n| numbered(TEAMS[n % 12], STAGES[n / 12 % 4], n / 48))
        .collect();
    names.push(Arc::from("kube-system"));
    names
}

/// The name of the n-th node, as a cloud gives it.
pub(crate) fn node(n: usize, rng: &mut Rng) -> Arc<str> {
    let (b, c) = (n / 250 % 250, n % 250);
    Arc::from(format!(
        "ip-10-{}-{}-{}.eu-central-1.compute.internal",
        b,
        c,
        rng.between(4, 250)
    ))
}

/// A version tag.
pub(crate) fn tag(rng: &mut Rng) -> String {
    if rng.percent(30) {
        format!("{:07x}", rng.below(1 << 28))
    } else {
        format!("v{}.{}.{}", rng.between(1, 4), rng.below(40), rng.below(20))
    }
}

/// So many random bytes as lower-case hex.
pub(crate) fn hex(rng: &mut Rng, bytes: usize) -> String {
    (0..bytes)
        .map(|_| format!("{:02x}", rng.below(256)))
        .collect()
}
