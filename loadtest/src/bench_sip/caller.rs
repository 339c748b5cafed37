//! A browser in a call with a phone: POST, WebSocket, attach, registered, start_call, answered.

use super::FLOW;
use crate::bench_media::caller::{Socket, keep_alive, next, send, sign_in};
use crate::http::{Ask, Base, Browser};
use crate::peer::{PeerState, Profiles};
use crate::peer_io::{PeerPool, PoolPeer};
use anyhow::{Context, bail};
use gateway_protocol::id::{CallId, RequestId, SessionId};
use gateway_protocol::message::{
    CallState, ClientMessage, Event, FailReason, Outcome, Request, ServerMessage, ServiceState,
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Ten seconds, for a registration.
const MAX_TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// A user that is registered, and may be in a call. Dropped, its socket closes.
pub(super) struct Caller {
    number: usize,
    browser: Browser,
    session: SessionId,
    token: String,
    socket: Option<Socket>,
    call: Option<PoolPeer>,
    keeper: Option<JoinHandle<()>>,
}

/// What a browser offers, and whom it calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) user: &'static str,
    /// G.711 is offered beside Opus.
    pub(super) g711: bool,
}

impl Caller {
    /// Signs in, attaches, and is there when calls can be made: registered at the SIP server.
    pub(super) async fn arrive(base: &Base, number: usize) -> anyhow::Result<Self> {
        let browser = Browser::new();
        let session = sign_in(&browser, base, number).await?;
        let mut socket = browser.open(base, &format!("/v1/sessions/{}/socket", session.session_id)).await?;
        let token = session.session_token;
        let attach = ClientMessage::Attach { token: token.clone(), calls: Vec::new(), dead_calls: Vec::new() };
        send(&mut socket, &attach).await?;
        registered(&mut socket).await?;
        let session = session.session_id;
        Ok(Self { number, browser, session, token, socket: Some(socket), call: None, keeper: None })
    }

    /// Calls, and returns when the phone has answered.
    pub(super) async fn call(&mut self, pool: &PeerPool, target: Target) -> anyhow::Result<()> {
        let Some(mut socket) = self.socket.take() else { bail!("one call per caller") };
        let mut peer = pool.create_with(Profiles::Gcm, target.g711)?;
        let request = Request::StartCall {
            call_id: CallId::parse(format!("call-{}", self.number))?,
            target: target.user.to_owned(),
            sdp: peer.offer(),
        };
        let mut tries = 0;
        let sdp = loop {
            tries += 1;
            let id = RequestId::parse(tries.to_string())?;
            send(&mut socket, &ClientMessage::Request { id, request: request.clone() }).await?;
            match outcome(&mut socket).await? {
                Outcome::Ok { sdp: Some(sdp) } => break sdp,
                // Not registered yet.
                Outcome::Failed { reason: FailReason::ServiceUnavailable, .. } if tries < MAX_TRIES => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => bail!("start_call: {outcome:?}"),
            }
        };
        peer.connect(&sdp)?;
        answered(&mut socket).await?;
        self.call = Some(peer);
        self.rest_with(socket);
        Ok(())
    }

    /// The first packet of its call's phone came.
    pub(super) async fn heard(&self) -> anyhow::Result<()> {
        let peer = self.call.as_ref().context("no call")?;
        let mut state = peer.state();
        let flowing = state.wait_for(|state| *state == PeerState::Flowing);
        if tokio::time::timeout(FLOW, flowing).await.is_err() {
            bail!("user {} hears nothing: {:?}, {:?}", self.number, *peer.state().borrow(), peer.counts());
        }
        Ok(())
    }

    /// Does nothing but answer heartbeats from now on.
    pub(super) fn rest(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.rest_with(socket);
        }
    }

    fn rest_with(&mut self, socket: Socket) {
        self.keeper = Some(tokio::spawn(keep_alive(socket)));
    }

    /// Its media.
    pub(super) fn peer(&self) -> Option<&PoolPeer> {
        self.call.as_ref()
    }

    /// Hangs up and signs off.
    pub(super) async fn leave(mut self, base: &Base) -> anyhow::Result<()> {
        self.hang_up();
        let headers = vec![("authorization", format!("Bearer {}", self.token))];
        let path = format!("/v1/sessions/{}", self.session);
        self.browser.ask(base, &Ask { method: "DELETE", path, headers, body: Vec::new() }).await?;
        Ok(())
    }

    /// Hangs up by close_notify.
    pub(super) fn hang_up(&mut self) {
        if let Some(peer) = self.call.take() {
            peer.stop();
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.hang_up();
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

fn has_calls(services: &[ServiceState]) -> bool {
    services.iter().any(|service| service.service == "calls" && service.available)
}

async fn registered(socket: &mut Socket) -> anyhow::Result<()> {
    loop {
        match next(socket).await? {
            ServerMessage::Attached { snapshot, .. } if has_calls(&snapshot.services) => return Ok(()),
            ServerMessage::Event { event: Event::Service { service }, .. }
                if has_calls(std::slice::from_ref(&service)) =>
            {
                return Ok(());
            }
            ServerMessage::Ping { nonce, .. } => send(socket, &ClientMessage::Pong { nonce }).await?,
            _ => {}
        }
    }
}

async fn outcome(socket: &mut Socket) -> anyhow::Result<Outcome> {
    loop {
        match next(socket).await? {
            ServerMessage::Response { outcome, .. } => return Ok(outcome),
            ServerMessage::Ping { nonce, .. } => send(socket, &ClientMessage::Pong { nonce }).await?,
            _ => {}
        }
    }
}

async fn answered(socket: &mut Socket) -> anyhow::Result<()> {
    loop {
        match next(socket).await? {
            ServerMessage::Event { event: Event::CallState { state: CallState::Active, .. }, .. } => return Ok(()),
            ServerMessage::Event { event: Event::CallEnded { reason, .. }, .. } => bail!("the call ended: {reason:?}"),
            ServerMessage::Ping { nonce, .. } => send(socket, &ClientMessage::Pong { nonce }).await?,
            _ => {}
        }
    }
}
