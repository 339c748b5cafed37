//! A page of an allowed origin may read what the balancer itself answers; any other may not.

use crate::support::{
    balancer::{Balancer, Options},
    client::{ask, get},
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

#[test]
fn a_preflight_is_answered_when_nothing_is_up() {
    let mut fakes = [Fake::start("a")];
    let allowed_origins = vec!["https://app.example".to_owned()];
    let balancer = Balancer::with(&fakes, Options { allowed_origins, ..Options::default() });
    ask(balancer.http, get("/", ""));
    fakes[0].kill();
    let preflight = |origin: &str| {
        let asked = format!("Host: h\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\r\n");
        ask(balancer.http, format!("OPTIONS /v1/sessions HTTP/1.1\r\n{asked}"))
    };
    let allowed = preflight("https://app.example");
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, "https://app.example"));
    assert!(allowed.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(preflight("https://other.example").status, 503);
}
