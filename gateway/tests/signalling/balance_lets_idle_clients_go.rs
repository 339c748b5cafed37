use crate::support::{attach, join, key_file, post, request, start, text, with_token};
use serde_json::json;

const ADMIN: (&str, &str) = ("holdfast-admin", "1");

#[tokio::test]
async fn the_one_that_is_asked_goes_to_another_instance_and_never_back() {
    let keys = key_file();
    let flags = ["--cluster-key-file", keys.path().to_str().expect("utf-8")];
    let (full, empty) = (start(&flags), start(&flags));
    let (mut idle, session) = join(&full, "alice", "tab").await;
    let asked = request(full.private(), "POST", "/rebalance", &[ADMIN], r#"{"clients":5}"#).await;
    assert_eq!((asked.status, asked.json()), (200, json!({ "asked": 1 })));
    let ticket = idle.message().await["event"]["ticket"].clone();
    let sign_in = json!({ "client_id": "tab", "move_ticket": ticket });
    assert_eq!(post(&full, &sign_in).await.problem(), (503, "not-acted".to_owned()));
    idle.still_answers("r").await;
    let moved = post(&empty, &sign_in).await.json();
    assert_eq!(text(&moved["user"]), "alice");
    let _there = attach(&empty, &moved).await;
    assert_eq!(with_token(&full, "DELETE", &session).await.status, 204);
    // It was moved within the hour.
    let asked = request(empty.private(), "POST", "/rebalance", &[ADMIN], r#"{"clients":5}"#).await;
    assert_eq!(asked.json(), json!({ "asked": 0 }));
}

#[tokio::test]
async fn only_an_operator_may_ask() {
    let gateway = start(&[]);
    let ask =
        async |headers: &[(&str, &str)], body| request(gateway.private(), "POST", "/rebalance", headers, body).await;
    assert_eq!(ask(&[], r#"{"clients":1}"#).await.problem(), (403, "forbidden".to_owned()));
    assert_eq!(ask(&[ADMIN], "").await.status, 400);
    assert_eq!(ask(&[ADMIN], r#"{"clients":-1}"#).await.status, 400);
}
