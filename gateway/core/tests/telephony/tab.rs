//! A browser's tab as far as an instance sees one: what it was told, and a model that checks it.

use gateway_core::SocketId;
use gateway_protocol::message::{CallSnapshot, CallState, EndReason, Event, HeldBy, Outcome, Request, ServiceState};
use gateway_protocol::{CloseCode, RequestId, ServerMessage, SignedIn};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Tab {
    pub(crate) user: String,
    pub(crate) client_id: String,
    pub(crate) at: super::net::HostId,
    pub(crate) session: SignedIn,
    pub(crate) socket: SocketId,
    pub(crate) closed: Option<CloseCode>,
    /// Says nothing any more, as a browser that is served elsewhere.
    pub(crate) is_mute: bool,
    /// It signed in elsewhere.
    pub(crate) is_replaced: bool,
    pub(crate) capsule: String,
    pub(crate) capsules: usize,
    pub(crate) calls: BTreeMap<String, Known>,
    pub(crate) ended: BTreeMap<String, EndReason>,
    /// Who called while it was away.
    pub(crate) missed: Vec<String>,
    pub(crate) digits: String,
    pub(crate) services: Vec<ServiceState>,
    pub(crate) events: Vec<Event>,
    pub(crate) asked: BTreeMap<RequestId, Request>,
    pub(crate) outcomes: BTreeMap<RequestId, Outcome>,
    seq: u32,
    pub(crate) pings: Vec<u32>,
}

/// A live call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: CallState,
    pub(crate) held_by: Option<HeldBy>,
}

impl Tab {
    pub(crate) fn new(
        user: &str,
        client_id: &str,
        at: super::net::HostId,
        session: SignedIn,
        socket: SocketId,
    ) -> Self {
        Self {
            user: user.to_owned(),
            client_id: client_id.to_owned(),
            at,
            capsule: session.capsule.clone(),
            session,
            socket,
            closed: None,
            is_mute: false,
            is_replaced: false,
            capsules: 0,
            calls: BTreeMap::new(),
            ended: BTreeMap::new(),
            missed: Vec::new(),
            digits: String::new(),
            services: Vec::new(),
            events: Vec::new(),
            asked: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            seq: 0,
            pings: Vec::new(),
        }
    }

    pub(crate) fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Attached { snapshot, capsule, .. } => {
                self.capsule = capsule;
                self.capsules += 1;
                self.seq = snapshot.seq;
                self.services = snapshot.services;
                for ended in snapshot.ended {
                    self.calls.remove(ended.call_id.as_str());
                    self.missed.extend(ended.missed.map(|caller| caller.target));
                    self.ended.entry(ended.call_id.to_string()).or_insert(ended.reason);
                }
                let live: BTreeMap<_, _> = snapshot.calls.iter().map(known).collect();
                let forgotten: Vec<_> = self.calls.keys().filter(|call| !live.contains_key(*call)).collect();
                assert!(forgotten.is_empty(), "calls that neither live nor ended: {forgotten:?}");
                self.calls = live;
            }
            ServerMessage::Event { seq, event, .. } => {
                assert_eq!(seq, self.seq + 1, "no event is missing before {event:?}");
                self.seq = seq;
                self.hear_event(&event);
                self.events.push(event);
            }
            ServerMessage::Response { id, outcome } => {
                assert!(self.asked.contains_key(&id), "an answer to {id:?}, which nobody asked");
                let known = self.outcomes.insert(id.clone(), outcome);
                assert_eq!(known, None, "{id:?} is answered once");
            }
            ServerMessage::Ping { nonce, .. } => self.pings.push(nonce),
            ServerMessage::Snapshot { .. } | ServerMessage::Unknown => {}
        }
    }

    /// A call of its own, of which no event has told yet.
    pub(crate) fn has_started(&mut self, call: String) {
        if !self.ended.contains_key(&call) {
            self.calls.entry(call).or_insert(Known { state: CallState::Connecting, held_by: None });
        }
    }

    fn hear_event(&mut self, event: &Event) {
        match event {
            Event::IncomingCall { call } => {
                let (id, call) = known(call);
                assert!(!self.ended.contains_key(&id) && self.calls.insert(id, call).is_none(), "a new call");
            }
            Event::CallState { call_id, state, held_by } => {
                let call = Known { state: *state, held_by: *held_by };
                self.calls.insert(call_id.to_string(), call);
                assert!(!self.ended.contains_key(call_id.as_str()), "{call_id:?} has ended");
            }
            Event::CallEnded { call_id, reason } => {
                self.calls.remove(call_id.as_str());
                let before = self.ended.insert(call_id.to_string(), *reason);
                assert_eq!(before, None, "the end of {call_id:?} is told once");
            }
            Event::Capsule { capsule } => {
                self.capsule.clone_from(capsule);
                self.capsules += 1;
            }
            Event::Digit { digit, .. } => self.digits.push_str(digit),
            Event::Service { service } => self.services = vec![service.clone()],
            _ => {}
        }
    }
}

fn known(call: &CallSnapshot) -> (String, Known) {
    (call.call_id.to_string(), Known { state: call.state, held_by: call.held_by })
}
