//! kill -9 with WebSockets open: each browser is told by a close frame, at once.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, sign_in, upgrade},
    eventually,
    fake::Fake,
};
use std::time::{Duration, Instant};

#[test]
fn every_browser_of_the_instance_gets_4503_gone() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let signed_in = ask(balancer.http, sign_in("", ""));
        let path = format!("/v1/sessions/{}/socket", signed_in.session());
        let mut socket = Client::connect(balancer.http);
        socket.send(upgrade(&path, &signed_in.cookie("holdfast-session")));
        let switched = socket.answer().expect("an answer");
        assert_eq!((switched.status, switched.header("holdfast-pin")), (101, "kept"));
        assert_eq!(socket.take(4).expect("a frame"), b"\x81\x02hi");
        sockets.push((signed_in.header("holdfast-instance") == "a", socket));
    }
    eventually("all sockets are open", || fakes.iter().map(Fake::sockets).sum::<usize>() == 10);

    fakes[0].kill();
    let killed = Instant::now();
    for (_, socket) in sockets.iter_mut().filter(|(is_on_a, _)| *is_on_a) {
        assert_eq!(socket.take(8).expect("a close frame"), b"\x88\x06\x11\x97gone");
        assert!(socket.is_ended());
    }
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    fakes[1].say(b"\x81\x01!");
    for (_, socket) in sockets.iter_mut().filter(|(is_on_a, _)| !is_on_a) {
        assert_eq!(socket.take(3).expect("a frame"), b"\x81\x01!");
    }
}
