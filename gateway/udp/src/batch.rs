//! Receiving and sending datagrams in batches (recvmmsg, sendmmsg).

use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

/// Datagrams per system call.
pub const BATCH: usize = 64;
/// Longest datagram received whole: Ethernet's 1500 with room. Longer ones arrive cut and fail authentication.
pub const MAX_DATAGRAM: usize = 1600;

/// Preallocated buffers for one batch of received datagrams.
pub struct Inbox {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Box<[[u8; MAX_DATAGRAM]]>,
    received: Vec<(usize, SocketAddr)>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("received", &self.received.len()).finish_non_exhaustive()
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; MAX_DATAGRAM]; BATCH].into(),
            received: Vec::with_capacity(BATCH),
        }
    }
}

impl Inbox {
    /// Receives what is waiting, at most [`BATCH`] datagrams, and returns how many; 0 when nothing is there.
    ///
    /// # Errors
    ///
    /// When the socket is broken. Errors that only one datagram caused (ICMP) are skipped.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.received.clear();
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            [IoSliceMut::new(buffers.next().map_or(&mut [][..], |buffer| buffer.as_mut_slice()))]
        });
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(results) => self.received.extend(
                results.map(|one| (one.bytes, one.address.and_then(|from| internet(&from)).unwrap_or(NOWHERE))),
            ),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.received.len())
    }

    /// The datagrams of the last batch with their senders.
    pub fn datagrams(&mut self) -> impl Iterator<Item = (&mut [u8], SocketAddr)> {
        self.buffers.iter_mut().zip(&self.received).map(|(buffer, &(len, from))| (&mut buffer[..len], from))
    }
}

/// A sender that the kernel did not name; never equal to a real one.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn internet(from: &SockaddrStorage) -> Option<SocketAddr> {
    from.as_sockaddr_in()
        .map(|v4| SocketAddr::V4((*v4).into()))
        .or_else(|| from.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// Datagrams waiting to be sent together.
pub struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    addresses: Vec<Option<SockaddrStorage>>,
    payloads: Vec<BytesMut>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.payloads.len()).finish_non_exhaustive()
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            addresses: Vec::with_capacity(BATCH),
            payloads: Vec::with_capacity(BATCH),
        }
    }
}

impl Outbox {
    /// Adds one datagram.
    pub fn push(&mut self, to: SocketAddr, payload: BytesMut) {
        self.addresses.push(Some(to.into()));
        self.payloads.push(payload);
    }

    /// Datagrams waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Sends everything and returns how many datagrams the kernel took. Datagrams that it refuses (full buffer, no
    /// route) are lost, as UDP may lose any.
    pub fn flush(&mut self, socket: &impl AsRawFd) -> usize {
        let mut sent = 0;
        let mut next = 0;
        while next < self.payloads.len() {
            let end = (next + BATCH).min(self.payloads.len());
            match self.send_batch(socket, next, end) {
                Ok(count) => {
                    sent += count;
                    next += count.max(1);
                }
                Err(Errno::EINTR) => {}
                // sendmmsg fails only for its first datagram: skip that one.
                Err(_) => next += 1,
            }
        }
        self.addresses.clear();
        self.payloads.clear();
        sent
    }

    fn send_batch(&mut self, socket: &impl AsRawFd, start: usize, end: usize) -> nix::Result<usize> {
        let mut payloads = self.payloads[start..end].iter();
        let slices: [[IoSlice<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSlice::new(payloads.next().map_or(&[][..], |payload| payload))]);
        let addresses = &self.addresses[start..end];
        let flags = MsgFlags::MSG_DONTWAIT;
        sendmmsg(socket.as_raw_fd(), &mut self.headers, &slices[..end - start], addresses, [], flags)
            .map(Iterator::count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UdpPort, bind};
    use std::time::Duration;

    fn local_port() -> UdpPort {
        UdpPort::new(bind(([127, 0, 0, 1], 0).into(), false).expect("bind")).expect("port").0
    }

    #[test]
    fn a_batch_larger_than_one_call_arrives_whole() {
        let (left, right) = (local_port(), local_port());
        let target = right.local_addr().expect("bound");
        let mut outbox = Outbox::default();
        for number in 0..100u8 {
            outbox.push(target, BytesMut::from(&[number; 3][..]));
        }
        assert_eq!(outbox.flush(&left), 100);
        assert!(outbox.is_empty());

        right.wait(Duration::from_secs(5)).expect("wait");
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        while inbox.receive(&right).expect("receive") > 0 {
            seen.extend(inbox.datagrams().map(|(data, from)| (data[0], data.len(), from)));
        }
        let sender = left.local_addr().expect("bound");
        assert_eq!(seen, (0..100).map(|number| (number, 3, sender)).collect::<Vec<_>>());
    }

    #[test]
    fn a_waker_ends_the_wait() {
        let (port, waker) = UdpPort::new(bind(([127, 0, 0, 1], 0).into(), true).expect("bind")).expect("port");
        waker.wake();
        let before = std::time::Instant::now();
        port.wait(Duration::from_secs(30)).expect("wait");
        assert!(before.elapsed() < Duration::from_secs(20));
    }
}
