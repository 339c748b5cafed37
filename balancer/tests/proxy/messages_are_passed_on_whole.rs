//! Ordinary HTTP: large answers, HEAD, pipelining, chunked requests, old clients, and heads that are too large.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get},
    fake::Fake,
};

#[test]
fn a_large_answer_leaves_its_connections_usable() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    for _ in 0..3 {
        client.send(get("/large", ""));
        assert!(client.answer().expect("an answer").body == "large ".repeat(500_000));
    }
    assert_eq!(fakes[0].connections(), 1, "the connection to the instance is used again");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    let post = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client.send(format!("{}{post}{}", get("/1", ""), get("/v1/sessions/none", "")));
    let statuses: Vec<_> = (0..3).map(|_| client.answer().expect("an answer").status).collect();
    assert_eq!(statuses, [200, 200, 404]);
}

#[test]
fn a_head_request_has_the_length_and_no_body() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut all = Vec::new();
    while let Some(byte) = client.take(1) {
        all.extend(byte);
    }
    let text = String::from_utf8(all).expect("text");
    assert!(text.contains("content-length: 9\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn an_old_client_gets_its_answer_and_the_end_of_the_connection() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    client.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().expect("an answer").body, "page of a");
    assert!(client.is_ended());
}

#[test]
fn a_head_over_the_limit_is_refused() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let long = "x".repeat(20_000);
    let answer = ask(balancer.http, format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"));
    assert_eq!(answer.status, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(ask(balancer.http, format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n")).status, 431);
    assert_eq!(fakes[0].connections(), 0);
}

#[test]
fn a_client_that_expects_100_gets_it() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().expect("an answer").status, 100);
    client.send("hello");
    assert_eq!(client.answer().expect("an answer").status, 200);
}
