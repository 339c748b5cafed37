//! The pinned instance dies while a browser is still sending: the request reaches another one, whole.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, sign_in},
    fake::Fake,
};

#[test]
fn the_other_half_is_sent_after_the_death() {
    let mut fakes = [Fake::start("a"), Fake::start("b")];
    let balancer = Balancer::start(&fakes);
    let first = ask(balancer.http, sign_in("", ""));
    let home = first.header("holdfast-instance").to_owned();
    let request = sign_in(&first.cookie("holdfast"), "");
    let (begin, end) = request.split_at(request.len() - 10);
    let mut client = Client::connect(balancer.http);
    client.send(begin);
    fakes.iter_mut().find(|fake| fake.id() == home).expect("one of them").kill();
    client.send(end);
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, answer.header("holdfast-pin")), (201, "moved; reason=gone"));
}
