//! Test only: the transcripts of gateway-protocol against virtual users, one per tab.

use super::{Answer, Command, Identity, Now, OpId, SocketId, Told, VirtualUser};
use gateway_protocol::transcript::{
    Act, AppAct, Auth, BalancerAct, Bindings, ClientAct, Close, MediaChange, NetworkAct, Role, Runner, ServerAct, Step,
    Transcript, replay,
};
use gateway_protocol::{CallId, ClientId};
use rand::{SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

struct Tab {
    user: VirtualUser<SmallRng>,
    did: VecDeque<Value>,
    optional: VecDeque<Value>,
    told: VecDeque<Value>,
    /// The unanswered request or open.
    asked: VecDeque<OpId>,
    sockets: Vec<SocketId>,
    /// The instance of each socket, known once its `open` is checked.
    places: Vec<String>,
    closed: Vec<SocketId>,
    pin: Option<String>,
    media_flows: bool,
    calls: u32,
}

/// Plays everybody but the users.
struct World {
    tabs: BTreeMap<u8, Tab>,
    transcript: Transcript,
    seed: u64,
    now: Now,
    dark: bool,
}

impl World {
    fn new(transcript: &Transcript, seed: u64) -> Self {
        Self { tabs: BTreeMap::new(), transcript: transcript.clone(), seed, now: Duration::ZERO, dark: false }
    }

    fn new_tab(&self, number: u8, user: String, vars: &Bindings) -> Tab {
        let name = if number == 1 { "client" } else { "client2" };
        let client =
            vars.value(name).or_else(|| vars.value("client")).and_then(Value::as_str).unwrap_or("tab").to_owned();
        let jwt = match self.transcript.auth {
            Auth::Jwt => vars.value("bad_jwt").and_then(Value::as_str).map(str::to_owned),
            Auth::Anonymous => None,
        };
        let client_id = ClientId::parse(client).expect("a client id");
        let identity = Identity { user, client_id, jwt, bases: vec!["http://balancer-1.test".to_owned()] };
        Tab {
            user: VirtualUser::new(identity, SmallRng::seed_from_u64(self.seed + u64::from(number))),
            did: VecDeque::new(),
            optional: VecDeque::new(),
            told: VecDeque::new(),
            asked: VecDeque::new(),
            sockets: Vec::new(),
            places: Vec::new(),
            closed: Vec::new(),
            pin: None,
            media_flows: false,
            calls: 0,
        }
    }

    fn tab(&mut self, number: u8) -> Result<&mut Tab, String> {
        self.tabs.get_mut(&number).ok_or_else(|| format!("tab {number} has not signed in"))
    }

    fn app(&mut self, step: &Step, act: &AppAct, vars: &mut Bindings) -> Result<(), String> {
        let now = self.now;
        if let AppAct::SignIn { user } = act {
            let tab = self.new_tab(step.tab, vars.fill_str(user), vars);
            self.tabs.insert(step.tab, tab);
        }
        let tab = self.tab(step.tab)?;
        match act {
            AppAct::SignIn { .. } => tab.user.sign_in(now),
            AppAct::SignOut => tab.user.sign_out(now),
            AppAct::StartCall { target, .. } => {
                tab.calls += 1;
                let call = CallId::parse(format!("vu-call-{}", tab.calls)).expect("a call id");
                tab.user.start_call(call, target);
            }
            AppAct::HangUp { .. } => tab.user.hang_up(now),
        }
        Ok(())
    }

    fn answer(
        &mut self,
        step: &Step,
        answer: &gateway_protocol::transcript::Answer,
        vars: &mut Bindings,
    ) -> Result<(), String> {
        let now = self.now;
        let tab = self.tab(step.tab)?;
        let header = |name: &str, vars: &mut Bindings| answer.headers.get(name).map(|value| as_text(&vars.fill(value)));
        let given = Answer {
            status: answer.status,
            pin: tab.pin.take(),
            retry_after: header("retry-after", vars).and_then(|text| text.parse().ok()).map(Duration::from_secs),
            body: vars.fill(&answer.body).to_string().into_bytes(),
        };
        let op = tab.asked.pop_front().ok_or("nothing was asked")?;
        tab.user.handle_answer(op, &given, now);
        Ok(())
    }

    fn send(&mut self, step: &Step, message: &Value, vars: &mut Bindings) -> Result<(), String> {
        let (now, message) = (self.now, serde_json::from_value(vars.fill(message)).map_err(|error| error.to_string())?);
        let tab = self.tab(step.tab)?;
        let socket = tab.socket(step).ok_or("no socket is open")?;
        tab.user.handle_message(socket, message, now);
        Ok(())
    }

    fn close(&mut self, step: &Step, close: Option<&Close>) -> Result<(), String> {
        let now = self.now;
        let tab = self.tab(step.tab)?;
        let Some(socket) = tab.socket(step).filter(|socket| !tab.closed.contains(socket)) else { return Ok(()) };
        tab.closed.push(socket);
        tab.user.handle_closed(socket, close.map(|close| (close.code, close.reason.as_str())), now);
        Ok(())
    }

    fn network(&mut self, step: &Step, act: &NetworkAct, vars: &mut Bindings) -> Result<(), String> {
        let now = self.now;
        match act {
            NetworkAct::Cut => self.close(step, None),
            NetworkAct::Unreachable => {
                let tab = self.tab(step.tab)?;
                let op = tab.asked.pop_front().ok_or("nothing was asked")?;
                tab.user.handle_unreachable(op, now);
                Ok(())
            }
            NetworkAct::DarkMs(ms) => {
                self.dark = true;
                self.advance(Duration::from_millis(*ms));
                self.dark = false;
                Ok(())
            }
            NetworkAct::ToClient(message) => self.send(step, message, vars),
            NetworkAct::AddressChanged | NetworkAct::InstanceGone => {
                self.tab(step.tab)?.media_flows = false;
                Ok(())
            }
            NetworkAct::Media { media, .. } => {
                let tab = self.tab(step.tab)?;
                tab.media_flows = !matches!(media, MediaChange::Stopped);
                tab.hear(now);
                Ok(())
            }
            NetworkAct::InstanceFrozen | NetworkAct::InstanceThawed | NetworkAct::ToServer(_) => Ok(()),
        }
    }

    /// Through every timer on the way; flowing media is heard every 20 ms.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while self.now < end {
            let timers = self.tabs.values().filter_map(|tab| tab.user.poll_timeout()).map(|(at, _)| at);
            let tick = self.now + Duration::from_millis(20);
            self.now = timers.chain([end, tick]).min().unwrap_or(end).max(self.now + Duration::from_micros(100));
            let (now, dark) = (self.now, self.dark);
            for tab in self.tabs.values_mut() {
                tab.hear(now);
                tab.user.handle_timeout(now);
                tab.collect(now, dark);
            }
        }
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Tab {
    /// The socket that the step means: the tab's newest at that instance, if it names none.
    fn socket(&self, step: &Step) -> Option<SocketId> {
        let mut there =
            self.places.iter().zip(&self.sockets).filter(|(at, _)| **at == step.at).map(|(_, socket)| *socket);
        match step.socket {
            Some(number) => there.nth(number - 1),
            None => there.next_back(),
        }
    }

    fn hear(&mut self, now: Now) {
        if self.media_flows
            && let Some(call) = self.user.call().cloned()
        {
            self.user.handle_heard(&call, now);
        }
    }

    /// Takes what the user did and says; in the dark every request and open fails at once.
    fn collect(&mut self, now: Now, dark: bool) {
        while let Some(command) = self.user.next_command() {
            match command {
                Command::Request(op, _) if dark => self.user.handle_unreachable(op, now),
                Command::Open { socket, .. } if dark => self.user.handle_closed(socket, None, now),
                Command::Send(..) if dark => {}
                Command::Offer { call, .. } => self.user.handle_offer(&call, "v=0\r\n".to_owned()),
                Command::Accept { .. } => {}
                Command::Request(op, request) => {
                    self.asked.push_back(op);
                    self.did.push_back(request_json(&request));
                }
                Command::Open { socket, base, session } => {
                    self.sockets.push(socket);
                    self.did.push_back(json!({"open": format!("/v1/sessions/{session}/socket"), "base": base}));
                }
                Command::Send(_, message) => self.did.push_back(json!({ "send": message })),
                Command::Close(_) => self.optional.push_back(json!({"close": {"code": 1000}})),
                Command::ClosePeer(call) => self.optional.push_back(json!({ "peer_close": call })),
            }
        }
        self.told.extend(std::iter::from_fn(|| self.user.next_told()).map(|told: Told| json!(told)));
    }
}

fn request_json(request: &super::Request) -> Value {
    let mut headers = serde_json::Map::new();
    let bearer = request.bearer.as_ref().map(|token| format!("Bearer {token}"));
    for (name, value) in
        [("authorization", &bearer), ("idempotency-key", &request.idempotency_key), ("holdfast-avoid", &request.avoid)]
    {
        headers.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    let fields = json!({"method": request.method, "path": request.path, "headers": headers, "body": request.body});
    json!({"request": fields, "base": request.base})
}

impl Runner for World {
    fn role(&self, step: &Step) -> Role {
        match &step.act {
            Act::Client(_) | Act::Told(_) => Role::Check,
            Act::Server(ServerAct::PeerClose(_)) | Act::Operator(_) => Role::Ignore,
            Act::Server(_) if step.lost => Role::Ignore,
            Act::App(_) | Act::Server(_) | Act::Balancer(_) | Act::Network(_) | Act::Time(_) => Role::Drive,
        }
    }

    fn drive(&mut self, step: &Step, vars: &mut Bindings) -> Result<(), String> {
        match &step.act {
            Act::App(act) => self.app(step, act, vars),
            Act::Server(ServerAct::Answer(answer)) | Act::Balancer(BalancerAct::Answer(answer)) => {
                self.answer(step, answer, vars)
            }
            Act::Server(ServerAct::Send(message)) => self.send(step, message, vars),
            Act::Server(ServerAct::Close(close)) | Act::Balancer(BalancerAct::Close(close)) => {
                self.close(step, Some(close))
            }
            Act::Balancer(BalancerAct::Pin(pin)) => {
                self.tab(step.tab)?.pin = Some(pin.clone());
                Ok(())
            }
            Act::Network(act) => self.network(step, act, vars),
            Act::Time(ms) => {
                self.advance(Duration::from_millis(*ms));
                Ok(())
            }
            Act::Client(_) | Act::Told(_) | Act::Operator(_) | Act::Server(ServerAct::PeerClose(_)) => Ok(()),
        }?;
        let now = self.now;
        self.tabs.values_mut().for_each(|tab| tab.collect(now, false));
        Ok(())
    }

    fn observe(&mut self, step: &Step) -> Option<Value> {
        let tab = self.tabs.get_mut(&step.tab)?;
        match &step.act {
            Act::Told(_) => tab.told.pop_front(),
            Act::Client(ClientAct::Close(_) | ClientAct::PeerClose(_)) => tab.optional.pop_front(),
            Act::Client(ClientAct::Open(_)) => {
                tab.places.push(step.at.clone());
                tab.did.pop_front()
            }
            _ => tab.did.pop_front(),
        }
    }

    fn left_over(&mut self) -> Vec<String> {
        self.tabs.values().flat_map(|tab| &tab.did).map(Value::to_string).collect()
    }
}

#[test]
fn every_transcript_is_replayed() {
    let failures: Vec<String> = Transcript::all()
        .expect("the transcripts are well-formed")
        .iter()
        .flat_map(|transcript| (0..20).map(move |seed| (transcript, seed)))
        .filter_map(|(transcript, seed)| {
            let mut vars = Bindings::new(transcript.values.clone());
            replay(transcript, &mut vars, &mut World::new(transcript, seed))
                .err()
                .map(|failure| format!("seed {seed}: {failure}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
