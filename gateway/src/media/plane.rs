//! The handle of the media plane: answers offers, starts and stops the workers.

use super::answer::{self, Agreement, AnswerFacts, Sources};
use super::dtls::Identity;
use super::far::link::LinkSetup;
use super::far::ports::{Ports, PortsError};
use super::far::sockets::FarPorts;
use super::ice::Generation;
use super::offer::Offer;
use super::peer::{FarSetup, PeerSetup, Times};
use super::registry::{Reached, Registry, Terms};
use super::stats::Counters;
use super::threads::{self, Station};
use super::worker::{Control, MAX_STRAYS, Mailbox, Shared, Worker};
use super::{FarLeg, MediaConfig, MediaEvent, MediaStats, OfferError, PeerId, StartError};
use gateway_core::sdp::{FarLocal, FarMedia, FarVideo};
use holdfast_udp::{UdpPort, bind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events waiting to be read; a full queue loses events.
const MAX_EVENTS: usize = 65_536;

/// Cheap handle to the running media plane; the workers stop with [`MediaPlane::shutdown`].
#[derive(Clone)]
pub struct MediaPlane(Arc<Inner>);

/// Why a peer got no far ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FarError {
    /// The peer is unknown, has another far leg, or has its ports already.
    #[error("peer id {} cannot be given far ports", .0.0)]
    Peer(PeerId),
    /// There is no port.
    #[error(transparent)]
    Ports(#[from] PortsError),
}

struct Inner {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    candidates: Vec<SocketAddr>,
    fingerprint: String,
    times: Times,
    far_silence: Duration,
    rtp_ports: Option<Arc<Ports>>,
    rtp_ip: IpAddr,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for MediaPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaPlane").field("local_addr", &self.0.local_addr).finish_non_exhaustive()
    }
}

impl MediaPlane {
    /// Opens the port, makes the certificate and starts the workers.
    ///
    /// The receiver must be drained: it is bounded, and a full one costs events (counted), never media.
    ///
    /// # Errors
    ///
    /// When the port cannot be opened or the certificate cannot be made.
    pub fn start(config: MediaConfig) -> Result<(Self, tokio::sync::mpsc::Receiver<MediaEvent>), StartError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if config.threads == 0 { cores() } else { config.threads };
        let sockets = open(config.listen, workers).map_err(|error| StartError::Socket(config.listen, error))?;
        let local_addr = sockets[0].local_addr().map_err(|error| StartError::Socket(config.listen, error))?;
        let identity = Arc::new(Identity::generate()?);
        let (events, receiver) = tokio::sync::mpsc::channel(MAX_EVENTS);
        let fingerprint = identity.fingerprint.to_string();
        let shared = Arc::new(Shared {
            registry: Registry::default(),
            identity,
            counters: (0..workers).map(|_| Counters::default()).collect(),
            moved: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            mailboxes: OnceLock::new(),
            events,
            max_peers: config.max_peers,
        });
        let threads = spawn(&shared, sockets).map_err(|error| StartError::Socket(config.listen, error))?;
        let times = Times::from(&config);
        let rtp_listen = config.rtp_listen.unwrap_or(local_addr.ip());
        let rtp_ports = config.rtp_ports.map(|(low, high)| Ports::new(rtp_listen, low, high));
        let candidates = if config.advertise.is_empty() { vec![local_addr] } else { config.advertise };
        let inner = Inner {
            shared,
            local_addr,
            rtp_ip: config.rtp_advertise.unwrap_or(candidates[0].ip()),
            candidates,
            fingerprint,
            times,
            far_silence: config.far_silence,
            rtp_ports,
            threads: Mutex::new(threads),
        };
        Ok((Self(Arc::new(inner)), receiver))
    }

    /// The address that the workers' sockets are bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr
    }

    /// Answers an offer and registers the peer. Cheap; never blocks on the network.
    ///
    /// # Errors
    ///
    /// See [`OfferError`]; nothing was registered then.
    pub fn accept(&self, peer: PeerId, offer: &str, far: FarLeg) -> Result<String, OfferError> {
        self.check_running()?;
        let offer = Offer::parse(offer)?;
        let dice = Dice::throw();
        let agreement = Agreement::reach(&offer, far, dice.sources)?;
        let generation = dice.generation(offer.ufrag);
        let terms = terms(&offer, &agreement, far, dice.sources, dice.session_id);
        let first_sequence = dice.first_sequence;
        let far = match agreement.far {
            FarSetup::Rtp(link) => FarSetup::Rtp(LinkSetup {
                ssrcs: dice.far_sources,
                first_sequence,
                silence: self.0.far_silence,
                ..link
            }),
            other => other,
        };
        let answer = self.write_answer(&offer, &agreement, &generation, dice.session_id, 1);
        let setup = PeerSetup {
            generation,
            fingerprint: offer.fingerprint.clone(),
            audio: agreement.audio().clone(),
            video: agreement.video().cloned(),
            far,
            first_sequence,
            times: self.0.times,
            created: Instant::now(),
            far_ports: None,
            far_media: None,
        };
        self.0.shared.registry.insert(peer, terms, setup, self.0.shared.max_peers)?;
        Ok(answer)
    }

    /// Answers an ICE restart offer of a known peer; its DTLS and SRTP go on. Directions (hold) may change with it.
    ///
    /// # Errors
    ///
    /// See [`OfferError`]; the peer is as it was.
    pub fn restart_ice(&self, peer: PeerId, offer: &str) -> Result<String, OfferError> {
        self.check_running()?;
        let offer = Offer::parse(offer)?;
        let known = self.0.shared.registry.terms(peer).ok_or(OfferError::Peer(peer, false))?;
        let agreement = Agreement::reach(&offer, known.far, known.sources)?;
        if terms(&offer, &agreement, known.far, known.sources, known.session_id) != known {
            return Err(OfferError::OtherConnection);
        }
        let fresh = Dice::throw().generation(offer.ufrag);
        let restarted = self.0.shared.registry.restart(peer, fresh).ok_or(OfferError::Peer(peer, false))?;
        if let Some(worker) = restarted.worker {
            let generation = restarted.generation.clone();
            let (audio_sends, video_sends) =
                (agreement.audio().sends, agreement.video().is_some_and(|video| video.sends));
            self.send(worker, Control::Restart { peer, generation, audio_sends, video_sends });
        }
        Ok(self.write_answer(&offer, &agreement, &restarted.generation, known.session_id, restarted.version))
    }

    /// Opens the far ports of a peer that was accepted with [`FarLeg::Rtp`], for its description towards the far side.
    /// Video is opened if it is wanted and the browser has it. Cheap; never blocks on the network.
    ///
    /// # Errors
    ///
    /// See [`FarError`]; nothing was opened then.
    pub fn open_far(&self, peer: PeerId, video: bool) -> Result<FarLocal, FarError> {
        let ports = self.0.rtp_ports.as_ref().ok_or(PortsError::NotConfigured)?;
        let codecs = self.0.shared.registry.far_video(peer).ok_or(FarError::Peer(peer))?;
        let now = Instant::now();
        let audio = ports.take(now)?;
        let video = if video && !codecs.is_empty() { Some(ports.take(now)?) } else { None };
        let local = FarLocal {
            ip: self.0.rtp_ip,
            audio: audio.port,
            video: video.as_ref().map(|pair| FarVideo { port: pair.port, codecs }),
        };
        let opened = FarPorts { audio, video };
        self.reach(peer, opened, |setup, opened| setup.far_ports = Some(opened), Control::OpenFar)
            .then_some(local)
            .ok_or(FarError::Peer(peer))
    }

    /// Connects the open far ports to what was agreed with the far side, and again after every change of it. Unknown ids
    /// are ignored.
    pub fn connect_far(&self, peer: PeerId, media: FarMedia) {
        let media = Box::new(media);
        self.reach(peer, media, |setup, media| setup.far_media = Some(media), Control::ConnectFar);
    }

    /// Sends digits to the far side as RTP events, if it takes them there. What is no digit is skipped.
    pub fn send_dtmf(&self, peer: PeerId, digits: &str) {
        self.reach(peer, digits.to_owned(), |_, _| {}, Control::Digits);
    }

    /// Sends close_notify and forgets the peer; no event follows. Unknown ids are ignored.
    pub fn close(&self, peer: PeerId) {
        if let Some(worker) = self.0.shared.registry.remove(peer) {
            self.send(worker, Control::Close(peer));
        }
    }

    /// Whether every worker made a turn within `span`.
    #[must_use]
    pub fn moved_within(&self, span: Duration) -> bool {
        let since = self.0.shared.started.elapsed();
        let moved = |at: &AtomicU64| since.saturating_sub(Duration::from_millis(at.load(Relaxed))) <= span;
        !self.0.shared.stopping.load(Relaxed) && self.0.shared.moved.iter().all(moved)
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> MediaStats {
        let mut sum = MediaStats { peers: self.0.shared.registry.len() as u64, ..MediaStats::default() };
        for counters in &self.0.shared.counters {
            counters.add_to(&mut sum);
        }
        sum
    }

    /// Sends every peer close_notify and ends the workers; returns when they ended (within 200 ms).
    pub fn shutdown(&self) {
        self.0.shared.stopping.store(true, Relaxed);
        for mailbox in self.0.shared.mailboxes.get().into_iter().flatten() {
            mailbox.waker.wake();
        }
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn check_running(&self) -> Result<(), OfferError> {
        if self.0.shared.stopping.load(Relaxed) { Err(OfferError::Stopped) } else { Ok(()) }
    }

    /// Changes a peer that no worker has yet, or tells its worker; false when it is unknown.
    fn reach<T>(
        &self,
        peer: PeerId,
        what: T,
        change: impl FnOnce(&mut PeerSetup, T),
        control: impl FnOnce(PeerId, T) -> Control,
    ) -> bool {
        match self.0.shared.registry.reach(peer, what, change) {
            Reached::Unknown => false,
            Reached::Changed => true,
            Reached::At(worker, what) => {
                self.send(worker, control(peer, what));
                true
            }
        }
    }

    fn send(&self, worker: usize, control: Control) {
        if let Some(mailbox) = self.0.shared.mailboxes.get().and_then(|all| all.get(worker))
            && mailbox.control.send(control).is_ok()
        {
            mailbox.waker.wake();
        }
    }

    fn write_answer(
        &self,
        offer: &Offer<'_>,
        agreement: &Agreement<'_>,
        generation: &Generation,
        session_id: u64,
        version: u32,
    ) -> String {
        let (fingerprint, candidates) = (self.0.fingerprint.as_str(), self.0.candidates.as_slice());
        answer::write(offer, agreement, &AnswerFacts { generation, fingerprint, candidates, session_id, version })
    }
}

fn terms(offer: &Offer<'_>, agreement: &Agreement<'_>, far: FarLeg, sources: Sources, session_id: u64) -> Terms {
    Terms {
        far,
        sources,
        fingerprint: offer.fingerprint.clone(),
        audio_types: agreement.audio().payload_types,
        video_types: agreement.video().map(|video| video.payload_types),
        session_id,
    }
}

/// A socket per worker on one port. It is bound once without sharing first: a shared bind would silently join another
/// process of the same user.
fn open(listen: SocketAddr, workers: usize) -> std::io::Result<Vec<UdpSocket>> {
    let alone = bind(listen, false)?;
    let addr = alone.local_addr()?;
    drop(alone);
    (0..workers).map(|_| bind(addr, true)).collect()
}

fn spawn(shared: &Arc<Shared>, sockets: Vec<UdpSocket>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut mailboxes = Vec::new();
    let mut stations = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let (port, waker) = UdpPort::new(socket)?;
        let (control, control_receiver) = mpsc::channel();
        let (strays, strays_receiver) = mpsc::sync_channel(MAX_STRAYS);
        mailboxes.push(Mailbox { control, strays, waker });
        stations.push(Station { worker: Worker::new(index, shared.clone(), control_receiver, strays_receiver), port });
    }
    // Set once, before any worker runs.
    let _ = shared.mailboxes.set(mailboxes);
    threads::spawn(shared, stations)
}

/// The random values of one peer connection.
struct Dice {
    ufrag: String,
    pwd: String,
    sources: Sources,
    far_sources: [u32; 2],
    session_id: u64,
    first_sequence: u16,
}

impl Dice {
    fn throw() -> Self {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).expect("the operating system has a random source");
        // 64 ice-chars: 6 bits a byte (RFC 8839 §5.4); 48 bits of ufrag, 144 of password.
        let text = |range: std::ops::Range<usize>| {
            bytes[range].iter().map(|byte| ICE_CHARS[usize::from(byte & 63)] as char).collect()
        };
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            ufrag: text(0..8),
            pwd: text(8..32),
            // 0 is no source; two of one connection differ.
            sources: Sources { audio: word(32) | 1, video: (word(36) & !1).max(2) },
            session_id: u64::from(word(40)) << 16 | u64::from(word(44)) >> 16,
            first_sequence: word(48) as u16,
            far_sources: [word(52), word(56)],
        }
    }

    fn generation(&self, remote_ufrag: &str) -> Generation {
        Generation {
            local_ufrag: self.ufrag.clone(),
            local_pwd: self.pwd.clone(),
            remote_ufrag: remote_ufrag.to_owned(),
        }
    }
}

const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
