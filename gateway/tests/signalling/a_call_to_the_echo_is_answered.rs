use crate::support::{OFFER, join, start, start_call, text, with_token};
use serde_json::json;

#[tokio::test]
async fn a_call_to_the_echo_is_answered_and_hung_up() {
    let gateway = start(&[]);
    let (mut socket, session) = join(&gateway, "alice", "tab").await;

    let outcome = socket.ask("r1", start_call("c1", "echo", OFFER)).await;
    assert_eq!(outcome["status"], "ok", "{outcome}");
    let sdp = text(&outcome["sdp"]);
    assert!(sdp.contains("a=ice-lite") && sdp.contains(&gateway.media().port().to_string()), "{sdp}");
    let active = socket.message().await;
    assert_eq!((&active["seq"], &active["event"]["state"]), (&json!(1), &json!("active")), "{active}");
    let probe = with_token(&gateway, "GET", &session).await.json();
    assert_eq!(probe["calls"], json!([{ "call_id": "c1", "state": "active" }]));

    assert_eq!(socket.ask("r2", json!({ "method": "hang_up", "call_id": "c1" })).await, json!({ "status": "ok" }));
    let ended = socket.message().await;
    assert_eq!(ended["event"], json!({ "type": "call_ended", "call_id": "c1", "reason": "local-hang-up" }));
}

#[tokio::test]
async fn a_repeated_request_acts_once() {
    let gateway = start(&[]);
    let (mut socket, _) = join(&gateway, "alice", "tab").await;
    let first = socket.ask("r1", start_call("c1", "tone", OFFER)).await;
    socket.message().await;
    assert_eq!(socket.ask("r1", start_call("c1", "tone", OFFER)).await, first);
    let other = socket.ask("r2", start_call("c1", "tone", OFFER)).await;
    assert_eq!(other["reason"], "call-exists");
}
