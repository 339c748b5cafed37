use crate::far::sdp;
use crate::gateway::Left;
use crate::world::{A, SERVER, World, answer};
use gateway_core::capsule::Capsule;
use gateway_core::sip::Method;

fn knows_calls(world: &mut World, tab: usize) -> usize {
    let text = world.tabs[tab].capsule.clone();
    Capsule::open(&world.gateway(A).ring, &text, 0).expect("ours").calls.len()
}

#[test]
fn an_invite_leaves_after_the_capsule_that_knows_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.gateway(A).left.clear();
    world.dial(tab, "c1", "bob");
    assert_eq!(world.gateway(A).left, [Left::Capsule, Left::Request(Method::Invite)]);
    assert_eq!(knows_calls(&mut world, tab), 1);
}

#[test]
fn an_answer_leaves_after_the_capsule_that_knows_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.ring("alice", Some(&sdp(30_000)));
    let call = world.only_call(tab);
    world.gateway(A).left.clear();
    world.done(tab, answer(&call));
    assert_eq!(world.gateway(A).left, [Left::Capsule, Left::Response(200, "INVITE".to_owned())]);
    assert_eq!(knows_calls(&mut world, tab), 1);
}

#[test]
fn it_can_carry_as_many_calls_as_a_session_may_have() {
    let options = crate::gateway::Options::default();
    let most = options.limits.calls_per_session;
    let mut world = World::played(2, options);
    let tab = world.join(A, "alice");
    for call in 0..most {
        world.talk(tab, &format!("c{call}"));
    }
    assert_eq!(knows_calls(&mut world, tab), most);
}

#[test]
fn every_change_of_the_dialog_renews_it_and_its_end_empties_it() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let before = world.tabs[tab].capsules;
    let (mut dialog, to) = world.talk(tab, "c1");
    assert!(world.tabs[tab].capsules >= before + 2, "INVITE and answer");
    let mut invite = dialog.request(Method::Invite);
    invite.headers.push("Contact", "<sip:far@10.9.9.9>");
    invite.body = Some(gateway_core::sip::Body::sdp(crate::far::described(30_000, "sendonly", 2, true)));
    world.gateway(A).left.clear();
    world.say(SERVER, to, invite);
    assert_eq!(world.gateway(A).left, [Left::Capsule, Left::Response(200, "INVITE".to_owned())]);
    world.say(SERVER, to, dialog.request(Method::Bye));
    assert_eq!(knows_calls(&mut world, tab), 0);
}

#[test]
fn a_far_side_with_a_long_route_does_not_crowd_out_the_others() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.talk(tab, "c1");
    world.dial(tab, "c2", "bob");
    let invite = world.hears(SERVER, Method::Invite);
    let hop = format!("<sip:{}.example;lr>", "p".repeat(450));
    let route = vec![hop; 12].join(", ");
    world.far(SERVER).respond(&invite, 200, Some(&sdp(30_000)), &[("Record-Route", &route)]);
    world.pump();
    assert_eq!(knows_calls(&mut world, tab), 1);
}
