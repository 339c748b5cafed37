//! Both ends of a call that speak and listen: a browser with its own drive, and a telephone of plain RTP.

use crate::support::{SOON, Scene};
use crate::tone::{self, Ear};
use gateway::media::{FarLeg, PeerId};
use loadtest::peer::{Peer, PeerIdentity, Profiles, Sound};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const OPUS: u8 = 111;
const FRAME: Duration = Duration::from_millis(20);

/// Ends with this.
pub(crate) struct Talker {
    ear: Arc<Mutex<Ear>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Talker {
    /// A browser whose call has open far ports that nobody knows yet.
    pub(crate) async fn browser(scene: &Scene, id: PeerId, hertz: f64) -> Self {
        let identity = PeerIdentity::generate().expect("a certificate");
        let mut peer = Peer::new(identity, Profiles::Gcm, id.0, &mut SmallRng::from_os_rng(), Instant::now());
        peer.speak(Sound::Opus(tone::opus(hertz).into()));
        peer.listen();
        let answer = scene.plane.accept(id, &peer.offer(), FarLeg::Rtp { video: None }).expect("a good offer");
        peer.answer(&answer, Instant::now()).expect("a good answer");
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let ear = Arc::new(Mutex::new(Ear::new()));
        Self { tasks: vec![tokio::spawn(drive(peer, ear.clone(), socket))], ear }
    }

    /// A telephone at a socket, which speaks PCMU to `remote`.
    pub(crate) fn phone(socket: UdpSocket, remote: SocketAddr, hertz: f64) -> Self {
        let (ear, socket) = (Arc::new(Mutex::new(Ear::new())), Arc::new(socket));
        let tasks = vec![tokio::spawn(speak(socket.clone(), remote, hertz)), tokio::spawn(listen(socket, ear.clone()))];
        Self { ear, tasks }
    }

    pub(crate) async fn hears(&self, hertz: f64) {
        let heard = async {
            let mut looks = tokio::time::interval(FRAME);
            while !lock(&self.ear).hears(hertz) {
                looks.tick().await;
            }
        };
        let packets = || lock(&self.ear).packets.clone();
        tokio::time::timeout(SOON, heard).await.unwrap_or_else(|_| panic!("no {hertz} Hz in {:?}", packets()));
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn drive(mut peer: Peer, ear: Arc<Mutex<Ear>>, socket: UdpSocket) {
    let mut buffer = vec![0; 2048];
    loop {
        while let Some(packet) = peer.poll_heard() {
            lock(&ear).hear(&packet, OPUS);
        }
        while let Some((datagram, remote)) = peer.poll_transmit().zip(peer.remote()) {
            let _ = socket.send_to(&datagram, remote).await;
        }
        let due = peer.poll_timeout().unwrap_or_else(|| Instant::now() + SOON);
        tokio::select! {
            Ok((length, _)) = socket.recv_from(&mut buffer) => peer.handle_datagram(&buffer[..length], Instant::now()),
            () = tokio::time::sleep_until(due.into()) => peer.handle_timeout(Instant::now()),
        }
    }
}

async fn speak(socket: Arc<UdpSocket>, remote: SocketAddr, hertz: f64) {
    let mut tick = tokio::time::interval(FRAME);
    for (number, frame) in (0_u32..).zip(tone::pcmu(hertz).iter().cycle()) {
        tick.tick().await;
        let mut packet = vec![0x80, 0];
        packet.extend((number as u16).to_be_bytes());
        packet.extend((number * 160).to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        packet.extend(frame);
        let _ = socket.send_to(&packet, remote).await;
    }
}

async fn listen(socket: Arc<UdpSocket>, ear: Arc<Mutex<Ear>>) {
    let mut buffer = vec![0; 2048];
    while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
        // No telephone of this kind knows Opus.
        lock(&ear).hear(&buffer[..length], u8::MAX);
    }
}

fn lock(ear: &Mutex<Ear>) -> MutexGuard<'_, Ear> {
    ear.lock().expect("not poisoned")
}
