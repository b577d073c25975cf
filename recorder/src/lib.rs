//! The recorder: watches a cluster and writes what happens to SQLite. docs/ARCHITECTURE.md draws the whole.

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(test)]
mod docs;
pub mod health;
pub mod logging;
pub mod metrics;
pub mod pipeline;
pub mod serve;
pub mod source;

/// Version of the recorder.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit it was built from, where the build says so.
pub const REVISION: &str = match option_env!("KUBE9_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Records until `shutdown`.
///
/// # Errors
/// When it cannot start, or when a part of it ends by itself.
pub async fn run(
    config: config::Config,
    clock: clock::Clock,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let listener = serve::bind(config.listen).await?;
    let metrics = metrics::Metrics::new(&metrics::Rules::default());
    let state = serve::State {
        metrics,
        health: health::Health::new(clock),
    };
    serve::run(listener, config.http, state, shutdown).await;
    Ok(())
}
