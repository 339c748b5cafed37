use crate::support::{Answer, request, start};
use gateway::Gateway;
use serde_json::Value;

const ALICE: &str = r#"{"client_id":"tab","user":"alice"}"#;

async fn sign_in(gateway: &Gateway, key: &str, body: &str) -> Answer {
    request(gateway.public(), "POST", "/v1/sessions", &[("idempotency-key", key)], body).await
}

async fn used(gateway: &Gateway) -> Value {
    request(gateway.private(), "GET", "/health", &[], "").await.json()["used"].clone()
}

#[tokio::test]
async fn the_same_key_of_the_same_tab_gets_the_same_answer() {
    let gateway = start(&[]);
    let first = sign_in(&gateway, "k1", ALICE).await.json();
    assert_eq!(sign_in(&gateway, "k1", ALICE).await.json(), first);
    assert_eq!(used(&gateway).await, 1);
    assert_ne!(sign_in(&gateway, "k2", ALICE).await.json()["session_id"], first["session_id"]);
}

#[tokio::test]
async fn the_same_key_of_another_tab_or_user_is_refused_and_the_first_place_stays() {
    let gateway = start(&[]);
    let first = sign_in(&gateway, "k1", ALICE).await.json();
    for other in [r#"{"client_id":"other","user":"alice"}"#, r#"{"client_id":"other","user":"bob"}"#] {
        let answer = sign_in(&gateway, "k1", other).await;
        assert_eq!(answer.problem(), (422, "idempotency-key-reused".to_owned()));
        assert_eq!(answer.json().get("session_id"), None);
    }
    assert_eq!(sign_in(&gateway, "k1", ALICE).await.json(), first);
    assert_eq!(used(&gateway).await, 1);
}

#[tokio::test]
async fn an_endless_key_is_refused() {
    let gateway = start(&[]);
    let key = "k".repeat(129);
    let answer = sign_in(&gateway, &key, ALICE).await;
    assert_eq!(answer.problem(), (400, "bad-request".to_owned()));
}
