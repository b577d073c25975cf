//! Response bodies: complete ones, and streams with the faults of a [`Plan`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use super::faults::{EndBy, Plan};
use super::requests::{Outcome, Running};

/// Longer than hyper needs to write its buffer, also on a busy machine.
const FLUSH: Duration = Duration::from_millis(50);

/// A response body.
#[derive(Debug)]
pub(super) enum Body {
    Full(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(pieces) => pieces
                .poll_recv(cx)
                .map(|next| next.map(|p| p.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// The body ended: by plan, or because the client disconnected.
#[derive(Debug)]
pub(super) struct Over;

/// The sending end of a streamed body.
#[derive(Debug)]
pub(super) struct Sender {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    plan: Plan,
    running: Running,
    items: usize,
    /// Text around a garbage item: `(before, after)`.
    garbage_frame: (&'static [u8], &'static [u8]),
}

impl Sender {
    /// A bounded stream: a slow client blocks the sender and does not grow the server's memory.
    pub(super) fn new(
        plan: Plan,
        running: Running,
        garbage_frame: (&'static [u8], &'static [u8]),
    ) -> (Self, Body) {
        let (pieces, receiver) = mpsc::channel(4);
        (
            Self {
                pieces,
                plan,
                running,
                items: 0,
                garbage_frame,
            },
            Body::Stream(receiver),
        )
    }

    /// Whether several items may be sent in one piece.
    pub(super) fn is_plain(&self) -> bool {
        self.plan.end.is_none()
            && self.plan.garbage.is_none()
            && !self.plan.duplicate
            && self.plan.line.is_none()
            && self.plan.bytes_per_second.is_none()
    }

    /// Sends bytes that count as `items` items.
    pub(super) async fn raw(&mut self, bytes: Bytes, items: usize) -> Result<(), Over> {
        match self.plan.bytes_per_second {
            None => self.push(Ok(bytes)).await?,
            Some(pace) => {
                // Ten steps a second, so that a slow body looks slow and not like bursts.
                let step = usize::try_from(pace / 10).unwrap_or(1).max(1);
                for piece in bytes.chunks(step) {
                    self.push(Ok(bytes.slice_ref(piece))).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.items += items;
        self.running.sent(items);
        Ok(())
    }

    /// Sends one item with the faults of the plan; `error` creates the ERROR item of a watch.
    pub(super) async fn item(&mut self, bytes: Bytes, error: fn(u16) -> Bytes) -> Result<(), Over> {
        self.due(&bytes.slice(..bytes.len() / 2), error).await?;
        if self.plan.duplicate {
            self.raw(bytes.clone(), 1).await?;
            self.items -= 1;
        }
        self.raw(bytes, 1).await
    }

    /// Applies the plan's faults at this place in the body; `half` is the truncated next item.
    pub(super) async fn due(&mut self, half: &Bytes, error: fn(u16) -> Bytes) -> Result<(), Over> {
        if let Some((after, what)) = self.plan.garbage
            && after <= self.items
        {
            self.plan.garbage = None;
            let (before, behind) = self.garbage_frame;
            self.push(Ok(Bytes::from([before, what.bytes(), behind].concat())))
                .await?;
        }
        if let Some((_, line)) = self.plan.line.take_if(|(after, _)| *after <= self.items) {
            self.push(Ok(Bytes::from(format!("{line}\n")))).await?;
        }
        let Some((_, end)) = self.plan.end.filter(|(after, _)| *after <= self.items) else {
            return Ok(());
        };
        match end {
            EndBy::Silence => self.silence().await,
            EndBy::Cut => {
                self.push(Ok(half.clone())).await?;
                self.cut().await;
            }
            EndBy::Proper => self.running.ended(Outcome::Done(200)),
            EndBy::Line(line) => {
                self.push(Ok(Bytes::from(format!("{line}\n")))).await?;
                self.running.ended(Outcome::Done(200));
            }
            EndBy::Error(code) => {
                self.push(Ok(error(code))).await?;
                self.running.ended(Outcome::Done(200));
            }
        }
        Err(Over)
    }

    /// Sends nothing more until the client disconnects.
    pub(super) async fn silence(&mut self) {
        self.pieces.closed().await;
        self.running.ended(Outcome::Left);
    }

    /// Breaks the connection.
    pub(super) async fn cut(&mut self) {
        self.running.ended(Outcome::Broken);
        // An error makes hyper drop what it has not written yet. It writes when the body has nothing more to give, so
        // a pause lets the bytes before the cut out.
        tokio::time::sleep(FLUSH).await;
        let _ = self
            .pieces
            .send(Err(io::Error::other("cut by a fault")))
            .await;
    }

    /// The body was sent in full.
    pub(super) fn done(mut self) {
        self.running.ended(Outcome::Done(200));
    }

    /// Ready when the client has disconnected.
    pub(super) async fn left(&mut self) {
        self.pieces.closed().await;
        self.running.ended(Outcome::Left);
    }

    async fn push(&mut self, piece: io::Result<Bytes>) -> Result<(), Over> {
        if self.pieces.send(piece).await.is_err() {
            self.running.ended(Outcome::Left);
            return Err(Over);
        }
        Ok(())
    }
}
