//! Test only: whatever happens in whatever order, a user never panics, tells the end of a call once, settles every promise
//! once, and comes back when the world is well again.

use super::{Answer, Command, Identity, Now, OpId, SocketId, Told, VirtualUser};
use gateway_protocol::message::{CallState, EndReason, Event, Outcome, Snapshot};
use gateway_protocol::{CallId, ClientId, ClientMessage, RequestId, ServerMessage};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the world does next.
#[derive(Debug, Clone)]
enum Blow {
    Answer { status: u16, boot: u8, silent: bool },
    Unreachable,
    Attached { seq: u32 },
    Response { ok: bool },
    Event { seq: u32, kind: u8 },
    Close { code: Option<u16>, silent: bool },
    Heard,
    Wait { ms: u64 },
    Call,
    HangUp,
}

fn blow() -> impl Strategy<Value = Blow> {
    let codes = prop::sample::select(vec![
        None,
        Some(1012),
        Some(1013),
        Some(4401),
        Some(4408),
        Some(4410),
        Some(4503),
        Some(77),
    ]);
    prop_oneof![
        (prop::sample::select(vec![200, 201, 204, 401, 404, 410, 429, 502, 503, 999]), 0..3_u8, any::<bool>())
            .prop_map(|(status, boot, silent)| Blow::Answer { status, boot, silent }),
        Just(Blow::Unreachable),
        (0..4_u32).prop_map(|seq| Blow::Attached { seq }),
        any::<bool>().prop_map(|ok| Blow::Response { ok }),
        (0..6_u32, 0..5_u8).prop_map(|(seq, kind)| Blow::Event { seq, kind }),
        (codes, any::<bool>()).prop_map(|(code, silent)| Blow::Close { code, silent }),
        Just(Blow::Heard),
        (0..3000_u64).prop_map(|ms| Blow::Wait { ms }),
        Just(Blow::Call),
        Just(Blow::HangUp),
    ]
}

struct World {
    user: VirtualUser<SmallRng>,
    now: Now,
    asked: Vec<(OpId, &'static str)>,
    socket: Option<SocketId>,
    requests: Vec<RequestId>,
    started: u32,
    ended: BTreeMap<String, u32>,
    settled: BTreeMap<String, u32>,
}

fn snapshot(seq: u32) -> Snapshot {
    Snapshot { epoch: "e".to_owned(), seq, calls: Vec::new(), ended: Vec::new(), services: Vec::new() }
}

fn attached(seq: u32) -> ServerMessage {
    ServerMessage::Attached {
        snapshot: snapshot(seq),
        heartbeat_ms: 5000,
        reconnect_window_ms: 20,
        capsule: "c".to_owned(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let identity = Identity {
            user: "u".to_owned(),
            client_id: ClientId::parse("t").expect("an id"),
            jwt: None,
            bases: vec!["http://a".to_owned(), "http://b".to_owned()],
        };
        let mut user = VirtualUser::new(identity, SmallRng::seed_from_u64(seed));
        user.sign_in(Duration::ZERO);
        let (ended, settled) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self {
            user,
            now: Duration::ZERO,
            asked: Vec::new(),
            socket: None,
            requests: Vec::new(),
            started: 0,
            ended,
            settled,
        };
        world.collect();
        world
    }

    fn collect(&mut self) {
        while let Some(command) = self.user.next_command() {
            match command {
                Command::Request(op, request) => self.asked.push((op, request.method)),
                Command::Open { socket, .. } => self.socket = Some(socket),
                Command::Send(_, ClientMessage::Request { id, .. }) => self.requests.push(id),
                Command::Offer { call, .. } => self.user.handle_offer(&call, "v=0".to_owned()),
                Command::Send(..) | Command::Close(_) | Command::Accept { .. } | Command::ClosePeer(_) => {}
            }
        }
        while let Some(told) = self.user.next_told() {
            match told {
                Told::Ended { call, .. } => *self.ended.entry(call.to_string()).or_default() += 1,
                Told::Settled { method: "start_call", call, .. } => {
                    *self.settled.entry(call.to_string()).or_default() += 1
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, status: u16, boot: u8, silent: bool) {
        let Some((op, method)) = self.asked.pop() else { return };
        let body = match method {
            "POST" => json!({
                "session_id": "s", "session_token": "t", "instance_id": "i", "boot_id": format!("b{boot}"), "user": "u", "heartbeat_ms": 5000,
                "grace_ms": 60000, "reconnect_window_ms": 20, "ice_servers": [], "services": [], "capsule": "c", "recovering": false, "alternates": ["http://c"]
            }),
            _ => {
                json!({"instance_id": "i", "boot_id": format!("b{boot}"), "session_id": "s", "state": "detached", "calls": [], "reconnect_window_ms": 20})
            }
        };
        let pin = silent.then(|| "moved; reason=silent".to_owned());
        let answer = Answer { status, pin, retry_after: None, body: body.to_string().into_bytes() };
        self.user.handle_answer(op, &answer, self.now);
    }

    fn message(&mut self, message: ServerMessage) {
        if let Some(socket) = self.socket {
            self.user.handle_message(socket, message, self.now);
        }
    }

    fn event(&mut self, seq: u32, kind: u8) {
        let call_id = self.user.call().cloned().unwrap_or(CallId::parse("none").expect("an id"));
        let event = match kind {
            0 => Event::CallState { call_id, state: CallState::Active, held_by: None },
            1 => Event::CallEnded { call_id, reason: EndReason::Failed },
            2 => Event::Move { ticket: "m".to_owned() },
            3 => Event::Draining { deadline_ms: 1 },
            _ => Event::Unknown,
        };
        self.message(ServerMessage::Event { epoch: "e".to_owned(), seq, event });
    }

    fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Answer { status, boot, silent } => self.answer(status, boot, silent),
            Blow::Unreachable => {
                if let Some((op, _)) = self.asked.pop() {
                    self.user.handle_unreachable(op, self.now);
                }
            }
            Blow::Attached { seq } => self.message(attached(seq)),
            Blow::Response { ok } => {
                if let Some(id) = self.requests.pop() {
                    let failed =
                        Outcome::Failed { reason: gateway_protocol::message::FailReason::Internal, detail: None };
                    let outcome = if ok { Outcome::Ok { sdp: Some("v=0".to_owned()) } } else { failed };
                    self.message(ServerMessage::Response { id, outcome });
                }
            }
            Blow::Event { seq, kind } => self.event(seq, kind),
            Blow::Close { code, silent } => {
                let reason = if silent { "silent" } else { "retry=5" };
                if let Some(socket) = self.socket.take() {
                    self.user.handle_closed(socket, code.map(|code| (code, reason)), self.now);
                }
            }
            Blow::Heard => self.heard(),
            Blow::Wait { ms } => self.wait(ms),
            Blow::Call => {
                self.started += 1;
                self.user.start_call(CallId::parse(format!("c{}", self.started)).expect("an id"), "echo");
            }
            Blow::HangUp => self.user.hang_up(self.now),
        }
        self.collect();
    }

    fn heard(&mut self) {
        if let Some(call) = self.user.call().cloned() {
            self.user.handle_heard(&call, self.now);
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some((at, why)) = self.user.poll_timeout().filter(|(at, _)| *at <= end) {
            let before = self.user.poll_timeout();
            self.now = self.now.max(at);
            self.user.handle_timeout(self.now);
            self.collect();
            assert!(self.user.poll_timeout() != before, "the timer `{why}` does not move on");
        }
        self.now = end;
    }

    /// A world that answers everything as it should.
    fn heal(&mut self) {
        for _ in 0..200 {
            if self.user.is_attached() {
                return;
            }
            self.heard();
            self.answer(
                if self.asked.last().is_some_and(|(_, method)| *method == "POST") { 201 } else { 404 },
                9,
                false,
            );
            self.message(attached(0));
            self.collect();
            self.wait(50);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_user_survives_everything_and_comes_back(seed: u64, blows in prop::collection::vec(blow(), 0..60)) {
        let mut world = World::new(seed);
        blows.into_iter().for_each(|blow| world.strike(blow));
        let refused = world.user.link.is_none() && world.user.entry.is_none();
        world.heal();
        prop_assert!(refused || world.user.is_attached(), "not back");
        world.user.sign_out(world.now);
        world.collect();
        prop_assert!(world.ended.values().all(|times| *times == 1), "{:?}", world.ended);
        prop_assert!(world.settled.values().all(|times| *times == 1), "{:?}", world.settled);
        for call in 1..=world.started {
            let call = format!("c{call}");
            prop_assert!(world.settled.contains_key(&call) || world.ended.contains_key(&call), "{call} is forgotten");
        }
    }
}
