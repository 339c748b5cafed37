use crate::bench::{BAD_OFFER, Bench};
use gateway_protocol::ClientMessage;
use gateway_protocol::message::{EndReason, FailReason, Outcome, Request};

fn start(call: &str) -> Request {
    Request::StartCall { call_id: call.parse().expect("an id"), target: "echo".to_owned(), sdp: String::new() }
}

fn hang_up(call: &str) -> Request {
    Request::HangUp { call_id: call.parse().expect("an id") }
}

fn failed(reason: FailReason) -> Option<Outcome> {
    Some(Outcome::Failed { reason, detail: None })
}

#[test]
fn even_when_it_is_repeated_on_another_socket() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    let request = ClientMessage::Request { id: "same".parse().expect("an id"), request: start("c1") };
    bench.message(socket, request.clone());
    let first = bench.outcomes(socket);
    bench.cut(socket);
    let again = bench.attach(&session, &["c1"]);
    bench.message(again, request);
    assert_eq!(bench.outcomes(again), first);
    assert_eq!(bench.peers.len(), 1);
}

#[test]
fn a_hang_up_of_an_ended_call_is_fine_and_of_an_unknown_one_not() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    assert_eq!(bench.ask(socket, hang_up("c1")), Some(Outcome::Ok { sdp: None }));
    assert_eq!(bench.ask(socket, hang_up("c1")), Some(Outcome::Ok { sdp: None }));
    assert_eq!(bench.ask(socket, hang_up("c2")), failed(FailReason::NoSuchCall));
    assert_eq!(bench.call(socket, "c1"), failed(FailReason::CallExists));
}

#[test]
fn a_bad_offer_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    let call_id: gateway_protocol::CallId = "c1".parse().expect("an id");
    let bad = Request::StartCall { call_id: call_id.clone(), target: "tone".to_owned(), sdp: BAD_OFFER.to_owned() };
    assert!(matches!(bench.ask(socket, bad), Some(Outcome::Failed { reason: FailReason::BadSdp, .. })));
    assert_eq!(bench.instance.load(bench.now).calls, 0);
    assert!(bench.events(socket).is_empty());
    assert!(matches!(bench.call(socket, "c1"), Some(Outcome::Ok { .. })));
}

#[test]
fn calls_that_the_page_forgot_end_at_its_attach() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.call(socket, "kept");
    bench.call(socket, "forgotten");
    bench.cut(socket);
    let socket = bench.attach(&session, &["kept"]);
    let sent = bench.take(socket);
    let gateway_protocol::ServerMessage::Attached { snapshot, .. } = &sent[0] else { panic!("{sent:?}") };
    assert_eq!(snapshot.calls.len(), 1);
    assert_eq!(snapshot.ended[0].reason, EndReason::PageReloaded);
    assert_eq!(bench.peers.len(), 1);
}
