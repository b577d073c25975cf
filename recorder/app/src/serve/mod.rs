//! The HTTP server: metrics and probes.
//!
//! ```text
//!   listener ─ accept ─▶ connection (bounded in number and life) ─▶ hyper, HTTP/1 ─▶ target ─▶ warp routes ─▶ Metrics, Health
//! ```
//!
//! Invariant: no request touches the database, and none can hold up another: every answer is made from memory.

mod connections;
mod routes;
mod target;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tracing::info;

use crate::config::HttpConfig;

pub use routes::{HealthDocument, State};

/// The address cannot be listened on. The process must stop.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Opens the port. Apart from [`run`], so that a port that is taken is an error at the start and not in a task.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// Serves until `shutdown`, then lets the open requests end. Never ends before.
pub async fn run(
    listener: TcpListener,
    limits: HttpConfig,
    state: State,
    shutdown: impl Future<Output = ()>,
) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "listening");
    }
    let metrics = state.metrics.clone();
    connections::run(listener, limits, routes::all(state), &metrics, shutdown).await;
}
