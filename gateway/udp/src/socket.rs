//! UDP sockets that may share one port, and the descriptor that wakes whoever waits for one.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

/// Kernel buffer per socket and direction: half a second of 2000 audio streams. The kernel may grant less.
const BUFFER_BYTES: usize = 8 << 20;

/// Opens a non-blocking UDP socket on `addr`. With `shared`, several sockets may have the same port (SO_REUSEPORT) and
/// the kernel spreads senders over them by address.
///
/// # Errors
///
/// When the address is not ours or in use.
pub fn bind(addr: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Ends the wait of the thread that holds the matching [`UdpPort`].
#[derive(Debug, Clone)]
pub struct Waker(Arc<UnixDatagram>);

impl Waker {
    /// Wakes the thread now, or makes its next wait return at once.
    pub fn wake(&self) {
        // A full pipe means that a wake-up is pending already.
        let _ = self.0.send(&[1]);
    }
}

/// A socket and the means to wait for it.
#[derive(Debug)]
pub struct UdpPort {
    socket: UdpSocket,
    woken: UnixDatagram,
}

impl UdpPort {
    /// Wraps a non-blocking socket.
    ///
    /// # Errors
    ///
    /// When no descriptors are left.
    pub fn new(socket: UdpSocket) -> io::Result<(Self, Waker)> {
        let (woken, waker) = UnixDatagram::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        Ok((Self { socket, woken }, Waker(Arc::new(waker))))
    }

    /// The address this socket is bound to.
    ///
    /// # Errors
    ///
    /// As `UdpSocket::local_addr`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits until a datagram or a wake-up is there, at most `timeout`.
    ///
    /// # Errors
    ///
    /// When poll fails for another reason than a signal.
    pub fn wait(&self, timeout: Duration) -> io::Result<()> {
        wait_any(&[self], &[], timeout)
    }

    fn take_wake_ups(&self) {
        let mut sink = [0; 8];
        while self.woken.recv(&mut sink).is_ok() {}
    }
}

/// [`UdpPort::wait`] for several at once, and for descriptors that become readable.
///
/// # Errors
///
/// As there.
pub fn wait_any(ports: &[&UdpPort], others: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<()> {
    let descriptors = ports.iter().flat_map(|port| [port.socket.as_fd(), port.woken.as_fd()]);
    let descriptors = descriptors.chain(others.iter().copied());
    let mut fds: Vec<_> = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
    // Rounded up, so that a deadline has passed when the wait ends.
    let millis = timeout.as_millis().saturating_add(1).min(60_000);
    match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    for (port, fds) in ports.iter().zip(fds.chunks_exact(2)) {
        if fds[1].revents().is_some_and(|events| !events.is_empty()) {
            port.take_wake_ups();
        }
    }
    Ok(())
}

impl AsRawFd for UdpPort {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
