use crate::gateway::Options;
use crate::world::{A, B, TabId, World, answer, hang_up};
use gateway_core::sdp::CodecKind;
use gateway_protocol::message::DeadCallAction::{HangUp, Resume};
use gateway_protocol::message::{CallState, EndReason, HeldBy, Outcome, Request};
use std::time::Duration;

const C: usize = 3;

fn cluster() -> World {
    let passwords = vec![("alice", "a"), ("bob", "b"), ("carol", "c")];
    World::cluster(3, Options { passwords, ..Options::default() })
}

/// Alice at A talks with bob at B; the name of bob's call.
fn talking(world: &mut World) -> (TabId, TabId, String) {
    let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
    let call = connect(world, alice, "c1", bob, "bob");
    (alice, bob, call)
}

/// One calls another, who answers; the name of the callee's call.
fn connect(world: &mut World, from: TabId, call: &str, to: TabId, name: &str) -> String {
    let before: Vec<String> = world.tabs[to].calls.keys().cloned().collect();
    world.dial(from, call, name);
    let ringing = world.tabs[to].calls.keys().find(|call| !before.contains(call)).expect("it rings").clone();
    assert_eq!(world.state(from, call), Some(CallState::Ringing));
    world.done(to, answer(&ringing));
    assert_eq!(
        (world.state(from, call), world.state(to, &ringing)),
        (Some(CallState::Active), Some(CallState::Active))
    );
    ringing
}

#[test]
fn they_talk_in_opus_and_either_hangs_up() {
    for caller_hangs_up in [true, false] {
        let mut world = cluster();
        let (alice, bob, call) = talking(&mut world);
        let (ours, theirs) = (world.gateway(A).path().clone(), world.gateway(B).path().clone());
        assert_eq!(ours.audio.rtp.ip(), world.gateway(B).ip);
        assert_eq!(theirs.audio.rtp.ip(), world.gateway(A).ip);
        assert_eq!((ours.audio.send.kind, theirs.audio.send.kind), (CodecKind::Opus, CodecKind::Opus));
        let ends = match caller_hangs_up {
            true => {
                world.done(alice, hang_up("c1"));
                (world.ended(alice, "c1"), world.ended(bob, &call))
            }
            false => {
                world.done(bob, hang_up(&call));
                (world.ended(bob, &call), world.ended(alice, "c1"))
            }
        };
        assert_eq!(ends, (Some(EndReason::LocalHangUp), Some(EndReason::RemoteHangUp)));
        world.pass(Duration::from_secs(40));
        assert_eq!(world.registrar().counts().relays, 0);
    }
}

#[test]
fn a_call_that_is_taken_back_stops_ringing() {
    let mut world = cluster();
    let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
    world.dial(alice, "c1", "bob");
    let call = world.only_call(bob);
    world.done(alice, hang_up("c1"));
    assert_eq!(world.ended(bob, &call), Some(EndReason::Cancelled));
}

#[test]
fn hold_is_seen_by_the_other() {
    let mut world = cluster();
    let (alice, bob, call) = talking(&mut world);
    world.done(alice, crate::either_side_holds::hold("c1"));
    assert_eq!(world.tabs[bob].calls[&call].held_by, Some(HeldBy::Remote));
    world.done(bob, crate::either_side_holds::hold(&call));
    assert_eq!(world.tabs[alice].calls["c1"].held_by, Some(HeldBy::Both));
    world.done(alice, crate::either_side_holds::unhold("c1"));
    world.done(bob, crate::either_side_holds::unhold(&call));
    assert_eq!((world.state(alice, "c1"), world.state(bob, &call)), (Some(CallState::Active), Some(CallState::Active)));
}

#[test]
fn a_call_is_transferred_to_a_third() {
    let mut world = cluster();
    let (alice, bob, call) = talking(&mut world);
    let carol = world.join(C, "carol");
    let request = Request::Transfer { call_id: "c1".parse().expect("an id"), target: "carol".to_owned() };
    let asked = world.ask(alice, request);
    let third = world.only_call(carol);
    assert_eq!(world.outcome(alice, &asked), None);
    world.done(carol, answer(&third));
    assert_eq!(world.outcome(alice, &asked), Some(Outcome::Ok { sdp: None }));
    assert_eq!(world.ended(alice, "c1"), Some(EndReason::Transferred));
    assert_eq!(
        (world.state(bob, &call), world.state(carol, &third)),
        (Some(CallState::Active), Some(CallState::Active))
    );
    assert_eq!(world.gateway(B).path().audio.rtp.ip(), world.gateway(C).ip);
    assert_eq!(world.gateway(C).path().audio.rtp.ip(), world.gateway(B).ip);
    world.done(carol, hang_up(&third));
    assert_eq!(world.ended(bob, &call), Some(EndReason::RemoteHangUp));
}

#[test]
fn two_calls_are_joined() {
    let mut world = cluster();
    let (alice, bob, first) = talking(&mut world);
    let carol = world.join(C, "carol");
    let second = connect(&mut world, alice, "c2", carol, "carol");
    let join = Request::TransferTo { call_id: "c1".parse().expect("an id"), other: "c2".parse().expect("an id") };
    world.done(alice, join);
    assert_eq!(world.ended(alice, "c1"), Some(EndReason::Transferred));
    assert!(world.ended(alice, "c2").is_some());
    assert_eq!(
        (world.state(bob, &first), world.state(carol, &second)),
        (Some(CallState::Active), Some(CallState::Active))
    );
    assert_eq!(world.gateway(B).path().audio.rtp.ip(), world.gateway(C).ip);
    assert_eq!(world.gateway(C).path().audio.rtp.ip(), world.gateway(B).ip);
}

#[test]
fn the_party_of_a_lost_instance_learns_that_when_the_user_is_back() {
    let mut world = cluster();
    let (alice, bob, call) = talking(&mut world);
    world.kill(A);
    assert_eq!(world.state(bob, &call), Some(CallState::Active));
    world.take_over(alice, C, HangUp);
    assert_eq!(world.ended(bob, &call), Some(EndReason::FarLost));
}

#[test]
fn a_resumed_call_is_connected_again() {
    let mut world = cluster();
    let (alice, bob, call) = talking(&mut world);
    world.kill(A);
    let alice = world.take_over(alice, C, Resume);
    let back = world.only_call(alice);
    world.done(alice, answer(&back));
    assert_eq!(
        (world.state(alice, &back), world.state(bob, &call)),
        (Some(CallState::Active), Some(CallState::Active))
    );
    assert_eq!(world.gateway(B).path().audio.rtp.ip(), world.gateway(C).ip);
    world.done(bob, hang_up(&call));
    assert_eq!(world.ended(alice, &back), Some(EndReason::RemoteHangUp));
}

#[test]
fn a_call_that_was_ringing_out_stops_ringing_at_the_other() {
    let mut world = cluster();
    let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
    world.dial(alice, "c1", "bob");
    let call = world.only_call(bob);
    world.kill(A);
    world.take_over(alice, C, HangUp);
    assert_eq!(world.ended(bob, &call), Some(EndReason::Cancelled));
}

#[test]
fn calls_in_the_gap_ring_at_the_new_instance() {
    for before in [true, false] {
        let mut world = cluster();
        let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
        if before {
            // It was ringing at the instance that dies.
            world.dial(bob, "c1", "alice");
        }
        world.kill(A);
        if !before {
            world.dial(bob, "c1", "alice");
        }
        world.pass(Duration::from_secs(1));
        let alice = world.take_over(alice, C, HangUp);
        let call = world.only_call(alice);
        world.done(alice, answer(&call));
        assert_eq!(world.state(bob, "c1"), Some(CallState::Active), "before: {before}");
    }
}

#[test]
fn a_thawed_instance_takes_nobody_back() {
    for seconds in [1, 5, 31, 70] {
        let mut world = cluster();
        let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
        world.freeze(A);
        world.pass(Duration::from_secs(1));
        let alice = world.take_over(alice, C, HangUp);
        world.pass(Duration::from_secs(seconds));
        world.thaw(A);
        world.pass(Duration::from_secs(100));
        world.dial(bob, "c1", "alice");
        let call = world.only_call(alice);
        world.done(alice, answer(&call));
        assert_eq!(world.state(bob, "c1"), Some(CallState::Active));
        assert_eq!(world.registrar().counts().bindings, 2);
    }
}

#[test]
fn the_late_word_of_a_dead_instance_is_refused() {
    let mut world = cluster();
    let (alice, bob, call) = talking(&mut world);
    let old = world.freeze_with_a_late_bye(A, alice, "c1");
    let alice = world.take_over(alice, C, Resume);
    let back = world.only_call(alice);
    world.done(alice, answer(&back));
    world.send_late(old);
    assert_eq!(
        (world.state(alice, &back), world.state(bob, &call)),
        (Some(CallState::Active), Some(CallState::Active))
    );
    assert_eq!(world.registrar().counts().fenced, 1);
}

#[test]
fn two_hundred_calls_at_any_moment_of_a_takeover_all_ring() {
    for moment in 0..200_u64 {
        let mut world = cluster();
        let (alice, bob) = (world.join(A, "alice"), world.join(B, "bob"));
        let gap = Duration::from_millis(300 + 7 * (moment % 50));
        let call_at = gap * u32::try_from(moment).expect("few") / 150;
        // The call comes before, within or after the gap.
        let dials = |world: &mut World| world.dial(bob, "c1", "alice");
        if moment == 0 {
            dials(&mut world);
        }
        world.kill(A);
        if moment > 0 && call_at < gap {
            world.pass(call_at);
            dials(&mut world);
            world.pass(gap - call_at);
        } else {
            world.pass(gap);
        }
        let alice = world.take_over(alice, C, HangUp);
        if call_at >= gap {
            world.pass(call_at - gap);
            dials(&mut world);
        }
        world.pass(Duration::from_millis(100));
        let call = world.only_call(alice);
        world.done(alice, answer(&call));
        assert_eq!(world.state(bob, "c1"), Some(CallState::Active), "moment {moment}");
    }
}
