//! A client's connection, plain or TLS, with every byte read from it shown to the [`HeadGuard`] first.

use super::{
    head::{HeadGuard, RawFault},
    request::address_value,
    tunnel::Pending,
};
use balancer_core::pin::Proven;
use http::HeaderValue;
use std::{
    cell::{Cell, RefCell},
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// The bytes of a client.
pub(crate) enum ClientStream {
    /// Plain HTTP.
    Plain(TcpStream),
    /// Over TLS; boxed, because its buffers would otherwise burden every plain connection.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the connection's reader, its requests and its watchdog share.
pub(crate) struct ClientState {
    /// The address that connected.
    pub(crate) peer: IpAddr,
    /// The same as a field value.
    pub(crate) peer_value: HeaderValue,
    pub(crate) guard: RefCell<HeadGuard>,
    /// Grows with every byte in either direction; wraps.
    pub(crate) moved: Cell<u64>,
    /// What the connection becomes after a 101.
    pub(crate) tunnel: RefCell<Option<Pending>>,
    /// Of its requests' pins.
    pub(crate) proven: RefCell<Proven>,
    /// Requests handed to the service.
    requests: Cell<u64>,
}

impl ClientState {
    pub(crate) fn new(peer: IpAddr) -> Self {
        Self {
            peer,
            peer_value: address_value(peer),
            guard: RefCell::default(),
            moved: Cell::new(0),
            tunnel: RefCell::default(),
            proven: RefCell::default(),
            requests: Cell::new(0),
        }
    }

    /// Counts a request that begins to be answered, and says what was wrong with its bytes. hyper hands over each head once
    /// and in order, so counting tells which head it was.
    pub(crate) fn next_request(&self) -> Option<RawFault> {
        self.requests.set(self.requests.get() + 1);
        self.guard.borrow().fault_of(self.requests.get())
    }

    fn count(&self, bytes: usize) {
        self.moved.set(self.moved.get().wrapping_add(bytes as u64));
    }
}

/// A client's connection under hyper.
pub(crate) struct ClientIo {
    stream: ClientStream,
    state: Rc<ClientState>,
}

impl ClientIo {
    pub(crate) fn new(stream: ClientStream, state: Rc<ClientState>) -> Self {
        Self { stream, state }
    }

    pub(crate) fn into_stream(self) -> ClientStream {
        self.stream
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let fresh = &buf.filled()[before..];
        if !fresh.is_empty() {
            self.state.count(fresh.len());
            self.state.guard.borrow_mut().feed(fresh);
        }
        polled
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.state.count(written);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = polled {
            self.state.count(written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
