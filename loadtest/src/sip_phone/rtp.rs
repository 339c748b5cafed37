//! The sound of all phones: one thread and one socket, whatever their number. The other side's address tells the calls apart.

use crate::peer::Numbers;
use bytes::BytesMut;
use holdfast_udp::{Inbox, Outbox, bind};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Packets of different calls leave at so many moments of the 20 ms, in turn.
const PHASES: usize = 10;
const TICK: Duration = Duration::from_millis(20 / PHASES as u64);
/// Ticks that a late thread makes up for; beyond that time is lost, and the counts show it.
const MAX_MADE_UP: u32 = 10;
const HEADER: usize = 12;

/// What a phone speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Voice {
    /// 48 kHz.
    Opus,
    /// G.711 µ-law.
    Pcmu,
}

impl Voice {
    fn samples(self) -> u32 {
        match self {
            Self::Opus => 960,
            Self::Pcmu => 160,
        }
    }
}

/// Packets of all phones so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhoneCounts {
    /// Sent.
    pub sent: u64,
    /// Received from where they were expected.
    pub received: u64,
    /// That never came, by the gaps in their numbers.
    pub missed: u64,
    /// From elsewhere.
    pub foreign: u64,
}

/// One phone's sound.
#[derive(Debug)]
struct Stream {
    remote: SocketAddr,
    payload_type: u8,
    voice: Voice,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    heard: bool,
    numbers: Numbers,
}

#[derive(Debug)]
enum Change {
    Add(SocketAddr, Voice, u8),
    Remove(SocketAddr),
}

#[derive(Debug, Default)]
struct Shared {
    changes: Mutex<Vec<Change>>,
    changed: AtomicBool,
    stopping: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    missed: AtomicU64,
    foreign: AtomicU64,
    heard: AtomicU64,
}

impl Shared {
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread; it ends with this.
#[derive(Debug)]
pub struct RtpPhones {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// What comes as RTCP waits here unread.
    _rtcp: UdpSocket,
}

/// The packets of both voices, coded once.
struct Frames {
    opus: Vec<Vec<u8>>,
    pcmu: Vec<Vec<u8>>,
}

impl Frames {
    fn of(&self, voice: Voice, sequence: u16) -> &[u8] {
        let frames = match voice {
            Voice::Opus => &self.opus,
            Voice::Pcmu => &self.pcmu,
        };
        frames.get(usize::from(sequence) % frames.len().max(1)).map_or(&[], Vec::as_slice)
    }
}

impl RtpPhones {
    /// Starts it on a free even port of loopback.
    ///
    /// # Errors
    ///
    /// When there is no port or thread.
    pub fn start() -> anyhow::Result<Self> {
        let (rtp, rtcp) = (0..100).find_map(|_| pair().ok()).ok_or_else(|| anyhow::anyhow!("no pair of ports"))?;
        let (address, shared) = (rtp.local_addr()?, Arc::<Shared>::default());
        let frames = Frames { opus: super::speech::opus()?, pcmu: super::speech::pcmu() };
        let thread = std::thread::Builder::new().name("phones".to_owned()).spawn({
            let shared = shared.clone();
            move || Driver::new(rtp, shared, frames).run()
        })?;
        Ok(Self { address, shared, thread: Some(thread), _rtcp: rtcp })
    }

    /// Where all phones receive.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A phone speaks to `remote` from now on, and takes what comes from there.
    pub fn add(&self, remote: SocketAddr, voice: Voice, payload_type: u8) {
        self.change(Change::Add(remote, voice, payload_type));
    }

    /// It stops.
    pub fn remove(&self, remote: SocketAddr) {
        self.change(Change::Remove(remote));
    }

    fn change(&self, change: Change) {
        self.shared.changes().push(change);
        self.shared.changed.store(true, Relaxed);
    }

    /// Packets so far.
    #[must_use]
    pub fn counts(&self) -> PhoneCounts {
        let shared = &self.shared;
        let all = [&shared.sent, &shared.received, &shared.missed, &shared.foreign];
        let [sent, received, missed, foreign] = all.map(|one| one.load(Relaxed));
        PhoneCounts { sent, received, missed, foreign }
    }

    /// Phones now that have heard anything.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.shared.heard.load(Relaxed)
    }
}

impl Drop for RtpPhones {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Driver {
    socket: UdpSocket,
    shared: Arc<Shared>,
    frames: Frames,
    streams: HashMap<SocketAddr, Stream>,
    /// Whose packets leave at which moment.
    phases: [Vec<SocketAddr>; PHASES],
    next_phase: usize,
    next_ssrc: u32,
    missed: u64,
    inbox: Inbox,
    outbox: Outbox,
}

impl Driver {
    fn new(socket: UdpSocket, shared: Arc<Shared>, frames: Frames) -> Self {
        Self {
            socket,
            shared,
            frames,
            streams: HashMap::new(),
            phases: Default::default(),
            next_phase: 0,
            next_ssrc: 0x1000,
            missed: 0,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
        }
    }

    fn run(mut self) {
        let mut due = Instant::now();
        let mut phase = 0;
        while !self.shared.stopping.load(Relaxed) {
            let now = Instant::now();
            due = due.max(now.checked_sub(TICK * MAX_MADE_UP).unwrap_or(now));
            while due <= now {
                self.send(phase);
                phase = (phase + 1) % PHASES;
                due += TICK;
            }
            if self.receive().is_err() {
                return;
            }
            self.take_changes();
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn take_changes(&mut self) {
        if !self.shared.changed.swap(false, Relaxed) {
            return;
        }
        let changes = std::mem::take(&mut *self.shared.changes());
        for change in changes {
            match change {
                Change::Add(remote, voice, payload_type) => self.add(remote, voice, payload_type),
                Change::Remove(remote) => {
                    let stream = self.streams.remove(&remote);
                    self.phases.iter_mut().for_each(|phase| phase.retain(|other| *other != remote));
                    self.shared.heard.fetch_sub(stream.is_some_and(|stream| stream.heard).into(), Relaxed);
                }
            }
        }
    }

    fn add(&mut self, remote: SocketAddr, voice: Voice, payload_type: u8) {
        self.next_ssrc += 1;
        let ssrc = self.next_ssrc;
        let stream = Stream {
            remote,
            payload_type,
            voice,
            ssrc,
            sequence: 0,
            timestamp: 0,
            heard: false,
            numbers: Numbers::default(),
        };
        if self.streams.insert(remote, stream).is_none() {
            self.phases[self.next_phase].push(remote);
            self.next_phase = (self.next_phase + 1) % PHASES;
        }
    }

    fn send(&mut self, phase: usize) {
        for remote in &self.phases[phase] {
            let Some(stream) = self.streams.get_mut(remote) else { continue };
            self.outbox.push(stream.remote, stream.next(&self.frames));
        }
        // What the kernel does not take counts as sent, and is missed at the other end.
        let sent = self.outbox.len();
        self.outbox.flush(&self.socket);
        self.shared.sent.fetch_add(sent as u64, Relaxed);
    }

    fn receive(&mut self) -> std::io::Result<()> {
        let (mut received, mut foreign, mut heard, mut missed) = (0, 0, 0, 0_i64);
        while self.inbox.receive(&self.socket)? > 0 {
            for (datagram, from) in self.inbox.datagrams() {
                let stream = self.streams.get_mut(&from).filter(|_| datagram.len() > HEADER && datagram[0] >> 6 == 2);
                match stream {
                    Some(stream) => {
                        received += 1;
                        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
                        missed += stream.numbers.take(number);
                        heard += u64::from(!std::mem::replace(&mut stream.heard, true));
                    }
                    None => foreign += 1,
                }
            }
        }
        self.shared.received.fetch_add(received, Relaxed);
        self.missed = self.missed.saturating_add_signed(missed);
        self.shared.missed.store(self.missed, Relaxed);
        self.shared.foreign.fetch_add(foreign, Relaxed);
        self.shared.heard.fetch_add(heard, Relaxed);
        Ok(())
    }
}

impl Stream {
    fn next(&mut self, frames: &Frames) -> BytesMut {
        let frame = frames.of(self.voice, self.sequence);
        let mut packet = BytesMut::with_capacity(HEADER + frame.len());
        packet.extend_from_slice(&[0x80, self.payload_type]);
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(frame);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.voice.samples());
        packet
    }
}

fn pair() -> anyhow::Result<(UdpSocket, UdpSocket)> {
    let rtp = bind(([127, 0, 0, 1], 0).into(), false)?;
    let port = rtp.local_addr()?.port();
    anyhow::ensure!(port % 2 == 0, "an odd port");
    Ok((rtp, UdpSocket::bind(("127.0.0.1", port + 1))?))
}
