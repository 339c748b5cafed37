//! Random users do random things; after each step what must always hold is checked against a model of the clients.

use crate::bench::Bench;
use gateway_core::{Limits, MediaChange, MediaFailure, SocketId};
use gateway_protocol::message::{Event, Request, Snapshot};
use gateway_protocol::{ClientMessage, ServerMessage, SignedIn};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Clone)]
enum Act {
    SignIn { user: u8, client: u8 },
    Attach { session: usize, with_calls: bool },
    Cut { socket: usize },
    Call { socket: usize, call: u8 },
    HangUp { socket: usize, call: u8 },
    Resync { socket: usize },
    Media { peer: usize, change: MediaChange },
    SignOff { session: usize },
    Pass { millis: u64 },
    Freeze { millis: u64 },
    Drain,
    CancelDrain,
}

fn act() -> impl Strategy<Value = Act> {
    let media = prop_oneof![
        4 => Just(MediaChange::Connected),
        1 => Just(MediaChange::Suspended),
        1 => Just(MediaChange::Resumed),
        1 => Just(MediaChange::PeerClosed),
        1 => Just(MediaChange::Failed(MediaFailure::Timeout)),
    ];
    prop_oneof![
        4 => (0_u8..3, 0_u8..4).prop_map(|(user, client)| Act::SignIn { user, client }),
        6 => (0_usize..12, any::<bool>()).prop_map(|(session, with_calls)| Act::Attach { session, with_calls }),
        2 => (0_usize..8).prop_map(|socket| Act::Cut { socket }),
        6 => (0_usize..8, 0_u8..6).prop_map(|(socket, call)| Act::Call { socket, call }),
        2 => (0_usize..8, 0_u8..6).prop_map(|(socket, call)| Act::HangUp { socket, call }),
        1 => (0_usize..8).prop_map(|socket| Act::Resync { socket }),
        4 => (0_usize..8, media).prop_map(|(peer, change)| Act::Media { peer, change }),
        1 => (0_usize..12).prop_map(|session| Act::SignOff { session }),
        4 => (0_u64..20_000).prop_map(|millis| Act::Pass { millis }),
        1 => (0_u64..40_000).prop_map(|millis| Act::Freeze { millis }),
        1 => Just(Act::Drain),
        2 => Just(Act::CancelDrain),
    ]
}

/// What one client knows from its socket alone.
#[derive(Debug, Default)]
struct Client {
    seq: u32,
    calls: BTreeSet<String>,
    ended: BTreeSet<String>,
}

struct Model {
    bench: Bench,
    sessions: Vec<SignedIn>,
    sockets: Vec<(SocketId, usize)>,
    clients: BTreeMap<SocketId, Client>,
}

impl Model {
    fn new() -> Self {
        let limits = Limits { sessions: 8, calls: 5, calls_per_session: 3, ..Limits::default() };
        Self { bench: Bench::limited(limits), sessions: Vec::new(), sockets: Vec::new(), clients: BTreeMap::new() }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::SignIn { user, client } => {
                if let Ok(session) = self.bench.reserve(&format!("u{user}"), &format!("c{client}")) {
                    self.sessions.push(session);
                }
            }
            Act::Attach { session, with_calls } => self.attach(session, with_calls),
            Act::Cut { socket } => self.with_socket(socket, |bench, socket| bench.cut(socket)),
            Act::Call { socket, call } => {
                self.with_socket(socket, |bench, socket| drop(bench.call(socket, &format!("k{call}"))))
            }
            Act::HangUp { socket, call } => {
                let call_id = format!("k{call}").parse().expect("an id");
                self.with_socket(socket, |bench, socket| drop(bench.ask(socket, Request::HangUp { call_id })));
            }
            Act::Resync { socket } => {
                self.with_socket(socket, |bench, socket| bench.message(socket, ClientMessage::Resync {}));
            }
            Act::Media { peer, change } => {
                if let Some(peer) = self.bench.peers.get(peer).copied() {
                    self.bench.media(peer, change);
                }
            }
            Act::SignOff { session } => {
                if let Some(session) = self.sessions.get(session) {
                    // One that is over is refused.
                    let _ = self.bench.instance.sign_off(&session.session_id, &session.session_token, self.bench.now);
                    self.bench.pass(Duration::ZERO);
                }
            }
            Act::Pass { millis } => self.bench.pass(Duration::from_millis(millis)),
            Act::Freeze { millis } => self.bench.freeze(Duration::from_millis(millis)),
            Act::Drain => self.bench.instance.drain(self.bench.now),
            Act::CancelDrain => self.bench.instance.cancel_drain(self.bench.now),
        }
        self.bench.pass(Duration::ZERO);
    }

    fn attach(&mut self, index: usize, with_calls: bool) {
        let Some(session) = self.sessions.get(index).cloned() else { return };
        let calls = ["k0", "k1", "k2", "k3", "k4", "k5"];
        let socket = self.bench.attach(&session, if with_calls { &calls } else { &[] });
        self.sockets.push((socket, index));
    }

    fn with_socket(&mut self, index: usize, act: impl FnOnce(&mut Bench, SocketId)) {
        let live: Vec<SocketId> = self
            .sockets
            .iter()
            .map(|(socket, _)| *socket)
            .filter(|socket| !self.bench.closed.contains_key(socket))
            .collect();
        if let Some(socket) = live.get(index) {
            act(&mut self.bench, *socket);
        }
    }

    fn check(&mut self) {
        let load = self.bench.instance.load(self.bench.now);
        assert!(load.used <= 8 && load.calls <= 5 && load.sessions <= load.used, "{load:?}");
        assert_eq!(load.calls as usize, self.bench.peers.len(), "every peer belongs to a call");
        assert!(self.bench.instance.poll_timeout().0 > self.bench.now, "what is due was done");
        self.check_one_attached_per_tab();
        for (socket, _) in self.sockets.clone() {
            for message in self.bench.take(socket) {
                self.clients.entry(socket).or_default().hear(message);
            }
        }
    }

    fn check_one_attached_per_tab(&mut self) {
        let mut tabs = BTreeSet::new();
        for (index, session) in self.sessions.iter().enumerate() {
            let probe = self.bench.instance.probe(&session.session_id, &session.session_token, self.bench.now);
            let attached = probe.is_ok_and(|probe| probe.state == gateway_protocol::sign_in::SessionState::Attached);
            // The model's session ids grow with time; a tab is named by what it signed in with.
            assert!(!attached || tabs.insert((session.user.clone(), self.tab(index))), "two sessions of one tab");
        }
    }

    fn tab(&self, index: usize) -> String {
        gateway_core::capsule::Capsule::open(&ring(), &self.sessions[index].capsule, 0).expect("ours").client_id.into()
    }
}

fn ring() -> gateway_core::SealRing {
    gateway_core::SealRing::new(vec![gateway_core::SealKey { id: [1; 4], key: [7; 32] }]).expect("one key")
}

impl Client {
    fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Attached { snapshot, .. } => *self = Self::of(&snapshot),
            ServerMessage::Snapshot { snapshot } => {
                let fresh = Self::of(&snapshot);
                assert_eq!((self.seq, &self.calls), (fresh.seq, &fresh.calls), "the events told everything");
            }
            ServerMessage::Event { seq, event, .. } => {
                assert_eq!(seq, self.seq + 1, "no number is missing");
                self.seq = seq;
                self.hear_event(event);
            }
            ServerMessage::Response { .. } | ServerMessage::Ping { .. } | ServerMessage::Unknown => {}
        }
    }

    fn hear_event(&mut self, event: Event) {
        match event {
            Event::CallState { call_id, .. } => drop(self.calls.insert(call_id.into())),
            Event::CallMedia { call_id, .. } => assert!(self.calls.contains(call_id.as_str()), "a call that lives"),
            Event::CallEnded { call_id, .. } => {
                assert!(self.calls.remove(call_id.as_str()), "it lived until now");
                assert!(self.ended.insert(call_id.into()), "its end is told once");
            }
            _ => {}
        }
    }

    fn of(snapshot: &Snapshot) -> Self {
        Self {
            seq: snapshot.seq,
            calls: snapshot.calls.iter().map(|call| call.call_id.to_string()).collect(),
            ended: snapshot.ended.iter().map(|call| call.call_id.to_string()).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(acts in prop::collection::vec(act(), 1..120)) {
        let mut model = Model::new();
        for act in acts {
            model.act(act);
            model.check();
        }
        // Media that lives for ever would hold its session for ever.
        for peer in model.bench.peers.clone() {
            model.bench.media(peer, MediaChange::PeerClosed);
        }
        model.bench.pass(Duration::from_secs(120));
        let load = model.bench.instance.load(model.bench.now);
        prop_assert_eq!((load.used, load.sessions, load.calls), (0, 0, 0));
    }
}
