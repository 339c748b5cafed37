use crate::support::{OFFER, Socket, attach, join, sign_in, start, start_call, text, with_token};
use serde_json::json;

#[tokio::test]
async fn a_newer_session_of_the_same_tab_supersedes_at_its_attach() {
    let gateway = start(&[]);
    let (mut old, session) = join(&gateway, "alice", "tab").await;
    let newer = sign_in(&gateway, "alice", "tab").await;
    old.still_answers("r1").await;
    let (mut new, _) = attach(&gateway, &newer).await;
    assert_eq!(old.close_code().await, 4409);
    assert_eq!(with_token(&gateway, "GET", &session).await.problem(), (410, "session-closed".to_owned()));
    new.still_answers("r1").await;
}

#[tokio::test]
async fn a_second_socket_of_one_session_takes_over_with_its_calls() {
    let gateway = start(&[]);
    let (mut old, session) = join(&gateway, "alice", "tab").await;
    old.ask("r1", start_call("c1", "echo", OFFER)).await;
    let mut new = Socket::open(&gateway, text(&session["session_id"]), &[]).await;
    new.send(&json!({ "kind": "attach", "token": session["session_token"], "calls": ["c1"], "dead_calls": [] })).await;
    let attached = new.message().await;
    assert_eq!(attached["snapshot"]["calls"][0]["call_id"], "c1", "{attached}");
    assert_eq!(old.close_code().await, 4409);
}

#[tokio::test]
async fn a_reloaded_page_finds_its_session_and_its_calls_ended() {
    let gateway = start(&[]);
    let (mut old, session) = join(&gateway, "alice", "tab").await;
    old.ask("r1", start_call("c1", "echo", OFFER)).await;
    drop(old);
    let (_socket, attached) = attach(&gateway, &session).await;
    assert_eq!(attached["snapshot"]["calls"], json!([]));
    assert_eq!(attached["snapshot"]["ended"], json!([{ "call_id": "c1", "reason": "page-reloaded" }]));
}
