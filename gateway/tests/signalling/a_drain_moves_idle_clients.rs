use crate::support::{OFFER, attach, join, key_file, post, request, start, start_call, text, with_token};
use serde_json::json;

const ADMIN: (&str, &str) = ("holdfast-admin", "1");

#[tokio::test]
async fn an_idle_client_moves_with_a_ticket_and_a_caller_stays() {
    let keys = key_file();
    let flags = ["--cluster-key-file", keys.path().to_str().expect("utf-8")];
    let (old, new) = (start(&flags), start(&flags));
    let (mut idle, session) = join(&old, "alice", "idle").await;
    let (mut caller, _) = join(&old, "bob", "caller").await;
    caller.ask("r1", start_call("c1", "echo", OFFER)).await;
    caller.message().await;

    assert_eq!(request(old.private(), "POST", "/drain", &[ADMIN], "").await.status, 200);
    assert_eq!(idle.message().await["event"]["type"], "draining");
    let ticket = idle.message().await["event"]["ticket"].clone();
    let refused = post(&old, &json!({ "client_id": "idle", "move_ticket": ticket })).await;
    assert_eq!(refused.problem(), (503, "not-acted".to_owned()));
    let moved = post(&new, &json!({ "client_id": "idle", "move_ticket": ticket })).await.json();
    assert_eq!(text(&moved["user"]), "alice");
    attach(&new, &moved).await.0.still_answers("r").await;
    assert_eq!(with_token(&old, "DELETE", &session).await.status, 204);

    assert_eq!(caller.message().await["event"]["type"], "draining");
    let refused = caller.ask("r2", start_call("c2", "echo", OFFER)).await;
    assert_eq!(refused["reason"], "draining");
    caller.ask("r3", json!({ "method": "hang_up", "call_id": "c1" })).await;
    assert_eq!(caller.message().await["event"]["type"], "call_ended");
    assert_eq!(caller.message().await["event"]["type"], "move");
}

#[tokio::test]
async fn calls_left_at_the_deadline_end_as_drained() {
    let gateway = start(&["--drain-deadline-ms", "50"]);
    let (mut caller, _) = join(&gateway, "alice", "tab").await;
    caller.ask("r1", start_call("c1", "echo", OFFER)).await;
    caller.message().await;
    request(gateway.private(), "POST", "/drain", &[ADMIN], "").await;
    assert_eq!(caller.message().await["event"]["deadline_ms"], 50);
    let ended = caller.message().await;
    assert_eq!(ended["event"], json!({ "type": "call_ended", "call_id": "c1", "reason": "drained" }));
}

#[tokio::test]
async fn a_drain_can_be_undone() {
    let gateway = start(&[]);
    let (mut socket, _) = join(&gateway, "alice", "tab").await;
    request(gateway.private(), "POST", "/drain", &[ADMIN], "").await;
    request(gateway.private(), "POST", "/drain", &[ADMIN], r#"{"cancel":true}"#).await;
    let told = loop {
        let event = socket.message().await["event"].clone();
        if event["type"] == "service" {
            break event;
        }
    };
    assert_eq!(told["service"], json!({ "service": "calls", "available": true }));
    assert_eq!(socket.ask("r1", start_call("c1", "echo", OFFER)).await["status"], "ok");
}

#[tokio::test]
async fn only_an_operator_can_drain() {
    let token = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(token.path(), "0123456789abcdef\n").expect("written");
    let gateway = start(&["--admin-token-file", token.path().to_str().expect("utf-8")]);
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    let drain = async |headers: &[(&str, &str)]| request(gateway.private(), "POST", "/drain", headers, "").await;
    assert_eq!(drain(&[bearer]).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(drain(&[ADMIN]).await.problem(), (401, "unauthorized".to_owned()));
    assert_eq!(drain(&[ADMIN, ("authorization", "Bearer 0")]).await.problem().0, 401);
    let rebound = "POST /drain HTTP/1.1\r\nhost: evil.example\r\nholdfast-admin: 1\r\nconnection: close\r\n\r\n";
    assert_eq!(crate::support::raw(gateway.private(), rebound).await.problem().0, 403);
    assert_eq!(request(gateway.private(), "GET", "/health", &[], "").await.json()["state"], "ready");
    assert_eq!(drain(&[ADMIN, bearer]).await.status, 200);
}
