//! The attached session: messages and heartbeats while it stands, probes and reattach after its socket is lost.

use super::{
    ATTACH_TIMEOUT, Answer, Command, LONGEST_WINDOW, LossKind, Now, OpId, PROBE_TIMEOUT, Request, Session, SocketId,
    Told, VirtualUser,
};
use gateway_protocol::message::{Event, Snapshot};
use gateway_protocol::{ClientMessage, ServerMessage, SessionProbe};
use rand::Rng;
use std::time::Duration;

/// DESIGN §3: how long the other balancers are tried for an instance that is silent while its media lives.
const SILENT_PATIENCE: Duration = Duration::from_secs(5);

/// The session that serves, or is looked for.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: Session,
    pub(super) step: LinkStep,
    /// A balancer called the instance silent although media lives.
    pub(super) silent_since: Option<Now>,
    pub(super) attempt: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum LinkStep {
    /// To be asked for at this time.
    ProbeDue(Now),
    /// Asked for; `socket` is one that may still be alive, `repeated` says that this is the second try.
    Probing { op: OpId, until: Now, socket: Option<SocketId>, repeated: bool },
    /// Alive; the socket attaches until this time.
    Attaching(SocketId, Now),
    /// Serves; something was `heard` last at this time.
    Attached { socket: SocketId, heard: Now },
}

impl Link {
    pub(super) fn asked(&self) -> Option<OpId> {
        match self.step {
            LinkStep::Probing { op, .. } => Some(op),
            LinkStep::ProbeDue(_) | LinkStep::Attaching(..) | LinkStep::Attached { .. } => None,
        }
    }

    pub(super) fn socket(&self) -> Option<SocketId> {
        match self.step {
            LinkStep::Attached { socket, .. } | LinkStep::Attaching(socket, _) => Some(socket),
            LinkStep::Probing { socket, .. } => socket,
            LinkStep::ProbeDue(_) => None,
        }
    }

    pub(super) fn timeout(&self) -> Option<(Now, &'static str)> {
        let step = match self.step {
            LinkStep::ProbeDue(at) => (at, "probe"),
            LinkStep::Probing { until, .. } => (until, "probe timeout"),
            LinkStep::Attaching(_, until) => (until, "attach timeout"),
            LinkStep::Attached { heard, .. } => (heard + self.session.heartbeat * 3, "heartbeat"),
        };
        let silent = self.silent_since.map(|since| (since + SILENT_PATIENCE, "silent for too long"));
        silent.into_iter().chain([step]).min()
    }
}

impl<R: Rng> VirtualUser<R> {
    pub(super) fn link_timeout(&mut self, now: Now) {
        let Some(link) = &self.link else { return };
        if link.silent_since.is_some_and(|since| since + SILENT_PATIENCE <= now) {
            return self.leave_keeping_the_call(now);
        }
        match link.step {
            LinkStep::ProbeDue(at) if at <= now => self.probe(None, false, now),
            LinkStep::Probing { until, socket, repeated, .. } if until <= now => {
                self.next_base();
                if repeated { self.retry_probe(Duration::ZERO, now) } else { self.probe(socket, true, now) }
            }
            LinkStep::Attaching(socket, until) if until <= now => {
                self.commands.push_back(Command::Close(socket));
                self.retry_probe(Duration::ZERO, now);
            }
            LinkStep::Attached { socket, heard } if heard + link.session.heartbeat * 3 <= now => {
                self.commands.push_back(Command::Close(socket));
                self.handle_link_closed(None, now);
            }
            LinkStep::ProbeDue(_) | LinkStep::Probing { .. } | LinkStep::Attaching(..) | LinkStep::Attached { .. } => {}
        }
    }

    /// Asks whether the session is alive; keeps `socket` until it is answered.
    pub(super) fn probe(&mut self, socket: Option<SocketId>, repeated: bool, now: Now) {
        let (op, base) = (self.op(), self.base());
        let Some(link) = &mut self.link else { return };
        link.step = LinkStep::Probing { op, until: now + PROBE_TIMEOUT, socket, repeated };
        let request = Request {
            base,
            method: "GET",
            path: link.session.path(),
            bearer: Some(link.session.token.clone()),
            idempotency_key: None,
            avoid: None,
            body: None,
        };
        self.commands.push_back(Command::Request(op, request));
    }

    /// Probes later, not before `floor`.
    pub(super) fn retry_probe(&mut self, floor: Duration, now: Now) {
        let Some(attempt) = self.link.as_mut().map(|link| {
            link.attempt += 1;
            link.attempt
        }) else {
            return;
        };
        let window = (self.window * 2_u32.saturating_pow(attempt.min(8))).min(LONGEST_WINDOW.max(self.window));
        let at = now + floor + self.jitter(window);
        self.drop_socket();
        if let Some(link) = &mut self.link {
            link.step = LinkStep::ProbeDue(at);
        }
    }

    /// Probes for the first time after a loss, spread over the window.
    pub(super) fn probe_soon(&mut self, now: Now) {
        let at = now + self.jitter(self.window);
        if let Some(link) = &mut self.link {
            link.step = LinkStep::ProbeDue(at);
        }
    }

    pub(super) fn drop_socket(&mut self) {
        if let Some(socket) = self.link.as_ref().and_then(Link::socket) {
            self.commands.push_back(Command::Close(socket));
        }
    }

    pub(super) fn handle_probe(&mut self, answer: &Answer, now: Now) {
        let Some(link) = &self.link else { return };
        let silent = answer.pin.as_deref().is_some_and(|pin| pin.contains("reason=silent"));
        match answer.status {
            200 => match serde_json::from_slice::<SessionProbe>(&answer.body) {
                Ok(probe) if probe.boot_id == link.session.boot => self.handle_alive(&probe, now),
                Ok(_) => self.leave(LossKind::InstanceLost, now),
                Err(_) => self.retry_probe(Duration::ZERO, now),
            },
            401 => self.leave(LossKind::Unauthorized, now),
            404 | 410 if silent => self.handle_silent(now),
            404 | 410 => self.leave(LossKind::InstanceLost, now),
            _ => {
                if answer.retry_after.is_none() {
                    self.next_base();
                }
                self.retry_probe(answer.retry_after.unwrap_or_default(), now);
            }
        }
    }

    /// Attaches anew. A socket that may be dead without knowing it is replaced.
    fn handle_alive(&mut self, probe: &SessionProbe, now: Now) {
        self.window = Duration::from_millis(probe.reconnect_window_ms.into());
        if self.is_stalled() {
            self.lost_service(LossKind::NetworkChanged);
        }
        self.drop_socket();
        let calls: Vec<_> = self.call.iter().filter(|call| !call.orphan).map(|call| call.id.clone()).collect();
        let Some(session) = self.link.as_ref().map(|link| link.session.clone()) else { return };
        let socket = self.open(&session, calls, &[]);
        if let Some(link) = &mut self.link {
            link.step = LinkStep::Attaching(socket, now + ATTACH_TIMEOUT);
            link.silent_since = None;
        }
    }

    pub(super) fn handle_link_message(&mut self, message: ServerMessage, now: Now) {
        if let Some(Link { step: LinkStep::Attached { heard, .. }, .. }) = &mut self.link {
            *heard = now;
        }
        match message {
            ServerMessage::Attached { snapshot, reconnect_window_ms, capsule, .. } => {
                self.window = Duration::from_millis(reconnect_window_ms.into());
                self.handle_reattached(snapshot, capsule, now);
            }
            ServerMessage::Snapshot { snapshot } => self.apply_snapshot(snapshot, now),
            ServerMessage::Response { id, outcome } => self.handle_response(&id, outcome, now),
            ServerMessage::Event { epoch, seq, event } => self.handle_event(&epoch, seq, event, now),
            ServerMessage::Ping { nonce, reconnect_window_ms } => {
                self.window = Duration::from_millis(reconnect_window_ms.into());
                self.send(ClientMessage::Pong { nonce });
            }
            ServerMessage::Unknown => {}
        }
    }

    fn handle_reattached(&mut self, snapshot: Snapshot, capsule: String, now: Now) {
        let Some(link) = &mut self.link else { return };
        let LinkStep::Attaching(socket, _) = link.step else { return };
        link.step = LinkStep::Attached { socket, heard: now };
        link.attempt = 0;
        link.session.capsule = capsule;
        self.apply_snapshot(snapshot, now);
        for pending in self.pending.clone() {
            self.send(ClientMessage::Request { id: pending.id, request: pending.verb });
        }
        self.has_service();
        if let Some(call) = &self.call {
            self.told.push_back(Told::CallsResynced { kept: vec![call.id.clone()] });
        }
        self.restart_ice_if_stalled();
    }

    /// The snapshot outranks what the user believed.
    pub(super) fn apply_snapshot(&mut self, snapshot: Snapshot, now: Now) {
        let Some(link) = &mut self.link else { return };
        (link.session.epoch, link.session.seq, link.session.resyncing) = (snapshot.epoch, snapshot.seq, false);
        snapshot.calls.iter().for_each(|call| self.handle_incoming(call));
        let Some(id) = self.call.as_ref().filter(|call| !call.orphan).map(|call| call.id.clone()) else { return };
        if let Some(known) = snapshot.calls.iter().find(|known| known.call_id == id) {
            self.handle_call_state(&id, known.state);
        } else if let Some(ended) = snapshot.ended.iter().find(|ended| ended.call_id == id) {
            self.end_call(ended.reason, now);
        } else if !self.pending.iter().any(|pending| pending.starts(&id)) {
            self.end_call(gateway_protocol::message::EndReason::SessionEnded, now);
        }
    }

    /// Numbered events act once and in order; a hole asks for a snapshot.
    fn handle_event(&mut self, epoch: &str, seq: u32, event: Event, now: Now) {
        let Some(link) = &mut self.link else { return };
        let session = &mut link.session;
        if session.resyncing || (epoch == session.epoch && seq <= session.seq) {
            return;
        }
        if epoch != session.epoch || seq != session.seq + 1 {
            session.resyncing = true;
            return self.send(ClientMessage::Resync {});
        }
        session.seq = seq;
        self.act_on(event, now);
    }

    fn act_on(&mut self, event: Event, now: Now) {
        match event {
            Event::CallState { call_id, state, .. } => self.handle_call_state(&call_id, state),
            Event::CallEnded { call_id, reason } if self.call() == Some(&call_id) => self.end_call(reason, now),
            Event::IncomingCall { call } => self.handle_incoming(&call),
            Event::Capsule { capsule } => {
                if let Some(link) = &mut self.link {
                    link.session.capsule = capsule;
                }
            }
            Event::Draining { .. } => self.handle_draining(),
            Event::Service { service } if service.available => self.handle_serving(),
            Event::Move { ticket } if self.entry.is_none() => self.enter(Some(ticket), now),
            Event::SessionRecovered { recovered, lost, unknown } => {
                self.told.push_back(Told::SessionRecovered { recovered, lost, unknown });
            }
            Event::CallMedia { .. }
            | Event::CallEnded { .. }
            | Event::Service { .. }
            | Event::CallParty { .. }
            | Event::CallResumed { .. }
            | Event::Digit { .. }
            | Event::SendCodec { .. }
            | Event::Move { .. }
            | Event::Unknown => {}
        }
    }

    fn handle_draining(&mut self) {
        if let Some(link) = &mut self.link {
            link.session.draining = true;
        }
        if self.call.is_some() {
            self.lost_service(LossKind::InstanceDraining);
        }
    }

    /// The instance does not drain any more.
    fn handle_serving(&mut self) {
        if let Some(link) = &mut self.link {
            link.session.draining = false;
        }
        if self.unavailable == Some(LossKind::InstanceDraining) {
            self.has_service();
        }
    }
}
