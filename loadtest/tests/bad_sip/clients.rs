//! What a client may write where it could reach SIP: line ends and other sharp characters, targets that are nobody's to call,
//! and more calls than a minute has.

use crate::caller::{Caller, calls_of, told};
use crate::chain::{CALLS_PER_MINUTE, Chain};
use crate::client::{Heard, Socket, request};
use crate::cluster::Cluster;
use crate::far::{Far, sdp};
use crate::table::Table;
use loadtest::sip_phone::message::Message;
use serde_json::{Value, json};
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(10);
/// Could end a header field, start another or leave its brackets.
const SHARP: [&str; 8] = [
    "phone\r\nX-Evil: 1",
    "phone\nBYE",
    "phone\rX",
    "phone\0",
    "phone\u{7f}",
    "phone>;tag=x",
    "sip:phone@example.org?Replaces=x",
    "phone phone",
];
/// Outside the allow-list, or somewhere else than they say.
const FOREIGN: [&str; 9] = [
    "carol",
    "+1900555",
    "phone@evil.example",
    "sip:phone@evil.example",
    "sip:phone@example.org;maddr=127.0.0.1",
    "sip:phone@example.org:9",
    "sip:phone@example.org;method=BYE",
    "tel:+4930123",
    "",
];

pub(crate) async fn rows(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    sign_ins(chain, table).await;
    targets(chain, table).await;
    ids(chain, table).await;
    in_a_call(cluster, table).await;
    too_many(chain, table).await;
    passwords(cluster, table).await;
}

async fn sign_ins(chain: &Chain, table: &mut Table) {
    for (item, user, client_id) in [
        ("a user with CR LF", "wen\r\nX-Evil: 1", "tab"),
        ("a user with a null", "wen\0", "tab"),
        ("a user with DEL", "wen\u{7f}", "tab"),
        ("a client id with CR LF", "wendy", "tab\r\nX-Evil: 1"),
        ("a client id with a quote", "wendy", "tab\""),
    ] {
        let body = json!({ "user": user, "client_id": client_id });
        let answer = async {
            let answer = request(chain.balancer, "POST", "/v1/sessions", &[], &body.to_string()).await.problem();
            format!("{answer}, {} SIP", evil(chain))
        };
        table.row(item, "400 bad-request, no SIP", answer).await;
    }
    let observed = async {
        let user = "w\"<e>;n@d y%0d%0a?";
        let (_wendy, _) = Socket::join(chain, user, "tab-wendy").await;
        while !chain.tap.requests().iter().any(|request| request.contains("w%22")) {
            tokio::time::sleep(LOOK).await;
        }
        let requests = chain.tap.requests();
        let register = requests.iter().find(|request| request.contains("w%22")).expect("registered");
        let to = register.lines().find_map(|line| line.strip_prefix("To: ")).unwrap_or_default();
        to.to_owned()
    };
    let escaped = "<sip:w%22%3Ce%3E%3Bn%40d%20y%250d%250a%3F@example.org>";
    table.row("a user with quotes, brackets and escapes", escaped, observed).await;
}

/// Whether anything of what was smuggled reached the server.
fn evil(chain: &Chain) -> &'static str {
    if chain.tap.requests().iter().any(|request| request.contains("Evil")) { "evil" } else { "no" }
}

async fn targets(chain: &Chain, table: &mut Table) {
    let mut walter = Caller::join(chain, "walter").await;
    let line = "holdfast_call_refusals_total{reason=\"not-allowed\"}";
    for target in SHARP.into_iter().chain(FOREIGN) {
        let observed = async {
            let (before, left) = (chain.counts(line).await, calls_of(chain, "walter"));
            let outcome = told(&walter.call(target).await);
            let counted = chain.counts(line).await - before;
            format!("{outcome}, {counted} counted, {} SIP", calls_of(chain, "walter") - left)
        };
        table.row(&format!("a call to {target:?}"), "not-allowed, 1 counted, 0 SIP", observed).await;
    }
}

async fn ids(chain: &Chain, table: &mut Table) {
    let (mut socket, _) = Socket::join(chain, "xavier", "tab-xavier").await;
    for (item, message) in [
        (
            "a call id with CR LF",
            request_of(
                "a",
                json!({ "method": "start_call", "call_id": "c\r\nX-Evil: 1", "target": "phone", "sdp": "v=0" }),
            ),
        ),
        (
            "a call id of 65 bytes",
            request_of(
                "b",
                json!({ "method": "start_call", "call_id": "c".repeat(65), "target": "phone", "sdp": "v=0" }),
            ),
        ),
        ("a hang-up of a call id with a null", request_of("c", json!({ "method": "hang_up", "call_id": "c\0" }))),
        (
            "a target that is no text",
            request_of("d", json!({ "method": "start_call", "call_id": "c", "target": ["phone"], "sdp": "v=0" })),
        ),
    ] {
        let id = message["id"].clone();
        let observed = async {
            socket.send(&message).await;
            loop {
                match socket.hear().await {
                    Heard::Message(answer) if answer["id"] == id => break told(&answer["outcome"]),
                    Heard::Message(_) => {}
                    end => break format!("{end:?}"),
                }
            }
        };
        let observed = async { format!("{}, {} SIP", observed.await, calls_of(chain, "xavier")) };
        table.row(item, "unknown-method, 0 SIP", observed).await;
    }
    let observed = async {
        let before = chain.counts("holdfast_unreadable_messages_total").await;
        socket.send(&request_of("e\r\nX-Evil: 1", json!({ "method": "hang_up", "call_id": "c" }))).await;
        let answers = socket.still_answers().await;
        let counted = chain.counts("holdfast_unreadable_messages_total").await - before;
        format!("ignored, {counted} counted, answers: {answers}")
    };
    table.row("a request id with CR LF", "ignored, 1 counted, answers: true", observed).await;
}

fn request_of(id: &str, request: Value) -> Value {
    json!({ "kind": "request", "id": id, "request": request })
}

async fn in_a_call(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    let mut far = Far::register(cluster.registrar, "far-yvonne").await;
    let mut yvonne = Caller::join(chain, "yvonne").await;
    let (_, _dialog) = tokio::join!(yvonne.call("far-yvonne"), far.answers(sdp(9)));
    while yvonne.socket.event("call_state").await["state"] != "active" {}
    let call = "call-1";
    for (item, request, expected) in [
        (
            "a transfer to a target with CR LF",
            json!({ "method": "transfer", "call_id": call, "target": SHARP[0] }),
            "not-allowed",
        ),
        (
            "a transfer to a target with >",
            json!({ "method": "transfer", "call_id": call, "target": SHARP[5] }),
            "not-allowed",
        ),
        (
            "a transfer outside the allow-list",
            json!({ "method": "transfer", "call_id": call, "target": FOREIGN[3] }),
            "not-allowed",
        ),
        (
            "a transfer by another method",
            json!({ "method": "transfer", "call_id": call, "target": FOREIGN[6] }),
            "not-allowed",
        ),
        (
            "digits with CR LF",
            json!({ "method": "send_digits", "call_id": call, "digits": "1\r\nX-Evil: 1" }),
            "bad-target",
        ),
        ("digits with a null", json!({ "method": "send_digits", "call_id": call, "digits": "1\0" }), "bad-target"),
        ("no digits", json!({ "method": "send_digits", "call_id": call, "digits": "" }), "bad-target"),
        ("33 digits", json!({ "method": "send_digits", "call_id": call, "digits": "1".repeat(33) }), "bad-target"),
    ] {
        let observed = async {
            let left = calls_of(chain, "yvonne");
            let outcome = told(&yvonne.socket.ask(request).await);
            format!("{outcome}, {} SIP", calls_of(chain, "yvonne") - left)
        };
        table.row(item, &format!("{expected}, 0 SIP"), observed).await;
    }
}

async fn too_many(chain: &Chain, table: &mut Table) {
    let mut zoe = Caller::join(chain, "zoe").await;
    for _ in 0..CALLS_PER_MINUTE {
        assert_eq!(told(&zoe.call("nobody").await), "ok");
        assert_eq!(zoe.ended().await, "not-found");
    }
    let line = "holdfast_call_refusals_total{reason=\"rate-limited\"}";
    let observed = async {
        let (before, left) = (chain.counts(line).await, calls_of(chain, "zoe"));
        let mut outcome = told(&zoe.call("nobody").await);
        // A slow machine may have made room for another one meanwhile.
        for _ in 0..CALLS_PER_MINUTE {
            if outcome != "ok" {
                break;
            }
            zoe.ended().await;
            outcome = told(&zoe.call("nobody").await);
        }
        let counted = chain.counts(line).await - before;
        let left = if outcome == "rate-limited" { calls_of(chain, "zoe") >= left } else { false };
        format!("{outcome}, {counted} counted, others before it left: {left}")
    };
    let item = format!("a call beyond {CALLS_PER_MINUTE} in a minute");
    table.row(&item, "rate-limited, 1 counted, others before it left: true", observed).await;
}

/// Credentials leave for the configured realm alone, and only those that can be.
async fn passwords(cluster: &Cluster, table: &mut Table) {
    let chain = &cluster.tcp;
    let mut far = Far::register(cluster.registrar, "far-eve").await;
    let mut eve = Caller::join(chain, "eve").await;
    for (item, challenge, expected) in [
        ("a challenge of another realm", "Digest realm=\"evil.example\", nonce=\"n\"", "no credentials, failed"),
        (
            "a challenge of a realm that begins like ours",
            "Digest realm=\"example.org.evil\", nonce=\"n\"",
            "no credentials, failed",
        ),
        (
            "a challenge of two realms in one",
            "Digest realm=\"evil\", realm=\"example.org\", nonce=\"n\"",
            "no credentials, failed",
        ),
        ("a challenge that is no digest", "Basic realm=\"example.org\"", "no credentials, failed"),
        ("a challenge without a nonce", "Digest realm=\"example.org\"", "no credentials, failed"),
        ("a challenge of our realm", "Digest realm=\"example.org\", nonce=\"n\"", "credentials of eve"),
    ] {
        table.row(item, expected, challenged(&mut far, &mut eve, challenge)).await;
    }
    let observed = async {
        let body = json!({ "user": "paul", "client_id": "tab-paul", "sip_password": "secret\r\nX-Evil: 1" });
        let signed_in = request(chain.balancer, "POST", "/v1/sessions", &[], &body.to_string()).await;
        let mut socket = Socket::attach(chain, &signed_in).await;
        crate::decliner::registered(&mut socket).await;
        let mut paul = Caller::with(socket);
        let challenge = "Digest realm=\"example.org\", nonce=\"n\"";
        format!("{}, {}", signed_in.status, challenged(&mut far, &mut paul, challenge).await)
    };
    table.row("a SIP password with CR LF", "201, no credentials, failed", observed).await;
}

async fn challenged(far: &mut Far, caller: &mut Caller, challenge: &str) -> String {
    let target = far.user.clone();
    let outcome = caller.call(&target).await;
    assert_eq!(told(&outcome), "ok", "{outcome}");
    let invite = far.hears("INVITE").await;
    far.send(Message::response(&invite, 407, "far").with("Proxy-Authenticate", challenge));
    far.hears("ACK").await;
    tokio::select! {
        ended = caller.ended() => format!("no credentials, {ended}"),
        again = far.hears("INVITE") => {
            let answer = again.header("Proxy-Authorization").to_owned();
            far.send(Message::response(&again, 486, "far"));
            far.hears("ACK").await;
            caller.ended().await;
            let user = answer.split("username=\"").nth(1).and_then(|rest| rest.split('"').next());
            format!("credentials of {}", user.unwrap_or("nobody"))
        }
    }
}
