//! Accepts connections and bounds them: in number, in the time a request's head may take, and in life.
//!
//! warp's own server has none of these bounds (and its `bind` panics when the port is taken), so its routes are served
//! behind hyper's HTTP/1 connection, which has.
//!
//! A panic ends its connection and nothing else, and is counted.
//!
//! When all places are taken, a new connection takes that of the oldest one. An honest request lasts milliseconds, so
//! the oldest is one that does not move: a client that opens connections and says nothing cannot lock out the probes,
//! as it could if new ones had to wait.

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

/// Time for the answer in flight when a connection has to end: its age, or the process's end.
const DRAIN: Duration = Duration::from_secs(2);

/// A request's head; ours have a few hundred bytes. 8 KiB is the least that hyper takes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Waiting time after a failed accept, mostly for want of file descriptors: no hot loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Shortest time between two lines of the log about it.
const ACCEPT_LOG_PERIOD: Duration = Duration::from_secs(60);

/// Serves `routes` on `listener` until `shutdown`.
pub(super) async fn run(
    listener: TcpListener,
    limits: HttpConfig,
    routes: BoxedFilter<(Response,)>,
    metrics: &Metrics,
    shutdown: impl Future<Output = ()>,
) {
    // None of them fails but by a panic, and those that were aborted are no failures.
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
        // All that have ended: else a flood of connections could leave more behind than it takes away.
        while let Some(one) = tasks.try_join_next() {
            ended(one);
        }
        match accepted {
            Ok((stream, peer)) => {
                oldest_first.retain(|task| !task.is_finished());
                if oldest_first.len() >= limits.max_connections {
                    // In a flood of connections, those that have sent their request are answered before they go.
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
            Err(error) if is_of_one_client(&error) => {}
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

/// A client that left before its turn is not a fault of this machine; anything else is, and passes.
fn is_of_one_client(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
    ];
    kinds.contains(&error.kind())
}

/// Serves one connection to its end. `stopped` changes, by the end of its sender, when the process stops.
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
            // A client that ends its side after the request is answered, too.
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

    /// Without file descriptors every accept fails at once: a loop without a pause would take a whole core.
    #[test]
    fn only_what_a_client_did_itself_is_not_paused_after() {
        for (kind, paused) in [
            (io::ErrorKind::ConnectionAborted, false),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::Other, true),
            (io::ErrorKind::OutOfMemory, true),
        ] {
            assert_eq!(!is_of_one_client(&kind.into()), paused, "{kind}");
        }
    }
}
