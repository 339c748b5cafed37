//! What stands beside the refused requests, which loadtest/tests/bad_input lists, and is served all the same.

use crate::support::{
    balancer::Balancer,
    client::{Client, ask, get},
    fake::Fake,
};

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
