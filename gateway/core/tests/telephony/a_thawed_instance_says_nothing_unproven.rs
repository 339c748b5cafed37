use crate::far::sdp;
use crate::gateway::Left;
use crate::world::{A, SERVER, World, hang_up};
use gateway_core::sip::Method;
use gateway_protocol::ClientMessage;
use gateway_protocol::message::CallState;
use std::time::Duration;

/// What a frozen instance sends once it goes on, its browser being served elsewhere.
fn left_after(world: &mut World, tab: usize, freeze: Duration) -> Vec<Left> {
    world.freeze(A);
    world.pass(freeze);
    world.tabs[tab].is_mute = true;
    world.gateway(A).left.clear();
    world.thaw(A);
    world.pass(Duration::from_secs(100));
    sip(world)
}

/// Capsules go to a socket that nobody reads any more.
fn sip(world: &mut World) -> Vec<Left> {
    std::mem::take(&mut world.gateway(A).left).into_iter().filter(|left| *left != Left::Capsule).collect()
}

const FREEZES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(31)];

#[test]
fn it_registers_nobody_and_removes_no_binding() {
    for freeze in FREEZES {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        world.pass(Duration::from_secs(50));
        assert_eq!(left_after(&mut world, tab, freeze), []);
        assert_eq!(world.far(SERVER).bindings.len(), 1);
    }
}

#[test]
fn it_hangs_up_no_call() {
    for freeze in FREEZES {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        world.talk(tab, "c1");
        assert_eq!(left_after(&mut world, tab, freeze), []);
        world.hears_nothing(SERVER);
    }
}

#[test]
fn not_even_one_whose_browser_had_asked_for_it_before() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.freeze(A);
    world.pass(Duration::from_secs(5));
    // The request lay in a socket while the process stood still.
    world.tabs[tab].is_mute = true;
    let id = "late".parse().expect("an id");
    world.tell(tab, ClientMessage::Request { id, request: hang_up("c1") });
    world.gateway(A).left.clear();
    world.thaw(A);
    world.pass(Duration::from_secs(100));
    assert_eq!(sip(&mut world), []);
}

#[test]
fn it_answers_no_call_and_declines_none() {
    for freeze in FREEZES {
        let mut world = World::new();
        let tab = world.join(A, "alice");
        world.ring("alice", Some(&sdp(30_000)));
        assert_eq!(left_after(&mut world, tab, freeze), []);
    }
}

#[test]
fn a_call_that_came_meanwhile_does_not_ring() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.freeze(A);
    world.pass(Duration::from_secs(1));
    world.ring("alice", Some(&sdp(30_000)));
    assert_eq!(left_after(&mut world, tab, Duration::from_secs(5)), []);
}

#[test]
fn a_proof_of_the_browser_lets_out_what_waited() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    world.freeze(A);
    world.pass(Duration::from_secs(1));
    let info = world.say(SERVER, to, dialog.request(Method::Options));
    world.pass(Duration::from_secs(4));
    assert_eq!(world.next_heard(SERVER), None);
    world.thaw(A);
    // The tab answered the ping.
    assert_eq!(world.hears_answer(SERVER, info).status, 200);
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
    world.done(tab, hang_up("c1"));
    world.hears(SERVER, Method::Bye);
}

#[test]
fn the_far_side_may_hang_up_meanwhile() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let (mut dialog, to) = world.talk(tab, "c1");
    world.freeze(A);
    let bye = world.say(SERVER, to, dialog.request(Method::Bye));
    world.pass(Duration::from_secs(5));
    world.thaw(A);
    assert_eq!(world.hears_answer(SERVER, bye).status, 200);
    assert!(world.ended(tab, "c1").is_some());
}

#[test]
fn the_heartbeat_goes_on_and_the_server_counts_as_alive() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.freeze(A);
    world.pass(Duration::from_secs(31));
    world.thaw(A);
    world.pass(Duration::from_secs(3));
    assert!(world.is_available(tab));
    world.dial(tab, "c1", "bob");
    world.hears(SERVER, Method::Invite);
}

#[test]
fn a_sign_off_is_proof_enough_to_hang_up() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.freeze(A);
    world.pass(Duration::from_secs(1));
    world.tabs[tab].is_mute = true;
    world.gateway(A).left.clear();
    world.thaw(A);
    let (session, now) = (world.tabs[tab].session.clone(), world.now);
    world.gateway(A).instance.sign_off(&session.session_id, &session.session_token, now).expect("it lives");
    world.pump();
    assert!(sip(&mut world).contains(&Left::Request(Method::Bye)));
}
