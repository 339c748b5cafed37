use crate::support::{join, request, sign_in, start};
use gateway_protocol::{Health, InstanceState};

#[tokio::test]
async fn places_count_from_the_201_and_sessions_from_the_attach() {
    let gateway = start(&["--capacity", "7", "--instance-id", "gw-1"]);
    sign_in(&gateway, "alice", "a").await;
    let (_socket, _) = join(&gateway, "bob", "b").await;
    let answer = request(gateway.private(), "GET", "/health", &[], "").await;
    let health: Health = serde_json::from_str(&answer.text).expect("a health report");
    assert_eq!((health.state, health.instance_id.as_str()), (InstanceState::Ready, "gw-1"));
    assert_eq!((health.capacity, health.used, health.sessions), (7, 2, 1));
    assert_eq!(health.reads, ["capsule/1", "ticket/1"]);
    assert_eq!(answer.headers["holdfast-boot"], health.boot_id.as_str());
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let gateway = start(&[]);
    sign_in(&gateway, "alice", "a").await;
    let metrics = request(gateway.private(), "GET", "/metrics", &[], "").await;
    assert!(metrics.headers["content-type"].starts_with("text/plain"));
    assert!(metrics.text.contains("holdfast_places_used 1"), "{}", metrics.text);
    assert!(metrics.text.contains("holdfast_http_answers_total{route=\"sessions\",status=\"201\"} 1"));
}

#[tokio::test]
async fn the_private_paths_are_not_public() {
    let gateway = start(&[]);
    for path in ["/health", "/metrics", "/drain"] {
        assert_eq!(request(gateway.public(), "GET", path, &[], "").await.problem(), (404, "not-found".to_owned()));
    }
    assert_eq!(request(gateway.private(), "DELETE", "/health", &[], "").await.problem().0, 405);
}
