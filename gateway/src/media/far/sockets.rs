//! The far ports of one worker: polled together, sent on one by one or in runs.

use super::ports::Pair;
use super::{FarPort, FarSend};
use crate::media::residents::Slot;
use holdfast_udp::Outbox;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Ready ports per look, so that one turn stays short.
pub(in crate::media) const MAX_READY: usize = 512;
/// Datagrams taken from one port before the next one's turn; the rest comes with the next look.
const MAX_PER_PORT: usize = 16;

/// The port pairs of a peer.
#[derive(Debug)]
pub(in crate::media) struct FarPorts {
    pub(in crate::media) audio: Pair,
    pub(in crate::media) video: Option<Pair>,
}

impl FarPorts {
    fn socket(&self, port: FarPort) -> Option<&UdpSocket> {
        match port {
            FarPort::AudioRtp => Some(&self.audio.rtp),
            FarPort::AudioRtcp => Some(&self.audio.rtcp),
            FarPort::VideoRtp => self.video.as_ref().map(|pair| &pair.rtp),
            FarPort::VideoRtcp => self.video.as_ref().map(|pair| &pair.rtcp),
        }
    }

    /// Throws away what came before anybody listened.
    fn drain(&self) {
        for socket in FarPort::ALL.into_iter().filter_map(|port| self.socket(port)) {
            let waiting = || socket.recv(&mut [0; 1]).is_ok();
            let _ = (0..1024).take_while(|_| waiting()).count();
        }
    }
}

/// A datagram that a far port received, with its length.
pub(in crate::media) struct FarArrival {
    pub(in crate::media) slot: Slot,
    pub(in crate::media) port: FarPort,
    pub(in crate::media) from: SocketAddr,
    pub(in crate::media) len: usize,
}

/// All far ports of a worker.
#[derive(Default)]
pub(in crate::media) struct FarSockets {
    /// Made with the first ports.
    epoll: Option<Epoll>,
    ports: HashMap<Slot, FarPorts>,
    outgoing: Vec<(Slot, FarSend)>,
    ready: Vec<EpollEvent>,
    /// Of `ready`: how many are valid, which is next, and how often it was asked.
    count: usize,
    next: usize,
    asked: usize,
}

impl FarSockets {
    /// The descriptor that becomes readable when a port does; `None` while there are no ports.
    pub(in crate::media) fn waitable(&self) -> Option<BorrowedFd<'_>> {
        self.epoll.as_ref().filter(|_| !self.ports.is_empty()).map(|epoll| epoll.0.as_fd())
    }

    /// Polls the ports of a peer from now on.
    ///
    /// # Errors
    ///
    /// When no descriptors are left; the ports are closed then.
    pub(in crate::media) fn add(&mut self, slot: Slot, ports: FarPorts) -> io::Result<()> {
        ports.drain();
        if self.epoll.is_none() {
            self.epoll = Some(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
            self.ready = vec![EpollEvent::empty(); MAX_READY];
        }
        for (index, port) in (0..).zip(FarPort::ALL) {
            if let (Some(epoll), Some(socket)) = (&self.epoll, ports.socket(port)) {
                epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(slot) << 2 | index))?;
            }
        }
        self.ports.insert(slot, ports);
        Ok(())
    }

    /// Closes the ports of a peer, which takes them out of the epoll set.
    pub(in crate::media) fn remove(&mut self, slot: Slot) {
        self.ports.remove(&slot);
    }

    /// Looks which ports have something and returns how many; [`FarSockets::receive`] fetches it. At most
    /// [`MAX_READY`]; the rest comes with the next look.
    pub(in crate::media) fn poll(&mut self) -> usize {
        (self.next, self.asked, self.count) = (0, 0, 0);
        if let Some(epoll) = self.epoll.as_ref().filter(|_| !self.ports.is_empty()) {
            self.count = epoll.wait(&mut self.ready, EpollTimeout::ZERO).unwrap_or(0);
        }
        self.count
    }

    /// The next datagram that is waiting.
    pub(in crate::media) fn receive(&mut self, buffer: &mut [u8]) -> Option<FarArrival> {
        loop {
            let event = self.ready[..self.count].get(self.next)?;
            let (slot, port) = ((event.data() >> 2) as Slot, FarPort::ALL[(event.data() & 3) as usize]);
            // Sound comes one by one, so that asking again would only cost; a picture comes in runs.
            let most = if port == FarPort::VideoRtp { MAX_PER_PORT } else { 1 };
            let socket = self.ports.get(&slot).and_then(|ports| ports.socket(port)).filter(|_| self.asked < most);
            self.asked += 1;
            // An error that ICMP left behind is taken away by this very call.
            if let Some(Ok((len, from))) = socket.map(|socket| socket.recv_from(buffer)) {
                return Some(FarArrival { slot, port, from, len });
            }
            (self.next, self.asked) = (self.next + 1, 0);
        }
    }

    /// Takes what a peer wants sent.
    pub(in crate::media) fn collect(&mut self, slot: Slot, sends: &mut Vec<FarSend>) {
        self.outgoing.extend(sends.drain(..).map(|send| (slot, send)));
    }

    /// Sends what was collected, runs from one port by the empty `runs`, and returns how many datagrams were wanted and
    /// how many the kernel took.
    pub(in crate::media) fn flush(&mut self, runs: &mut Outbox) -> (usize, usize) {
        let (wanted, mut sent) = (self.outgoing.len(), 0);
        let mut waiting = std::mem::take(&mut self.outgoing);
        let mut rest = waiting.drain(..).peekable();
        while let Some((slot, first)) = rest.next() {
            let Some(socket) = self.ports.get(&slot).and_then(|ports| ports.socket(first.port)) else { continue };
            let same = |(other, send): &(Slot, FarSend)| (*other, send.port) == (slot, first.port);
            if !rest.peek().is_some_and(same) {
                sent += usize::from(socket.send_to(&first.datagram, first.to).is_ok());
                continue;
            }
            let port = first.port;
            runs.push(first.to, first.datagram);
            while let Some((_, send)) = rest.next_if(|(other, send)| (*other, send.port) == (slot, port)) {
                runs.push(send.to, send.datagram);
            }
            sent += runs.flush(socket);
        }
        drop(rest);
        self.outgoing = waiting;
        (wanted, sent)
    }
}
