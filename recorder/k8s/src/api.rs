//! GET requests to the API server, with what the sources need of the answer: status, `Date`, `Retry-After`, the body in
//! bounded pieces.
//!
//! Invariant: no text of an answer leaves this file but through [`said`], so that no error, and nothing that repeats it
//! (`/healthz`, `status`, a row), holds a secret that an admission webhook or a proxy has put there.
//! Invariant: of all that share an [`Api`], one holds a large body at a time.
//!
//! Why not `kube::Api`: it hides the list's resourceVersion and headers, holds no bound on a page or a line, and one
//! object that does not decode fails its whole page.

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

/// Why a request or a stream failed; decides what the source does next.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 410, or reason `Expired` or `Gone`: the resourceVersion or continue token is too old. Relist.
    #[error("the API server no longer has that resourceVersion: {0}")]
    Expired(String),
    /// 429 or another status with `Retry-After`. Wait as told.
    #[error("the API server asks to wait {} s: {message}", after.as_secs())]
    Busy {
        /// Status code.
        code: u16,
        /// How long.
        after: Duration,
        /// The server's message.
        message: String,
    },
    /// 401 or 403. Back off; a person has to act.
    #[error("not allowed ({code}): {message}")]
    Denied {
        /// Status code.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// Any other status that is no success. Back off.
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
    /// The other side closed the connection in the middle of an answer: everything that it sent before has arrived. Back off.
    #[error("connection to the API server failed: {0}")]
    CutOff(String),
    /// No answer in time. Back off.
    #[error("no response from the API server within {} s", .0.as_secs())]
    Timeout(Duration),
    /// A body above its bound. The source asks for less.
    #[error("response larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not what the API promises. Back off.
    #[error("invalid response: {0}")]
    Malformed(String),
}

impl ApiError {
    /// Whether the API server is away, or not well: it may come back with another history.
    pub const fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Transport(_)
                | Self::CutOff(_)
                | Self::Timeout(_)
                | Self::Status { code: 500.., .. }
                | Self::Busy { code: 500.., .. }
        )
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

/// A success, its body unread.
pub struct Answer {
    /// The server's clock, from `Date`; whole seconds.
    pub server_time: Option<Timestamp>,
    body: Body,
    api: Api,
}

/// How a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Whole objects.
    Objects,
    /// `PartialObjectMetadata`: enough to see resourceVersions.
    MetadataOnly,
}

/// A connection to one API server, and the right to hold a large body: one at a time for all clones.
#[derive(Clone)]
pub struct Api {
    client: Client,
    large: Arc<Semaphore>,
}

/// The right to hold a large body, until it is dropped.
#[derive(Debug)]
pub struct Large(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

/// Longest message of an error, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// What the API server, or something on the way to it, says: without secrets and control characters, and short.
fn said(text: &str) -> String {
    // What a line of a watch says may be as long as the line.
    let start = &text[..text.floor_char_boundary(STATUS_BYTES_MAX)];
    clean_text(start, MESSAGE_BYTES_MAX)
}

/// What is wrong with JSON, without a word of it: serde quotes the value that it did not expect.
pub(super) fn place_of(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("not the expected JSON at line {line}, column {column}")
}

/// A `Status` object, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Status code.
    pub code: u16,
    /// For people.
    pub message: String,
    reason: String,
}

impl Status {
    /// The error that it stands for.
    pub fn into_error(self, retry_after: Option<Duration>) -> ApiError {
        let message = said(if self.message.is_empty() {
            &self.reason
        } else {
            &self.message
        });
        // Not every server says 410, nor the same of both (kubernetes issue 73742).
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

/// A `Status` is a few hundred bytes; what is longer is no Status.
const STATUS_BYTES_MAX: usize = 64 << 10;

/// Longest wait that a `Retry-After` may impose; a wrong header must not silence the recorder.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

impl Api {
    /// Requests through this client.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for the right to hold a large body.
    pub async fn large(&self) -> Large {
        // Invariant: it is never closed. If it were, a body would be held without the right to.
        Large(self.large.clone().acquire_owned().await.ok())
    }

    /// Sends a GET; waits at most `limit` for the head of the answer.
    pub async fn get(&self, path: &str, shape: Shape, limit: Duration) -> Result<Answer, ApiError> {
        let accept = match shape {
            Shape::Objects => "application/json",
            Shape::MetadataOnly => {
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
        let answer = Answer {
            server_time,
            body: response.into_body(),
            api: self.clone(),
        };
        if status.is_success() {
            return Ok(answer);
        }
        Err(refusal(status, answer, retry_after, limit).await)
    }
}

async fn refusal(
    status: StatusCode,
    answer: Answer,
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

impl Answer {
    /// The whole body, at most `bytes_max`, within `limit`.
    pub async fn bytes(self, bytes_max: usize, limit: Duration) -> Result<Vec<u8>, ApiError> {
        let read = async {
            let mut stream = self.body.into_data_stream();
            // Put together once: a vector that grows is there twice, with room that nothing will fill.
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
    /// A whole one, without its end.
    Whole(Vec<u8>),
    /// One above [`LINE_BYTES_MAX`]; it was skipped.
    TooLong,
}

/// Longest line. An object is at most 1.5 MiB in etcd (its `--max-request-bytes`); as JSON most are hardly longer. What is
/// (six bytes for each `<`, say) is skipped in a watch, whose lines cannot be asked for one by one.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// A line beyond this is large: no more than one is held at a time. A large pod has 20 KiB.
const LARGE_LINE_BYTES: usize = 256 << 10;

/// How long the next part of a large line may take: others wait.
const LARGE_LINE_WAIT: Duration = Duration::from_secs(30);

type DataStream = Pin<Box<dyn Stream<Item = Result<Bytes, kube::Error>> + Send>>;

/// A body that arrives line by line.
pub struct Lines {
    stream: DataStream,
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    skipping: bool,
    /// Where the right to hold a large line is asked for.
    api: Option<Api>,
    /// While a large line is held, or skipped.
    large: Option<Large>,
}

impl Lines {
    /// The next line; `None` at a clean end. An end in the middle of a line is [`ApiError::Transport`].
    /// Cancel-safe: what was read stays in the buffer.
    pub async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            if let Some(line) = self.take_line() {
                // Whoever reads it does so before anything else can run.
                self.large = None;
                return Ok(Some(line));
            }
            if self.buffer.len() <= LARGE_LINE_BYTES {
                self.large = None;
            } else if self.large.is_none()
                && let Some(api) = &self.api
            {
                self.large = Some(api.large().await);
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
                        // By a quarter: doubled, it would have room for what will never come.
                        self.buffer.reserve_exact(chunk.len().max(held / 4));
                    }
                    self.buffer.extend_from_slice(&chunk);
                }
                Some(Err(error)) => {
                    return Err(match transport(&error) {
                        // What it says happened before the end, and was not told.
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

    /// Gives back the right to hold a large line while the watch is not read; `next` asks for it again.
    pub fn let_go(&mut self) {
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
                // A new buffer: what a large line has taken is given back.
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

/// What a connection that failed means: only its end (FIN) comes after all that was sent. After a reset, which a network
/// that was away causes as well, what was sent last may never have arrived.
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

/// An error with its causes, in one line. It may quote a proxy, or the address that it was sent to.
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
    said(&text)
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
    async fn lines_are_put_together_from_any_chunks() {
        let mut lines = lines(vec![b"ab", b"c\nde", b"\n\nf", b"\n"]);
        for expected in ["abc", "de", "", "f"] {
            assert_eq!(lines.next().await.unwrap(), whole(expected));
        }
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn half_a_line_is_an_error_not_a_line() {
        let mut lines = lines(vec![b"abc\n{\"type\":"]);
        assert_eq!(lines.next().await.unwrap(), whole("abc"));
        assert!(matches!(lines.next().await, Err(ApiError::Transport(_))));
    }

    #[tokio::test]
    async fn endless_line_is_skipped_in_bounded_memory() {
        static BIG: [u8; 1 << 20] = [b'x'; 1 << 20];
        let mut lines = lines(vec![&BIG, &BIG, &BIG, &BIG, &BIG, &BIG, b"\nnext\n"]);
        assert_eq!(lines.next().await.unwrap(), Some(Line::TooLong));
        assert!(lines.buffer.capacity() <= LINE_BYTES_MAX * 2 + BIG.len() * 2);
        assert_eq!(lines.next().await.unwrap(), whole("next"));
    }

    #[test]
    fn message_of_the_api_server_loses_its_secrets_where_it_enters() {
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
    fn only_the_end_of_a_connection_proves_that_all_has_arrived() {
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
    async fn one_large_line_is_held_at_a_time() {
        static PART: [u8; LARGE_LINE_BYTES + 1] = [b'x'; LARGE_LINE_BYTES + 1];
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let api = Api::new(Client::try_from(config).unwrap());
        let large = || {
            let mut lines = lines(vec![&PART, b"\n"]);
            lines.api = Some(api.clone());
            lines
        };
        let held = api.large().await;
        let (mut first, mut second) = (large(), large());
        let waits = Duration::from_millis(20);
        assert!(tokio::time::timeout(waits, first.next()).await.is_err());
        drop(held);
        assert!(matches!(first.next().await, Ok(Some(Line::Whole(_)))));
        // Half a line does not keep it from a request of the same watch.
        let mut half = large();
        half.stream = Box::pin(
            futures_util::stream::iter([Ok(Bytes::from_static(&PART))])
                .chain(futures_util::stream::pending()),
        );
        assert!(tokio::time::timeout(waits, half.next()).await.is_err());
        assert!(tokio::time::timeout(waits, api.large()).await.is_err());
        half.let_go();
        drop(api.large().await);
        assert!(matches!(second.next().await, Ok(Some(Line::Whole(_)))));
    }
}
