//! Bodies: a request's is read whole before an instance is asked, so that it can be sent again and a broken one reaches nobody;
//! an answer's is passed on as it comes.

use super::{
    request::Refusal,
    upstream::{Answered, Connection, Upstream},
    wire::{self, Framing, Head},
};
use bytes::{Bytes, BytesMut};
use gateway_protocol::ProblemType;
use http::response::Parts;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    cell::Cell,
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
    framing: Framing,
    /// Read and not passed on.
    rest: Bytes,
    keeps_alive: bool,
    connection: Option<Connection>,
    upstream: Rc<Upstream>,
}

/// The instance's answer broke off, or what came was no HTTP.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the instance's answer broke off")]
pub(crate) struct BrokenOff;

impl AnswerBody {
    /// A body of the balancer's own.
    pub(crate) fn own(bytes: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(bytes.into()))
    }

    /// The body of an instance's answer, with its head.
    pub(crate) fn passed(answered: Answered, upstream: Rc<Upstream>) -> (Parts, Self) {
        let Answered { head: Head { parts, framing, keeps_alive }, rest, connection } = answered;
        let mut passed = Passed { framing, rest, keeps_alive, connection: Some(connection), upstream };
        let body = match passed.whole() {
            Some(whole) => Self::own(whole),
            None => Self::Passed(passed),
        };
        (parts, body)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Own(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Passed(passed) => passed.poll_data(cx).map(|data| data.transpose()).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Passed(passed) => passed.connection.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Passed(Passed { framing: Framing::Length(left), .. }) => SizeHint::with_exact(*left),
            Self::Passed(_) => SizeHint::default(),
        }
    }
}

impl Passed {
    /// All of it, if it came with its head.
    fn whole(&mut self) -> Option<Bytes> {
        let Framing::Length(left) = self.framing else { return None };
        if left > self.rest.len() as u64 {
            return None;
        }
        self.take().ok().map(Option::unwrap_or_default)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BrokenOff>> {
        loop {
            if let Some(data) = self.take()? {
                return Poll::Ready(Ok(Some(data)));
            }
            let Some(connection) = &self.connection else { return Poll::Ready(Ok(None)) };
            let fresh = ready!(connection.poll_read(cx)).map_err(|_| BrokenOff)?;
            if fresh.is_empty() {
                // The end of the connection is the end of the body only where nothing else says so.
                let is_end = self.framing == Framing::UntilClose && !self.upstream.is_down();
                self.connection = None;
                return Poll::Ready(if is_end { Ok(None) } else { Err(BrokenOff) });
            }
            self.rest = wire::joined(std::mem::take(&mut self.rest), fresh);
        }
    }

    /// The next data that was read already.
    fn take(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        let data = self.framing.take(&mut self.rest).map_err(|_| BrokenOff)?;
        if self.framing.is_done()
            && let Some(connection) = self.connection.take()
            // Bytes behind the end are no answer to anything.
            && self.keeps_alive
            && self.rest.is_empty()
        {
            self.upstream.give_back(connection);
        }
        Ok(data)
    }
}
