//! A client that says exactly what it is told to: HTTP byte by byte, and session sockets.

use crate::chain::Chain;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What comes, comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came back on a connection until it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of the first answer; 0 if there is none.
    pub(crate) status: u16,
    /// Of all answers: a hidden request that was read makes a second one.
    pub(crate) statuses: Vec<String>,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    /// The first field with this name, or "".
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut fields = self.headers.iter().filter(|(each, _)| each.eq_ignore_ascii_case(name));
        fields.next().map_or("", |(_, value)| value)
    }

    /// `name=value` of a cookie that the answer sets, or "".
    pub(crate) fn cookie(&self, name: &str) -> &str {
        let set = self.headers.iter().filter(|(each, _)| each.eq_ignore_ascii_case("set-cookie"));
        let mut pairs = set.map(|(_, value)| value.split(';').next().unwrap_or_default());
        pairs.find(|pair| pair.split('=').next() == Some(name)).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Status and problem type.
    pub(crate) fn problem(&self) -> String {
        let kind =
            serde_json::from_str::<Value>(&self.text).ok().and_then(|body| Some(body["type"].as_str()?.to_owned()));
        format!("{} {}", self.status, kind.as_deref().unwrap_or("-"))
    }

    /// Status, problem type and what it says of the cause.
    pub(crate) fn detail(&self) -> String {
        format!("{}: {}", self.problem(), text(&self.json()["detail"]))
    }
}

pub(crate) async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &str,
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    raw(to, format!("{head}\r\n{body}").as_bytes()).await
}

/// Sends these bytes and reads until the connection ends.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("somebody listens");
    // Who refuses may answer and close before having read everything.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the connection ends");
    parse(&String::from_utf8_lossy(&read))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let words = text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3));
    let statuses = words.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned).collect();
    Answer { status, statuses, headers, text: body.to_owned() }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// What comes from a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Message(Value),
    Closed(u16, String),
    /// Without a close frame.
    Broken,
}

/// The client's end of a session socket, through the balancer.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    requests: u32,
}

impl Socket {
    pub(crate) async fn open(chain: &Chain, session_id: &str, cookie: &str) -> Self {
        let url = format!("ws://{}/v1/sessions/{session_id}/socket", chain.balancer);
        let mut request = url.into_client_request().expect("a request");
        if !cookie.is_empty() {
            request.headers_mut().insert("cookie", cookie.parse().expect("a header"));
        }
        let stream = TcpStream::connect(chain.balancer).await.expect("the balancer listens");
        let (stream, _) = client_async(request, stream).await.expect("every socket is accepted");
        Self { stream, requests: 0 }
    }

    /// Opened and attached, for the session of a 201.
    pub(crate) async fn attach(chain: &Chain, signed_in: &Answer) -> Self {
        let session = signed_in.json();
        let mut socket = Self::open(chain, text(&session["session_id"]), signed_in.cookie("holdfast-session")).await;
        socket.send(&json!({ "kind": "attach", "token": session["session_token"] })).await;
        assert!(matches!(socket.hear().await, Heard::Message(message) if message["kind"] == "attached"));
        socket
    }

    /// Signed in and attached.
    pub(crate) async fn join(chain: &Chain, user: &str, client_id: &str) -> (Self, Answer) {
        let signed_in = chain.signed_in(user, client_id).await;
        (Self::attach(chain, &signed_in).await, signed_in)
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.say(Message::Text(message.to_string().into())).await.expect("the socket is open");
    }

    pub(crate) async fn say(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await
    }

    /// The next message that is not a heartbeat, or the end. May be cancelled.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["kind"] != "ping" {
                        return Heard::Message(message);
                    }
                    let pong = json!({ "kind": "pong", "nonce": message["nonce"] });
                    drop(self.say(Message::Text(pong.to_string().into())).await);
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Heard::Broken,
            }
        }
    }

    /// The close code and reason that ends it.
    pub(crate) async fn close(&mut self) -> String {
        loop {
            match self.hear().await {
                Heard::Closed(code, reason) => return format!("closed {code} {reason}").trim_end().to_owned(),
                Heard::Broken => return "broken".to_owned(),
                Heard::Message(_) => {}
            }
        }
    }

    /// The outcome of a request; events before it are passed over.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        self.send(&json!({ "kind": "request", "id": id, "request": request })).await;
        loop {
            match self.hear().await {
                Heard::Message(message) if message["kind"] == "response" && message["id"] == id.as_str() => {
                    return message["outcome"].clone();
                }
                Heard::Message(_) => {}
                end => panic!("{end:?} in place of an answer to {id}"),
            }
        }
    }

    /// The session answers: a hang-up of nothing is refused.
    pub(crate) async fn still_answers(&mut self) -> bool {
        self.ask(json!({ "method": "hang_up", "call_id": "nothing" })).await["reason"] == "no-such-call"
    }

    /// The next event of this kind.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            match self.hear().await {
                Heard::Message(message) if message["event"]["type"] == kind => return message["event"].clone(),
                Heard::Message(_) => {}
                end => panic!("{end:?} in place of the event {kind}"),
            }
        }
    }
}

/// The head of a WebSocket upgrade.
pub(crate) fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

pub(crate) fn start_call(call: &str, target: &str, sdp: &str) -> Value {
    json!({ "method": "start_call", "call_id": call, "target": target, "sdp": sdp })
}
