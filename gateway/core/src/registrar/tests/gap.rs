//! The gap between an instance's death and its users' next REGISTER.

use super::*;
use crate::sip::SendFailure;

const OLD: &str = "<sip:a@127.0.0.1:4001;transport=tcp;hf-gen=1>;+sip.instance=\"<urn:uuid:1>\";expires=90";
const NEW: &str = "<sip:a@127.0.0.1:4002;transport=tcp;hf-gen=2>;+sip.instance=\"<urn:uuid:1>\";expires=90";

fn with_old() -> World {
    let mut world = World::new();
    world.register("a", tcp(5001), OLD);
    world
}

#[test]
fn a_call_within_the_gap_waits_and_rings_at_the_new_instance() {
    let mut world = with_old();
    world.tell(SipEvent::Down { peer: tcp(5001) });
    let (id, out) = world.call(tcp(4000), "a");
    assert_eq!((out.statuses(), out.requests.len()), (vec![100, 182], 0));
    world.pass(Duration::from_secs(2));
    let out = world.register("a", tcp(5002), NEW);
    let (client, peer, invite) = out.only_request();
    assert_eq!((peer, invite.uri.as_str()), (tcp(5002), "sip:a@127.0.0.1:4002;transport=tcp;hf-gen=2"));
    let invite = invite.clone();
    let out = world.answer(client, &invite, 200);
    assert_eq!((out.responses[0].0, out.statuses()), (id, vec![200]));
}

#[test]
fn it_waits_six_seconds() {
    let mut world = with_old();
    world.tell(SipEvent::Down { peer: tcp(5001) });
    world.call(tcp(4000), "a");
    assert_eq!(world.pass(HOLD - Duration::from_millis(1)).statuses(), [] as [u16; 0]);
    assert_eq!(world.pass(Duration::from_millis(1)).statuses(), [480]);
    assert_eq!(world.register("a", tcp(5002), NEW).requests.len(), 0, "it is over");
}

#[test]
fn a_held_call_can_be_cancelled() {
    let mut world = with_old();
    world.tell(SipEvent::Down { peer: tcp(5001) });
    let (id, _) = world.call(tcp(4000), "a");
    assert_eq!(world.tell(SipEvent::Cancelled(id)).statuses(), [487]);
    assert_eq!(world.registrar.counts().held, 0);
}

#[test]
fn who_signed_out_or_was_never_here_is_not_waited_for() {
    let mut world = with_old();
    assert_eq!(world.call(tcp(4000), "b").1.statuses(), [404]);
    world.register("a", tcp(5001), "<sip:a@127.0.0.1:4001;transport=tcp;hf-gen=1>;expires=0");
    assert_eq!(world.call(tcp(4000), "a").1.statuses(), [404]);
}

#[test]
fn an_expired_user_is_waited_for_ninety_seconds() {
    let mut world = with_old();
    world.pass(Duration::from_secs(90) + RECENT - Duration::from_millis(1));
    assert_eq!(world.call(tcp(4000), "a").1.statuses(), [100, 182]);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.call(tcp(4000), "a").1.statuses(), [404]);
}

#[test]
fn a_contact_that_refuses_turns_the_call_into_a_held_one() {
    let mut world = with_old();
    let (_, out) = world.call(tcp(4000), "a");
    let (transaction, ..) = out.only_request();
    let out = world.tell(SipEvent::Failed { transaction, why: SendFailure::Unreachable });
    assert_eq!(out.statuses(), [182]);
    assert_eq!(world.registrar.counts().bindings, 0, "and its binding is gone");
    assert_eq!(world.register("a", tcp(5002), NEW).only_request().1, tcp(5002));
}

/// What tsilo does: the old instance may be frozen, and nothing tells.
#[test]
fn a_call_that_rings_at_a_replaced_contact_goes_to_the_new_one_too() {
    let mut world = with_old();
    let (_, out) = world.call(tcp(4000), "a");
    let (old, _, invite) = out.only_request();
    let invite = invite.clone();
    world.answer(old, &invite, 180);
    let out = world.register("a", tcp(5002), NEW);
    assert_eq!(out.statuses(), [200]);
    let (new, peer, invite) = out.only_request();
    assert_eq!(peer, tcp(5002));
    let invite = invite.clone();
    assert_eq!(world.register("a", tcp(5002), NEW).requests.len(), 0, "once");
    let out = world.answer(new, &invite, 200);
    assert_eq!((out.statuses(), out.cancels), (vec![200], vec![old]));
}

#[test]
fn a_refused_call_does_not_follow_its_user() {
    let mut world = with_old();
    world.register("a", tcp(5009), "<sip:a@127.0.0.1:4009>;expires=90");
    let (_, out) = world.call(tcp(4000), "a");
    let (old, _, invite) = out.requests[0].clone();
    world.answer(old, &invite, 486);
    assert_eq!(world.register("a", tcp(5002), NEW).requests.len(), 0);
}

#[test]
fn a_phone_of_another_instance_takes_over_no_call() {
    let mut world = with_old();
    world.call(tcp(4000), "a");
    let other = NEW.replace("uuid:1", "uuid:2");
    assert_eq!(world.register("a", tcp(5002), &other).requests.len(), 0);
}
