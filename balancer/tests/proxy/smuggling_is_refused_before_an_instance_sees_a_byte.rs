//! Requests that two HTTP implementations may read differently, each refused with the instance untouched.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get},
    fake::Fake,
};

const TABLE: &[(&str, u16, &str)] = &[
    (
        "length and encoding",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "encoding and length",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
    ("a length that is none", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd"),
    ("a list of lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\nabcd"),
    ("another encoding", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "encoding twice",
        400,
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("chunked twice", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("an unknown encoding", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("encoding with a tab", 400, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 4\r\n\r\nabcd"),
    ("encoding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", 400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
    ("an empty Host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a Host that is none", 400, "GET / HTTP/1.1\r\nHost: h/x@y\r\n\r\n"),
    ("an absolute form that disagrees", 400, "GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an asterisk", 400, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT", 405, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    ("TRACE", 405, "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (
        "h2c",
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    ),
    ("a list of upgrades", 400, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n"),
    (
        "an upgrade with a body",
        400,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    ),
    ("an upgrade by POST", 400, "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("a bare line feed after the request line", 400, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    ("a bare line feed after a field", 400, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"),
    ("a bare line feed at the end", 400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    ("a folded line", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"),
    ("a bare carriage return", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
    ("a NUL", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"),
    ("two spaces in the request line", 400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an HTTP version that is none", 400, "GET / HTTP/1.9\r\nHost: h\r\n\r\n"),
];

#[test]
fn each_is_refused() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    for (what, status, request) in TABLE {
        let mut client = Client::connect(balancer.http);
        client.send(request);
        let answer = client.answer().unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, *status, "{what}");
        assert!(client.is_ended(), "{what}: the connection goes on");
    }
    assert_eq!(fakes[0].connections(), 0);
}

#[test]
fn a_refused_request_hides_no_second_one() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n",
    ] {
        let mut client = Client::connect(balancer.http);
        client.send(format!("{request}{}", get("/hidden", "")));
        assert_eq!(client.answer().expect("an answer").status, 400);
        assert!(client.is_ended());
    }
    assert_eq!(fakes[0].connections(), 0);
}

#[test]
fn a_fault_in_the_second_request_does_not_harm_the_first() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    client.send(format!("{}GET /second HTTP/1.1\nHost: h\r\n\r\n", get("/first", "")));
    assert_eq!(client.answer().expect("an answer").status, 200);
    assert_eq!(client.answer().expect("an answer").status, 400);
    assert_eq!(fakes[0].received().len(), 1);
}

#[test]
fn an_absolute_form_that_agrees_is_served_as_a_path() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    assert_eq!(ask(balancer.http, "GET http://H/a?b HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert_eq!(ask(balancer.http, "GET http://h?q=1 HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let paths: Vec<_> =
        fakes[0].received().iter().map(|line| line.split(' ').nth(1).expect("a path").to_owned()).collect();
    assert_eq!(paths, ["/a?b", "/?q=1"]);
}
