//! Accepts connections, and bounds their number, the time for a request's head, and their lifetime.
//!
//! warp's own server has none of these bounds, and its `bind` panics if the port is taken. So its routes are served through
//! hyper's HTTP/1 connection, which has them.
//!
//! A panic ends only its connection, and is counted.
//!
//! If the maximum number is reached, a new connection replaces the oldest one. A valid request takes milliseconds, so the
//! oldest connection is idle: a client that opens silent connections cannot lock out the probes, as it could if new
//! connections had to wait.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube9_base::throttle::Throttle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::target;
use crate::config::HttpConfig;
use crate::metrics::Metrics;
use crate::panics;

/// Time limit for the current response when a connection is closed at its maximum age or at the shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// Longest head of a request; a scrape has a few hundred bytes. hyper's minimum is 8 KiB.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Delay after a failed accept, mostly for lack of file descriptors, to avoid a hot loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shortest interval between log messages about failed accepts.
const ACCEPT_LOG_PERIOD: Duration = Duration::from_secs(60);

/// Serves `routes` on `listener` until `shutdown`.
pub(super) async fn run(
    listener: TcpListener,
    limits: HttpConfig,
    routes: BoxedFilter<(Response,)>,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) {
    // A connection's task fails only by a panic; an aborted task is not a failure.
    let ended = |ended: Result<(), JoinError>| {
        if ended.is_err_and(|error| error.is_panic()) {
            metrics.http_panics.inc();
        }
    };
    let (begun, throttle) = (Instant::now(), Throttle::new(ACCEPT_LOG_PERIOD));
    let (stop, stopped) = watch::channel(());
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
            Some(one) = tasks.join_next() => {
                ended(one);
                continue;
            }
        };
        // Reaps all finished tasks: in a flood of connections they could otherwise accumulate.
        while let Some(one) = tasks.try_join_next() {
            ended(one);
        }
        match accepted {
            Ok((stream, peer)) => {
                oldest_first.retain(|task| !task.is_finished());
                if oldest_first.len() >= limits.max_connections {
                    // Connections that have sent their request are answered before they are closed.
                    yield_now().await;
                    oldest_first.retain(|task| !task.is_finished());
                }
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
                oldest_first.push_back(tasks.spawn(panics::contain(serving)));
            }
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                if let Some(suppressed) = throttle.pass(begun.elapsed()) {
                    warn!(%error, suppressed, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drop(stop);
    while let Some(one) = tasks.join_next().await {
        ended(one);
    }
}

/// Whether only this client failed, for example because it disconnected early. Other errors concern the whole process, and
/// are mostly temporary.
fn is_client_error(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    kinds.contains(&error.kind())
}

/// Serves one connection to its end. The sender of `stopped` is dropped at the shutdown.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    limits: HttpConfig,
    routes: BoxedFilter<(Response,)>,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request| target::answer(routes.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(HEAD_BYTES_MAX)
            // A client that closes its side after the request still gets the response.
            .half_close(true)
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
    use super::*;

    /// Without file descriptors every accept fails immediately: a loop without a delay would use a whole core.
    #[test]
    fn is_client_error_is_false_for_errors_of_the_process() {
        for (kind, paused) in [
            (io::ErrorKind::ConnectionAborted, false),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::Other, true),
            (io::ErrorKind::OutOfMemory, true),
        ] {
            assert_eq!(!is_client_error(&kind.into()), paused, "{kind}");
        }
    }
}
