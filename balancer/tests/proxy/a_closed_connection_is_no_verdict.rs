//! An instance may close a connection at any time; its sessions are not lost by that.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get, sign_in},
    eventually,
    fake::{Fake, Mood},
};

#[test]
fn the_same_instance_is_asked_once_more() {
    let fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let signed_in = ask(balancer.http, sign_in("", ""));
    let home = fakes.iter().find(|fake| fake.id() == signed_in.header("holdfast-instance")).expect("one of them");
    let probe = get(&format!("/v1/sessions/{}", signed_in.session()), &signed_in.cookie("holdfast-session"));
    for _ in 0..5 {
        home.mood(Mood::HangupOnce);
        let answer = ask(balancer.http, &probe);
        assert_eq!((answer.status, answer.header("holdfast-pin")), (200, "kept"));
    }
}

#[test]
fn it_is_asked_on_a_new_connection() {
    let fakes = [Fake::start("a")];
    let [fake] = &fakes;
    let balancer = Balancer::start(&fakes);
    // Many at once leave many idle connections behind, which die with the instance and look alive for a moment.
    fake.mood(Mood::Frozen);
    let mut clients: Vec<Client> = (0..16).map(|_| Client::connect(balancer.http)).collect();
    clients.iter_mut().for_each(|client| client.send(get("/", "")));
    eventually("each has a connection", || fake.connections() >= 16);
    fake.mood(Mood::Serving);
    assert!(clients.iter_mut().all(|client| client.answer().is_some_and(|answer| answer.status == 200)));
    let connections = fake.connections();
    fake.mood(Mood::HangupOnce);
    clients[0].send(get("/", ""));
    assert_eq!(clients[0].answer().map(|answer| answer.status), Some(200));
    assert_eq!(fake.connections(), connections + 1);
}
