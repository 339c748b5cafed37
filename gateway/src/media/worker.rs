//! A worker: the peers that one socket of the shared port adopted. `threads.rs` turns it.
//!
//! The worker whose socket gets a peer's first valid check adopts it. The kernel may spread the peer's later addresses
//! over other workers' sockets; those verify the check themselves and hand such packets over.

use super::dtls::Identity;
use super::far::sockets::{FarPorts, FarSockets, MAX_READY};
use super::ice::Generation;
use super::peer::{Effects, Peer, PeerSetup};
use super::registry::{Located, Registry};
use super::residents::{Residents, Slot};
use super::stats::{Counters, Drop, bump};
use super::stun::{self, Request};
use super::{Failure, MediaEvent, MediaEventKind, PeerId};
use bytes::BytesMut;
use gateway_core::sdp::FarMedia;
use holdfast_udp::{BATCH, Inbox, MAX_DATAGRAM, Outbox, UdpPort, Waker};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Datagrams of handshakes handled per turn, some 2 ms of work, so that a rush of calls does not delay media.
const HANDSHAKES_PER_TURN: usize = 8;
/// Handshake datagrams that wait; more are dropped, and the browser repeats them.
const MAX_WAITING_HANDSHAKES: usize = 4096;
/// Datagrams for another worker that wait; more are dropped.
pub(super) const MAX_STRAYS: usize = 2048;
/// Longest wait, so that a worker always shows that it moves.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(100);
/// A turn this much later than planned means that the process was frozen. That time is not counted against peers.
const FROZEN: Duration = Duration::from_millis(300);
/// A worker forgets where to hand packets of an address to after this time without a check from it.
const STRAY_ROUTE: Duration = Duration::from_secs(30);
/// Later than any deadline of a peer: it stands in no queue.
const UNARMED: Duration = Duration::from_secs(3600);
/// How often what expires slowly is looked at.
const SWEEP: Duration = Duration::from_millis(250);

/// What signalling asks of a worker.
pub(super) enum Control {
    Restart { peer: PeerId, generation: Generation, audio_sends: bool, video_sends: bool },
    Close(PeerId),
    OpenFar(PeerId, FarPorts),
    ConnectFar(PeerId, Box<FarMedia>),
    Digits(PeerId, String),
}

/// A datagram for another worker's peer.
pub(super) struct Stray {
    from: SocketAddr,
    datagram: BytesMut,
}

/// How to reach a worker.
#[derive(Clone)]
pub(super) struct Mailbox {
    pub(super) control: Sender<Control>,
    pub(super) strays: SyncSender<Stray>,
    pub(super) waker: Waker,
}

/// What all workers and the handle share.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) identity: Arc<Identity>,
    pub(super) counters: Vec<Counters>,
    /// Milliseconds from `started` to each worker's last turn.
    pub(super) moved: Vec<AtomicU64>,
    pub(super) started: Instant,
    pub(super) stopping: AtomicBool,
    pub(super) mailboxes: OnceLock<Vec<Mailbox>>,
    pub(super) events: tokio::sync::mpsc::Sender<MediaEvent>,
    pub(super) max_peers: usize,
}

#[derive(Clone, Copy)]
enum Route {
    Here(Slot),
    Elsewhere(usize, Instant),
}

/// How a turn went.
pub(super) struct Turn {
    /// Datagrams that came.
    pub(super) received: usize,
    /// Until the next deadline.
    pub(super) due: Duration,
    /// The next turn has work already.
    pub(super) more: bool,
}

/// A worker's state apart from its socket and buffers.
pub(super) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    control: Receiver<Control>,
    strays: Receiver<Stray>,
    peers: Residents,
    routes: HashMap<SocketAddr, Route>,
    timers: BinaryHeap<Reverse<(Instant, Slot)>>,
    handshakes: VecDeque<(Slot, SocketAddr, BytesMut)>,
    effects: Effects,
    far: FarSockets,
    clock: Clock,
    next_sweep: Instant,
}

impl Worker {
    pub(super) fn new(index: usize, shared: Arc<Shared>, control: Receiver<Control>, strays: Receiver<Stray>) -> Self {
        let now = Instant::now();
        Self {
            index,
            shared,
            control,
            strays,
            peers: Residents::default(),
            routes: HashMap::new(),
            timers: BinaryHeap::new(),
            handshakes: VecDeque::new(),
            effects: Effects::default(),
            far: FarSockets::default(),
            clock: Clock { last: now, frozen: Duration::ZERO },
            next_sweep: now,
        }
    }

    /// Handles what is waiting, one batch at most, and what is due. What is to be sent to browsers is put into `outbox`;
    /// what goes to far sides is sent, with the help of the empty `runs`.
    pub(super) fn turn(
        &mut self,
        port: &UdpPort,
        inbox: &mut Inbox,
        outbox: &mut Outbox,
        runs: &mut Outbox,
    ) -> std::io::Result<Turn> {
        let received = inbox.receive(port)?;
        let now = self.begin_turn();
        bump(&self.counters().packets_in, received as u64);
        // First the mail: a restart is announced before its first check can arrive.
        self.handle_mail(now);
        for (datagram, from) in inbox.datagrams() {
            self.handle_datagram(datagram, from, now, true);
        }
        let far = self.handle_far(now);
        self.handle_handshakes(now);
        self.handle_timers(now);
        self.collect(outbox);
        self.flush_far(runs);
        let more = received == BATCH || far == MAX_READY || !self.handshakes.is_empty();
        Ok(Turn { received: received + far, due: self.until_due(now), more })
    }

    /// What else than its socket wakes it.
    pub(super) fn waitable(&self) -> Option<BorrowedFd<'_>> {
        self.far.waitable()
    }

    /// Sends every peer close_notify.
    pub(super) fn close_all(&mut self, outbox: &mut Outbox) {
        let now = self.begin_turn();
        for slot in self.peers.slots() {
            self.close(slot, now);
        }
        self.collect(outbox);
    }

    /// Which one it is.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Sends what was collected and counts it; all sockets of the port are alike.
    pub(super) fn flush(&self, port: &UdpPort, outbox: &mut Outbox) {
        let wanted = outbox.len();
        let sent = outbox.flush(port);
        bump(&self.counters().packets_out, sent as u64);
        for _ in sent..wanted {
            self.counters().dropped(Drop::Send);
        }
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.index]
    }

    fn begin_turn(&mut self) -> Instant {
        let real = Instant::now();
        let since = real.saturating_duration_since(self.shared.started);
        self.shared.moved[self.index].store(since.as_millis() as u64, Relaxed);
        self.clock.turn(real)
    }

    fn until_due(&self, now: Instant) -> Duration {
        let due = self.timers.peek().map_or(MAX_WAIT, |Reverse((due, _))| due.saturating_duration_since(now));
        due.min(MAX_WAIT)
    }

    /// `first_hand`: it came from our own socket, so it may still be handed over.
    fn handle_datagram(&mut self, datagram: &[u8], from: SocketAddr, now: Instant, first_hand: bool) {
        if stun::looks_like(datagram) {
            return self.handle_stun(datagram, from, now, first_hand);
        }
        match self.routes.get(&from) {
            Some(&Route::Here(slot)) => {
                let is_dtls = matches!(datagram, [20..=63, ..]);
                if is_dtls && self.peers.get_mut(slot).is_some_and(|resident| resident.peer.connecting()) {
                    self.queue_handshake(slot, from, datagram);
                } else {
                    self.dispatch(slot, datagram, from, now);
                }
            }
            Some(&Route::Elsewhere(owner, _)) if first_hand => self.hand_over(owner, datagram, from),
            Some(Route::Elsewhere(..)) | None => self.counters().dropped(Drop::Unchecked),
        }
    }

    fn handle_stun(&mut self, datagram: &[u8], from: SocketAddr, now: Instant, first_hand: bool) {
        let Some(request) = Request::parse(datagram) else { return self.counters().dropped(Drop::StunMalformed) };
        let ufrag = request.local_ufrag;
        if let Some(&Route::Here(slot)) = self.routes.get(&from)
            && self.peers.get_mut(slot).is_some_and(|resident| resident.peer.answers_to(ufrag))
        {
            return self.dispatch(slot, datagram, from, now);
        }
        let shared = self.shared.clone();
        let verify = |password: &str| request.verify(password, shared.identity.provider.crypto());
        match shared.registry.locate(ufrag, self.index, verify) {
            Located::Unknown => self.counters().dropped(Drop::StunUser),
            Located::Forged => self.counters().dropped(Drop::StunIntegrity),
            Located::Adopted(id, setup, restart) => {
                let slot = self.adopt(id, *setup, restart, now);
                self.dispatch(slot, datagram, from, now);
            }
            Located::At(id, owner) if owner == self.index => {
                if let Some(slot) = self.peers.find(id) {
                    self.dispatch(slot, datagram, from, now);
                }
            }
            Located::At(_, owner) if first_hand => {
                if self.routes.len() < self.shared.max_peers * 8 {
                    self.take_route(from, Route::Elsewhere(owner, now + STRAY_ROUTE));
                }
                self.hand_over(owner, datagram, from);
            }
            Located::At(..) => self.counters().dropped(Drop::StunUser),
        }
    }

    fn adopt(&mut self, id: PeerId, mut setup: PeerSetup, restart: Option<Generation>, now: Instant) -> Slot {
        let waited = setup.waited();
        let (far_ports, far_media) = (setup.far_ports.take(), setup.far_media.take());
        let sends = (setup.audio.sends, setup.video.as_ref().is_some_and(|video| video.sends));
        let mut peer = Peer::new(setup, self.shared.identity.clone(), waited, now);
        if let Some(generation) = restart {
            peer.restart(generation, sends.0, sends.1);
        }
        let armed = peer.poll_timeout();
        let slot = self.peers.add(id, peer);
        self.timers.push(Reverse((armed, slot)));
        if let Some(ports) = far_ports {
            self.open_far(slot, ports);
        }
        if let Some(media) = far_media {
            self.connect_far(slot, *media, now);
        }
        slot
    }

    fn open_far(&mut self, slot: Slot, ports: FarPorts) {
        if let Err(error) = self.far.add(slot, ports) {
            tracing::error!(worker = self.index, %error, "no far ports");
        }
    }

    fn connect_far(&mut self, slot: Slot, media: FarMedia, now: Instant) {
        self.with_peer(slot, |peer, effects| {
            peer.connect_far(media, now, effects);
            Ok(())
        });
    }

    /// Handles what is waiting at the far ports and returns how many of them had something.
    fn handle_far(&mut self, now: Instant) -> usize {
        let ready = self.far.poll();
        if ready == 0 {
            return 0;
        }
        let (mut buffer, mut received) = ([0; MAX_DATAGRAM], 0);
        while let Some(arrival) = self.far.receive(&mut buffer) {
            received += 1;
            let datagram = &mut buffer[..arrival.len];
            self.with_peer(arrival.slot, |peer, effects| {
                peer.handle_far(arrival.port, datagram, arrival.from, now, effects)
            });
        }
        bump(&self.counters().packets_in, received);
        ready
    }

    fn flush_far(&mut self, runs: &mut Outbox) {
        let (wanted, sent) = self.far.flush(runs);
        bump(&self.counters().packets_out, sent as u64);
        for _ in sent..wanted {
            self.counters().dropped(Drop::Send);
        }
    }

    fn hand_over(&self, owner: usize, datagram: &[u8], from: SocketAddr) {
        let Some(mailbox) = self.shared.mailboxes.get().and_then(|all| all.get(owner)) else { return };
        match mailbox.strays.try_send(Stray { from, datagram: BytesMut::from(datagram) }) {
            Ok(()) => mailbox.waker.wake(),
            Err(_) => self.counters().dropped(Drop::Queue),
        }
    }

    fn queue_handshake(&mut self, slot: Slot, from: SocketAddr, datagram: &[u8]) {
        if self.handshakes.len() >= MAX_WAITING_HANDSHAKES {
            return self.counters().dropped(Drop::Queue);
        }
        self.handshakes.push_back((slot, from, BytesMut::from(datagram)));
    }

    fn handle_mail(&mut self, now: Instant) {
        while let Ok(stray) = self.strays.try_recv() {
            self.handle_datagram(&stray.datagram, stray.from, now, false);
        }
        while let Ok(control) = self.control.try_recv() {
            match control {
                Control::Restart { peer, generation, audio_sends, video_sends } => {
                    let slot = self.peers.find(peer);
                    if let Some(resident) = slot.and_then(|slot| self.peers.get_mut(slot)) {
                        resident.peer.restart(generation, audio_sends, video_sends);
                    }
                }
                Control::Close(id) => {
                    if let Some(slot) = self.peers.find(id) {
                        self.close(slot, now);
                    }
                }
                Control::OpenFar(id, ports) => {
                    if let Some(slot) = self.peers.find(id) {
                        self.open_far(slot, ports);
                    }
                }
                Control::ConnectFar(id, media) => {
                    if let Some(slot) = self.peers.find(id) {
                        self.connect_far(slot, *media, now);
                    }
                }
                Control::Digits(id, digits) => {
                    if let Some(slot) = self.peers.find(id) {
                        self.with_peer(slot, |peer, _| {
                            peer.send_digits(&digits, now);
                            Ok(())
                        });
                    }
                }
            }
        }
    }

    fn handle_handshakes(&mut self, now: Instant) {
        for _ in 0..HANDSHAKES_PER_TURN {
            let Some((slot, from, datagram)) = self.handshakes.pop_front() else { return };
            self.dispatch(slot, &datagram, from, now);
        }
    }

    fn handle_timers(&mut self, now: Instant) {
        while let Some(&Reverse((due, slot))) = self.timers.peek() {
            if due > now {
                break;
            }
            self.timers.pop();
            // An entry that was superseded by an earlier one, or whose peer is gone, is skipped.
            let Some(resident) = self.peers.get_mut(slot).filter(|resident| resident.armed == due) else { continue };
            resident.armed = now + UNARMED;
            self.with_peer(slot, |peer, effects| {
                peer.handle_timeout(now, effects);
                Ok(())
            });
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        self.routes.retain(|_, route| !matches!(route, Route::Elsewhere(_, until) if *until < now));
        if self.index == 0 {
            for id in self.shared.registry.expire() {
                self.tell(id, MediaEventKind::Failed(Failure::Timeout));
            }
        }
    }

    fn dispatch(&mut self, slot: Slot, datagram: &[u8], from: SocketAddr, now: Instant) {
        self.with_peer(slot, |peer, effects| peer.handle_datagram(datagram, from, now, effects));
    }

    fn close(&mut self, slot: Slot, now: Instant) {
        self.with_peer(slot, |peer, effects| {
            peer.close(now, effects);
            Ok(())
        });
    }

    /// Runs something on a peer and does what it wants. A panic costs this peer only.
    fn with_peer(&mut self, slot: Slot, act: impl FnOnce(&mut Peer, &mut Effects) -> Result<(), Drop>) {
        let Some(resident) = self.peers.get_mut(slot) else { return };
        let was_live = resident.peer.live();
        let effects = &mut self.effects;
        let result = catch_unwind(AssertUnwindSafe(|| act(&mut resident.peer, effects)));
        let (id, ended, live) = (resident.id, resident.peer.ended() || result.is_err(), resident.peer.live());
        if !ended && resident.peer.poll_timeout() < resident.armed {
            // At least a millisecond ahead, so that a deadline that does not move cannot spin.
            let soonest = self.clock.now() + Duration::from_millis(1);
            resident.armed = resident.peer.poll_timeout().max(soonest).min(resident.armed);
            self.timers.push(Reverse((resident.armed, slot)));
        }
        match result {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.counters().dropped(reason),
            Err(_) => self.panicked(),
        }
        if !self.effects.far.is_empty() {
            self.far.collect(slot, &mut self.effects.far);
        }
        self.note_live(was_live, live && !ended);
        self.settle_routes(id, slot);
        if ended {
            self.remove(slot);
        }
        // Last, so that who hears of an end finds the peer forgotten.
        for kind in std::mem::take(&mut self.effects.events) {
            self.tell(id, kind);
        }
    }

    fn panicked(&mut self) {
        self.effects.events = vec![MediaEventKind::Failed(Failure::Broken)];
        // What it did not finish leads nowhere; whoever gets its slot next must not inherit an address.
        self.effects.routes_added.clear();
        self.effects.far.clear();
        bump(&self.counters().panics, 1);
    }

    fn note_live(&self, before: bool, after: bool) {
        match (before, after) {
            (false, true) => bump(&self.counters().connected, 1),
            (true, false) => bump(&self.counters().connected, u64::MAX), // wraps: one less
            (true, true) | (false, false) => {}
        }
    }

    /// What is to be sent stays in the effects until the end of the turn.
    fn settle_routes(&mut self, id: PeerId, slot: Slot) {
        if std::mem::take(&mut self.effects.generation_changed) {
            self.shared.registry.promoted(id);
        }
        while let Some(address) = self.effects.routes_removed.pop() {
            self.routes.remove(&address);
        }
        while let Some(address) = self.effects.routes_added.pop() {
            self.take_route(address, Route::Here(slot));
        }
    }

    /// An address belongs to one peer: a check for another one moves it.
    fn take_route(&mut self, address: SocketAddr, route: Route) {
        let old = self.routes.insert(address, route);
        if let Some(Route::Here(old)) = old
            && !matches!(route, Route::Here(slot) if slot == old)
            && let Some(resident) = self.peers.get_mut(old)
        {
            resident.peer.forget_address(address);
        }
    }

    fn remove(&mut self, slot: Slot) {
        let Some(resident) = self.peers.remove(slot) else { return };
        self.shared.registry.remove(resident.id);
        self.far.remove(slot);
        for address in resident.peer.addresses() {
            if matches!(self.routes.get(&address), Some(Route::Here(owner)) if *owner == slot) {
                self.routes.remove(&address);
            }
        }
        self.handshakes.retain(|(waiting, ..)| *waiting != slot);
    }

    fn tell(&self, peer: PeerId, kind: MediaEventKind) {
        if kind == MediaEventKind::Connected {
            bump(&self.counters().handshakes, 1);
        }
        if self.shared.events.try_send(MediaEvent { peer, kind }).is_err() {
            bump(&self.counters().events_lost, 1);
        }
    }

    fn collect(&mut self, outbox: &mut Outbox) {
        for (to, datagram) in self.effects.send.drain(..) {
            outbox.push(to, datagram);
        }
    }
}

/// Time as peers see it: that in which the process was frozen does not pass.
struct Clock {
    last: Instant,
    frozen: Duration,
}

impl Clock {
    fn turn(&mut self, real: Instant) -> Instant {
        let gap = real.saturating_duration_since(self.last);
        if gap > MAX_WAIT + FROZEN {
            self.frozen += gap - MAX_WAIT;
        }
        self.last = real;
        self.now()
    }

    fn now(&self) -> Instant {
        self.last.checked_sub(self.frozen).unwrap_or(self.last)
    }
}

#[cfg(test)]
mod tests;
