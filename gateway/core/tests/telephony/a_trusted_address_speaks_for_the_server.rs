use crate::far::sdp;
use crate::gateway::Options;
use crate::world::{A, SERVER, World, answer};
use gateway_core::sip::Method;
use std::net::IpAddr;

#[test]
fn a_call_from_another_address_of_the_server_comes_in_and_goes_on_through_the_server() {
    let options = Options { trusted: vec![IpAddr::from([10, 0, 2, 66])], ..Options::default() };
    let mut world = World::played(1, options);
    let tab = world.join(A, "alice");
    let beside = world.add_phone(66);
    let to = world.far(SERVER).registers[0].from;
    let uri = world.far(SERVER).bindings[0].uri.clone();
    let invite = world.far(beside).invite("<sip:bob@example.org>", &uri, Some(&sdp(30_000)));
    let id = world.say(beside, to, invite);
    let call = world.only_call(tab);
    world.done(tab, answer(&call));
    assert_eq!(world.hears_answer(beside, id).status, 200);
    world.done(tab, crate::world::hang_up(&call));
    world.hears(SERVER, Method::Bye);
}
