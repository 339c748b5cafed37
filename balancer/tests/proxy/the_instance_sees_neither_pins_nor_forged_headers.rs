//! What only the balancer may say is not taken from a client, and pins are not an instance's business.

use crate::support::{
    balancer::Balancer,
    client::{ask, get},
    fake::Fake,
};

#[test]
fn pins_are_taken_off_and_the_clients_address_is_the_balancers_word() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let pin = ask(balancer.http, get("/", "")).cookie("holdfast");
    let request = format!(
        "GET /x HTTP/1.1\r\nHost: h\r\nCookie: theme=dark; {pin}; holdfast-session=x\r\n\
         X-Forwarded-For: 9.9.9.9\r\nIdempotency-Key: k\r\nConnection: idempotency-key, host\r\n\r\n"
    );
    assert_eq!(ask(balancer.http, request).header("holdfast-pin"), "kept");
    assert_eq!(fakes[0].received()[1], "GET /x key=false for=127.0.0.1 cookie=theme=dark");
}
