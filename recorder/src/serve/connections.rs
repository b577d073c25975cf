//! Accepts connections and bounds them: in number, in the time a request's head may take, and in life.
//!
//! warp's own server has none of these bounds (and its `bind` panics when the port is taken), so its routes are served
//! as a service of hyper's HTTP/1 connection, which has.
//!
//! When all places are taken, a new connection takes that of the oldest one. An honest request lasts milliseconds, so
//! the oldest is one that does not move: a client that opens connections and says nothing cannot lock out the probes,
//! as it could if new ones had to wait.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::HttpConfig;

/// Time for the answer in flight when a connection has to end: its age, or the process's end.
const DRAIN: Duration = Duration::from_secs(2);

/// A request's head; ours have a few hundred bytes. 8 KiB is the least that hyper takes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Waiting time after a failed accept, mostly for want of file descriptors: no hot loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `routes` on `listener` until `shutdown`.
pub(super) async fn run(
    listener: TcpListener,
    limits: HttpConfig,
    routes: BoxedFilter<(Response,)>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(());
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                oldest_first.retain(|task| !task.is_finished());
                while oldest_first.len() >= limits.max_connections {
                    oldest_first.pop_front().inspect(AbortHandle::abort);
                }
                let serving = connection(
                    stream,
                    peer,
                    limits.clone(),
                    routes.clone(),
                    stopped.clone(),
                );
                oldest_first.push_back(tasks.spawn(serving));
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    drop(stop);
    while tasks.join_next().await.is_some() {}
}

/// A client that left before its turn is no trouble; anything else is, and passes.
async fn pause_after(error: &io::Error) {
    let of_one_client = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    if !of_one_client.contains(&error.kind()) {
        warn!(%error, "cannot accept connections");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Serves one connection to its end. `stopped` changes, by the end of its sender, when the process stops.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    limits: HttpConfig,
    routes: BoxedFilter<(Response,)>,
    mut stopped: watch::Receiver<()>,
) {
    let service = TowerToHyperService::new(warp::service(routes));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = sleep(limits.connection_timeout) => None,
        _ = stopped.changed() => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "connection ended"),
        Err(_) => debug!(%peer, "connection cut: it did not end in time"),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Without file descriptors every accept fails at once: a loop without a pause would take a whole core.
    #[tokio::test]
    async fn only_what_a_client_did_itself_is_not_paused_after() {
        for (kind, paused) in [
            (io::ErrorKind::ConnectionAborted, false),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::Other, true),
            (io::ErrorKind::OutOfMemory, true),
        ] {
            let done = pause_after(&kind.into()).now_or_never();
            assert_eq!(done.is_none(), paused, "{kind}");
        }
    }
}
