//! A gateway on free ports, a small HTTP client, and one end of a session socket.

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use gateway::{Args, Gateway};
use gateway_core::Limits;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What comes, comes within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway without authentication.
pub(crate) fn start(flags: &[&str]) -> Gateway {
    start_limited(flags, |_| {})
}

pub(crate) fn start_limited(flags: &[&str], limit: impl FnOnce(&mut Limits)) -> Gateway {
    let ports = ["--listen", "--admin-listen", "--media-listen"].into_iter().flat_map(|flag| [flag, "127.0.0.1:0"]);
    let auth = if flags.contains(&"--auth") { &[][..] } else { &["--auth", "anonymous"][..] };
    let args = std::iter::once("gateway").chain(ports).chain(["--media-threads", "1"]).chain(auth.iter().copied());
    let args = Args::parse_from(args.chain(flags.iter().copied()));
    let mut limits = args.limits();
    limit(&mut limits);
    Gateway::start_limited(args, limits).expect("the gateway starts")
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status and problem type, which every refusal has.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        (self.status, body["type"].as_str().expect("a type").to_owned())
    }
}

pub(crate) async fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    raw(to, &format!("{head}\r\n{body}")).await
}

/// Sends these bytes and reads one answer until the connection closes.
pub(crate) async fn raw(to: SocketAddr, bytes: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("the gateway listens");
    // The gateway may answer and close before it has read everything.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut text = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an answer in time");
    parse(&String::from_utf8(text).expect("text"))
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
    Answer { status, headers, text: body.to_owned() }
}

pub(crate) async fn post(gateway: &Gateway, body: &Value) -> Answer {
    request(gateway.public(), "POST", "/v1/sessions", &[], &body.to_string()).await
}

/// Signs a user in; the body of the 201.
pub(crate) async fn sign_in(gateway: &Gateway, user: &str, client: &str) -> Value {
    let answer = post(gateway, &json!({ "client_id": client, "user": user })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

pub(crate) async fn with_token(gateway: &Gateway, method: &str, session: &Value) -> Answer {
    let bearer = format!("Bearer {}", text(&session["session_token"]));
    let path = format!("/v1/sessions/{}", text(&session["session_id"]));
    request(gateway.public(), method, &path, &[("authorization", &bearer)], "").await
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// What comes from a socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Message(Value),
    Closed(u16, String),
    /// Without a close frame.
    Broken,
}

/// A client's end of a session socket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(gateway: &Gateway, session_id: &str, headers: &[(&'static str, &str)]) -> Self {
        let url = format!("ws://{}/v1/sessions/{session_id}/socket", gateway.public());
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(gateway.public()).await.expect("the gateway listens");
        Self(client_async(request, stream).await.expect("every socket is accepted").0)
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await.expect("the socket is open");
    }

    pub(crate) async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.0.send(Message::Text(text.into())).await
    }

    /// The next message that is not a heartbeat, or the end.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message["kind"] == "ping" {
                        self.send(&json!({ "kind": "pong", "nonce": message["nonce"] })).await;
                    } else {
                        return Heard::Message(message);
                    }
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Heard::Broken,
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Message(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.hear().await {
                Heard::Closed(code, _) => return code,
                Heard::Broken => return 1006,
                Heard::Message(_) => {}
            }
        }
    }

    pub(crate) async fn ask(&mut self, id: &str, request: Value) -> Value {
        self.send(&json!({ "kind": "request", "id": id, "request": request })).await;
        let answer = self.message().await;
        assert_eq!((text(&answer["kind"]), text(&answer["id"])), ("response", id), "{answer}");
        answer["outcome"].clone()
    }

    /// The session answers: a hang-up of nothing is refused.
    pub(crate) async fn still_answers(&mut self, id: &str) {
        let outcome = self.ask(id, json!({ "method": "hang_up", "call_id": "nothing" })).await;
        assert_eq!(outcome, json!({ "status": "failed", "reason": "no-such-call" }));
    }
}

/// Opens a socket and attaches; the socket and the `attached` message.
pub(crate) async fn attach(gateway: &Gateway, session: &Value) -> (Socket, Value) {
    let mut socket = Socket::open(gateway, text(&session["session_id"]), &[]).await;
    socket.send(&json!({ "kind": "attach", "token": session["session_token"], "calls": [], "dead_calls": [] })).await;
    let attached = socket.message().await;
    assert_eq!(attached["kind"], "attached", "{attached}");
    (socket, attached)
}

/// Signed in and attached.
pub(crate) async fn join(gateway: &Gateway, user: &str, client: &str) -> (Socket, Value) {
    let session = sign_in(gateway, user, client).await;
    (attach(gateway, &session).await.0, session)
}

/// An offer of the kind that a browser makes for one audio track.
pub(crate) const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
a=extmap-allow-mixed\r\na=msid-semantic: WMS stream\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8 13 110 126\r\n\
c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:4ZcD\r\na=ice-pwd:2/1muCWoOi3uLifh0NuRHlkk\r\n\
a=ice-options:trickle\r\na=fingerprint:sha-256 D2:B9:31:8F:DF:24:D8:0E:ED:D2:EF:25:9A:8F:E5:74:6A:2E:1A:52:BB:7B:1D:1A:2A:6C:3A:7B:8E:3C:9A:11\r\n\
a=setup:actpass\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=sendrecv\r\n\
a=msid:stream track\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
a=ssrc:1001 cname:c\r\na=ssrc:1001 msid:stream track\r\n";

pub(crate) fn start_call(call: &str, target: &str, sdp: &str) -> Value {
    json!({ "method": "start_call", "call_id": call, "target": target, "sdp": sdp })
}

/// A key file that several gateways share.
pub(crate) fn key_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").expect("written");
    file
}

/// A JWT key file and a token of alice that lasts until 2100.
pub(crate) fn jwt() -> (tempfile::NamedTempFile, String, String) {
    let rows: Value = serde_json::from_str(include_str!("../jwt/tokens.json")).expect("JSON");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), rows[0]["jwk"].to_string()).expect("written");
    (file, text(&rows[0]["valid"]).to_owned(), text(&rows[0]["expired"]).to_owned())
}
