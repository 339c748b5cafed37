//! What a telephone with G.711 gets while the browser sends next to nothing, and what a browser gets while a telephone
//! only said how its silence is.

use crate::support::{SOON, Scene};
use gateway::media::{FarLeg, PeerId};
use gateway_core::sdp::{FarSdp, Security, SrtpSecret};
use loadtest::peer::{Profiles, Sound};
use loadtest::peer_io::{PeerPool, PoolConfig, PoolPeer};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

const HEADER: usize = 12;

/// A telephone that was called, and the browser on the other side of the plane.
struct Pair {
    scene: Scene,
    browser: PoolPeer,
    id: PeerId,
    sdp: FarSdp,
    phone: UdpSocket,
    attributes: &'static str,
}

/// The low end of the ports that no other test uses, and the browser's packets with the time between them.
async fn pair(low: u16, sound: Vec<u8>, packet_interval: Duration, attributes: &'static str) -> Pair {
    let mut scene = Scene::with(|config| config.rtp_ports = Some((low, low + 99)));
    let sound = Sound::Opus(vec![sound].into());
    scene.pool = PeerPool::start(PoolConfig { sound, packet_interval, ..PoolConfig::default() }).expect("a pool");
    let (id, browser) = scene.dial(Profiles::Gcm, FarLeg::Rtp { video: None });
    let local = scene.plane.open_far(id, false).expect("free ports");
    let sdp = FarSdp::new(id.0, local, [SrtpSecret([7; 30]), SrtpSecret([8; 30])], Security::Plain);
    let phone = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let mut pair = Pair { scene, browser, id, sdp, phone, attributes };
    pair.connect("sendrecv");
    pair
}

impl Pair {
    /// The telephone's answer.
    fn connect(&mut self, direction: &str) {
        let port = self.phone.local_addr().expect("bound").port();
        self.sdp.offer();
        let answer =
            format!("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 0\r\n{}a={direction}\r\n", self.attributes);
        self.scene.plane.connect_far(self.id, self.sdp.handle_answer(&answer).expect("an answer"));
    }

    async fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0; 2000];
        let received = tokio::time::timeout(SOON, self.phone.recv(&mut packet)).await;
        packet.truncate(received.expect("in time").expect("received"));
        packet
    }
}

fn number(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[tokio::test]
async fn a_browser_in_dtx_or_without_a_microphone_is_heard_all_the_time() {
    // An Opus packet of 20 ms without a frame, every 400 ms: what a browser in DTX sends.
    let mut pair = pair(25_400, vec![0x08], Duration::from_millis(400), "").await;
    let first = pair.packet().await;
    let (mut last, before, started) = (number(&first), pair.browser.counts().sent, Instant::now());
    for count in 1..100 {
        let packet = pair.packet().await;
        assert_eq!((packet.len(), packet[1] & 0x7f), (HEADER + 160, 0), "packet {count}");
        assert_eq!(number(&packet), last.wrapping_add(1), "packet {count}");
        last = number(&packet);
    }
    let sent = pair.browser.counts().sent - before;
    println!("100 packets heard of {sent} sent, in {:?}", started.elapsed());
    assert!(sent <= 50, "the browser was in no DTX: {sent} packets");
    pair.browser.send_media(false);
    for _ in 0..50 {
        last = last.wrapping_add(1);
        assert_eq!(number(&pair.packet().await), last);
    }
    // On hold nothing comes, once what was under way is here.
    pair.connect("sendonly");
    let silent = async { while tokio::time::timeout(Duration::from_millis(500), pair.packet()).await.is_ok() {} };
    tokio::time::timeout(SOON, silent).await.expect("silence on hold");
    pair.connect("sendrecv");
    pair.packet().await;
}

#[tokio::test]
async fn packets_have_the_length_that_the_telephone_takes() {
    for (low, attributes, bytes) in [
        (25_500, "a=ptime:30\r\n", 240),
        (25_600, "a=maxptime:10\r\n", 80),
        (25_700, "a=ptime:10\r\na=maxptime:150\r\n", 80),
    ] {
        let pair = pair(low, vec![0x08], Duration::from_millis(20), attributes).await;
        for _ in 0..20 {
            assert_eq!(pair.packet().await.len(), HEADER + bytes, "{attributes}");
        }
    }
}

#[tokio::test]
async fn a_telephones_comfort_noise_is_heard_until_it_speaks() {
    let pair = pair(25_800, vec![0x08], Duration::from_millis(20), "").await;
    let far = {
        let mut buffer = [0; 2000];
        tokio::time::timeout(SOON, pair.phone.recv_from(&mut buffer)).await.expect("in time").expect("received").1
    };
    let packet = |number: u8, payload_type: u8, payload: &[u8]| {
        [&[0x80, payload_type, 0, number, 0, 0, number, 0, 0, 0, 0, 9][..], payload].concat()
    };
    pair.phone.send_to(&packet(1, 0, &[0xd5; 160]), far).await.expect("sent");
    pair.phone.send_to(&packet(2, 13, &[60]), far).await.expect("sent");
    let heard = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while pair.browser.counts().received < 50 {
            looks.tick().await;
        }
    };
    tokio::time::timeout(SOON, heard).await.expect("50 packets of two");
    assert_eq!(pair.browser.counts().missed, 0);
}
