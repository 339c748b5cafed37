use crate::bench::Bench;
use gateway_core::limits::Limits;
use gateway_core::{MediaChange, Refusal, SocketId};
use gateway_protocol::message::{EndReason, Event, FailReason, Outcome, Request};
use gateway_protocol::{ClientMessage, CloseCode};
use std::time::Duration;

fn moved(bench: &mut Bench, sockets: &[SocketId]) -> usize {
    let moves = |bench: &mut Bench, socket| {
        bench.events(socket).into_iter().filter(|e| matches!(e, Event::Move { .. })).count()
    };
    sockets.iter().map(|socket| moves(bench, *socket)).sum()
}

#[test]
fn idle_clients_are_moved_at_a_quarter_of_the_setup_rate() {
    let mut bench = Bench::limited(Limits { setup_rate: 400, ..Limits::default() });
    let sockets: Vec<SocketId> =
        (0..300).map(|number| bench.join(&format!("u{number}"), &format!("c{number}")).1).collect();
    bench.instance.drain(bench.now);
    bench.pass(Duration::from_secs(1));
    assert_eq!(moved(&mut bench, &sockets), 101);
    bench.pass(Duration::from_secs(2));
    assert_eq!(moved(&mut bench, &sockets), 199);
    // Who did not go by then gets a fresh ticket when the first has expired.
    for _ in 0..3 {
        sockets.iter().for_each(|socket| bench.message(*socket, ClientMessage::Unknown));
        bench.pass(Duration::from_secs(10));
    }
    assert_eq!(moved(&mut bench, &sockets), 300);
}

#[test]
fn callers_stay_until_the_deadline_and_nobody_comes_in() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    bench.media(bench.peers[0], MediaChange::Connected);
    bench.instance.drain(bench.now);
    assert_eq!(bench.reserve("bob", "b"), Err(Refusal::Draining));
    let refused = Outcome::Failed { reason: FailReason::Draining, detail: None };
    assert_eq!(bench.call(socket, "c2"), Some(refused));
    bench.pass_alive(Duration::from_secs(599), socket);
    assert_eq!(bench.peers.len(), 1);
    bench.take(socket);
    bench.pass(Duration::from_secs(1));
    let events = bench.events(socket);
    let call_id = "c1".parse().expect("an id");
    assert!(events.contains(&Event::CallEnded { call_id, reason: EndReason::Drained }), "{events:?}");
    assert!(bench.peers.is_empty());
}

#[test]
fn leaving_closes_everything_after_the_notice_if_nobody_calls() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    let waiting = bench.open(&session);
    bench.instance.leave(bench.now);
    bench.pass(Duration::from_millis(999));
    assert!(bench.closed.is_empty() && !bench.exited);
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.closed[&socket], CloseCode::Restart);
    assert_eq!(bench.closed[&waiting], CloseCode::Restart);
    assert!(bench.exited);
    let late = bench.open(&session);
    assert_eq!(bench.closed[&late], CloseCode::Restart);
}

#[test]
fn leaving_waits_for_a_call_moves_its_user_and_ends() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    bench.instance.leave(bench.now);
    bench.pass(Duration::ZERO);
    assert!(bench.events(socket).contains(&Event::Draining { deadline_ms: 60_000 }));
    bench.pass_alive(Duration::from_secs(50), socket);
    assert_eq!(bench.peers.len(), 1);
    let call_id = "c1".parse().expect("an id");
    bench.ask(socket, Request::HangUp { call_id });
    bench.pass(Duration::from_millis(100));
    assert_eq!(moved(&mut bench, &[socket]), 1);
    let redialled = bench.call(socket, "c2");
    assert_eq!(redialled, Some(Outcome::Failed { reason: FailReason::Draining, detail: None }));
    assert!(!bench.exited, "the notice is for those who go");
    bench.pass(Duration::from_millis(1_100));
    assert!(bench.exited);
}

#[test]
fn a_call_that_outlasts_the_grace_ends_as_drained() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    bench.instance.leave(bench.now);
    bench.pass_alive(Duration::from_millis(59_999), socket);
    bench.take(socket);
    assert!(!bench.exited);
    bench.pass(Duration::from_millis(1));
    let call_id = "c1".parse().expect("an id");
    assert!(bench.events(socket).contains(&Event::CallEnded { call_id, reason: EndReason::Drained }));
    assert_eq!(bench.closed[&socket], CloseCode::Restart);
    assert!(bench.exited && bench.peers.is_empty());
}

#[test]
fn leaving_told_again_ends_at_once() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    bench.instance.leave(bench.now);
    bench.pass(Duration::from_secs(3));
    assert!(!bench.exited);
    bench.instance.leave(bench.now);
    bench.pass(Duration::ZERO);
    assert!(bench.exited && bench.peers.is_empty());
    assert_eq!(bench.closed[&socket], CloseCode::Restart);
}

#[test]
fn a_drain_keeps_its_deadline_when_the_process_is_told_to_end() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    bench.instance.drain(bench.now);
    bench.pass_alive(Duration::from_secs(580), socket);
    bench.instance.leave(bench.now);
    bench.pass_alive(Duration::from_millis(19_999), socket);
    assert!(!bench.exited);
    bench.pass(Duration::from_millis(1));
    assert!(bench.exited);
}
