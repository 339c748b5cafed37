use crate::support::{Answer, Socket, request, sign_in, start, text};

const BODY: &str = r#"{"client_id":"tab","user":"alice"}"#;
const LISTED: &str = "https://phone.example";

async fn from(gateway: &gateway::Gateway, method: &str, origin: &str) -> Answer {
    request(gateway.public(), method, "/v1/sessions", &[("origin", origin)], if method == "POST" { BODY } else { "" })
        .await
}

#[tokio::test]
async fn a_listed_page_may_read_the_answer() {
    let gateway = start(&["--allowed-origin", LISTED]);
    let answer = from(&gateway, "POST", LISTED).await;
    assert_eq!((answer.status, answer.headers["access-control-allow-origin"].as_str()), (201, LISTED));
    let exposed = &answer.headers["access-control-expose-headers"];
    for header in ["holdfast-instance", "holdfast-boot", "holdfast-pin", "retry-after"] {
        assert!(exposed.contains(header), "{exposed}");
    }
    let preflight = from(&gateway, "OPTIONS", LISTED).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.headers["access-control-allow-headers"].contains("idempotency-key"));
}

#[tokio::test]
async fn a_foreign_page_gets_nothing_and_is_not_reflected() {
    let gateway = start(&["--allowed-origin", LISTED]);
    for method in ["POST", "OPTIONS"] {
        let answer = from(&gateway, method, "https://evil.example").await;
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()));
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let own = from(&gateway, "POST", &format!("http://{}", gateway.public())).await;
    assert_eq!(own.status, 201);
    let session = sign_in(&gateway, "alice", "tab").await;
    let origin = ("origin", "https://evil.example");
    let mut socket = Socket::open(&gateway, text(&session["session_id"]), &[origin]).await;
    assert_eq!(socket.close_code().await, 4401);
}
