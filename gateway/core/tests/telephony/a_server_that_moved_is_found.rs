use crate::far::{sdp, tcp};
use crate::net::HostId;
use crate::world::{A, SERVER, World};
use gateway_core::sip::Method;
use gateway_protocol::message::CallState;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the server is later.
const ELSEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 2, 9)), 5_060);

/// Another host there, of which the server's name does not speak yet.
fn elsewhere(world: &mut World) -> HostId {
    world.add_phone(9)
}

#[test]
fn a_server_that_is_gone_is_found_where_its_name_leads() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let other = elsewhere(&mut world);
    world.kill(SERVER);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.unavailable(tab).as_deref(), Some("sip-server-unreachable"));
    world.net.names.insert(0, vec![ELSEWHERE]);
    world.pass(Duration::from_secs(2));
    assert!(world.is_available(tab));
    assert_eq!(world.far(other).bindings.len(), 1);
    assert_eq!(world.net.forgotten.len(), 1, "nobody listens to the old address any more");
    world.dial(tab, "c1", "bob");
    let invite = world.hears(other, Method::Invite);
    world.respond(other, &invite, 200, Some(&sdp(30_000)));
    assert_eq!(world.state(tab, "c1"), Some(CallState::Active));
}

#[test]
fn one_that_fell_silent_too() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let other = elsewhere(&mut world);
    world.net.names.insert(0, vec![tcp(ELSEWHERE).addr]);
    world.net.vanish(SERVER);
    world.pass(Duration::from_secs(4));
    assert!(world.is_available(tab));
    assert_eq!(world.far(other).bindings.len(), 1);
}

#[test]
fn one_that_answers_keeps_its_address_whatever_its_name_says() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    let other = elsewhere(&mut world);
    world.net.names.insert(0, vec![ELSEWHERE]);
    world.pass(Duration::from_secs(60));
    assert!(world.is_available(tab));
    assert_eq!((world.net.lookups, world.far(other).registers.len()), (0, 0));
}

#[test]
fn a_name_without_addresses_changes_nothing_and_is_asked_for_once_a_second() {
    let mut world = World::new();
    let tab = world.join(A, "alice");
    world.kill(SERVER);
    world.pass(Duration::from_secs(10));
    assert!((8..=10).contains(&world.net.lookups), "{}", world.net.lookups);
    world.restart_server();
    world.pass(Duration::from_secs(1));
    assert!(world.is_available(tab));
}

#[test]
fn two_names_for_one_server_stay_two_servers() {
    let (mut world, second) = World::paired();
    world.join(A, "alice");
    let same = world.far(second).addr;
    world.net.names.insert(0, vec![same]);
    world.kill(SERVER);
    world.pass(Duration::from_secs(5));
    assert!(world.net.forgotten.is_empty());
    assert_eq!(world.far(second).bindings.len(), 1);
}
