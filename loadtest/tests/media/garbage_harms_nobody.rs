//! Whatever arrives at the media port is dropped and counted by its reason, and the echo beside it goes on.

use crate::support::{SOON, Scene, more_returned};
use gateway::media::{FarLeg, MediaPlane, PeerId};
use loadtest::peer::Profiles;
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// One kind of garbage: what it is, the datagrams, and the reason under which they are counted.
struct Case {
    name: &'static str,
    datagrams: Vec<Vec<u8>>,
    reason: &'static str,
}

fn dropped(plane: &MediaPlane, reason: &str) -> u64 {
    plane.stats().dropped.iter().find(|(label, _)| *label == reason).map_or(0, |(_, count)| *count)
}

fn attacker(target: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a port");
    socket.connect(target).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    socket
}

fn check(username: &str, password: &str, transaction: u8) -> Vec<u8> {
    let provider = rtc::crypto::default_provider().expect("a crypto provider");
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId([transaction; 12]).add_to(&mut message).expect("room");
    TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).expect("room");
    message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto())
        .add_to(&mut message)
        .expect("room");
    FINGERPRINT.add_to(&mut message).expect("room");
    message.raw
}

fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    let line = sdp.lines().find_map(|line| line.strip_prefix(name));
    line.expect("the line is there").trim()
}

/// A peer that signalling knows and nobody plays: its user name and password.
fn credentials(scene: &Scene, id: u64) -> (String, String) {
    let offer = scene.pool.create(Profiles::Gcm).expect("a socket").offer();
    let answer = scene.plane.accept(PeerId(id), &offer, FarLeg::Echo).expect("a good offer");
    let username = format!("{}:{}", value(&answer, "a=ice-ufrag:"), value(&offer, "a=ice-ufrag:"));
    (username, value(&answer, "a=ice-pwd:").to_owned())
}

fn cases(username: &str, password: &str) -> Vec<Case> {
    let good = check(username, password, 1);
    let mut flipped = good.clone();
    flipped[30] ^= 0xff;
    let noise = |length: usize| (0..length).map(|at| (at * 31 + length) as u8).collect::<Vec<u8>>();
    let client_hello = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1][..], &[0; 39]].concat();
    vec![
        Case {
            name: "STUN with a wrong password",
            datagrams: vec![check(username, "wrong", 2)],
            reason: "stun_integrity",
        },
        Case { name: "STUN for nobody", datagrams: vec![check("nobody:x", password, 3)], reason: "stun_user" },
        Case { name: "STUN with a bit flipped", datagrams: vec![flipped], reason: "stun_malformed" },
        Case { name: "STUN cut short", datagrams: vec![good[..good.len() - 4].to_vec()], reason: "stun_malformed" },
        Case { name: "a STUN header alone", datagrams: vec![good[..20].to_vec()], reason: "stun_malformed" },
        Case { name: "DTLS from an unchecked address", datagrams: vec![client_hello], reason: "unchecked" },
        Case { name: "RTP from an unchecked address", datagrams: vec![vec![0x80; 200]], reason: "unchecked" },
        Case { name: "RTCP from an unchecked address", datagrams: vec![vec![0x80, 200, 0, 6]], reason: "unchecked" },
        Case {
            name: "noise of every length",
            datagrams: (1..1500).step_by(37).map(noise).collect(),
            reason: "unchecked",
        },
    ]
}

async fn until_counted(plane: &MediaPlane, reason: &str, goal: u64, name: &str) {
    let counted = async {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        while dropped(plane, reason) < goal {
            tick.tick().await;
        }
    };
    tokio::time::timeout(SOON, counted).await.unwrap_or_else(|_| panic!("{name} is not counted as {reason}"));
}

#[tokio::test]
async fn from_strangers() {
    let mut scene = Scene::new();
    let (_, echo) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    let (username, password) = credentials(&scene, 1000);
    for case in cases(&username, &password) {
        let before = dropped(&scene.plane, case.reason);
        let socket = attacker(scene.plane.local_addr());
        for datagram in &case.datagrams {
            socket.send(datagram).expect("sent");
        }
        until_counted(&scene.plane, case.reason, before + case.datagrams.len() as u64, case.name).await;
        socket.set_nonblocking(true).expect("a socket");
        assert!(socket.recv(&mut [0; 100]).is_err(), "{} got an answer", case.name);
        more_returned(&echo, 2).await;
    }
    assert_eq!(scene.plane.stats().panics, 0);
}

#[tokio::test]
async fn from_a_checked_address() {
    let mut scene = Scene::new();
    let (_, echo) = scene.call(Profiles::Gcm, FarLeg::Echo).await;
    let (username, password) = credentials(&scene, 1000);
    let (insider, elsewhere) = (attacker(scene.plane.local_addr()), attacker(scene.plane.local_addr()));
    let valid = check(&username, &password, 1);
    insider.send(&valid).expect("sent");
    let mut answer = [0; 200];
    let length = insider.recv(&mut answer).expect("an answer");
    assert_eq!(answer[..2], [1, 1], "a success of {length} bytes");

    elsewhere.send(&valid).expect("sent");
    until_counted(&scene.plane, "stun_replayed", 1, "a replay").await;
    for (datagram, reason) in [
        (vec![0x80; 200], "early"),
        (vec![0x80, 200, 0, 6, 0, 0, 0, 1], "early"),
        (vec![22; 100], "dtls"),
        (vec![100; 100], "unknown"),
    ] {
        let before = dropped(&scene.plane, reason);
        insider.send(&datagram).expect("sent");
        until_counted(&scene.plane, reason, before + 1, reason).await;
        more_returned(&echo, 2).await;
    }
}
