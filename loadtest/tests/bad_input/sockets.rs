//! Session sockets, through the balancer: before and after their attach.

use crate::chain::{Chain, UNATTACHED_SOCKETS};
use crate::client::{Socket, raw, start_call, text, upgrade};
use crate::table::Table;
use futures_util::future::join_all;
use loadtest::peer::Profiles;
use loadtest::peer_io::{PeerPool, PoolConfig};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    let offer =
        PeerPool::start(PoolConfig::default()).expect("a pool").create(Profiles::Gcm).expect("a socket").offer();
    messages(chain, table).await;
    requests(chain, table, &offer).await;
    after_an_upgrade(chain, table).await;
    too_much(chain, table).await;
    without_attach(chain, table).await;
}

/// What is not understood is ignored: a newer release may have meant something by it.
async fn messages(chain: &Chain, table: &mut Table) {
    let (mut socket, signed_in) = Socket::join(chain, "alice", "messages").await;
    let token = signed_in.json()["session_token"].clone();
    let text = |text: &str| Message::Text(text.into());
    for (item, message) in [
        ("malformed JSON on a socket", text("{")),
        ("an unknown kind of message", text(r#"{"kind":"from_the_future","x":1}"#)),
        ("a message without a kind", text(r#"{"id":5}"#)),
        ("a second attach on the same socket", text(&json!({ "kind": "attach", "token": token }).to_string())),
        ("a second attach with a wrong token", text(r#"{"kind":"attach","token":"x"}"#)),
        ("a pong that nobody asked for", text(r#"{"kind":"pong","nonce":4000000000}"#)),
        ("a binary frame", Message::Binary(vec![0; 100].into())),
    ] {
        let sent = async {
            socket.say(message).await.expect("the socket is open");
            if socket.still_answers().await { "ignored, the session answers" } else { "not ignored" }
        };
        table.row(item, "ignored, the session answers", sent).await;
    }
    let superseded = async {
        let mut newer = Socket::attach(chain, &signed_in).await;
        let old = socket.close().await;
        format!("old: {old}, new: answers {}", newer.still_answers().await)
    };
    let expected = "old: closed 4409 attached anew, new: answers true";
    table.row("a second attach on another socket", expected, superseded).await;
}

async fn requests(chain: &Chain, table: &mut Table, offer: &str) {
    let (mut socket, _) = Socket::join(chain, "alice", "requests").await;
    let without = |name: &str| offer.replace(name, "a=x");
    let wide = format!("{offer}{}", "a=x\r\n".repeat(14_000));
    let rows: Vec<(&str, Value, &str)> = vec![
        ("an unknown method", json!({ "method": "from_the_future" }), "unknown-method"),
        ("a request without its fields", json!({ "method": "start_call" }), "unknown-method"),
        ("SDP that is none", start_call("c", "echo", "hello"), "bad-sdp"),
        ("SDP without audio", start_call("c", "echo", &offer.replace("m=audio", "m=application")), "bad-sdp"),
        ("SDP without a fingerprint", start_call("c", "echo", &without("a=fingerprint")), "bad-sdp"),
        ("SDP without ICE credentials", start_call("c", "echo", &without("a=ice-ufrag")), "bad-sdp"),
        ("SDP of 70 kB", start_call("c", "echo", &wide), "too-large"),
        ("a target that is not served", start_call("c", "sip:x@y", offer), "bad-target"),
        ("an ICE restart of no call", json!({ "method": "restart_ice", "call_id": "c", "sdp": offer }), "no-such-call"),
    ];
    for (item, request, expected) in rows {
        let outcome = async { text(&socket.ask(request).await["reason"]).to_owned() };
        table.row(item, expected, outcome).await;
    }
}

/// They are the tunnel's first bytes, so the instance reads them as frames, never as a request.
async fn after_an_upgrade(chain: &Chain, table: &mut Table) {
    let signed_in = chain.signed_in("alice", "upgraded").await.json();
    let path = format!("/v1/sessions/{}/socket", text(&signed_in["session_id"]));
    for (item, bytes) in [
        ("a request after an Upgrade", b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n".as_slice()),
        ("bytes after an Upgrade that are no frame", &[0xff; 200]),
        ("a frame after an Upgrade without its mask", b"\x81\x02hi"),
    ] {
        let sent = async {
            let answer = raw(chain.balancer, &[upgrade(&path).as_bytes(), bytes].concat()).await;
            format!("{}, then the socket ends", answer.statuses.join(" and "))
        };
        table.row(item, "101, then the socket ends", sent).await;
    }
}

async fn too_much(chain: &Chain, table: &mut Table) {
    let (mut wide, _) = Socket::join(chain, "alice", "wide").await;
    let frame = async {
        // The instance closes while it is still being sent.
        let _ = wide.say(Message::Text("x".repeat(257 * 1024).into())).await;
        wide.close().await
    };
    table.row("a frame of 257 KiB", "closed 1009 message too big", frame).await;
    let (mut fast, _) = Socket::join(chain, "alice", "fast").await;
    let flood = async {
        for _ in 0..200 {
            if fast.say(Message::Text(r#"{"kind":"resync"}"#.into())).await.is_err() {
                break;
            }
        }
        fast.close().await
    };
    table.row("200 messages at once", "closed 1013 retry=1000", flood).await;
}

async fn without_attach(chain: &Chain, table: &mut Table) {
    let session = chain.signed_in("alice", "waiting").await.json();
    let id = text(&session["session_id"]);
    let mut waiting = join_all((0..UNATTACHED_SOCKETS).map(|_| Socket::open(chain, id, ""))).await;
    let one_more = async { Socket::open(chain, id, "").await.close().await };
    table.row("more sockets than may wait for their attach", "closed 1013 retry=1000", one_more).await;
    // Neither of these is an attach.
    waiting[0].send(&json!({ "kind": "request", "id": "r", "request": { "method": "hang_up", "call_id": "c" } })).await;
    waiting[1].say(Message::Text("{".into())).await.expect("the socket is open");
    let closed = async {
        let closes = join_all(waiting.iter_mut().map(Socket::close)).await;
        assert!(closes.iter().all(|close| *close == closes[0]), "{closes:?}");
        closes[0].clone()
    };
    table.row("sockets that never attach", "closed 4408 no attach", closed).await;
}
