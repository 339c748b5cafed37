use crate::support::{attach, join, jwt, key_file, post, request, sign_in, start, text};
use serde_json::{Value, json};

fn entry(client: &str, capsule: &Value, token: &Value) -> Value {
    json!({ "client_id": client, "capsule": capsule, "previous_token": token })
}

#[tokio::test]
async fn with_the_old_token_and_without_a_jwt() {
    let (keys, jwt_keys) = (key_file(), jwt());
    let flags = ["--cluster-key-file", keys.path().to_str().expect("utf-8"), "--auth", "jwt", "--jwt-key-file"];
    let flags = [&flags[..], &[jwt_keys.0.path().to_str().expect("utf-8")]].concat();
    let (first, second) = (start(&flags), start(&flags));
    let bearer = format!("Bearer {}", jwt_keys.1);
    let headers = [("authorization", bearer.as_str())];
    let session = request(first.public(), "POST", "/v1/sessions", &headers, r#"{"client_id":"tab"}"#).await.json();
    let (socket, attached) = attach(&first, &session).await;
    drop((socket, first));

    let answer = post(&second, &entry("tab", &attached["capsule"], &session["session_token"])).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let again = answer.json();
    assert_eq!((text(&again["user"]), &again["recovering"]), ("alice", &json!(true)));
    let (mut socket, _) = attach(&second, &again).await;
    let recovered = socket.message().await;
    assert_eq!(recovered["event"], json!({ "type": "session_recovered", "recovered": [], "lost": [], "unknown": [] }));
}

#[tokio::test]
async fn a_capsule_that_does_not_fit_is_as_if_absent() {
    let keys = key_file();
    let flags = ["--cluster-key-file", keys.path().to_str().expect("utf-8")];
    let (gateway, foreign) = (start(&flags), start(&[]));
    let (_socket, session) = join(&gateway, "alice", "tab").await;
    let elsewhere = sign_in(&foreign, "alice", "other").await;
    let (capsule, token) = (&session["capsule"], &session["session_token"]);
    let mut tampered = text(capsule).to_owned();
    tampered.replace_range(60..61, if &tampered[60..61] == "A" { "B" } else { "A" });
    for (what, body) in [
        ("tampered", entry("tab", &json!(tampered), token)),
        ("another tab's", entry("other", capsule, token)),
        ("unproven", entry("tab", capsule, &json!("guessed"))),
        ("of another cluster", entry("other", &elsewhere["capsule"], &elsewhere["session_token"])),
        ("no capsule at all", entry("other", &json!("x"), token)),
    ] {
        assert_eq!(post(&gateway, &body).await.problem(), (400, "bad-request".to_owned()), "{what}");
        let mut named = body;
        named["user"] = json!("alice");
        let answer = post(&gateway, &named).await;
        let expected = what == "unproven";
        assert_eq!((answer.status, &answer.json()["recovering"]), (201, &json!(expected)), "{what}");
    }
}

#[tokio::test]
async fn another_users_capsule_does_not_stop_a_sign_in() {
    let keys = key_file();
    let flags = ["--cluster-key-file", keys.path().to_str().expect("utf-8")];
    let (first, second) = (start(&flags), start(&flags));
    let session = sign_in(&first, "alice", "tab").await;
    let body = json!({ "client_id": "tab", "user": "bob", "capsule": session["capsule"] });
    let answer = post(&second, &body).await.json();
    assert_eq!((text(&answer["user"]), &answer["recovering"]), ("bob", &json!(false)));
}
