//! A page of an allowed origin may read what the balancer itself answers; any other may not.

use crate::support::{
    balancer::{Balancer, Options},
    client::ask,
    fake::Fake,
};

#[test]
fn only_an_exact_origin_is_allowed() {
    let fakes = [Fake::start("a")];
    let allowed_origins = vec!["https://app.example".to_owned()];
    let balancer = Balancer::with(&fakes, Options { allowed_origins, ..Options::default() });
    let refused = |origin: &str| ask(balancer.http, format!("TRACE / HTTP/1.1\r\nHost: h\r\nOrigin: {origin}\r\n\r\n"));
    let allowed = refused("https://app.example");
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert!(allowed.header("access-control-expose-headers").contains("retry-after"));
    assert_eq!(allowed.header("vary"), "origin");
    for origin in ["https://app.example.evil", "https://app.exampl", "null", "http://app.example"] {
        assert_eq!(refused(origin).header("access-control-allow-origin"), "", "{origin}");
    }
}
