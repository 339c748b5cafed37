//! Malformed, oversized and abandoned bodies are the client's fault: refused, and no instance hears of them.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get},
    fake::Fake,
};

#[test]
fn a_malformed_chunk_is_400_and_a_large_body_413() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let post = "POST /v1/sessions HTTP/1.1\r\nHost: h\r\n";
    let broken = ask(balancer.http, format!("{post}Transfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(broken.status, 400);
    let large = ask(balancer.http, format!("{post}Content-Length: 262145\r\n\r\n"));
    assert_eq!(large.status, 413);
    assert!(large.body.contains("\"too-large\""));
    let mut chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..5 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b'x', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(ask(balancer.http, chunked).status, 413);
    let mut abandoned = Client::connect(balancer.http);
    abandoned.send(format!("{post}Content-Length: 100\r\n\r\nhalf"));
    drop(abandoned);
    assert_eq!(ask(balancer.http, get("/", "")).status, 200);
    assert_eq!(fakes[0].received().len(), 1, "{:?}", fakes[0].received());
}
