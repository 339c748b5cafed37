//! One session socket: bytes to messages and back, its rate limit, and its closing handshake. It decides nothing else.

use crate::control::{Control, Input, Outgoing};
use crate::metrics::Metrics;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::SinkExt;
use gateway_core::SocketId;
use gateway_core::rate::RateLimit;
use gateway_protocol::message::{FailReason, MAX_MESSAGE_BYTES, Outcome};
use gateway_protocol::{ClientMessage, CloseCode, RequestId, ServerMessage, SessionId};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Messages that may wait for a slow client; beyond it the socket is closed with 1013.
const OUTBOX: usize = 64;
/// A write that takes longer than this gives the socket up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The peer has this long to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Buffers of an idle socket.
const BUFFER_BYTES: usize = 2 * 1024;
/// "Message too big" (RFC 6455 §7.4.1).
const TOO_BIG: u16 = 1009;
/// Messages up to this size are read to their end although they are refused: closing TCP with bytes unread resets it, and
/// a reset may overtake the close frame that says why.
const READ_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// Why a socket gets no session at all, known before its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its page may not use this service.
    Origin,
    /// Its path names no session.
    NoSession,
}

/// Accepts a socket, always: a browser hides the status of a failed upgrade, but shows a close code.
pub fn accept(
    upgrade: WebSocketUpgrade,
    session: Result<SessionId, Refused>,
    control: Control,
    metrics: Arc<Metrics>,
    messages_per_second: u32,
) -> Response {
    upgrade
        .max_message_size(READ_BYTES)
        .max_frame_size(READ_BYTES)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .on_upgrade(move |socket| async move {
            let _open = metrics.socket_opened();
            let line = Line { socket, metrics: metrics.clone() };
            match session {
                Ok(session) => serve(line, session, control, messages_per_second).await,
                Err(Refused::Origin) => line.close(CloseCode::Unauthorized.into(), "origin not allowed").await,
                Err(Refused::NoSession) => line.close(CloseCode::SessionGone.into(), "no such session here").await,
            }
        })
}

/// How a socket ended.
enum End {
    /// The peer closed it, or it broke.
    Gone,
    /// Its queue ended without a word.
    Dropped,
    /// We close it; the code need not be one of the protocol's.
    Close(u16, &'static str),
}

async fn serve(mut line: Line, session: SessionId, control: Control, messages_per_second: u32) {
    let id = control.next_socket();
    let (outbox, mut outgoing) = mpsc::channel(OUTBOX);
    if control.tell(Input::SocketOpened(id, session, outbox)).await.is_err() {
        return line.close(CloseCode::Restart.into(), "restarting").await;
    }
    let mut rate = RateLimit::new(messages_per_second.saturating_mul(2), Duration::from_secs(2));
    let end = loop {
        let turn = tokio::select! {
            message = line.socket.recv() => line.handle(id, message, &control, &mut rate).await,
            next = outgoing.recv() => line.send(next, &mut outgoing).await,
        };
        if let Err(end) = turn {
            break end;
        }
    };
    // The task that owns the sessions has ended when this fails; so have they.
    let told = control.tell(Input::SocketClosed(id)).await;
    match end {
        End::Close(code, reason) => line.close(code, reason).await,
        // The queue was too full, unless nobody is left to fill it.
        End::Dropped if told.is_ok() => line.close(CloseCode::Overloaded.into(), "retry=1000").await,
        End::Dropped | End::Gone => {}
    }
}

/// The WebSocket of one client.
struct Line {
    socket: WebSocket,
    metrics: Arc<Metrics>,
}

impl Line {
    async fn handle(
        &mut self,
        id: SocketId,
        message: Option<Result<Message, axum::Error>>,
        control: &Control,
        rate: &mut RateLimit,
    ) -> Result<(), End> {
        let text = match message {
            Some(Ok(message)) if size(&message) > MAX_MESSAGE_BYTES => {
                return Err(End::Close(TOO_BIG, "message too big"));
            }
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => return over(rate),
            Some(Err(error)) => return Err(broken(error)),
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        };
        over(rate)?;
        match serde_json::from_str::<ClientMessage>(&text) {
            Ok(message) => control.tell(Input::Message(id, message)).await.map_err(|_| End::Gone),
            Err(error) => self.handle_unreadable(&text, &error).await,
        }
    }

    /// Ignored, unless it is a request with an id: its sender waits for an answer.
    async fn handle_unreadable(&mut self, text: &str, error: &serde_json::Error) -> Result<(), End> {
        self.metrics.unreadable();
        let Ok(WithId { id }) = serde_json::from_str(text) else { return Ok(()) };
        let outcome =
            Outcome::Failed { reason: FailReason::UnknownMethod, detail: Some(format!("unreadable: {error}")) };
        self.write(&ServerMessage::Response { id, outcome }).await?;
        self.flush().await
    }

    /// Sends what waits, and everything that waits behind it, in one write.
    async fn send(&mut self, first: Option<Outgoing>, waiting: &mut mpsc::Receiver<Outgoing>) -> Result<(), End> {
        let mut next = first.ok_or(End::Dropped)?;
        loop {
            match next {
                Outgoing::Message(message) => self.write(&message).await?,
                Outgoing::Close(code, reason) => return Err(End::Close(code.into(), reason)),
            }
            match waiting.try_recv() {
                Ok(more) => next = more,
                Err(_) => return self.flush().await,
            }
        }
    }

    async fn write(&mut self, message: &ServerMessage) -> Result<(), End> {
        let text = serde_json::to_string(message).expect("a message of ours is always JSON");
        in_time(self.socket.feed(Message::Text(text.into()))).await
    }

    async fn flush(&mut self) -> Result<(), End> {
        in_time(self.socket.flush()).await
    }

    /// Sends a close frame and reads until the peer has closed too; closing TCP earlier could destroy the frame.
    async fn close(mut self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        if in_time(self.socket.send(frame)).await.is_ok() {
            let rest = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, rest).await;
        }
    }
}

#[derive(Deserialize)]
struct WithId {
    id: RequestId,
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        // Control frames are short by definition.
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

fn over(rate: &mut RateLimit) -> Result<(), End> {
    rate.take(Instant::now()).map_err(|_| End::Close(CloseCode::Overloaded.into(), "retry=1000"))
}

fn broken(error: axum::Error) -> End {
    let text = error.to_string();
    if text.contains("too long") { End::Close(TOO_BIG, "message too big") } else { End::Gone }
}

async fn in_time(write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    match tokio::time::timeout(WRITE_TIMEOUT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
