use crate::support::{Socket, attach, join, request, sign_in, start, text, with_token};
use serde_json::json;

#[tokio::test]
async fn a_probe_tells_found_unknown_wrong_and_closed_apart() {
    let gateway = start(&[]);
    let session = sign_in(&gateway, "alice", "tab").await;
    let probe = with_token(&gateway, "GET", &session).await;
    assert_eq!((probe.status, text(&probe.json()["state"])), (200, "reserved"));
    assert_eq!(probe.headers["holdfast-boot"], gateway.boot_id().as_str());
    assert_eq!(probe.headers["holdfast-instance"], gateway.instance_id().as_str());

    let mut wrong = session.clone();
    wrong["session_token"] = json!("guessed");
    assert_eq!(with_token(&gateway, "GET", &wrong).await.problem(), (401, "unauthorized".to_owned()));
    wrong["session_id"] = json!("never-heard-of");
    assert_eq!(with_token(&gateway, "GET", &wrong).await.problem(), (404, "session-unknown".to_owned()));
    let path = "/v1/sessions/%2e%2e%2fsecret";
    assert_eq!(request(gateway.public(), "GET", path, &[], "").await.problem(), (404, "session-unknown".to_owned()));

    assert_eq!(with_token(&gateway, "DELETE", &session).await.status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(with_token(&gateway, method, &session).await.problem(), (410, "session-closed".to_owned()));
    }
}

#[tokio::test]
async fn a_sign_off_closes_the_socket_normally() {
    let gateway = start(&[]);
    let (mut socket, session) = join(&gateway, "alice", "tab").await;
    assert_eq!(with_token(&gateway, "DELETE", &session).await.status, 204);
    assert_eq!(socket.close_code().await, 1000);
}

#[tokio::test]
async fn the_verdict_on_an_attach_is_a_close_code() {
    let gateway = start(&[]);
    let session = sign_in(&gateway, "alice", "tab").await;
    let attempt = async |id: &str, token: &str| {
        let mut socket = Socket::open(&gateway, id, &[]).await;
        socket.send(&json!({ "kind": "attach", "token": token })).await;
        socket.close_code().await
    };
    assert_eq!(attempt(text(&session["session_id"]), "guessed").await, 4401);
    assert_eq!(attempt("never-heard-of", "guessed").await, 4410);
    attach(&gateway, &session).await.0.still_answers("r").await;
}
