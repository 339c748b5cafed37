use crate::bench::Bench;
use gateway_core::limits::Limits;
use gateway_core::session::Earlier;
use gateway_core::{Refusal, SocketId};
use gateway_protocol::message::{Event, Outcome};
use std::time::Duration;

fn was_asked(bench: &mut Bench, socket: SocketId) -> bool {
    bench.pass(Duration::ZERO);
    bench.events(socket).iter().any(|event| matches!(event, Event::Move { .. }))
}

fn bench() -> Bench {
    Bench::limited(Limits { sessions: 300, ..Limits::default() })
}

#[test]
fn idle_clients_are_asked_and_callers_are_not() {
    let mut bench = bench();
    let (_, caller) = bench.join("alice", "a");
    bench.call(caller, "c1");
    let (_, idle) = bench.join("bob", "b");
    assert_eq!(bench.instance.make_place(2, bench.now), 1);
    assert!(was_asked(&mut bench, idle) && !was_asked(&mut bench, caller));
    assert_eq!(bench.call(idle, "c2"), Some(Outcome::Ok { sdp: Some("answer".to_owned()) }), "it may still stay");
}

#[test]
fn no_more_than_a_hundredth_at_once_and_nobody_twice_within_the_hour() {
    let mut bench = bench();
    let sockets: Vec<SocketId> = (0..5).map(|user| bench.join(&format!("u{user}"), &format!("c{user}")).1).collect();
    assert_eq!(bench.instance.make_place(100, bench.now), 3);
    assert_eq!(bench.instance.make_place(100, bench.now), 2);
    assert_eq!(bench.instance.make_place(100, bench.now), 0);
    assert!(sockets.iter().all(|socket| was_asked(&mut bench, *socket)));
}

#[test]
fn who_came_by_such_a_move_stays_for_an_hour() {
    let mut bench = bench();
    let unix = 1_800_000_000;
    for (client, ago) in [("late", 3_599), ("early", 3_600)] {
        let earlier = Earlier { moved: Some(unix - ago), ..Earlier::default() };
        let session = bench.reserve_after(client, client, earlier).expect("a place");
        bench.attach(&session, &[]);
    }
    assert_eq!(bench.instance.make_place(9, bench.now), 1);
}

#[test]
fn who_was_let_go_is_not_taken_back_with_that_ticket() {
    let mut bench = bench();
    let by = |boot: &str| Some(("gw".parse().expect("an id"), boot.parse().expect("an id")));
    let back = Earlier { let_go_by: by("boot"), ..Earlier::default() };
    assert_eq!(bench.reserve_after("alice", "a", back), Err(Refusal::LetGo));
    let restarted = Earlier { let_go_by: by("boot-before"), ..Earlier::default() };
    assert!(bench.reserve_after("alice", "a", restarted).is_ok());
}

#[test]
fn a_drain_needs_no_help() {
    let mut bench = bench();
    bench.join("alice", "a");
    bench.instance.drain(bench.now);
    assert_eq!(bench.instance.make_place(9, bench.now), 0);
}
