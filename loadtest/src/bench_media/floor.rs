//! Floors: the least that an echo of the same packets can cost, on one thread, with the product's own batching.

use crate::peer::{FloorKeys, PeerIdentity};
use anyhow::Context as _;
use bytes::BytesMut;
use holdfast_udp::{BATCH, Inbox, Outbox, Pace, UdpPort, Waker, bind};
use nix::time::{ClockId, clock_gettime};
use rtc::srtp::context::Context;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the echo does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Udp,
    /// SRTP, GCM: opens it and seals it again.
    Srtp,
}

/// A running floor.
pub(super) struct Floor {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    cpu_nanos: AtomicU64,
}

impl Floor {
    pub(super) fn start(kind: Kind, identity: PeerIdentity) -> anyhow::Result<Self> {
        let (port, waker) = UdpPort::new(bind(([127, 0, 0, 1], 0).into(), false)?)?;
        let (address, shared) = (port.local_addr()?, Arc::<Shared>::default());
        let thread = std::thread::Builder::new().name("floor".to_owned()).spawn({
            let shared = shared.clone();
            move || run(kind, &identity, &port, &shared)
        })?;
        Ok(Self { address, shared, waker, thread: Some(thread) })
    }

    /// CPU time that its thread has used, as of its last turn.
    pub(super) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.shared.cpu_nanos.load(Relaxed))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Relaxed);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(kind: Kind, identity: &PeerIdentity, port: &UdpPort, shared: &Shared) -> anyhow::Result<()> {
    let (mut inbox, mut outbox, mut pace) = (Inbox::default(), Outbox::default(), Pace::new(Instant::now()));
    let mut sessions: HashMap<SocketAddr, (Context, Context)> = HashMap::new();
    let mut turn = 0_u32;
    while !shared.stopping.load(Relaxed) {
        let received = inbox.receive(port)?;
        pace.arrived(received, Instant::now());
        for (datagram, from) in inbox.datagrams() {
            match kind {
                Kind::Udp => outbox.push(from, BytesMut::from(&*datagram)),
                Kind::Srtp => {
                    let session = match sessions.entry(from) {
                        std::collections::hash_map::Entry::Occupied(slot) => slot.into_mut(),
                        std::collections::hash_map::Entry::Vacant(slot) => slot.insert(new_session(identity)?),
                    };
                    let echoed = session.0.decrypt_rtp(datagram).and_then(|plain| session.1.encrypt_rtp(&plain));
                    outbox.push(from, echoed?);
                }
            }
        }
        outbox.flush(port);
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(16) || received == 0 {
            let used = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
            shared.cpu_nanos.store(used.as_nanos() as u64, Relaxed);
        }
        match pace.pause() {
            _ if received == BATCH => {}
            Some(pause) => std::thread::sleep(pause),
            None => port.wait(Duration::from_millis(100))?,
        }
    }
    Ok(())
}

fn new_session(identity: &PeerIdentity) -> anyhow::Result<(Context, Context)> {
    let keys = FloorKeys::default();
    keys.context(identity).zip(keys.context(identity)).context("the crypto provider lacks GCM")
}
