//! The least signalling that gets a peer into an echo call: POST, WebSocket, attach, start_call.

use crate::http::{Ask, Base, Browser};
use crate::peer::Profiles;
use crate::peer_io::{PeerPool, PoolPeer};
use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use gateway_protocol::id::{CallId, ClientId, RequestId};
use gateway_protocol::message::{ClientMessage, Outcome, Request, ServerMessage};
use gateway_protocol::sign_in::{SignIn, SignedIn};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A user in a call. Dropped, its socket closes.
pub(super) struct Caller {
    pub(super) peer: PoolPeer,
    socket: JoinHandle<()>,
}

impl Caller {
    /// Signs in and calls `echo`; returns when the answer was taken, before media flows.
    pub(super) async fn call(base: &Base, pool: &PeerPool, number: usize) -> anyhow::Result<Self> {
        let browser = Browser::new();
        let session = sign_in(&browser, base, number).await?;
        let mut socket = browser.open(base, &format!("/v1/sessions/{}/socket", session.session_id)).await?;
        let attach = ClientMessage::Attach { token: session.session_token, calls: Vec::new(), dead_calls: Vec::new() };
        send(&mut socket, &attach).await?;
        let mut peer = pool.create(Profiles::Gcm)?;
        let request = Request::StartCall {
            call_id: CallId::parse(format!("call-{number}"))?,
            target: "echo".to_owned(),
            sdp: peer.offer(),
        };
        send(&mut socket, &ClientMessage::Request { id: RequestId::parse("1")?, request }).await?;
        peer.connect(&answer(&mut socket).await?)?;
        Ok(Self { peer, socket: tokio::spawn(keep_alive(socket)) })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.socket.abort();
    }
}

pub(crate) async fn sign_in(browser: &Browser, base: &Base, number: usize) -> anyhow::Result<SignedIn> {
    let body = SignIn {
        client_id: ClientId::parse(format!("client-{number}"))?,
        user: Some(format!("user-{number}")),
        capsule: None,
        previous_token: None,
        move_ticket: None,
        sip_password: None,
    };
    let body = serde_json::to_vec(&body)?;
    let ask = Ask { method: "POST", path: "/v1/sessions".to_owned(), headers: Vec::new(), body };
    let answer = browser.ask(base, &ask).await?;
    if answer.status() != http::StatusCode::CREATED {
        bail!("sign-in: {} {}", answer.status(), String::from_utf8_lossy(answer.body()));
    }
    Ok(serde_json::from_slice(answer.body())?)
}

pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) async fn send(socket: &mut Socket, message: &ClientMessage) -> anyhow::Result<()> {
    Ok(socket.send(Message::text(serde_json::to_string(message)?)).await?)
}

pub(crate) async fn next(socket: &mut Socket) -> anyhow::Result<ServerMessage> {
    loop {
        match socket.next().await.context("the socket closed")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(frame) => bail!("the socket closed: {frame:?}"),
            _ => {}
        }
    }
}

pub(crate) async fn answer(socket: &mut Socket) -> anyhow::Result<String> {
    loop {
        match next(socket).await? {
            ServerMessage::Response { outcome: Outcome::Ok { sdp: Some(sdp) }, .. } => return Ok(sdp),
            ServerMessage::Response { outcome, .. } => bail!("start_call: {outcome:?}"),
            _ => {}
        }
    }
}

/// Answers heartbeats until the socket ends.
pub(crate) async fn keep_alive(mut socket: Socket) {
    while let Ok(message) = next(&mut socket).await {
        if let ServerMessage::Ping { nonce, .. } = message
            && send(&mut socket, &ClientMessage::Pong { nonce }).await.is_err()
        {
            return;
        }
    }
}
