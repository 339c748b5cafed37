//! A telephone behind rtpengine, which speaks SRTP by SDES (RFC 4568) to the plane, under every profile, offered and
//! answered; tones are heard both ways.

use crate::support::{SOON, Scene};
use crate::talker::Talker;
use gateway::media::PeerId;
use gateway_core::sdp::{FarMedia, FarSdp, Security, SrtpSecret, SrtpSuite};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::UdpSocket;

const PHONE: f64 = 440.0;
const BROWSER: f64 = 660.0;
/// No other test's.
const PLANE_PORTS: (u16, u16) = (25_000, 25_199);
const PORTS: (u16, u16) = (25_200, 25_399);

/// Where it is. Where every test must run, there has to be one.
fn installed() -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin"].iter().map(|at| Path::new(at).join("rtpengine")).find(|path| path.is_file());
    assert!(found.is_some() || std::env::var("CI").as_deref() != Ok("true"), "rtpengine is not installed");
    if found.is_none() {
        println!("skipped: rtpengine is not installed");
    }
    found
}

/// A running one and its control socket; it ends with this.
struct Rtpengine {
    child: Child,
    control: UdpSocket,
    cookies: u32,
}

impl Rtpengine {
    async fn start(binary: &Path) -> Self {
        let port =
            std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let child = Command::new(binary)
            .args(["--table=-1", "--interface=127.0.0.1", "--foreground", "--log-stderr", "--no-redis-required"])
            .args([format!("--listen-ng=127.0.0.1:{port}"), "--log-level=2".to_owned()])
            .args([format!("--port-min={}", PORTS.0), format!("--port-max={}", PORTS.1)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let control = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        control.connect(("127.0.0.1", port)).await.expect("an address");
        let mut engine = Self { child, control, cookies: 0 };
        let ready = async { while engine.ask(&[("command", "ping")], &[]).await.is_none() {} };
        tokio::time::timeout(SOON, ready).await.expect("it answers");
        engine
    }

    /// The answer to a command (bencode: texts, and lists of texts), if one comes soon.
    async fn ask(&mut self, texts: &[(&str, &str)], lists: &[(&str, &[&str])]) -> Option<String> {
        let text = |text: &str| format!("{}:{text}", text.len());
        self.cookies += 1;
        let cookie = format!("{} ", self.cookies);
        let texts: String = texts.iter().map(|(key, value)| text(key) + &text(value)).collect();
        let list = |values: &[&str]| format!("l{}e", values.iter().map(|value| text(value)).collect::<String>());
        let lists: String = lists.iter().map(|(key, values)| text(key) + &list(values)).collect();
        let command = format!("{cookie}d{texts}{lists}e");
        let mut bytes = vec![0; 65_536];
        // Datagrams may be lost; the same cookie gets the same answer.
        let asked = async {
            let mut again = tokio::time::interval(Duration::from_millis(200));
            loop {
                tokio::select! {
                    _ = again.tick() => drop(self.control.send(command.as_bytes()).await),
                    Ok(length) = self.control.recv(&mut bytes) => {
                        if let Some(answer) = String::from_utf8_lossy(&bytes[..length]).strip_prefix(&cookie) {
                            return answer.to_owned();
                        }
                    }
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), asked).await.ok()
    }

    /// A description as it leaves rtpengine.
    async fn pass(&mut self, leg: &Leg<'_>, sdp: &str) -> String {
        let mut texts = vec![("command", leg.command), ("call-id", leg.call), ("from-tag", "caller"), ("sdp", sdp)];
        if leg.command == "answer" {
            texts.push(("to-tag", "callee"));
        }
        texts.extend((!leg.profile.is_empty()).then_some(("transport-protocol", leg.profile)));
        let answer = self.ask(&texts, leg.flags).await.expect("an answer");
        let (_, rest) = answer.split_once("3:sdp").unwrap_or_else(|| panic!("{answer}"));
        let (length, rest) = rest.split_once(':').expect("a length");
        rest[..length.parse().expect("a number")].to_owned()
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How rtpengine passes a description on.
struct Leg<'a> {
    command: &'a str,
    call: &'a str,
    profile: &'a str,
    flags: &'a [(&'a str, &'a [&'a str])],
}

/// A telephone's socket and what it says of it.
async fn phone() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let port = socket.local_addr().expect("bound").port();
    let sdp = format!(
        "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
    );
    (socket, sdp)
}

fn rtp_of(sdp: &str) -> SocketAddr {
    let port = sdp.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a port");
    ([127, 0, 0, 1], port).into()
}

/// A browser on the plane, its call's descriptions.
async fn browser(scene: &Scene, number: u64, security: Security) -> (PeerId, Talker, FarSdp) {
    let id = PeerId(number);
    let browser = Talker::browser(scene, id, BROWSER).await;
    let local = scene.plane.open_far(id, false).expect("free ports");
    (id, browser, FarSdp::new(number, local, [SrtpSecret([7; 30]), SrtpSecret([8; 30])], security))
}

async fn talk(scene: &Scene, id: PeerId, media: FarMedia, browser: &Talker, phone: Talker) {
    scene.plane.connect_far(id, media);
    phone.hears(BROWSER).await;
    browser.hears(PHONE).await;
}

#[tokio::test]
async fn tones_go_both_ways_through_rtpengine_under_sdes() {
    let Some(binary) = installed() else { return };
    let mut engine = Rtpengine::start(&binary).await;
    let scene = Scene::with(|config| config.rtp_ports = Some(PLANE_PORTS));

    // Our offers, as rtpengine answers them.
    let accept: &[(&str, &[&str])] = &[("OSRTP", &["accept"])];
    for (number, security, flags) in [(1, Security::Required, &[][..]), (2, Security::Optional, accept)] {
        let (id, talker, mut sdp) = browser(&scene, number, security).await;
        let call = format!("ours-{number}");
        let offer = Leg { command: "offer", call: &call, profile: "RTP/AVP", flags };
        let to_phone = engine.pass(&offer, &sdp.offer()).await;
        assert!(!to_phone.contains("a=crypto"), "{to_phone}");
        let (socket, answer) = phone().await;
        let leg = Leg { command: "answer", profile: "", flags: &[], ..offer };
        let answer = engine.pass(&leg, &answer).await;
        let media = sdp.handle_answer(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        let keys = media.audio.srtp.unwrap_or_else(|| panic!("no keys: {answer}"));
        println!("{security:?} offered: {:?}", keys.suite);
        talk(&scene, id, media, &talker, Talker::phone(socket, rtp_of(&to_phone), PHONE)).await;
    }

    // Its offers, as we answer them.
    let sha1: &[(&str, &[&str])] = &[("SDES", &["no-AEAD_AES_128_GCM", "no-AEAD_AES_256_GCM"])];
    let optional: &[(&str, &[&str])] = &[("OSRTP", &["offer"])];
    let cases =
        [("RTP/SAVP", &[][..]), ("RTP/SAVP", sha1), ("RTP/SAVPF", &[]), ("RTP/AVP", optional), ("RTP/AVPF", &[])];
    for (number, (profile, flags)) in (10..).zip(cases) {
        let (id, talker, mut sdp) = browser(&scene, number, Security::Plain).await;
        let (socket, offer) = phone().await;
        let call = format!("theirs-{number}");
        let leg = Leg { command: "offer", call: &call, profile, flags };
        let offer = engine.pass(&leg, &offer).await;
        assert!(offer.contains(&format!(" {profile} ")), "{offer}");
        let (answer, media) = sdp.handle_offer(&offer).unwrap_or_else(|error| panic!("{error}: {offer}"));
        assert_eq!(media.audio.srtp.is_some(), offer.contains("a=crypto"), "{offer}");
        assert_eq!(media.audio.srtp.is_none(), profile == "RTP/AVPF", "{offer}");
        let suite = media.audio.srtp.map(|keys| keys.suite);
        assert_eq!(suite == Some(SrtpSuite::AesCm128HmacSha1_80), flags == sha1, "{offer}");
        println!("{profile} {flags:?} answered: {suite:?}");
        let to_phone = engine.pass(&Leg { command: "answer", profile: "", flags: &[], ..leg }, &answer).await;
        talk(&scene, id, media, &talker, Talker::phone(socket, rtp_of(&to_phone), PHONE)).await;
    }
}
