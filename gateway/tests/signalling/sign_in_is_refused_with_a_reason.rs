use crate::support::{join, jwt, post, request, sign_in, start, start_limited};
use serde_json::json;

#[tokio::test]
async fn without_a_valid_jwt_401() {
    let (keys, valid, expired) = jwt();
    let gateway = start(&["--auth", "jwt", "--jwt-key-file", keys.path().to_str().expect("utf-8")]);
    let sign_in = async |authorization: &str| {
        let headers = [("authorization", authorization)];
        request(gateway.public(), "POST", "/v1/sessions", &headers, r#"{"client_id":"tab","user":"mallory"}"#).await
    };
    let refused = sign_in(&format!("Bearer {expired}")).await;
    assert_eq!(refused.problem(), (401, "unauthorized".to_owned()));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(refused.json()["detail"], "the JWT has expired");
    for wrong in ["Bearer x", "Basic YTpi", "Bearer", &format!("Bearer {valid}x")] {
        assert_eq!(sign_in(wrong).await.problem().0, 401, "{wrong}");
    }
    let accepted = sign_in(&format!("Bearer {valid}")).await;
    assert_eq!((accepted.status, &accepted.json()["user"]), (201, &json!("alice")));
}

#[tokio::test]
async fn a_tab_of_another_user_409() {
    let gateway = start(&[]);
    let (mut socket, _) = join(&gateway, "alice", "tab").await;
    let refused = post(&gateway, &json!({ "client_id": "tab", "user": "mallory" })).await;
    assert_eq!(refused.problem(), (409, "client-id-taken".to_owned()));
    socket.still_answers("r").await;
}

#[tokio::test]
async fn too_many_sign_ins_of_one_user_429() {
    let gateway = start_limited(&[], |limits| limits.sign_ins_per_minute = 2);
    for tab in ["a", "b"] {
        sign_in(&gateway, "alice", tab).await;
    }
    let refused = post(&gateway, &json!({ "client_id": "c", "user": "alice" })).await;
    assert_eq!(refused.problem(), (429, "rate-limited".to_owned()));
    assert!((29..=30).contains(&refused.headers["retry-after"].parse::<u32>().expect("seconds")));
    sign_in(&gateway, "bob", "d").await;
}

#[tokio::test]
async fn a_full_instance_503_and_nothing_happened() {
    let gateway = start(&["--capacity", "1"]);
    let (mut socket, _) = join(&gateway, "alice", "a").await;
    let refused = post(&gateway, &json!({ "client_id": "b", "user": "bob" })).await;
    assert_eq!(refused.problem(), (503, "instance-full".to_owned()));
    assert_eq!(refused.headers["retry-after"], "1");
    socket.still_answers("r").await;
}

#[tokio::test]
async fn too_many_at_once_503_not_acted() {
    let gateway = start(&["--setup-rate", "1"]);
    sign_in(&gateway, "alice", "a").await;
    let refused = post(&gateway, &json!({ "client_id": "b", "user": "bob" })).await;
    assert_eq!(refused.problem(), (503, "not-acted".to_owned()));
}
