use crate::support::{OFFER, join, request, start, start_call};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn health_says_draining_before_anything_is_closed() {
    let gateway = start(&["--drain-notice-ms", "300"]);
    let (mut socket, _) = join(&gateway, "alice", "tab").await;
    socket.ask("r1", start_call("c1", "echo", OFFER)).await;
    socket.message().await;

    gateway.leave();
    assert_eq!(socket.message().await["event"], json!({ "type": "draining", "deadline_ms": 300 }));
    let health = request(gateway.private(), "GET", "/health", &[], "").await.json();
    assert_eq!((&health["state"], &health["calls"]), (&json!("draining"), &json!(1)));

    let ended = socket.message().await;
    assert_eq!(ended["event"], json!({ "type": "call_ended", "call_id": "c1", "reason": "drained" }));
    assert_eq!(socket.close_code().await, 1012);
    drop(socket);
    tokio::time::timeout(Duration::from_secs(3), gateway.left()).await.expect("the gateway ends");
}
