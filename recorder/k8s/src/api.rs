//! GET requests to the API server. A response provides what a watcher needs: status, `Date`, `Retry-After`, and the body
//! in bounded pieces.
//!
//! Invariant: text of a response leaves this module only through [`clean_message`]. So no error, and nothing that repeats
//! it (`/healthz`, `status`, a row), contains a secret that an admission webhook or a proxy put there.
//! Invariant: all clones of an [`Api`] together hold at most one large body at a time.
//!
//! `kube::Api` is not used because it hides the list's resourceVersion and the headers, does not bound pages and lines,
//! and fails a whole page for one object that does not decode.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::{Body, Client};
use kube9_ingest::sanitize::clean_text;
use kube9_model::time::Timestamp;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::RestartCause;

/// Why a kind is not tracked: the API server has no such resource.
pub const NOT_SERVED: &str = "the API server does not serve it";

/// Why a request or a stream failed; decides what the watcher does next.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 410, or reason `Expired` or `Gone`: the resourceVersion or continue token is too old. Relist.
    #[error("the API server no longer has that resourceVersion: {0}")]
    Expired(String),
    /// 429, or another status with `Retry-After`. Wait for `after`.
    #[error("the API server asks to wait {} s: {message}", after.as_secs())]
    Busy {
        /// Status code.
        code: u16,
        /// How long.
        after: Duration,
        /// The server's message.
        message: String,
    },
    /// 401 or 403. Back off; an operator has to act.
    #[error("not allowed ({code}): {message}")]
    Denied {
        /// Status code.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// Any other status except success. Back off.
    #[error("the API server returned {code}: {message}")]
    Status {
        /// Status code.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// No connection, TLS, reset. Back off.
    #[error("connection to the API server failed: {0}")]
    Transport(String),
    /// The server closed the connection in the middle of a response; everything that it sent before has arrived. Back off.
    #[error("connection to the API server failed: {0}")]
    CutOff(String),
    /// No response in time. Back off.
    #[error("no response from the API server within {} s", .0.as_secs())]
    Timeout(Duration),
    /// A body above its bound. Request a smaller page.
    #[error("response larger than {0} bytes")]
    TooLarge(usize),
    /// The response violates the API. Back off.
    #[error("invalid response: {0}")]
    Malformed(String),
}

impl ApiError {
    /// Whether the API server is unreachable or failing: it may come back with another history.
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Transport(_)
                | Self::CutOff(_)
                | Self::Timeout(_)
                | Self::Status { code: 500.., .. }
                | Self::Busy { code: 500.., .. }
        )
    }

    /// Why a kind is not tracked. The message of a 404 is only a status text.
    pub fn absence(&self) -> String {
        match self {
            Self::Status { code: 404, .. } => NOT_SERVED.to_owned(),
            error => error.to_string(),
        }
    }

    /// Its label in the metrics.
    pub const fn cause(&self) -> RestartCause {
        match self {
            Self::Expired(_) => RestartCause::Gone,
            Self::Busy { .. } => RestartCause::Throttled,
            Self::Denied { .. } => RestartCause::Forbidden,
            Self::Status { code: 500.., .. } => RestartCause::ServerError,
            Self::Transport(_) | Self::CutOff(_) => RestartCause::Transport,
            Self::Timeout(_) => RestartCause::Silence,
            Self::Status { .. } | Self::TooLarge(_) | Self::Malformed(_) => RestartCause::Other,
        }
    }
}

/// A successful response whose body has not been read.
pub struct ApiResponse {
    /// The server's clock, from `Date`; whole seconds.
    pub server_time: Option<Timestamp>,
    body: Body,
    api: Api,
}

/// The representation that a list requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// Whole objects.
    Objects,
    /// `PartialObjectMetadata`: enough for uids and resourceVersions.
    MetadataOnly,
}

/// Kinds that are listed at a time: each list is a burst of requests, and its pages are in memory.
const LISTS_AT_A_TIME: usize = 3;

/// A client of one API server, with permits that all clones share: for one large body, and for lists.
#[derive(Clone)]
pub struct Api {
    client: Client,
    large: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

/// The permit to list a kind; dropping it releases the permit.
#[derive(Debug)]
pub struct ListPermit(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

/// The permit to hold a large body; dropping it releases the permit.
#[derive(Debug)]
pub struct LargeBodyPermit(
    #[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>,
);

/// Longest message of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// Redacts and shortens a message of the API server, or of a proxy before it.
fn clean_message(text: &str) -> String {
    // A message in a watch line may be as long as the line.
    let start = &text[..text.floor_char_boundary(STATUS_BYTES_MAX)];
    clean_text(start, MESSAGE_BYTES_MAX)
}

/// Describes a JSON error by its position only: serde's own message quotes the unexpected value.
pub(super) fn json_error_position(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("not the expected JSON at line {line}, column {column}")
}

/// The fields of a `Status` object that are used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Status code.
    pub code: u16,
    /// Human-readable message.
    pub message: String,
    reason: String,
}

impl Status {
    /// The error that it describes.
    pub fn into_error(self, retry_after: Option<Duration>) -> ApiError {
        let message = clean_message(if self.message.is_empty() {
            &self.reason
        } else {
            &self.message
        });
        // Servers differ in whether they send the code 410 or a reason (kubernetes issue 73742).
        let is_expired = self.code == 410 || matches!(&*self.reason, "Expired" | "Gone");
        match (self.code, retry_after) {
            (code @ (401 | 403), _) => ApiError::Denied { code, message },
            _ if is_expired => ApiError::Expired(message),
            (code, Some(after)) => ApiError::Busy {
                code,
                after,
                message,
            },
            (code @ 429, None) => ApiError::Busy {
                code,
                after: Duration::from_secs(1),
                message,
            },
            (code, None) => ApiError::Status { code, message },
        }
    }
}

/// A `Status` has a few hundred bytes; a longer body is not a Status.
const STATUS_BYTES_MAX: usize = 64 << 10;

/// Longest delay that is accepted from `Retry-After`: a wrong header must not stop the recording.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

impl Api {
    /// Sends requests through `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            large: Arc::new(Semaphore::new(1)),
            lists: Arc::new(Semaphore::new(LISTS_AT_A_TIME)),
        }
    }

    /// Waits until less than [`LISTS_AT_A_TIME`] kinds are being listed. Those that wait take turns.
    pub async fn acquire_list(&self) -> ListPermit {
        // Invariant: the semaphore is never closed.
        ListPermit(self.lists.clone().acquire_owned().await.ok())
    }

    /// Waits for the permit to hold a large body.
    pub async fn acquire_large(&self) -> LargeBodyPermit {
        // Invariant: the semaphore is never closed.
        LargeBodyPermit(self.large.clone().acquire_owned().await.ok())
    }

    /// Sends a GET; waits at most `limit` for the head of the response.
    pub async fn get(
        &self,
        path: &str,
        representation: Representation,
        limit: Duration,
    ) -> Result<ApiResponse, ApiError> {
        let accept = match representation {
            Representation::Objects => "application/json",
            Representation::MetadataOnly => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
            }
        };
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        let response = tokio::time::timeout(limit, self.client.send(request))
            .await
            .map_err(|_| ApiError::Timeout(limit))?
            .map_err(|error| transport(&error))?;
        let status = response.status();
        let headers = response.headers();
        let server_time = headers
            .get(header::DATE)
            .and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok())
            .map(Timestamp::from);
        let retry_after = headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
        let answer = ApiResponse {
            server_time,
            body: response.into_body(),
            api: self.clone(),
        };
        if status.is_success() {
            return Ok(answer);
        }
        Err(error_from(status, answer, retry_after, limit).await)
    }
}

async fn error_from(
    status: StatusCode,
    answer: ApiResponse,
    retry_after: Option<Duration>,
    limit: Duration,
) -> ApiError {
    let text = answer
        .bytes(STATUS_BYTES_MAX, limit)
        .await
        .unwrap_or_default();
    let mut parsed: Status = serde_json::from_slice(&text).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(&text).trim().to_owned(),
        ..Status::default()
    });
    parsed.code = status.as_u16();
    parsed.into_error(retry_after)
}

impl ApiResponse {
    /// The whole body, at most `bytes_max`, within `limit`.
    pub async fn bytes(self, bytes_max: usize, limit: Duration) -> Result<Vec<u8>, ApiError> {
        let read = async {
            let mut stream = self.body.into_data_stream();
            // Concatenated once: a growing vector is copied and keeps unused capacity.
            let (mut chunks, mut bytes) = (Vec::new(), 0);
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|error| transport(&error))?;
                bytes += chunk.len();
                if bytes > bytes_max {
                    return Err(ApiError::TooLarge(bytes_max));
                }
                chunks.push(chunk);
            }
            let mut whole = Vec::with_capacity(bytes);
            for chunk in chunks {
                whole.extend_from_slice(&chunk);
            }
            Ok(whole)
        };
        tokio::time::timeout(limit, read)
            .await
            .map_err(|_| ApiError::Timeout(limit))?
    }

    /// The body line by line.
    pub fn lines(self) -> Lines {
        Lines {
            stream: Box::pin(self.body.into_data_stream()),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            skipping: false,
            api: Some(self.api),
            large: None,
        }
    }
}

/// One line of a watch.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A complete line, without its line end.
    Whole(Vec<u8>),
    /// A line above [`LINE_BYTES_MAX`], which was skipped.
    TooLong,
}

/// Longest line. An object has at most 1.5 MiB in etcd (`--max-request-bytes`), and hardly more as JSON. A longer line
/// (JSON has six bytes for each `<`, for example) is skipped, because a watch cannot request a single line again.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// A line above this needs the permit for large bodies. A large pod has 20 KiB.
const LARGE_LINE_BYTES: usize = 256 << 10;

/// Time limit for the next part of a large line, while other lines wait for the permit.
const LARGE_LINE_WAIT: Duration = Duration::from_secs(30);

type DataStream = Pin<Box<dyn Stream<Item = Result<Bytes, kube::Error>> + Send>>;

/// A body that arrives line by line.
pub struct Lines {
    stream: DataStream,
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    skipping: bool,
    /// Source of the permit for a large line.
    api: Option<Api>,
    /// The permit, while a large line is held or skipped.
    large: Option<LargeBodyPermit>,
}

impl Lines {
    /// The next line; `None` at a clean end. An end in the middle of a line is [`ApiError::Transport`].
    /// Cancel-safe: what was read stays in the buffer.
    pub async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            if let Some(line) = self.take_line() {
                // The caller reads it before another task can run.
                self.large = None;
                return Ok(Some(line));
            }
            if self.buffer.len() <= LARGE_LINE_BYTES {
                self.large = None;
            } else if self.large.is_none()
                && let Some(api) = &self.api
            {
                self.large = Some(api.acquire_large().await);
            }
            let chunk = if self.large.is_some() {
                let chunk = tokio::time::timeout(LARGE_LINE_WAIT, self.stream.next()).await;
                chunk.map_err(|_| ApiError::Timeout(LARGE_LINE_WAIT))?
            } else {
                self.stream.next().await
            };
            match chunk {
                Some(Ok(chunk)) => {
                    let held = self.buffer.len();
                    if held > LARGE_LINE_BYTES && self.buffer.capacity() - held < chunk.len() {
                        // Grows by a quarter: doubling would reserve memory that is never used.
                        self.buffer.reserve_exact(chunk.len().max(held / 4));
                    }
                    self.buffer.extend_from_slice(&chunk);
                }
                Some(Err(error)) => {
                    return Err(match transport(&error) {
                        // The line describes something that happened before the end and was not received.
                        ApiError::CutOff(text) if self.is_in_a_line() => ApiError::Transport(text),
                        error => error,
                    });
                }
                None if self.is_in_a_line() => {
                    return Err(ApiError::Transport(
                        "the stream was cut in the middle of a line".to_owned(),
                    ));
                }
                None => return Ok(None),
            }
        }
    }

    fn is_in_a_line(&self) -> bool {
        self.start < self.buffer.len() || self.skipping
    }

    /// Releases the permit for a large line while the watch is not read; `next` acquires it again.
    pub fn release_permit(&mut self) {
        self.large = None;
    }

    fn take_line(&mut self) -> Option<Line> {
        let from = self.start.max(self.searched);
        let Some(end) = self.buffer[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| from + at)
        else {
            self.searched = self.buffer.len();
            if self.buffer.len() - self.start > LINE_BYTES_MAX {
                self.skipping = true;
                self.buffer.clear();
                self.start = 0;
                self.searched = 0;
            } else if self.start > 0 {
                // A new buffer frees the memory of a large line.
                self.buffer = self.buffer.split_off(self.start);
                self.searched -= self.start;
                self.start = 0;
            }
            return None;
        };
        let line = if self.start == 0 && end + 1 == self.buffer.len() {
            let mut line = std::mem::take(&mut self.buffer); // a large line is not copied
            line.truncate(end);
            self.searched = 0;
            line
        } else {
            let line = self.buffer[self.start..end].to_vec();
            self.start = end + 1;
            self.searched = self.start;
            line
        };
        if std::mem::take(&mut self.skipping) || line.len() > LINE_BYTES_MAX {
            return Some(Line::TooLong);
        }
        Some(Line::Whole(line))
    }
}

/// Classifies a connection error. Only an orderly end (FIN) comes after everything that was sent. After a reset, which an
/// interrupted network also causes, the last data may never have arrived.
fn transport(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let text = chain(error);
    let causes = std::iter::successors(Some(error), |error| error.source());
    let is_end = causes.into_iter().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        let http = cause.downcast_ref::<hyper::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof)
            || http.is_some_and(hyper::Error::is_incomplete_message)
    });
    if is_end {
        ApiError::CutOff(text)
    } else {
        ApiError::Transport(text)
    }
}

/// An error with its causes, in one line. It may contain text of a proxy, or the address of the request.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    clean_message(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: Vec<&'static [u8]>) -> Lines {
        let chunks: Vec<_> = chunks.into_iter().map(|c| Ok(c.into())).collect();
        Lines {
            stream: Box::pin(futures_util::stream::iter(chunks)),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            skipping: false,
            api: None,
            large: None,
        }
    }

    fn whole(text: &str) -> Option<Line> {
        Some(Line::Whole(text.as_bytes().to_vec()))
    }

    #[tokio::test]
    async fn lines_are_assembled_from_any_chunks() {
        let mut lines = lines(vec![b"ab", b"c\nde", b"\n\nf", b"\n"]);
        for expected in ["abc", "de", "", "f"] {
            assert_eq!(lines.next().await.unwrap(), whole(expected));
        }
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn lines_incomplete_line_is_an_error() {
        let mut lines = lines(vec![b"abc\n{\"type\":"]);
        assert_eq!(lines.next().await.unwrap(), whole("abc"));
        assert!(matches!(lines.next().await, Err(ApiError::Transport(_))));
    }

    #[tokio::test]
    async fn lines_endless_line_is_skipped_in_bounded_memory() {
        static BIG: [u8; 1 << 20] = [b'x'; 1 << 20];
        let mut lines = lines(vec![&BIG, &BIG, &BIG, &BIG, &BIG, &BIG, b"\nnext\n"]);
        assert_eq!(lines.next().await.unwrap(), Some(Line::TooLong));
        assert!(lines.buffer.capacity() <= LINE_BYTES_MAX * 2 + BIG.len() * 2);
        assert_eq!(lines.next().await.unwrap(), whole("next"));
    }

    #[test]
    fn clean_message_redacts_secrets() {
        let planted = ["hunter2", "correcthorse"].concat();
        for code in [401, 403, 410, 429, 500] {
            for retry_after in [None, Some(Duration::from_secs(1))] {
                let status = Status {
                    code,
                    message: format!("admission webhook denied: password={planted}\u{1b}[31m"),
                    reason: String::new(),
                };
                let error = status.into_error(retry_after).to_string();
                assert!(!error.contains(&planted), "{error}");
                assert!(!error.contains('\u{1b}'), "{error}");
                assert!(error.contains("admission webhook"), "{error}");
            }
        }
        let error = std::io::Error::other(format!("proxy says: password={planted}"));
        assert!(!chain(&error).contains(&planted));
    }

    #[test]
    fn transport_only_an_orderly_end_is_a_cut_off() {
        use std::io::{Error, ErrorKind};
        let is_end = |kind| matches!(transport(&Error::from(kind)), ApiError::CutOff(_));
        assert!(is_end(ErrorKind::UnexpectedEof));
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::BrokenPipe,
            ErrorKind::TimedOut,
            ErrorKind::HostUnreachable,
        ] {
            assert!(!is_end(kind), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn lines_hold_one_large_line_at_a_time() {
        static PART: [u8; LARGE_LINE_BYTES + 1] = [b'x'; LARGE_LINE_BYTES + 1];
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let api = Api::new(Client::try_from(config).unwrap());
        let large = || {
            let mut lines = lines(vec![&PART, b"\n"]);
            lines.api = Some(api.clone());
            lines
        };
        let held = api.acquire_large().await;
        let (mut first, mut second) = (large(), large());
        let waits = Duration::from_millis(20);
        assert!(tokio::time::timeout(waits, first.next()).await.is_err());
        drop(held);
        assert!(matches!(first.next().await, Ok(Some(Line::Whole(_)))));
        // An incomplete line does not block a request of the same watch.
        let mut half = large();
        half.stream = Box::pin(
            futures_util::stream::iter([Ok(Bytes::from_static(&PART))])
                .chain(futures_util::stream::pending()),
        );
        assert!(tokio::time::timeout(waits, half.next()).await.is_err());
        assert!(
            tokio::time::timeout(waits, api.acquire_large())
                .await
                .is_err()
        );
        half.release_permit();
        drop(api.acquire_large().await);
        assert!(matches!(second.next().await, Ok(Some(Line::Whole(_)))));
    }
}
