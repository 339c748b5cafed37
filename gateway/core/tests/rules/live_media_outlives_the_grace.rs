use crate::bench::Bench;
use gateway_core::{MediaChange, MediaFailure, Refusal};
use std::time::Duration;

#[test]
fn a_detached_session_without_media_lives_60_seconds() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.cut(socket);
    bench.pass(Duration::from_millis(59_999));
    assert!(bench.instance.probe(&session.session_id, &session.session_token, bench.now).is_ok());
    bench.pass(Duration::from_millis(1));
    let gone = bench.instance.probe(&session.session_id, &session.session_token, bench.now);
    assert_eq!(gone, Err(Refusal::Closed));
}

#[test]
fn live_media_is_never_ended_by_the_grace() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.call(socket, "c1");
    let peer = bench.peers[0];
    bench.media(peer, MediaChange::Connected);
    bench.cut(socket);
    bench.pass(Duration::from_secs(3_600));
    assert_eq!(bench.peers, [peer]);
    let socket = bench.attach(&session, &["c1"]);
    assert!(bench.closed.is_empty());
    bench.cut(socket);

    bench.pass(Duration::from_secs(100));
    bench.media(peer, MediaChange::Suspended);
    // The grace counts from the last moment that media lived.
    bench.pass(Duration::from_secs(15));
    bench.media(peer, MediaChange::Resumed);
    bench.pass(Duration::from_secs(3_600));
    bench.media(peer, MediaChange::Failed(MediaFailure::Timeout));
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.instance.load(bench.now).used, 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.instance.load(bench.now).used, 0);
}
