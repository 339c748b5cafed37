//! `--max-connections-per-address`: one client can't take all of them.

use crate::support::{
    balancer::{Balancer, Options},
    client::{Client, get},
    eventually,
    fake::Fake,
};

#[test]
fn the_third_of_two_is_closed_until_another_ends() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::with(&fakes, Options { max_connections: 2, ..Options::default() });
    let is_served = |client: &mut Client| {
        client.send(get("/", ""));
        client.answer().is_some()
    };
    let (mut first, mut second) = (Client::connect(balancer.http), Client::connect(balancer.http));
    assert!(is_served(&mut first) && is_served(&mut second));
    assert!(Client::connect(balancer.http).is_ended());
    drop(first);
    eventually("a place is free again", || {
        let mut third = Client::connect(balancer.http);
        third.try_send(get("/", "")) && third.answer().is_some()
    });
}
