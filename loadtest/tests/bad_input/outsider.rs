//! Whoever sends datagrams to the media port: a socket without any rights, and a peer whose every datagram passes
//! through the test's hands.

use crate::chain::Chain;
use crate::client::{PATIENCE, Socket, start_call, text};
use bytes::BytesMut;
use loadtest::peer::{Peer, PeerIdentity, Profiles};
use rand::{SeedableRng, rngs::SmallRng};
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

pub(crate) async fn outsider(chain: &Chain) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a port");
    socket.connect(chain.gateway.media()).await.expect("loopback");
    socket
}

/// Sends these and waits until they are counted as dropped for `reason`.
pub(crate) async fn dropped(chain: &Chain, from: &UdpSocket, datagrams: &[Vec<u8>], reason: &str) -> String {
    let goal = chain.dropped(reason).await + datagrams.len() as u64;
    for datagram in datagrams {
        from.send(datagram).await.expect("sent");
    }
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let counted = async {
        while chain.dropped(reason).await < goal {
            looks.tick().await;
        }
    };
    if tokio::time::timeout(PATIENCE, counted).await.is_err() {
        return format!("not counted as {reason}");
    }
    format!("dropped as {reason}")
}

/// [`dropped`], and nothing came back.
pub(crate) async fn unanswered(chain: &Chain, from: &UdpSocket, datagrams: &[Vec<u8>], reason: &str) -> String {
    let counted = dropped(chain, from, datagrams, reason).await;
    let answer = from.try_recv(&mut [0; 100]).map(|length| format!(", an answer of {length} bytes"));
    counted + &answer.unwrap_or_default()
}

/// A nominating STUN check.
pub(crate) fn check(username: &str, password: &str, transaction: u8) -> Vec<u8> {
    let provider = rtc::crypto::default_provider().expect("a crypto provider");
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId([transaction; 12]).add_to(&mut message).expect("room");
    TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).expect("room");
    message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    message.add(ATTR_USE_CANDIDATE, &[]);
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto())
        .add_to(&mut message)
        .expect("room");
    FINGERPRINT.add_to(&mut message).expect("room");
    message.raw
}

pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, ..])
}

pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [20..=63, ..])
}

pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 0..=191 | 224..=255, ..])
}

/// The peer of a call to the echo, driven by hand.
pub(crate) struct HandDriven {
    peer: Peer,
    pub(crate) socket: UdpSocket,
}

impl HandDriven {
    /// Called, answered, and nothing sent yet. `change` is done to the offer on its way.
    pub(crate) async fn call(
        chain: &Chain,
        signalling: &mut Socket,
        call: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let identity = PeerIdentity::generate().expect("a certificate");
        let mut peer = Peer::new(identity, Profiles::Gcm, 1, &mut SmallRng::seed_from_u64(1), Instant::now());
        let offer = change(peer.offer());
        let outcome = signalling.ask(start_call(call, "echo", &offer)).await;
        peer.answer(text(&outcome["sdp"]), Instant::now()).expect("an answer");
        Self { peer, socket: outsider(chain).await }
    }

    /// Drives it until it wants to send such a datagram, which is kept back.
    pub(crate) async fn hold_back(&mut self, such: fn(&[u8]) -> bool) -> BytesMut {
        let mut buffer = [0; 2048];
        loop {
            while let Some(datagram) = self.peer.poll_transmit() {
                if such(&datagram) {
                    return datagram;
                }
                self.socket.send(&datagram).await.expect("sent");
            }
            // A peer that has ended wants nothing any more.
            let due = self.peer.poll_timeout().unwrap_or_else(|| Instant::now() + PATIENCE);
            match tokio::time::timeout_at(due.into(), self.socket.recv(&mut buffer)).await {
                Ok(received) => self.peer.handle_datagram(&buffer[..received.expect("a socket")], Instant::now()),
                Err(_) => self.peer.handle_timeout(Instant::now()),
            }
        }
    }

    /// Packets of its own that came back.
    pub(crate) fn echoed(&self) -> u64 {
        self.peer.counts().returned
    }

    /// Drives it until a packet of its own came back.
    pub(crate) async fn hear_itself(&mut self) {
        while self.echoed() == 0 {
            let packet = self.hold_back(is_rtp).await;
            self.socket.send(&packet).await.expect("sent");
        }
    }
}
