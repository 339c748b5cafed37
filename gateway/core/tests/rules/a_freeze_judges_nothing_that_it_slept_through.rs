use crate::bench::Bench;
use gateway_protocol::{ClientMessage, ServerMessage};
use std::time::Duration;

#[test]
fn after_31_seconds_nobody_is_closed_and_everybody_is_asked() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    let reserved = bench.reserve("bob", "other").expect("a place");
    bench.take(socket);
    bench.freeze(Duration::from_secs(31));
    assert!(!bench.instance.is_proven(&session.session_id));
    let asked = bench.take(socket);
    let [ServerMessage::Ping { nonce, .. }] = asked[..] else { panic!("{asked:?}") };
    assert!(bench.closed.is_empty());
    assert_eq!(bench.instance.load(bench.now).used, 2);

    // What came before the freeze proves nothing.
    bench.message(socket, ClientMessage::Pong { nonce: nonce - 1 });
    assert!(!bench.instance.is_proven(&session.session_id));
    bench.message(socket, ClientMessage::Pong { nonce });
    assert!(bench.instance.is_proven(&session.session_id));
    bench.attach(&reserved, &[]);
    assert!(bench.instance.is_proven(&reserved.session_id));
}

#[test]
fn who_does_not_answer_is_lost_as_ever() {
    let mut bench = Bench::new();
    let (session, socket) = bench.join("alice", "tab");
    bench.freeze(Duration::from_secs(5));
    bench.pass(Duration::from_millis(14_900));
    assert!(!bench.closed.contains_key(&socket));
    bench.pass(Duration::from_millis(200));
    assert!(bench.closed.contains_key(&socket));
    assert!(!bench.instance.is_proven(&session.session_id));
}

#[test]
fn a_short_pause_is_no_freeze() {
    let mut bench = Bench::new();
    let (session, _) = bench.join("alice", "tab");
    bench.freeze(Duration::from_millis(300));
    assert!(bench.instance.is_proven(&session.session_id));
    assert_eq!(bench.instance.load(bench.now).counts.freezes, 0);
    bench.freeze(Duration::from_millis(301));
    assert!(!bench.instance.is_proven(&session.session_id));
    assert_eq!(bench.instance.load(bench.now).counts.freezes, 1);
}

#[test]
fn input_from_before_the_freeze_decides_before_the_clock() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join("alice", "tab");
    bench.pass(Duration::from_millis(14_900));
    bench.now += Duration::from_secs(31);
    // The queue is emptied first: this pong lay in it.
    bench.message(socket, ClientMessage::Pong { nonce: 1 });
    bench.pass(Duration::from_secs(10));
    assert!(!bench.closed.contains_key(&socket));
}
