use crate::bench::Bench;
use gateway_protocol::sign_in::SessionState;
use gateway_protocol::{ClientMessage, CloseCode, ServerMessage};
use std::time::Duration;

#[test]
fn after_15_seconds_without_anything() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.pass(Duration::from_secs(10));
    let pings = bench.take(socket).iter().filter(|message| matches!(message, ServerMessage::Ping { .. })).count();
    assert_eq!(pings, 2);
    bench.message(socket, ClientMessage::Unknown);
    bench.pass(Duration::from_millis(14_999));
    assert!(bench.closed.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.closed[&socket], CloseCode::Timeout);
    let probe = bench.instance.probe(&session.session_id, &session.session_token, bench.now).expect("alive");
    assert_eq!(probe.state, SessionState::Detached);
}

#[test]
fn a_socket_without_attach_has_5_seconds() {
    let mut bench = Bench::new();
    let session = bench.reserve("alice", "tab").expect("a place");
    let socket = bench.open(&session);
    bench.pass(Duration::from_millis(4_999));
    assert!(bench.closed.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.closed[&socket], CloseCode::Timeout);
}
