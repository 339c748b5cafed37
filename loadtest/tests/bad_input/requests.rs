//! Public HTTP, through the balancer and straight at the instance.

use crate::chain::{Chain, bearer, jwt};
use crate::client::{raw, request};
use crate::table::Table;

pub(crate) async fn rows(chain: &Chain, table: &mut Table) {
    bodies(chain, table).await;
    paths(chain, table).await;
    heads(chain, table).await;
    reused_key(chain, table).await;
}

async fn bodies(chain: &Chain, table: &mut Table) {
    let long_id = format!(r#"{{"client_id":"{}"}}"#, "c".repeat(65));
    for (item, body, expected) in [
        ("malformed JSON", "{", "400 bad-request"),
        ("no body", "", "400 bad-request"),
        ("JSON that is no object", "[1]", "400 bad-request"),
        ("JSON nested 100 000 deep", &"[".repeat(100_000), "400 bad-request"),
        ("a body of 256 KiB and a byte", &"x".repeat(256 * 1024 + 1), "413 too-large"),
        ("no client id", "{}", "400 bad-request"),
        ("a client id with a slash", r#"{"client_id":"a/b"}"#, "400 bad-request"),
        ("a client id that is too long", &long_id, "400 bad-request"),
    ] {
        let headers = [bearer(&jwt("mallory", 3600))];
        let answer = request(chain.balancer, "POST", "/v1/sessions", &headers, body);
        table.row(item, expected, async { answer.await.problem() }).await;
    }
}

async fn paths(chain: &Chain, table: &mut Table) {
    for (item, method, path, expected) in [
        ("a method that is not served", "PUT", "/v1/sessions", "405 method-not-allowed"),
        ("a path that is not served", "POST", "/v1/nothing", "404 not-found"),
        ("a socket without an upgrade", "GET", "/v1/sessions/x/socket", "400 bad-request"),
        ("a session that nobody has", "GET", "/v1/sessions/x", "404 session-unknown"),
        ("a path out of the page's folder", "GET", "/../../etc/passwd", "404 not-found"),
    ] {
        table.row(item, expected, async { request(chain.balancer, method, path, &[], "").await.problem() }).await;
    }
}

async fn heads(chain: &Chain, table: &mut Table) {
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(128 * 1024));
    for (place, at) in [("balancer", chain.balancer), ("instance", chain.gateway.public())] {
        let item = format!("a head of 128 KiB, to the {place}");
        table.row(&item, "431", async { raw(at, endless.as_bytes()).await.status }).await;
        let item = format!("bytes that are no HTTP, to the {place}");
        table.row(&item, "400", async { raw(at, b"BOGUS\r\n\r\n").await.status }).await;
    }
}

async fn reused_key(chain: &Chain, table: &mut Table) {
    let post = async |client_id: &str, key: &str| {
        let (mut headers, body) = chain.sign_in("mallory", client_id);
        headers.push(("idempotency-key", key.to_owned()));
        request(chain.balancer, "POST", "/v1/sessions", &headers, &body.to_string()).await
    };
    assert_eq!(post("first-tab", "one-key").await.status, 201);
    let item = "an Idempotency-Key for another sign-in";
    table.row(item, "422 idempotency-key-reused", async { post("other-tab", "one-key").await.problem() }).await;
    let endless = "k".repeat(129);
    let item = "an Idempotency-Key of 129 bytes";
    table.row(item, "400 bad-request", async { post("other-tab", &endless).await.problem() }).await;
}
