//! A client may send its first frame right behind its upgrade request.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, sign_in, upgrade},
    eventually,
    fake::Fake,
};

#[test]
fn they_are_the_tunnels_first_bytes() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let mut socket = Client::connect(balancer.http);
    let path = format!("/v1/sessions/{}/socket", signed_in.session());
    let mut bytes = upgrade(&path, &signed_in.cookie("holdfast-session")).into_bytes();
    bytes.extend_from_slice(b"GET /not-a-request HTTP/1.1\nFirst: frame\n\n");
    socket.send(&bytes);
    assert_eq!(socket.answer().expect("an answer").status, 101);
    eventually("the bytes arrive", || fakes[0].inbox() == b"GET /not-a-request HTTP/1.1\nFirst: frame\n\n");
    assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");
}

#[test]
fn behind_a_refused_upgrade_they_are_nothing() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = Client::connect(balancer.http);
    client.send(format!("{}GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", upgrade("/no-socket-here", "")));
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(client.is_ended());
    assert_eq!(fakes[0].received().len(), 1);
}
