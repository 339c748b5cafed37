//! A tunnel is a pipe: nothing is lost when one side is slow, and the end of one side is the end of the other.

use crate::support::{
    balancer::Balancer,
    client::open_socket,
    eventually,
    fake::{Fake, Mood},
};
use std::time::{Duration, Instant};

#[test]
fn megabytes_pass_in_both_directions_although_the_readers_are_slow() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut socket = open_socket(balancer.http);
    let bytes: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut frame = b"\x82\x7f".to_vec();
    frame.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    frame.extend_from_slice(&bytes);
    fakes[0].say(&frame);
    assert!(socket.take(frame.len()).expect("the whole frame") == frame);
    socket.send(&bytes);
    eventually("all bytes arrive", || fakes[0].inbox().len() == bytes.len());
    assert!(fakes[0].inbox() == bytes);
}

#[test]
fn a_browser_that_goes_takes_the_instances_side_along() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let socket = open_socket(balancer.http);
    eventually("it is open", || fakes[0].sockets() == 1);
    drop(socket);
    eventually("it is closed", || fakes[0].sockets() == 0);
}

#[test]
fn an_instance_that_hangs_up_and_lives_is_not_called_lost() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut socket = open_socket(balancer.http);
    eventually("it is open", || fakes[0].sockets() == 1);
    fakes[0].hang_up();
    assert!(socket.is_ended(), "no 4503: the session may go on");
}

#[test]
fn a_short_freeze_ends_no_tunnel() {
    let fakes = [Fake::start("a")];
    let balancer = Balancer::start(&fakes);
    let mut socket = open_socket(balancer.http);
    eventually("it is open", || fakes[0].sockets() == 1);
    fakes[0].mood(Mood::Frozen);
    let frozen = Instant::now();
    eventually("it was frozen for 0.25 s", || frozen.elapsed() > Duration::from_millis(250));
    fakes[0].mood(Mood::Serving);
    eventually("it is healthy again", || balancer.placeable() == 1);
    fakes[0].say(b"\x81\x01!");
    assert_eq!(socket.take(3).expect("a frame"), b"\x81\x01!");
}
