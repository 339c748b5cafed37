//! Nothing is up: a browser gets a page that retries, a program a problem with Retry-After.

use crate::support::{
    balancer::Balancer,
    client::{ask, get, sign_in},
    fake::Fake,
};

#[test]
fn a_browser_gets_a_page_and_a_program_a_problem() {
    let mut fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let pin = ask(balancer.http, get("/", "")).cookie("holdfast");
    fakes[0].kill();
    let page = ask(balancer.http, "GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html,*/*\r\n\r\n");
    assert_eq!((page.status, page.header("content-type")), (503, "text/html; charset=utf-8"));
    assert!(page.body.contains("<html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let answer = ask(balancer.http, sign_in(&pin, ""));
    assert_eq!((answer.status, answer.header("content-type")), (503, "application/problem+json"));
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
}
