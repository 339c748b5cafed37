use crate::bench::Bench;
use gateway_core::{Limits, Refusal};
use gateway_protocol::message::{Event, FailReason, Outcome};
use gateway_protocol::{CloseCode, ServerMessage};
use std::time::Duration;

fn reason(outcome: Option<Outcome>) -> Option<FailReason> {
    match outcome {
        Some(Outcome::Failed { reason, .. }) => Some(reason),
        Some(Outcome::Ok { .. }) | None => None,
    }
}

#[test]
fn of_100_000_half_open_sign_ins_as_many_stay_as_there_are_places() {
    let mut bench = Bench::limited(Limits { setup_rate: 100_000, ..Limits::default() });
    let accepted = (0..100_000).filter(|n| bench.reserve(&format!("u{n}"), &format!("c{n}")).is_ok()).count();
    assert_eq!(accepted, 2_000);
    assert_eq!(bench.reserve("u", "c"), Err(Refusal::Full(2_000)));
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.instance.load(bench.now).used, 0);
    assert!(bench.reserve("u", "c").is_ok());
}

#[test]
fn a_tab_that_signs_in_again_and_again_holds_one_place() {
    let mut bench = Bench::limited(Limits { sessions: 2, ..Limits::default() });
    let first = bench.reserve("alice", "tab").expect("a place");
    for _ in 0..100 {
        bench.reserve("alice", "tab").expect("its place");
    }
    assert_eq!(bench.instance.load(bench.now).used, 1);
    let old = bench.instance.probe(&first.session_id, &first.session_token, bench.now);
    assert_eq!(old, Err(Refusal::Closed));
}

#[test]
fn set_ups_and_sign_ins_have_a_rate() {
    let mut bench = Bench::limited(Limits { setup_rate: 10, sign_ins_per_minute: 5, ..Limits::default() });
    for n in 0..10 {
        bench.reserve(&format!("u{n}"), &format!("c{n}")).expect("within the rate");
    }
    assert_eq!(bench.reserve("late", "late"), Err(Refusal::SetupRate(Duration::from_millis(100))));
    bench.pass(Duration::from_secs(1));
    for n in 0..5 {
        bench.reserve("alice", &format!("a{n}")).expect("within the rate");
    }
    assert_eq!(bench.reserve("alice", "a5"), Err(Refusal::UserRate(Duration::from_secs(12))));
    assert!(bench.reserve("bob", "b").is_ok());
}

#[test]
fn calls_are_bounded_by_session_instance_and_minute() {
    let limits = Limits { calls: 3, calls_per_session: 2, calls_per_minute: 4, ..Limits::default() };
    let mut bench = Bench::limited(limits);
    let (_, alice) = bench.join("alice", "a");
    let (_, bob) = bench.join("bob", "b");
    assert_eq!([reason(bench.call(alice, "1")), reason(bench.call(alice, "2"))], [None, None]);
    assert_eq!(reason(bench.call(alice, "3")), Some(FailReason::TooManyCalls));
    assert_eq!(reason(bench.call(bob, "1")), None);
    assert_eq!(reason(bench.call(bob, "2")), Some(FailReason::CallCapacity));
    let hang_up = gateway_protocol::message::Request::HangUp { call_id: "1".parse().expect("an id") };
    for call in ["3", "4"] {
        bench.ask(bob, hang_up.clone());
        assert_eq!(reason(bench.call(bob, call)), if call == "3" { None } else { Some(FailReason::CallCapacity) });
    }
    bench.ask(alice, hang_up);
    assert_eq!(reason(bench.call(alice, "5")), None);
}

#[test]
fn a_full_instance_says_so_once() {
    let mut bench = Bench::limited(Limits { calls: 1, ..Limits::default() });
    let (_, alice) = bench.join("alice", "a");
    let (_, bob) = bench.join("bob", "b");
    bench.take(bob);
    bench.call(alice, "1");
    bench.pass(Duration::from_secs(1));
    let events = bench.events(bob);
    let [Event::Service { service }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((service.available, service.reason.as_deref()), (false, Some("call-capacity")));
    let hang_up = gateway_protocol::message::Request::HangUp { call_id: "1".parse().expect("an id") };
    bench.ask(alice, hang_up);
    bench.pass(Duration::from_secs(1));
    assert!(matches!(&bench.events(bob)[..], [Event::Service { service }] if service.available));
}

#[test]
fn sockets_that_wait_for_their_attach_are_bounded() {
    let mut bench = Bench::limited(Limits { unattached_sockets: 2, ..Limits::default() });
    let session = bench.reserve("alice", "tab").expect("a place");
    let sockets = [bench.open(&session), bench.open(&session), bench.open(&session)];
    assert_eq!(bench.closed.iter().collect::<Vec<_>>(), [(&sockets[2], &CloseCode::Overloaded)]);
    bench.cut(sockets[0]);
    let socket = bench.attach(&session, &[]);
    assert!(matches!(bench.take(socket)[..], [ServerMessage::Attached { .. }]));
}

#[test]
fn the_reconnect_window_grows_with_the_sessions() {
    let mut bench = Bench::limited(Limits { setup_rate: 1_000, sign_ins_per_minute: 10_000, ..Limits::default() });
    let alone = bench.reserve("u", "c").expect("a place");
    assert_eq!(alone.reconnect_window_ms, 20);
    for n in 0..499 {
        bench.reserve("u", &format!("c{n}")).expect("a place");
    }
    let crowded = bench.reserve("u", "last").expect("a place");
    assert_eq!(crowded.reconnect_window_ms, 501);
}
