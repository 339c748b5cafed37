use crate::support::{request, start};
use serde_json::Value;

#[tokio::test]
async fn the_same_key_of_the_same_tab_gets_the_same_answer() {
    let gateway = start(&[]);
    let sign_in = async |key: &str, body: &str| -> Value {
        request(gateway.public(), "POST", "/v1/sessions", &[("idempotency-key", key)], body).await.json()
    };
    let (alice, other) = (r#"{"client_id":"tab","user":"alice"}"#, r#"{"client_id":"other","user":"alice"}"#);
    let first = sign_in("k1", alice).await;
    assert_eq!(sign_in("k1", alice).await, first);
    assert_ne!(sign_in("k1", other).await["session_id"], first["session_id"]);
    let health = request(gateway.private(), "GET", "/health", &[], "").await.json();
    assert_eq!(health["used"], 2);
    assert_ne!(sign_in("k2", alice).await["session_id"], first["session_id"]);
}

#[tokio::test]
async fn an_endless_key_is_refused() {
    let gateway = start(&[]);
    let key = "k".repeat(129);
    let body = r#"{"client_id":"tab","user":"alice"}"#;
    let answer = request(gateway.public(), "POST", "/v1/sessions", &[("idempotency-key", &key)], body).await;
    assert_eq!(answer.problem(), (400, "bad-request".to_owned()));
}
