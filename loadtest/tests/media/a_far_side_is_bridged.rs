//! Browsers and RTP ends with the plane between them: through an end that sends everything back, from instance to
//! instance, and under a spray of strangers.

use crate::support::{SOON, Scene, more_returned, wait};
use gateway::media::{FarLeg, MediaEventKind, PeerId};
use gateway_core::sdp::{CodecKind, FarSdp, Security, SrtpSecret};
use loadtest::peer::{PeerState, Profiles};
use loadtest::peer_io::PoolPeer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::UdpSocket;

const RTP: FarLeg = FarLeg::Rtp { video: None };

/// A plane with ports that no other test uses.
fn scene(low: u16) -> Scene {
    Scene::with(|config| {
        config.rtp_ports = Some((low, low + 199));
        config.far_silence = Duration::from_millis(300);
    })
}

/// A peer with open far ports, and the machine of its descriptions.
fn dial(scene: &Scene, security: Security) -> (PeerId, PoolPeer, FarSdp) {
    let (id, peer) = scene.dial(Profiles::Gcm, RTP);
    let local = scene.plane.open_far(id, false).expect("free ports");
    assert!(scene.plane.open_far(id, false).is_err(), "once");
    (id, peer, FarSdp::new(id.0, local, [SrtpSecret([7; 30]), SrtpSecret([8; 30])], security))
}

/// An RTP end that sends everything back, and its answer to any offer.
async fn mirror() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut buffer = [0; 2000];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 111\r\n\
         a=rtpmap:111 opus/48000/2\r\n"
    )
}

/// Waits for these events of one peer, in whatever order.
async fn told(scene: &mut Scene, id: PeerId, mut expected: Vec<MediaEventKind>) {
    while !expected.is_empty() {
        let event = scene.next_event(id).await;
        let at = expected.iter().position(|kind| *kind == event).unwrap_or_else(|| panic!("{event:?}"));
        expected.swap_remove(at);
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    let reached = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !done() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(SOON, reached).await.expect("in time");
}

#[tokio::test]
async fn sound_returns_through_a_far_end_until_it_falls_silent() {
    let mut scene = scene(22_000);
    let (id, peer, mut sdp) = dial(&scene, Security::Plain);
    sdp.offer();
    let media = sdp.handle_answer(&mirror().await).expect("an answer");
    scene.plane.connect_far(id, media);
    wait(&peer, PeerState::Flowing).await;
    more_returned(&peer, 20).await;
    assert_eq!((peer.counts().foreign, peer.counts().rejected), (0, 0));
    told(
        &mut scene,
        id,
        vec![MediaEventKind::Connected, MediaEventKind::FarCodec(CodecKind::Opus), MediaEventKind::FarHeard],
    )
    .await;
    sdp.hold(true);
    scene.plane.connect_far(id, sdp.handle_answer(&mirror().await).expect("an answer"));
    sdp.hold(false);
    let nobody = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 9 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n";
    scene.plane.connect_far(id, sdp.handle_answer(nobody).expect("an answer"));
    assert_eq!(scene.next_event(id).await, MediaEventKind::FarSilent);
}

#[tokio::test]
async fn a_far_side_hears_from_the_address_of_its_own_network() {
    let scene = Scene::with(|config| {
        config.rtp_ports = Some((24_000, 24_199));
        config.rtp_listen = Some([127, 0, 0, 2].into());
    });
    let (id, _peer, mut sdp) = dial(&scene, Security::Plain);
    sdp.offer();
    let far = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = far.local_addr().expect("bound").port();
    let answer = format!("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n");
    scene.plane.connect_far(id, sdp.handle_answer(&answer).expect("an answer"));
    let heard = tokio::time::timeout(SOON, far.recv_from(&mut [0; 2000])).await.expect("in time");
    assert_eq!(heard.expect("a packet").1.ip().to_string(), "127.0.0.2");
}

#[tokio::test]
async fn a_call_goes_from_instance_to_instance_in_the_clear_and_under_sdes() {
    for (low, security) in [(22_200, Security::Plain), (22_400, Security::Required)] {
        let (one, two) = (scene(low), scene(low + 400));
        let (caller, caller_peer, mut calling) = dial(&one, security);
        let (callee, callee_peer, mut called) = dial(&two, Security::Plain);
        let (answer, media) = called.handle_offer(&calling.offer()).expect("an offer");
        assert_eq!(media.audio.srtp.is_some(), security == Security::Required);
        two.plane.connect_far(callee, media);
        one.plane.connect_far(caller, calling.handle_answer(&answer).expect("an answer"));
        until(|| caller_peer.counts().received > 20 && callee_peer.counts().received > 20).await;
        assert_eq!((caller_peer.counts().rejected, callee_peer.counts().rejected), (0, 0));
    }
}

#[tokio::test]
async fn strangers_are_dropped_and_counted_and_the_call_goes_on() {
    let scene = scene(23_000);
    let (id, peer, mut sdp) = dial(&scene, Security::Plain);
    let offer = sdp.offer();
    scene.plane.connect_far(id, sdp.handle_answer(&mirror().await).expect("an answer"));
    wait(&peer, PeerState::Flowing).await;
    let port = offer.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a port");
    let target: SocketAddr = ([127, 0, 0, 1], port).into();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut packet = [0; 172];
    (packet[0], packet[1]) = (0x80, 111);
    let dropped = || {
        scene.plane.stats().dropped.iter().find(|(reason, _)| *reason == "far_address").map_or(0, |(_, count)| *count)
    };
    let before = peer.counts().received;
    for _ in 0..200 {
        stranger.send_to(&packet, target).await.expect("sent");
        stranger.send_to(&[0xff; 3], target).await.expect("sent");
    }
    until(|| dropped() >= 100).await;
    more_returned(&peer, 20).await;
    let counts = peer.counts();
    assert!(counts.foreign == 0 && counts.rejected == 0 && counts.received > before, "{counts:?}");
}

#[tokio::test]
async fn the_ports_of_an_ended_call_are_closed() {
    let scene = scene(23_200);
    let (id, peer, mut sdp) = dial(&scene, Security::Plain);
    sdp.offer();
    let media = sdp.handle_answer(&mirror().await).expect("an answer");
    let local = sdp.reoffer();
    scene.plane.connect_far(id, media);
    wait(&peer, PeerState::Flowing).await;
    let port: u16 =
        local.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a port");
    assert!(std::net::UdpSocket::bind(("127.0.0.1", port)).is_err(), "in use");
    scene.plane.close(id);
    until(|| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok()).await;
}
