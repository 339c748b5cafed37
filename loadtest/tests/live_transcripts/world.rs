//! Running gateways, with everybody around them played by a transcript in real time.

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use gateway::{Args, Gateway};
use gateway_protocol::transcript::{
    Act, Auth, Bindings, ClientAct, HttpRequest, MediaChange, NetworkAct, OperatorAct, Role, Runner, ServerAct, Step,
    Transcript,
};
use loadtest::peer::{PeerState, Profiles};
use loadtest::peer_io::{PeerPool, PoolConfig, PoolPeer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc as tokio_mpsc;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// What comes, comes within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything around the gateways of one transcript.
pub(crate) struct World {
    runtime: Runtime,
    gateways: BTreeMap<String, Gateway>,
    sockets: BTreeMap<(String, u8), Vec<Socket>>,
    answers: BTreeMap<(String, u8), VecDeque<Value>>,
    pool: PeerPool,
    /// Offered, and waiting for the answer.
    offered: Option<(String, PoolPeer)>,
    peers: BTreeMap<String, PoolPeer>,
    _files: tempfile::TempDir,
}

/// The client's end of a socket, kept by a task.
struct Socket {
    /// Dropping it cuts the connection.
    send: Option<tokio_mpsc::UnboundedSender<Message>>,
    heard: Receiver<Value>,
}

impl World {
    pub(crate) fn new(transcript: &Transcript) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let mut gateways = BTreeMap::new();
        for step in &transcript.steps {
            gateways.entry(step.at.clone()).or_insert_with(|| start(&step.at, transcript, files.path()));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let config = PoolConfig { threads: 1, ..PoolConfig::default() };
        Self {
            runtime: runtime.expect("a runtime"),
            gateways,
            sockets: BTreeMap::new(),
            answers: BTreeMap::new(),
            pool: PeerPool::start(config).expect("peers can be made"),
            offered: None,
            peers: BTreeMap::new(),
            _files: files,
        }
    }

    fn gateway(&self, step: &Step) -> Result<&Gateway, String> {
        self.gateways.get(&step.at).ok_or_else(|| format!("instance {} is gone", step.at))
    }

    fn socket(&mut self, step: &Step) -> Option<&mut Socket> {
        let sockets = self.sockets.get_mut(&(step.at.clone(), step.tab))?;
        let index = step.socket.map_or(sockets.len(), |number| number).checked_sub(1)?;
        sockets.get_mut(index)
    }

    fn client(&mut self, step: &Step, act: &ClientAct, vars: &mut Bindings) -> Result<(), String> {
        match act {
            ClientAct::Request(request) => self.request(step, request, vars),
            ClientAct::Open(path) => {
                let path = vars.fill_str(path);
                let address = self.gateway(step)?.public();
                let socket = self.open(address, &path)?;
                self.sockets.entry((step.at.clone(), step.tab)).or_default().push(socket);
                Ok(())
            }
            ClientAct::Send(message) => self.send(step, message, vars),
            ClientAct::Close(_) => self.cut(step),
            ClientAct::PeerClose(call) => {
                let call = vars.fill_str(call);
                self.peers.get(&call).ok_or_else(|| format!("no call {call}"))?.stop();
                self.until(step, "calls", 0)
            }
        }
    }

    fn request(&mut self, step: &Step, request: &HttpRequest, vars: &mut Bindings) -> Result<(), String> {
        let path = vars.fill_str(&request.path);
        let headers = vars.fill(&Value::Object(request.headers.clone()));
        let body = if request.body.is_null() { String::new() } else { vars.fill(&request.body).to_string() };
        let answer = http(self.gateway(step)?.public(), &request.method, &path, &headers, &body)?;
        self.answers.entry((step.at.clone(), step.tab)).or_default().push_back(json!({ "answer": answer }));
        Ok(())
    }

    fn open(&self, address: SocketAddr, path: &str) -> Result<Socket, String> {
        let url = format!("ws://{address}{path}");
        let opened = self.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            client_async(url, stream).await.map_err(|error| error.to_string())
        });
        let (mut socket, _) = opened?;
        let (send, mut to_send) = tokio_mpsc::unbounded_channel::<Message>();
        let (tell, heard) = channel();
        self.runtime.spawn(async move {
            loop {
                tokio::select! {
                    message = to_send.recv() => match message {
                        Some(message) => drop(socket.send(message).await),
                        None => return,
                    },
                    message = socket.next() => match message {
                        Some(Ok(message)) => note(&message, &tell),
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
        Ok(Socket { send: Some(send), heard })
    }

    /// A new call's offer comes from a real peer.
    fn send(&mut self, step: &Step, message: &Value, vars: &mut Bindings) -> Result<(), String> {
        let starts = message["request"]["method"] == "start_call" && self.offered.is_none();
        let mut fresh = None;
        if starts && self.peers.is_empty() {
            let mut peer = self.pool.create(Profiles::Gcm).map_err(|error| error.to_string())?;
            vars.bind("offer", peer.offer());
            fresh = Some(peer);
        }
        let message = vars.fill(message);
        if let Some(peer) = fresh {
            self.offered = Some((message["request"]["call_id"].as_str().unwrap_or_default().to_owned(), peer));
        }
        let socket = self.socket(step).ok_or("no socket")?;
        let send = socket.send.as_ref().ok_or("the socket was cut")?;
        send.send(Message::Text(message.to_string().into())).map_err(|_| "the socket is closed".to_owned())
    }

    fn network(&mut self, step: &Step, act: &NetworkAct, vars: &mut Bindings) -> Result<(), String> {
        match act {
            NetworkAct::Cut => self.cut(step),
            NetworkAct::InstanceGone => {
                self.gateways.remove(&step.at).ok_or("no such instance")?.stop();
                Ok(())
            }
            NetworkAct::ToServer(message) => self.send(step, message, vars),
            NetworkAct::Media { media: MediaChange::Connected, call } => {
                let call = vars.fill_str(call);
                let peer = self.peers.get(&call).ok_or_else(|| format!("call {call} has no answer"))?;
                let mut state = peer.state();
                let connected = state.wait_for(|state| matches!(state, PeerState::Connected | PeerState::Flowing));
                let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, connected).await.is_ok() });
                if waited { Ok(()) } else { Err(format!("call {call} did not connect")) }
            }
            NetworkAct::Media { .. }
            | NetworkAct::DarkMs(_)
            | NetworkAct::InstanceFrozen
            | NetworkAct::InstanceThawed => Err("a live gateway can't play this".to_owned()),
            NetworkAct::Unreachable | NetworkAct::AddressChanged | NetworkAct::ToClient(_) => Ok(()),
        }
    }

    /// The gateway knows of it before the next step.
    fn cut(&mut self, step: &Step) -> Result<(), String> {
        let sessions = self.health(step)?["sessions"].as_u64().unwrap_or_default();
        self.socket(step).ok_or("no socket")?.send = None;
        self.until(step, "sessions", sessions.saturating_sub(1))
    }

    fn until(&self, step: &Step, field: &str, expected: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.health(step)?[field] != expected {
            if Instant::now() > deadline {
                return Err(format!("{field} did not become {expected}"));
            }
        }
        Ok(())
    }

    fn health(&self, step: &Step) -> Result<Value, String> {
        Ok(http(self.gateway(step)?.private(), "GET", "/health", &Value::Null, "")?["body"].clone())
    }

    /// The answer to an offer starts its peer.
    fn connect(&mut self, message: &Value) {
        if let Some(answer) = message["send"]["outcome"]["sdp"].as_str()
            && let Some((call, mut peer)) = self.offered.take()
        {
            peer.connect(answer).expect("the gateway's answer can be used");
            self.peers.insert(call, peer);
        }
    }
}

impl Runner for World {
    fn role(&self, step: &Step) -> Role {
        match step.act {
            Act::Client(_) if step.lost || !self.gateways.contains_key(&step.at) => Role::Ignore,
            Act::Client(_) | Act::Network(_) | Act::Operator(_) | Act::Time(_) => Role::Drive,
            Act::Server(_) => Role::Check,
            Act::App(_) | Act::Balancer(_) | Act::Told(_) => Role::Ignore,
        }
    }

    fn drive(&mut self, step: &Step, vars: &mut Bindings) -> Result<(), String> {
        match &step.act {
            Act::Client(act) => self.client(step, act, vars),
            Act::Network(act) => self.network(step, act, vars),
            Act::Operator(OperatorAct::Drain) => {
                let headers = json!({ "holdfast-admin": "1" });
                http(self.gateway(step)?.private(), "POST", "/drain", &headers, "").map(drop)
            }
            Act::Time(millis) => {
                std::thread::sleep(Duration::from_millis(*millis));
                Ok(())
            }
            Act::App(_) | Act::Server(_) | Act::Balancer(_) | Act::Told(_) => Ok(()),
        }
    }

    fn observe(&mut self, step: &Step) -> Option<Value> {
        let Act::Server(act) = &step.act else { return None };
        match act {
            ServerAct::Answer(_) => self.answers.get_mut(&(step.at.clone(), step.tab))?.pop_front(),
            ServerAct::Send(_) | ServerAct::Close(_) => {
                let heard = self.socket(step)?.heard.recv_timeout(PATIENCE).ok()?;
                if !step.lost {
                    self.connect(&heard);
                }
                Some(heard)
            }
            ServerAct::PeerClose(_) => None,
        }
    }

    fn left_over(&mut self) -> Vec<String> {
        let answers = self.answers.values().flatten().cloned();
        let heard = self.sockets.values().flatten().flat_map(|socket| socket.heard.try_iter());
        answers.chain(heard).map(|value| value.to_string()).collect()
    }
}

/// Heartbeats have a transcript of their own, under a stepped clock.
fn note(message: &Message, tell: &Sender<Value>) {
    let value = match message {
        Message::Text(text) => match serde_json::from_str::<Value>(text) {
            Ok(message) if message["kind"] == "ping" => return,
            Ok(message) => json!({ "send": message }),
            Err(_) => json!({ "send": text.as_str() }),
        },
        Message::Close(Some(frame)) => {
            json!({ "close": { "code": u16::from(frame.code), "reason": frame.reason.as_str() } })
        }
        _ => return,
    };
    // Whoever listened may have left with the transcript.
    let _ = tell.send(value);
}

fn start(name: &str, transcript: &Transcript, files: &std::path::Path) -> Gateway {
    let keys = files.join("cluster.keys");
    std::fs::write(&keys, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
    let jwk = files.join("jwk.json");
    std::fs::write(&jwk, r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMy"}"#).expect("written");
    let (keys, jwk) = (keys.display().to_string(), jwk.display().to_string());
    let auth = match transcript.auth {
        Auth::Anonymous => "anonymous",
        Auth::Jwt => "jwt",
    };
    let instance = format!("gw-{name}");
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let flags = ["--auth", auth, "--jwt-key-file", &jwk, "--cluster-key-file", &keys, "--instance-id", &instance];
    let args = Args::parse_from(["gateway", "--media-threads", "1"].into_iter().chain(ports).chain(flags));
    let mut limits = args.limits();
    limits.sessions = transcript.given.capacity.unwrap_or(limits.sessions);
    limits.calls = transcript.given.call_capacity.unwrap_or(limits.calls);
    limits.sign_ins_per_minute = transcript.given.sign_ins_per_minute.unwrap_or(limits.sign_ins_per_minute);
    Gateway::start_limited(args, limits).expect("the gateway starts")
}

/// One request on a connection of its own.
fn http(to: SocketAddr, method: &str, path: &str, headers: &Value, body: &str) -> Result<Value, String> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers.as_object().into_iter().flatten() {
        text += &format!("{name}: {}\r\n", value.as_str().unwrap_or_default());
    }
    text += &format!("\r\n{body}");
    let mut answer = String::new();
    let exchanged = TcpStream::connect(to).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(text.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    exchanged.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let mut lines = head.lines();
    let status: u16 = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or("no status")?;
    let headers: Map<String, Value> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), json!(value))).collect();
    Ok(json!({ "status": status, "headers": headers, "body": serde_json::from_str::<Value>(body).unwrap_or_default() }))
}
