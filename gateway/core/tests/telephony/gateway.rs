//! An instance with a media plane that opens ports and keeps what it was told.

use gateway_core::instance::Settings;
use gateway_core::sdp::{FarLocal, FarMedia, Security};
use gateway_core::sip::{AgentSettings, Method, Peer, SipCommand};
use gateway_core::{
    Command, DialPlan, FarLeg, Instance, Limits, OfferRefused, PeerId, SealKey, SealRing, SipSettings, SocketId,
};
use gateway_protocol::message::FailReason;
use gateway_protocol::{CloseCode, ServerMessage};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Wall clock at the world's start.
pub(crate) const UNIX: Duration = Duration::from_secs(1_800_000_000);
/// An offer that the media plane refuses.
pub(crate) const BAD_OFFER: &str = "bad";
pub(crate) const DOMAIN: &str = "example.org";

type Random = Box<dyn FnMut(&mut [u8])>;

/// What the plane was told of a peer.
#[derive(Debug, Default)]
pub(crate) struct Media {
    /// Each path that it was to take, the last one being in force.
    pub(crate) paths: Vec<FarMedia>,
    pub(crate) digits: String,
    pub(crate) is_closed: bool,
}

/// What left an instance, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    Capsule,
    Request(Method),
    Response(u16, String),
    Cancel,
}

pub(crate) struct Gateway {
    pub(crate) instance: Instance<Random>,
    pub(crate) ip: IpAddr,
    pub(crate) ring: SealRing,
    pub(crate) media: BTreeMap<PeerId, Media>,
    pub(crate) left: Vec<Left>,
    pub(crate) sent: VecDeque<(SocketId, ServerMessage)>,
    pub(crate) closed: Vec<(SocketId, CloseCode)>,
}

/// What a test may want otherwise.
pub(crate) struct Options {
    pub(crate) dial: Vec<&'static str>,
    pub(crate) trusted: Vec<IpAddr>,
    pub(crate) passwords: Vec<(&'static str, &'static str)>,
    pub(crate) limits: Limits,
    pub(crate) session_expires: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dial: vec!["*"],
            trusted: Vec::new(),
            passwords: Vec::new(),
            limits: Limits::default(),
            session_expires: Duration::from_secs(1_800),
        }
    }
}

impl Gateway {
    pub(crate) fn new(index: u8, servers: Vec<Peer>, options: &Options, now: Instant, unix: Duration) -> Self {
        let ring = SealRing::new(vec![SealKey { id: [1; 4], key: [7; 32] }]).expect("one key");
        let agent = AgentSettings {
            servers,
            trusted: options.trusted.clone(),
            domain: DOMAIN.to_owned(),
            realm: DOMAIN.to_owned(),
            session_expires: options.session_expires,
            legs: 100,
            legs_per_lease: 4,
            user_agent: "Holdfast".to_owned(),
        };
        let dial = DialPlan::new(DOMAIN, options.dial.iter().map(|pattern| (*pattern).to_owned()).collect());
        let passwords = options.passwords.iter().map(|(user, word)| ((*user).to_owned(), (*word).to_owned())).collect();
        let settings = Settings {
            instance_id: format!("gw{index}").parse().expect("an id"),
            boot_id: format!("boot{index}-{}", unix.as_secs()).parse().expect("an id"),
            limits: options.limits.clone(),
            ring: ring.clone(),
            alternates: Vec::new(),
            sip: Some(SipSettings { agent, dial, passwords, security: Security::Plain }),
            drain_deadline: Duration::from_secs(600),
            drain_notice: Duration::from_secs(1),
            shutdown_grace: Duration::ZERO,
        };
        Self {
            instance: Instance::new(settings, counting(u64::from(index) ^ unix.as_millis() as u64), now, unix),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, index)),
            ring,
            media: BTreeMap::new(),
            left: Vec::new(),
            sent: VecDeque::new(),
            closed: Vec::new(),
        }
    }

    /// Does what the instance wants; what is for the SIP sockets is handed back in its order.
    pub(crate) fn drain(&mut self, now: Instant) -> Vec<SipCommand> {
        let mut sip = Vec::new();
        while let Some(command) = self.instance.next_command() {
            match command {
                Command::Send { socket, message } => {
                    if let ServerMessage::Event { event: gateway_protocol::message::Event::Capsule { .. }, .. } =
                        &*message
                    {
                        self.left.push(Left::Capsule);
                    }
                    self.sent.push_back((socket, *message));
                }
                Command::Close { socket, code, .. } => self.closed.push((socket, code)),
                Command::Accept { peer, offer, far } => self.accept(peer, &offer, far, now),
                Command::RestartIce { peer, .. } => {
                    self.instance.handle_answer(peer, Ok("restarted".to_owned()), None, now);
                }
                Command::ConnectFar { peer, media } => self.peer(peer).paths.push(*media),
                Command::SendDigits { peer, digits } => self.peer(peer).digits.push_str(&digits),
                Command::Sip(command) => {
                    self.note(&command);
                    sip.push(command);
                }
                Command::ClosePeer(peer) => {
                    if let Some(media) = self.media.get_mut(&peer) {
                        assert!(!media.is_closed, "{peer:?} is closed once");
                        media.is_closed = true;
                    }
                }
                Command::Exit => {}
            }
        }
        sip
    }

    fn peer(&mut self, peer: PeerId) -> &mut Media {
        let media = self.media.get_mut(&peer).expect("a peer that the plane knows");
        assert!(!media.is_closed, "{peer:?} is closed");
        media
    }

    fn accept(&mut self, peer: PeerId, offer: &str, far: FarLeg, now: Instant) {
        if offer == BAD_OFFER {
            let refused = OfferRefused { reason: FailReason::BadSdp, detail: "bad".to_owned() };
            return self.instance.handle_answer(peer, Err(refused), None, now);
        }
        let known = self.media.insert(peer, Media::default());
        assert!(known.is_none(), "{peer:?} was used before");
        let port = 20_000 + 2 * u16::try_from(peer.0).expect("few peers");
        let local = matches!(far, FarLeg::Rtp { .. }).then_some(FarLocal { ip: self.ip, audio: port, video: None });
        self.instance.handle_answer(peer, Ok("answer".to_owned()), local, now);
    }

    fn note(&mut self, command: &SipCommand) {
        match command {
            SipCommand::Request { request, .. } => {
                let heartbeat = request.method == Method::Options && !request.uri.contains('@');
                if !heartbeat {
                    self.left.push(Left::Request(request.method.clone()));
                }
            }
            SipCommand::Respond { response, .. } => {
                let cseq = response.headers.get("CSeq").unwrap_or_default();
                let method = cseq.split(' ').nth(1).unwrap_or_default().to_owned();
                self.left.push(Left::Response(response.status, method));
            }
            SipCommand::Cancel(_) => self.left.push(Left::Cancel),
            SipCommand::Open { .. }
            | SipCommand::Forget { .. }
            | SipCommand::LookUp { .. }
            | SipCommand::Send { .. } => {}
        }
    }

    /// Peers that the media plane has.
    pub(crate) fn live_peers(&self) -> impl Iterator<Item = (PeerId, &Media)> {
        self.media.iter().filter(|(_, media)| !media.is_closed).map(|(peer, media)| (*peer, media))
    }

    /// The path in force of the only call.
    pub(crate) fn path(&self) -> &FarMedia {
        let paths: Vec<_> = self.live_peers().filter_map(|(_, media)| media.paths.last()).collect();
        let [path] = paths[..] else { panic!("one connected call, not {}", paths.len()) };
        path
    }
}

/// Bytes that differ each time and are the same in every run.
fn counting(seed: u64) -> Random {
    let mut counter = seed << 20;
    Box::new(move |bytes: &mut [u8]| {
        counter += 1;
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = counter.to_be_bytes()[7 - index % 8] ^ (index / 8) as u8;
        }
    })
}
