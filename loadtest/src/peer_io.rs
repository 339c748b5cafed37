//! Sockets and threads for [`Peer`]s: a few threads drive thousands of them, each with a UDP socket of its own.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use loadtest::peer::{PeerState, Profiles, Sound};
//! use loadtest::peer_io::{PeerPool, PoolConfig};
//!
//! let pool = PeerPool::start(PoolConfig::default())?;
//! let mut peer = pool.create(Profiles::Gcm)?;
//! let answer = signal(&peer.offer()).await; // POST, WebSocket, ..
//! peer.connect(&answer)?;
//! peer.state().wait_for(|state| *state == PeerState::Flowing).await?; // the first packet came back
//! let counts = peer.counts(); // sent, returned, first_returned, last_received, ..
//! peer.stop(); // close_notify; dropping it instead is a browser that vanished
//! # Ok(())
//! # }
//! # async fn signal(_: &str) -> String { String::new() }
//! ```

use crate::lag::Lag;
use crate::peer::{AnswerError, PACKET_INTERVAL, Peer, PeerCounts, PeerIdentity, PeerState, Profiles, Sound};
use holdfast_udp::{MAX_DATAGRAM, Pace};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Ready sockets taken per system call.
const EVENTS: usize = 256;
/// The token of the descriptor that wakes a thread; peers count from 1.
const WAKE: u64 = 0;
const MAX_WAIT: Duration = Duration::from_millis(200);
/// Begins the names of the threads.
pub const THREAD_NAME: &str = "peers-";

/// How a pool works.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Threads; each drives its share of the peers.
    pub threads: usize,
    /// Source addresses, used in turn. A Linux address has 28 000 ports; loopback has 127.0.0.2 and so on.
    pub sources: Vec<IpAddr>,
    /// Seeds what is random (not the keys).
    pub seed: u64,
    /// Time between the RTP packets of a peer.
    pub packet_interval: Duration,
    /// What the peers say.
    pub sound: Sound,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            sources: vec![IpAddr::from([0, 0, 0, 0])],
            seed: 1,
            packet_interval: PACKET_INTERVAL,
            sound: Sound::Mark,
        }
    }
}

/// Handle to the threads; they end when the last handle and the last peer are gone.
#[derive(Debug, Clone)]
pub struct PeerPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    identity: PeerIdentity,
    config: PoolConfig,
    next: AtomicU64,
    threads: Vec<Mailbox>,
    lags: Vec<Arc<Lag>>,
    joins: Mutex<Vec<JoinHandle<()>>>,
    stopping: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Mailbox {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
}

enum Command {
    Add(u64, Box<Resident>),
    Restart(u64, oneshot::Sender<String>),
    Answer(u64, String, oneshot::Sender<Result<(), AnswerError>>),
    Rebind(u64, UdpSocket),
    Media(u64, bool),
    Stop(u64),
    Vanish(u64),
}

/// What the thread and the handle share of a peer.
#[derive(Debug)]
struct Status {
    counts: Mutex<PeerCounts>,
    state: watch::Sender<PeerState>,
}

impl Status {
    fn counts(&self) -> MutexGuard<'_, PeerCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One peer of a pool. Dropping it is a browser that vanishes without a word.
#[derive(Debug)]
pub struct PoolPeer {
    id: u64,
    pool: Arc<Pool>,
    /// Until the answer comes.
    waiting: Option<(Box<Peer>, UdpSocket)>,
    status: Arc<Status>,
}

impl PeerPool {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When descriptors run out or no certificate can be made.
    pub fn start(config: PoolConfig) -> anyhow::Result<Self> {
        let identity = PeerIdentity::generate()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let mut joins = Vec::new();
        let lags: Vec<Arc<Lag>> = (0..config.threads.max(1)).map(|_| Arc::default()).collect();
        for (index, lag) in lags.iter().enumerate() {
            let (commands, receiver) = channel();
            let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
            let seed = config.seed ^ index as u64;
            let driver = Driver::new(receiver, wake.clone(), stopping.clone(), lag.clone(), seed)?;
            let name = format!("{THREAD_NAME}{index}");
            joins.push(std::thread::Builder::new().name(name).spawn(move || driver.run())?);
            threads.push(Mailbox { commands, wake });
        }
        let (next, joins) = (AtomicU64::new(1), Mutex::new(joins));
        Ok(Self(Arc::new(Pool { identity, config, next, threads, lags, joins, stopping })))
    }

    /// A running peer without a handshake ([`Peer::preshared`]) that sends to `remote`.
    ///
    /// # Errors
    ///
    /// When ports or descriptors run out.
    pub fn create_preshared(&self, remote: SocketAddr) -> io::Result<PoolPeer> {
        let (id, mut random) = self.0.next_id();
        let peer = Peer::preshared(self.0.identity.clone(), id, remote, &mut random, Instant::now());
        let mut peer = self.0.place(id, peer)?;
        peer.start();
        Ok(peer)
    }

    /// How late its threads act.
    #[must_use]
    pub fn lags(&self) -> &[Arc<Lag>] {
        &self.0.lags
    }

    /// What all its peers share.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// Makes a peer with a socket. It does nothing until [`PoolPeer::connect`].
    ///
    /// # Errors
    ///
    /// When ports or descriptors run out.
    pub fn create(&self, profiles: Profiles) -> io::Result<PoolPeer> {
        self.create_with(profiles, true)
    }

    /// One that offers Opus alone unless `g711`.
    ///
    /// # Errors
    ///
    /// When ports or descriptors run out.
    pub fn create_with(&self, profiles: Profiles, g711: bool) -> io::Result<PoolPeer> {
        let (id, mut random) = self.0.next_id();
        let mut peer = Peer::new(self.0.identity.clone(), profiles, id, &mut random, Instant::now());
        peer.send_every(self.0.config.packet_interval);
        peer.speak(self.0.config.sound.clone());
        if !g711 {
            peer.without_g711();
        }
        self.0.place(id, peer)
    }
}

impl Pool {
    fn next_id(&self) -> (u64, SmallRng) {
        let id = self.next.fetch_add(1, Relaxed);
        (id, SmallRng::seed_from_u64(self.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id))
    }

    fn place(self: &Arc<Self>, id: u64, peer: Peer) -> io::Result<PoolPeer> {
        let socket = self.socket(id)?;
        let (state, counts) = (watch::Sender::new(PeerState::New), Mutex::default());
        let status = Arc::new(Status { counts, state });
        Ok(PoolPeer { id, pool: self.clone(), waiting: Some((Box::new(peer), socket)), status })
    }

    fn socket(&self, id: u64) -> io::Result<UdpSocket> {
        let source = self.config.sources[id as usize % self.config.sources.len()];
        let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn send(&self, id: u64, command: Command) {
        let mailbox = &self.threads[id as usize % self.threads.len()];
        if mailbox.commands.send(command).is_ok() {
            let _ = mailbox.wake.write(1);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stopping.store(true, Relaxed);
        for mailbox in &self.threads {
            let _ = mailbox.wake.write(1);
        }
        for join in std::mem::take(&mut *self.joins.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = join.join();
        }
    }
}

impl PoolPeer {
    /// The first offer; empty once connected.
    pub fn offer(&mut self) -> String {
        self.waiting.as_mut().map(|(peer, _)| peer.offer()).unwrap_or_default()
    }

    /// Takes the first answer and starts: ICE, DTLS, then media.
    ///
    /// # Errors
    ///
    /// When the answer is unusable or refuses audio; the peer can then only be dropped.
    pub fn connect(&mut self, answer: &str) -> Result<(), AnswerError> {
        if let Some((peer, _)) = &mut self.waiting {
            peer.answer(answer, Instant::now())?;
        }
        self.start();
        Ok(())
    }

    fn start(&mut self) {
        let Some((peer, socket)) = self.waiting.take() else { return };
        let resident = Resident { peer, socket, status: self.status.clone(), armed: None, connected_to: None };
        self.pool.send(self.id, Command::Add(self.id, Box::new(resident)));
    }

    /// Begins an ICE restart and returns its offer; `None` when the peer is not connected.
    pub async fn restart_offer(&self) -> Option<String> {
        let (reply, offer) = oneshot::channel();
        self.pool.send(self.id, Command::Restart(self.id, reply));
        offer.await.ok()
    }

    /// Takes the answer to a restart offer.
    ///
    /// # Errors
    ///
    /// When the answer is unusable.
    pub async fn restart_answer(&self, answer: String) -> Result<(), AnswerError> {
        let (reply, result) = oneshot::channel();
        self.pool.send(self.id, Command::Answer(self.id, answer, reply));
        result.await.unwrap_or(Err(AnswerError::Missing("peer")))
    }

    /// Goes on from another port, as after a change of network.
    ///
    /// # Errors
    ///
    /// When ports or descriptors run out.
    pub fn rebind(&self) -> io::Result<()> {
        let socket = self.pool.socket(self.id)?;
        self.pool.send(self.id, Command::Rebind(self.id, socket));
        Ok(())
    }

    /// Stops and starts RTP.
    pub fn send_media(&self, on: bool) {
        self.pool.send(self.id, Command::Media(self.id, on));
    }

    /// What it has counted so far; also after it stopped.
    #[must_use]
    pub fn counts(&self) -> PeerCounts {
        *self.status.counts()
    }

    /// Follows its state.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<PeerState> {
        self.status.state.subscribe()
    }

    /// Sends close_notify and ends.
    pub fn stop(&self) {
        self.pool.send(self.id, Command::Stop(self.id));
    }
}

impl Drop for PoolPeer {
    fn drop(&mut self) {
        self.pool.send(self.id, Command::Vanish(self.id));
    }
}

struct Resident {
    peer: Box<Peer>,
    socket: UdpSocket,
    status: Arc<Status>,
    armed: Option<Instant>,
    connected_to: Option<SocketAddr>,
}

/// One thread's peers.
struct Driver {
    epoll: Epoll,
    wake: Arc<EventFd>,
    commands: Receiver<Command>,
    stopping: Arc<AtomicBool>,
    peers: HashMap<u64, Box<Resident>>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    lag: Arc<Lag>,
    random: SmallRng,
}

impl Driver {
    fn new(
        commands: Receiver<Command>,
        wake: Arc<EventFd>,
        stopping: Arc<AtomicBool>,
        lag: Arc<Lag>,
        seed: u64,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Self {
            epoll,
            wake,
            commands,
            stopping,
            peers: HashMap::new(),
            timers: BinaryHeap::new(),
            lag,
            random: SmallRng::seed_from_u64(seed),
        })
    }

    fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut pace = Pace::new(Instant::now());
        while !self.stopping.load(Relaxed) {
            let ready = self.epoll.wait(&mut events, self.timeout(&pace)).unwrap_or(0);
            let now = Instant::now();
            pace.arrived(ready, now);
            for event in &events[..ready] {
                match event.data() {
                    WAKE => drop(self.wake.read()),
                    id => self.receive(id, now),
                }
            }
            self.handle_commands(now);
            self.handle_timers(now);
            if ready < EVENTS
                && let Some(pause) = pace.pause()
            {
                std::thread::sleep(pause);
            }
        }
    }

    fn timeout(&self, pace: &Pace) -> EpollTimeout {
        if pace.pause().is_some() {
            return EpollTimeout::ZERO;
        }
        let now = Instant::now();
        let due = self.timers.peek().map_or(MAX_WAIT, |Reverse((due, _))| due.saturating_duration_since(now));
        // Rounded up, so that a deadline has passed when the wait ends.
        let millis = due.min(MAX_WAIT).as_micros().div_ceil(1000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
    }

    fn receive(&mut self, id: u64, now: Instant) {
        let Some(resident) = self.peers.get_mut(&id) else { return };
        let mut buffer = [0; MAX_DATAGRAM];
        // One datagram per event: the socket stays ready while there are more.
        if let Ok(length) = resident.socket.recv(&mut buffer) {
            resident.peer.handle_datagram(&buffer[..length], now);
            self.settle(id);
        }
    }

    fn handle_timers(&mut self, now: Instant) {
        while let Some(&Reverse((due, id))) = self.timers.peek() {
            if due > now {
                return;
            }
            self.timers.pop();
            let Some(resident) = self.peers.get_mut(&id).filter(|resident| resident.armed == Some(due)) else {
                continue;
            };
            resident.armed = None;
            self.lag.note(now, now.saturating_duration_since(due));
            resident.peer.handle_timeout(now);
            self.settle(id);
        }
    }

    fn handle_commands(&mut self, now: Instant) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Add(id, resident) => self.add(id, resident),
                Command::Restart(id, reply) => {
                    if let Some(resident) = self.peers.get_mut(&id) {
                        resident.peer.restart(&mut self.random);
                        let _ = reply.send(resident.peer.offer());
                    }
                }
                Command::Answer(id, answer, reply) => {
                    if let Some(resident) = self.peers.get_mut(&id) {
                        let _ = reply.send(resident.peer.answer(&answer, now));
                        self.settle(id);
                    }
                }
                Command::Rebind(id, socket) => self.rebind(id, socket),
                Command::Media(id, on) => {
                    if let Some(resident) = self.peers.get_mut(&id) {
                        resident.peer.send_media(on, now);
                        self.settle(id);
                    }
                }
                Command::Stop(id) => {
                    if let Some(resident) = self.peers.get_mut(&id) {
                        resident.peer.stop(now);
                        self.settle(id);
                    }
                    self.peers.remove(&id);
                }
                Command::Vanish(id) => drop(self.peers.remove(&id)),
            }
        }
    }

    fn add(&mut self, id: u64, resident: Box<Resident>) {
        let _ = self.epoll.add(&resident.socket, EpollEvent::new(EpollFlags::EPOLLIN, id));
        self.peers.insert(id, resident);
        self.settle(id);
    }

    fn rebind(&mut self, id: u64, socket: UdpSocket) {
        let Some(resident) = self.peers.get_mut(&id) else { return };
        let _ = self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, id));
        resident.socket = socket;
        resident.connected_to = None;
    }

    /// Sends what the peer wants sent, publishes what changed, sets its timer.
    fn settle(&mut self, id: u64) {
        let Some(resident) = self.peers.get_mut(&id) else { return };
        if let Some(remote) = resident.peer.remote()
            && resident.connected_to != Some(remote)
            && resident.socket.connect(remote).is_ok()
        {
            resident.connected_to = Some(remote);
        }
        while let Some(datagram) = resident.peer.poll_transmit() {
            // What the kernel refuses is lost, as on a network.
            let _ = resident.socket.send(&datagram);
        }
        *resident.status.counts() = *resident.peer.counts();
        let state = resident.peer.state();
        resident.status.state.send_if_modified(|known| std::mem::replace(known, state) != state);
        let due = resident.peer.poll_timeout();
        if let Some(due) = due.filter(|due| resident.armed.is_none_or(|armed| *due < armed)) {
            resident.armed = Some(due);
            self.timers.push(Reverse((due, id)));
        }
    }
}
