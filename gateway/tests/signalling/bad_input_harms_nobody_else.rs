//! Each row sends something bad, names what was answered, and checks that another session still answers.

use crate::support::{
    Heard, OFFER, Socket, attach, join, jwt, key_file, post, raw, request, sign_in, start, start_call, start_limited,
    text, with_token,
};
use gateway::Gateway;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A gateway, and a session on it that must not be harmed.
struct Table {
    gateway: Gateway,
    bystander: Socket,
    rows: u32,
}

impl Table {
    async fn new(gateway: Gateway) -> Self {
        let (bystander, _) = join(&gateway, "bystander", "bystander").await;
        Self { gateway, bystander, rows: 0 }
    }

    async fn row(&mut self, item: &str, observed: impl std::fmt::Display, expected: &str) {
        let observed = observed.to_string();
        println!("{item:<55} {observed}");
        assert_eq!(observed, expected, "{item}");
        self.rows += 1;
        self.bystander.still_answers(&format!("row-{}", self.rows)).await;
    }

    async fn post(&self, body: &str) -> String {
        let (status, kind) = request(self.gateway.public(), "POST", "/v1/sessions", &[], body).await.problem();
        format!("{status} {kind}")
    }
}

#[tokio::test]
async fn over_http() {
    let mut table = Table::new(start(&[])).await;
    let full = "x".repeat(256 * 1024 + 1);
    let long = format!(r#"{{"client_id":"{}","user":"a"}}"#, "c".repeat(65));
    for (item, body, expected) in [
        ("malformed JSON", "{", "400 bad-request"),
        ("no body", "", "400 bad-request"),
        ("not an object", "[1]", "400 bad-request"),
        ("a body that is too large", full.as_str(), "413 too-large"),
        ("no client id", r#"{"user":"a"}"#, "400 bad-request"),
        ("a client id with a slash", r#"{"client_id":"a/b","user":"a"}"#, "400 bad-request"),
        ("a client id that is too long", long.as_str(), "400 bad-request"),
        ("a user with a line break", r#"{"client_id":"a","user":"a\r\nb"}"#, "400 bad-request"),
        ("deeply nested JSON", &"[".repeat(100_000), "400 bad-request"),
    ] {
        let observed = table.post(body).await;
        table.row(item, observed, expected).await;
    }
    let public = table.gateway.public();
    for (item, method, path, expected) in [
        ("a method that is not served", "PUT", "/v1/sessions", "405 method-not-allowed"),
        ("a path that is not served", "POST", "/v1/nothing", "404 not-found"),
        ("a socket path without an upgrade", "GET", "/v1/sessions/x/socket", "400 bad-request"),
        ("an unknown session", "GET", "/v1/sessions/x", "404 session-unknown"),
    ] {
        let (status, kind) = request(public, method, path, &[], "").await.problem();
        table.row(item, format!("{status} {kind}"), expected).await;
    }
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let observed = raw(public, &endless).await.status;
    table.row("a head that is too large", observed, "431").await;
    let observed = raw(public, "BOGUS\r\n\r\n").await.status;
    table.row("bytes that are no HTTP", observed, "400").await;
}

#[tokio::test]
async fn over_the_socket() {
    let mut table = Table::new(start(&[])).await;
    let (mut socket, _) = join(&table.gateway, "alice", "tab").await;
    for (item, sent) in [
        ("malformed JSON", "{"),
        ("an unknown kind", r#"{"kind":"from_the_future","x":1}"#),
        ("a second attach", r#"{"kind":"attach","token":"x"}"#),
        ("a pong that nobody asked for", r#"{"kind":"pong","nonce":4000000000}"#),
        ("a message without a kind", r#"{"id":5}"#),
    ] {
        socket.send_text(sent).await.expect("the socket is open");
        socket.still_answers(&format!("after-{}", table.rows)).await;
        table.row(item, "ignored", "ignored").await;
    }
    socket.send_raw(Message::Binary(vec![0; 100].into())).await.expect("the socket is open");
    socket.still_answers("after-binary").await;
    table.row("a binary frame", "ignored", "ignored").await;
    let no_audio = OFFER.replace("m=audio", "m=application");
    let wide = format!("{OFFER}{}", "a=x\r\n".repeat(14_000));
    for (item, id, request, expected) in [
        ("an unknown method", "q1", json!({ "method": "from_the_future" }), "unknown-method"),
        ("a request without its fields", "q2", json!({ "method": "start_call" }), "unknown-method"),
        ("SDP that is none", "q3", start_call("c", "echo", "hello"), "bad-sdp"),
        ("SDP without audio", "q4", start_call("c", "echo", &no_audio), "bad-sdp"),
        ("SDP without a fingerprint", "q5", start_call("c", "echo", &OFFER.replace("a=fingerprint", "a=f")), "bad-sdp"),
        ("SDP that is too large", "q6", start_call("c", "echo", &wide), "too-large"),
        ("a target that is not served", "q7", start_call("c", "sip:x@y", OFFER), "bad-target"),
        (
            "an ICE restart of nothing",
            "q8",
            json!({ "method": "restart_ice", "call_id": "c", "sdp": OFFER }),
            "no-such-call",
        ),
    ] {
        let outcome = socket.ask(id, request).await;
        table.row(item, text(&outcome["reason"]), expected).await;
    }
    // The bound of the frame lies above that of the SDP.
    let _ = socket.send_text(&"x".repeat(257 * 1024)).await;
    let observed = socket.close_code().await;
    table.row("a frame that is too large", observed, "1009").await;
}

#[tokio::test]
async fn sockets_before_their_attach() {
    let mut table = Table::new(start_limited(&[], |limits| limits.unattached_sockets = 3)).await;
    let session = sign_in(&table.gateway, "alice", "tab").await;
    let id = text(&session["session_id"]).to_owned();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(Socket::open(&table.gateway, &id, &[]).await);
    }
    let mut fourth = Socket::open(&table.gateway, &id, &[]).await;
    let Heard::Closed(code, reason) = fourth.hear().await else { panic!("not closed") };
    table.row("more sockets than may wait for their attach", format!("{code} {reason}"), "1013 retry=1000").await;
    silent[0].send(&json!({ "kind": "request", "id": "r", "request": { "method": "hang_up", "call_id": "c" } })).await;
    silent[1].send_text("{").await.expect("the socket is open");
    for socket in &mut silent {
        let observed = socket.close_code().await;
        table.row("a socket that never attaches", observed, "4408").await;
    }
    let mut wrong = Socket::open(&table.gateway, &id, &[]).await;
    wrong.send(&json!({ "kind": "attach", "token": "guessed" })).await;
    let observed = wrong.close_code().await;
    table.row("an attach with a wrong token", observed, "4401").await;
    attach(&table.gateway, &session).await.0.still_answers("r").await;
}

#[tokio::test]
async fn floods() {
    let mut table = Table::new(start_limited(&["--capacity", "20"], |limits| limits.messages_per_second = 20)).await;
    let (mut socket, _) = join(&table.gateway, "alice", "tab").await;
    for _ in 0..200 {
        if socket.send_text(r#"{"kind":"resync"}"#).await.is_err() {
            break;
        }
    }
    let observed = socket.close_code().await;
    table.row("more messages than allowed", observed, "1013").await;
    let mut answers = std::collections::BTreeMap::<u16, u32>::new();
    for number in 0..200 {
        let body = json!({ "client_id": format!("tab-{number}"), "user": format!("user-{number}") });
        *answers.entry(post(&table.gateway, &body).await.status).or_default() += 1;
    }
    // Two places are taken already.
    table.row("many half-open sign-ins", format!("{answers:?}"), "{201: 18, 503: 182}").await;
}

#[tokio::test]
async fn stolen_and_stale_proofs() {
    let (keys, jwt_keys) = (key_file(), jwt());
    let key_path = keys.path().to_str().expect("utf-8");
    let jwt_path = jwt_keys.0.path().to_str().expect("utf-8");
    let gateway = start(&["--cluster-key-file", key_path, "--auth", "jwt", "--jwt-key-file", jwt_path]);
    let bearer = format!("Bearer {}", jwt_keys.1);
    let sign_in = async |body: Value, bearer: &str| {
        request(gateway.public(), "POST", "/v1/sessions", &[("authorization", bearer)], &body.to_string()).await
    };
    let alice = sign_in(json!({ "client_id": "tab" }), &bearer).await.json();
    let (mut socket, _) = attach(&gateway, &alice).await;
    let foreign = sign_in_on_another_cluster().await;
    let mut tampered = text(&alice["capsule"]).to_owned();
    tampered.replace_range(80..84, "AAAA");
    for (item, body, bearer) in [
        ("an expired JWT", json!({ "client_id": "b" }), format!("Bearer {}", jwt_keys.2)),
        ("a forged JWT", json!({ "client_id": "b" }), format!("{bearer}x")),
        (
            "a tampered capsule",
            json!({ "client_id": "tab", "capsule": tampered, "previous_token": alice["session_token"] }),
            String::new(),
        ),
        (
            "a capsule of another cluster",
            json!({ "client_id": "tab", "capsule": foreign["capsule"], "previous_token": foreign["session_token"] }),
            String::new(),
        ),
        (
            "a stolen capsule without its token",
            json!({ "client_id": "tab", "capsule": alice["capsule"] }),
            String::new(),
        ),
        (
            "a capsule in place of a move ticket",
            json!({ "client_id": "tab", "move_ticket": alice["capsule"] }),
            String::new(),
        ),
    ] {
        let (status, kind) = sign_in(body, &bearer).await.problem();
        println!("{item:<55} {status} {kind}");
        assert_eq!((status, kind.as_str()), (401, "unauthorized"), "{item}");
        socket.still_answers(&item.replace(' ', "-")).await;
    }
    let mut stolen = alice.clone();
    stolen["session_token"] = json!("guessed");
    assert_eq!(with_token(&gateway, "DELETE", &stolen).await.problem().0, 401);
    socket.still_answers("at-last").await;
}

async fn sign_in_on_another_cluster() -> Value {
    sign_in(&start(&[]), "alice", "tab").await
}
