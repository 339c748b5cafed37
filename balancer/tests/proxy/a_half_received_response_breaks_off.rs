//! An answer that lost its instance in the middle must not look complete.

use crate::support::{
    balancer::Balancer,
    client::{Client, get},
    fake::{Fake, Mood},
};

const HALF: &[u8] = b"A\r\nfirst half\r\n";

fn begun(balancer: &Balancer) -> Client {
    let mut client = Client::connect(balancer.http);
    client.send(get("/half", ""));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.take(1).expect("a head"));
    }
    assert_eq!(client.take(HALF.len()).expect("the first chunk"), HALF);
    client
}

#[test]
fn after_a_kill_the_connection_ends_without_the_last_chunk() {
    let mut fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut client = begun(&balancer);
    fakes[0].kill();
    assert!(client.is_ended());
}

#[test]
fn after_a_freeze_too() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let mut client = begun(&balancer);
    fakes.iter().find(|fake| fake.count("GET /half") == 1).expect("one of them").mood(Mood::Frozen);
    assert!(client.is_ended());
}
