//! One instance of a transcript: HTTP and WebSocket in their JSON form around the machine.

use gateway_core::instance::Settings;
use gateway_core::{
    Auth, Bearer, Command, EntryError, Instance, Limits, MediaChange, PeerId, Refusal, Reserve, SealKey, SealRing,
    SocketId, User, entry,
};
use gateway_protocol::transcript::{Auth as TranscriptAuth, Transcript};
use gateway_protocol::{ClientMessage, Problem, ProblemType, SessionId, SignIn};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Unix time at the start of every transcript.
const UNIX: Duration = Duration::from_secs(1_800_000_000);

type Random = Box<dyn FnMut(&mut [u8])>;

pub(crate) struct Node {
    instance: Instance<Random>,
    auth: Auth,
    start: Instant,
    name: String,
    ring: SealRing,
    peers: BTreeMap<String, PeerId>,
    answered_offers: u32,
    pub(crate) frozen: bool,
    pub(crate) answers: BTreeMap<u8, VecDeque<Value>>,
    pub(crate) sent: BTreeMap<SocketId, VecDeque<Value>>,
    pub(crate) closed_peers: VecDeque<Value>,
}

impl Node {
    pub(crate) fn new(name: &str, transcript: &Transcript, now: Instant) -> Self {
        let ring = SealRing::new(vec![SealKey { id: [1; 4], key: [7; 32] }]).expect("one key");
        let defaults = Limits::default();
        let limits = Limits {
            sessions: transcript.given.capacity.unwrap_or(defaults.sessions),
            calls: transcript.given.call_capacity.unwrap_or(defaults.calls),
            sign_ins_per_minute: transcript.given.sign_ins_per_minute.unwrap_or(defaults.sign_ins_per_minute),
            ..defaults
        };
        let settings = Settings {
            instance_id: format!("gw-{name}").parse().expect("an id"),
            boot_id: format!("boot-{name}").parse().expect("an id"),
            limits,
            ring: ring.clone(),
            alternates: Vec::new(),
            sip: None,
            drain_deadline: Duration::from_secs(600),
            drain_notice: Duration::from_secs(1),
            shutdown_grace: Duration::ZERO,
        };
        let auth = match transcript.auth {
            TranscriptAuth::Anonymous => Auth::Anonymous,
            TranscriptAuth::Jwt => Auth::Jwt,
        };
        Self {
            instance: Instance::new(settings, counting(name), now, UNIX),
            auth,
            start: now,
            name: name.to_owned(),
            ring,
            peers: BTreeMap::new(),
            answered_offers: 0,
            frozen: false,
            answers: BTreeMap::new(),
            sent: BTreeMap::new(),
            closed_peers: VecDeque::new(),
        }
    }

    pub(crate) fn request(&mut self, tab: u8, request: &Value, now: Instant) -> Result<(), String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (method, path, headers) = (text(&request["method"]), text(&request["path"]), &request["headers"]);
        let token = text(&headers["authorization"]).strip_prefix("Bearer ").unwrap_or_default().to_owned();
        let id = path.strip_prefix("/v1/sessions/").and_then(|id| SessionId::parse(id).ok());
        let answer = match (method.as_str(), id) {
            ("POST", None) => self.sign_in(&request["body"], &headers["idempotency-key"], &token, now),
            ("GET", Some(id)) => {
                self.instance.probe(&id, &token, now).map(|probe| answer(200, &json!(probe))).map_err(refused)
            }
            ("DELETE", Some(id)) => {
                self.instance.sign_off(&id, &token, now).map(|()| answer(204, &Value::Null)).map_err(refused)
            }
            _ => return Err(format!("{method} {path} is not served")),
        };
        let mut answer = answer.unwrap_or_else(|problem| problem);
        answer["headers"]["holdfast-instance"] = json!(format!("gw-{}", self.name));
        answer["headers"]["holdfast-boot"] = json!(format!("boot-{}", self.name));
        self.answers.entry(tab).or_default().push_back(json!({ "answer": answer }));
        self.pump(now);
        Ok(())
    }

    fn sign_in(&mut self, body: &Value, key: &Value, token: &str, now: Instant) -> Result<Value, Value> {
        let sign_in: SignIn = serde_json::from_value(body.clone())
            .map_err(|error| problem(ProblemType::BadRequest, &error.to_string(), None))?;
        let bearer = match token {
            "" => Bearer::Absent,
            _ => match token.strip_prefix("jwt-of-") {
                Some(user) => Bearer::User(User::parse(user).expect("a name")),
                None => Bearer::Invalid("the JWT is malformed"),
            },
        };
        let unix = (UNIX + now.duration_since(self.start)).as_secs();
        let identity = entry::identify(&sign_in, self.auth, bearer, &self.ring, unix)
            .map_err(|error: EntryError| problem(error.problem(), &error.to_string(), None))?;
        let request = Reserve {
            user: identity.user,
            client_id: sign_in.client_id,
            recovering: identity.recovering,
            earlier: identity.earlier,
            idempotency_key: key.as_str().map(str::to_owned),
        };
        let signed_in = self.instance.reserve(request, now).map_err(refused)?;
        let mut answer = answer(201, &json!(signed_in));
        answer["headers"]["location"] = json!(format!("/v1/sessions/{}", signed_in.session_id));
        Ok(answer)
    }

    pub(crate) fn open(&mut self, socket: SocketId, path: &str, now: Instant) -> Result<(), String> {
        let id = path.strip_prefix("/v1/sessions/").and_then(|rest| rest.strip_suffix("/socket"));
        let id = id.and_then(|id| SessionId::parse(id).ok()).ok_or_else(|| format!("{path} is no socket"))?;
        self.instance.handle_socket_opened(socket, id, now);
        self.pump(now);
        Ok(())
    }

    pub(crate) fn message(&mut self, socket: SocketId, message: Value, now: Instant) -> Result<(), String> {
        let message: ClientMessage = serde_json::from_value(message).map_err(|error| error.to_string())?;
        self.instance.handle_message(socket, message, now);
        self.pump(now);
        Ok(())
    }

    pub(crate) fn cut(&mut self, socket: SocketId, now: Instant) -> Result<(), String> {
        self.instance.handle_socket_closed(socket, now);
        self.pump(now);
        Ok(())
    }

    pub(crate) fn media(&mut self, call: &str, change: MediaChange, now: Instant) -> Result<(), String> {
        // Calls have one peer each; the newest call's peer is the last that was asked for.
        let peer = *self.peers.get(call).ok_or_else(|| format!("no call {call}"))?;
        self.instance.handle_media(peer, change, now);
        self.pump(now);
        Ok(())
    }

    pub(crate) fn drain(&mut self, now: Instant) {
        self.instance.drain(now);
    }

    pub(crate) fn thaw(&mut self, now: Instant) -> Result<(), String> {
        self.frozen = false;
        self.instance.handle_timeout(now);
        self.pump(now);
        Ok(())
    }

    /// Drives every timer up to `until`, in order.
    pub(crate) fn advance(&mut self, until: Instant) {
        self.pump(until);
        while !self.frozen && self.instance.poll_timeout().0 <= until {
            let at = self.instance.poll_timeout().0;
            self.instance.handle_timeout(at);
            self.pump(at);
        }
    }

    fn pump(&mut self, now: Instant) {
        while let Some(command) = self.instance.next_command() {
            match command {
                Command::Send { socket, message } => {
                    self.note_call(&json!(message));
                    self.sent.entry(socket).or_default().push_back(json!({ "send": message }));
                }
                Command::Close { socket, code, reason } => {
                    let close = json!({ "close": { "code": u16::from(code), "reason": reason } });
                    self.sent.entry(socket).or_default().push_back(close);
                }
                Command::Accept { peer, .. } => {
                    self.peers.insert(String::new(), peer);
                    self.answer_offer(peer, now);
                }
                Command::RestartIce { peer, .. } => self.answer_offer(peer, now),
                Command::ClosePeer(peer) => {
                    let call = self.peers.iter().find(|(_, known)| **known == peer).map(|(call, _)| call.clone());
                    self.closed_peers.push_back(json!({ "peer_close": call }));
                }
                Command::ConnectFar { .. } | Command::SendDigits { .. } | Command::Sip(_) | Command::Exit => {}
            }
        }
    }

    fn answer_offer(&mut self, peer: PeerId, now: Instant) {
        self.answered_offers += 1;
        let answer = format!("v=0\r\ns=answer {} of {}\r\n", self.answered_offers, self.name);
        self.instance.handle_answer(peer, Ok(answer), None, now);
    }

    /// A call's first event names the peer that was asked for last.
    fn note_call(&mut self, message: &Value) {
        if let Some(call) = message["event"]["call_id"].as_str()
            && let Some(peer) = self.peers.remove("")
        {
            self.peers.insert(call.to_owned(), peer);
        }
    }

    pub(crate) fn left_over(&self) -> Vec<String> {
        let answers = self.answers.values().flatten();
        answers.chain(self.sent.values().flatten()).map(|value| format!("{}: {value}", self.name)).collect()
    }
}

fn answer(status: u16, body: &Value) -> Value {
    json!({ "status": status, "headers": {}, "body": body })
}

fn refused(refusal: Refusal) -> Value {
    problem(refusal.problem(), &refusal.to_string(), refusal.retry_after())
}

fn problem(kind: ProblemType, detail: &str, retry_after: Option<Duration>) -> Value {
    let mut headers = Map::new();
    headers.insert("content-type".to_owned(), json!("application/problem+json"));
    if let Some(wait) = retry_after {
        headers.insert("retry-after".to_owned(), json!(wait.as_secs_f64().ceil().max(1.0).to_string()));
    }
    json!({ "status": kind.status(), "headers": headers, "body": Problem::new(kind, detail) })
}

/// Bytes that differ each time and are the same in every run.
fn counting(name: &str) -> Random {
    let mut counter = u64::from(name.bytes().next().unwrap_or_default()) << 32;
    Box::new(move |bytes: &mut [u8]| {
        counter += 1;
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = counter.to_be_bytes()[index % 8] ^ index as u8;
        }
    })
}
