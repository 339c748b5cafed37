//! The media plane: ICE-lite, DTLS-SRTP and the built-in far legs on one UDP port.
//!
//! Signalling hands it SDP offers through [`MediaPlane`] and hears of each peer's fate as [`MediaEvent`]s. Packets never
//! leave the worker threads. It knows peers, not users, sessions or calls.

mod answer;
mod client_hello;
mod dtls;
mod far;
mod fingerprint;
mod ice;
mod offer;
mod path;
mod peer;
#[cfg(test)]
mod peer_tests;
mod plane;
mod registry;
mod residents;
mod rtcp;
mod rtp;
#[cfg(test)]
mod sdp_tests;
mod srtp;
mod stats;
mod stun;
#[cfg(test)]
mod test_client;
mod threads;
mod tone;
mod worker;

use gateway_core::sdp::CodecKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use far::ports::PortsError;
pub use plane::{FarError, MediaPlane};

/// Longest offer that is read; a longer one is [`OfferError::TooLong`]. Browsers send 2 to 8 KiB.
pub const MAX_OFFER_BYTES: usize = 32 * 1024;

/// Names one peer connection for as long as the process lives. Never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// How the plane listens.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// The one UDP address that all workers share; port 0 picks a free one (see [`MediaPlane::local_addr`]).
    pub listen: SocketAddr,
    /// Addresses told to browsers as candidates; empty means the listening address.
    pub advertise: Vec<SocketAddr>,
    /// Worker threads; 0 means one per core.
    pub threads: usize,
    /// Most peers at once; further offers are [`OfferError::Full`].
    pub max_peers: usize,
    /// From the answer to usable media; afterwards [`Failure::Timeout`].
    pub setup_timeout: Duration,
    /// Silence after which nothing is sent any more ([`MediaEventKind::Suspended`]).
    pub consent_suspend: Duration,
    /// Silence after which the peer is given up ([`Failure::ConsentLost`]).
    pub consent_expire: Duration,
    /// Ports for [`FarLeg::Rtp`], first and last; without them there are no such legs.
    pub rtp_ports: Option<(u16, u16)>,
    /// The address of these ports, which far sides see packets come from; `None` means that of `listen`.
    pub rtp_listen: Option<IpAddr>,
    /// The address told to far sides; `None` means the first advertised one, or the one that is listened on.
    pub rtp_advertise: Option<IpAddr>,
    /// Without a packet of a far side that should send for so long: [`MediaEventKind::FarSilent`].
    pub far_silence: Duration,
}

impl MediaConfig {
    /// The defaults of the gateway on `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            advertise: Vec::new(),
            threads: 0,
            max_peers: 20_000,
            setup_timeout: Duration::from_secs(30),
            consent_suspend: Duration::from_secs(15),
            consent_expire: Duration::from_secs(30),
            rtp_ports: None,
            rtp_listen: None,
            rtp_advertise: None,
            far_silence: Duration::from_secs(30),
        }
    }
}

/// What a peer's media is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarLeg {
    /// The peer hears and sees itself.
    Echo,
    /// The peer hears a 440 Hz tone.
    Tone,
    /// RTP with a SIP user agent, by [`MediaPlane::open_far`] and [`MediaPlane::connect_far`].
    Rtp {
        /// The video codec that the far side is known to have, if any is known: the browser is asked for it first.
        video: Option<CodecKind>,
    },
}

/// Something that happened to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaEvent {
    /// Whom it concerns.
    pub peer: PeerId,
    /// What happened.
    pub kind: MediaEventKind,
}

/// What can happen to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaEventKind {
    /// ICE, DTLS and the fingerprint are done: media flows. Once per peer.
    Connected,
    /// No authenticated packet for [`MediaConfig::consent_suspend`]; nothing is sent until one arrives.
    Suspended,
    /// A suspended peer was heard again.
    Resumed,
    /// The browser closed its peer connection (DTLS close_notify). The peer is forgotten.
    PeerClosed,
    /// The peer is forgotten for this reason.
    Failed(Failure),
    /// The far side was heard, for the first time.
    FarHeard,
    /// The far side should send, but was not heard for [`MediaConfig::far_silence`]. Told again after it was heard.
    FarSilent,
    /// The far side sent this digit in RTP: `0` to `9`, `*`, `#`, `A` to `D`.
    FarDigit(char),
    /// The browser sent this digit in RTP, and the far side takes none there.
    BrowserDigit(char),
    /// The far side receives this codec from now on. A browser that sends the same is not transcoded.
    FarCodec(CodecKind),
}

/// Why the plane gave a peer up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The certificate is not the one whose fingerprint the offer named.
    FingerprintMismatch,
    /// Not connected within [`MediaConfig::setup_timeout`].
    Timeout,
    /// Silent for [`MediaConfig::consent_expire`].
    ConsentLost,
    /// The DTLS handshake failed, or the peer's state broke.
    Broken,
}

/// Why an offer was not answered. All but `Full` and `Stopped` are the browser's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Longer than [`MAX_OFFER_BYTES`].
    #[error("the offer has {0} bytes, at most {MAX_OFFER_BYTES} are read")]
    TooLong(usize),
    /// Not an SDP offer of a browser; the text says what is missing.
    #[error("the offer is malformed: {0}")]
    Malformed(&'static str),
    /// No audio section with a codec the gateway knows.
    #[error("the offer has no audio with opus, PCMU or PCMA")]
    NoAudio,
    /// The id is in use (`accept`), or not known (`restart_ice`).
    #[error("peer id {} is {}", .0.0, if *.1 { "in use" } else { "unknown" })]
    Peer(PeerId, bool),
    /// A restart offer whose sections or fingerprint are not those of the first offer.
    #[error("the restart offer does not belong to this peer connection")]
    OtherConnection,
    /// [`MediaConfig::max_peers`] are there.
    #[error("the media plane is full")]
    Full,
    /// The plane was shut down.
    #[error("the media plane is shut down")]
    Stopped,
}

/// Why the plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The UDP port could not be opened.
    #[error("cannot open UDP {0}: {1}")]
    Socket(SocketAddr, #[source] std::io::Error),
    /// No certificate could be made.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
}

/// Counters since the start, summed over the workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// Peers known now.
    pub peers: u64,
    /// Peers connected and not suspended now.
    pub connected: u64,
    /// DTLS handshakes that ended well.
    pub handshakes: u64,
    /// Datagrams received.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Events lost because nobody drained the receiver.
    pub events_lost: u64,
    /// Peers lost to a panic of ours.
    pub panics: u64,
    /// Datagrams dropped, by reason (a stable metric label).
    pub dropped: Vec<(&'static str, u64)>,
}
