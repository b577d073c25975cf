//! The HTTP server: metrics and probes.
//!
//! ```text
//!   listener ─ accept ─▶ connection (bounded in number and life) ─▶ hyper, HTTP/1 ─▶ target ─▶ warp routes ─▶ Metrics, Health
//! ```
//!
//! Invariant: no request accesses the database or blocks another request: every response is made from memory.

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

/// The port cannot be opened. The process must stop.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The configured address.
    pub address: SocketAddr,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// Opens the port. Separate from [`run`], so that a taken port is an error at the start and not in a task.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError { address, source })
}

/// Serves until `shutdown`, then waits for open requests.
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
