//! Bodies: a request's is read whole before an instance is asked, so that it can be sent again and a broken one reaches nobody;
//! an answer's is passed on as it comes.

use super::{
    request::Refusal,
    upstream::{Connection, Upstream},
};
use bytes::{Bytes, BytesMut};
use gateway_protocol::ProblemType;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    cell::Cell,
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::timeout;

/// Largest request body.
pub(crate) const MAX_BODY: usize = 256 * 1024;
/// Bytes of request bodies that one thread holds at most; beyond that further ones are refused.
const MAX_HELD: usize = 64 * 1024 * 1024;
/// How long a client may take to send a body: it is small, so slowness is an attack or a dead link.
const BODY_LIMIT: Duration = Duration::from_secs(10);

const TOO_LARGE: Refusal = Refusal { kind: ProblemType::TooLarge, detail: "a body has at most 256 KiB" };
const MALFORMED: Refusal = Refusal { kind: ProblemType::BadRequest, detail: "the body breaks off or is malformed" };
const TOO_SLOW: Refusal = Refusal { kind: ProblemType::BadRequest, detail: "the body took longer than 10 s" };

const TOO_MANY: Refusal = Refusal { kind: ProblemType::NoInstance, detail: "too many bodies are being received" };

/// Counts the bytes of bodies that a thread holds.
#[derive(Default)]
pub(crate) struct Room(Cell<usize>);

/// A request's whole body, counted as long as it is held.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    room: Option<(Rc<Room>, usize)>,
}

impl Held {
    fn take(room: &Rc<Room>, size: usize) -> Result<Self, Refusal> {
        let taken = room.0.get() + size;
        if taken > MAX_HELD {
            return Err(TOO_MANY);
        }
        room.0.set(taken);
        Ok(Self { bytes: Bytes::new(), room: Some((Rc::clone(room), size)) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((room, size)) = &self.room {
            room.0.set(room.0.get() - size);
        }
    }
}

/// A request's whole body.
pub(crate) async fn read(body: Incoming, room: &Rc<Room>) -> Result<Held, Refusal> {
    if body.is_end_stream() {
        return Ok(Held::default());
    }
    let (least, most) = (body.size_hint().lower(), body.size_hint().upper());
    if least > MAX_BODY as u64 {
        return Err(TOO_LARGE);
    }
    let size = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_BODY);
    let mut held = Held::take(room, size)?;
    held.bytes = Box::pin(timeout(BODY_LIMIT, collect(body))).await.unwrap_or(Err(TOO_SLOW))?;
    Ok(held)
}

async fn collect(mut body: Incoming) -> Result<Bytes, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| MALFORMED)?.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            return if data.len() > MAX_BODY { Err(TOO_LARGE) } else { Ok(data) };
        }
        if whole.len() + data.len() > MAX_BODY {
            return Err(TOO_LARGE);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// The balancer's own, or none.
    Own(Full<Bytes>),
    /// An instance's.
    Passed(Passed),
}

/// An instance's body; its connection goes back to the pool at its end.
pub(crate) struct Passed {
    body: Incoming,
    lease: Option<(Connection, Rc<Upstream>)>,
}

/// The instance was lost before the end of its answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    /// The connection broke or its bytes were no HTTP.
    #[error("the instance's answer broke off")]
    Connection(#[from] hyper::Error),
    /// The instance was declared down.
    #[error("the instance was lost within its answer")]
    Down,
}

impl From<Infallible> for BrokenOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl AnswerBody {
    /// A body of the balancer's own.
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    /// The body of an instance's answer.
    pub(crate) fn passed(body: Incoming, connection: Connection, upstream: Rc<Upstream>) -> Self {
        if body.is_end_stream() {
            upstream.give_back(connection);
            return Self::own(Bytes::new());
        }
        Self::Passed(Passed { body, lease: Some((connection, upstream)) })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(BrokenOff::from),
            Self::Passed(passed) => passed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            // Only `poll_frame` can tell an end from a cut.
            Self::Passed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}

impl Passed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        Poll::Ready(match frame {
            Some(frame) => {
                if self.body.is_end_stream() {
                    self.end();
                }
                Some(Ok(frame))
            }
            // hyper shows a connection that was dropped within a body without a length as the body's end.
            None if self.lease.as_ref().is_some_and(|(connection, _)| connection.is_cut()) => {
                Some(Err(BrokenOff::Down))
            }
            None => {
                self.end();
                None
            }
        })
    }

    fn end(&mut self) {
        if let Some((connection, upstream)) = self.lease.take() {
            upstream.give_back(connection);
        }
    }
}
