//! One thread's connections to one run of an instance.
//!
//! When the instance is declared down all of them are shut down, so every request in flight and every half-received answer
//! breaks off in that moment, and none of them watches the signal itself.

use super::wire::{self, Head, Outgoing};
use crate::state::{Clock, Down};
use balancer_core::{Instance, Traffic, retry::Failure};
use bytes::Bytes;
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

/// A connection that takes longer is a failure; a dead network should not hold a request that another instance can serve.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Sweeps that an idle connection outlives, 5 s to 10 s: it may meet the instance's own closing of it; young ones rarely do.
const IDLE_SWEEPS: u8 = 1;
/// Idle connections kept per thread and instance. More are closed after use.
const MAX_IDLE: usize = 256;
/// Longest head of an answer, interim ones included.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes that one read takes at most.
const BUFFER: usize = 16 * 1024;

thread_local! {
    /// Between two reads nothing stays here, so a thread needs one alone, however many connections it has.
    static BYTES: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Calls `read` with the thread's one buffer. It must not call this again.
pub(crate) fn with_buffer<T>(read: impl FnOnce(&mut ReadBuf<'_>) -> T) -> T {
    BYTES.with_borrow_mut(|bytes| read(&mut ReadBuf::new(bytes)))
}

/// One thread's way to one run of an instance.
pub(crate) struct Upstream {
    pub(crate) instance: Arc<Instance>,
    pub(crate) down: Down,
    clock: Clock,
    idle: RefCell<Vec<Connection>>,
    /// Every open connection that is no tunnel.
    open: RefCell<Vec<Weak<Socket>>>,
}

type Socket = RefCell<InstanceIo>;

/// A connection that one request at a time may use.
pub(crate) struct Connection {
    socket: Rc<Socket>,
    /// Sweeps since it was used.
    idle_sweeps: u8,
}

/// The head of an answer, and what is needed to read on.
pub(crate) struct Answered {
    pub(crate) head: Head,
    /// Read behind the head.
    pub(crate) rest: Bytes,
    pub(crate) connection: Connection,
}

/// A try that brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) cause: Cause,
}

/// What broke a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The instance's kernel says that nobody listens: the process is gone.
    Refused,
    /// No connection could be made.
    Unreachable,
    /// The connection ended. An instance that lives may do that at any time between two requests.
    Closed,
}

const UNSENT: Failed = Failed { failure: Failure::Unsent, cause: Cause::Closed };
const UNANSWERED: Failed = Failed { failure: Failure::NoAnswer, cause: Cause::Closed };

impl Upstream {
    /// Starts to listen for the loss of `instance`.
    pub(crate) fn start(instance: Arc<Instance>, down: Down, clock: Clock) -> Rc<Self> {
        let upstream =
            Rc::new(Self { instance, down: down.clone(), clock, idle: RefCell::default(), open: RefCell::default() });
        tokio::task::spawn_local(cut_when_down(Rc::downgrade(&upstream), down));
        upstream
    }

    /// True if nothing should be sent there any more.
    pub(crate) fn is_down(&self) -> bool {
        self.down.now().is_some()
    }

    fn address(&self) -> SocketAddr {
        self.instance.endpoint.http
    }

    /// Sends `request` and waits for the head of its answer.
    pub(crate) async fn exchange(&self, request: &Outgoing) -> Result<Answered, Failed> {
        loop {
            let (connection, is_reused) = match self.pooled() {
                Some(connection) => (connection, true),
                // Boxed, as it is rare and large: every request's future would have to hold it.
                None => (Box::pin(self.connect()).await.map_err(|error| unconnected(&error))?, false),
            };
            match connection.send(&request.bytes).await {
                Ok(()) => {
                    let answered = connection.receive(request.is_head).await;
                    if answered.is_err() {
                        // The others may be as dead: whoever tries again connects anew, and hears the truth.
                        self.idle.borrow_mut().clear();
                    }
                    return answered;
                }
                // Closed by the instance while it lay in the pool; the next one may be whole.
                Err(UNSENT) if is_reused && !self.is_down() => {}
                Err(failed) => return Err(failed),
            }
        }
    }

    fn pooled(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.borrow_mut().pop()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let mut down = self.down.clone();
        let connected = tokio::select! {
            connected = timeout(CONNECT_LIMIT, TcpStream::connect(self.address())) => connected,
            _ = down.wait() => return Err(io::ErrorKind::NotConnected.into()),
        };
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let io = InstanceIo { stream, traffic: Arc::clone(&self.instance.traffic), clock: self.clock };
        let socket = Rc::new(RefCell::new(io));
        self.open.borrow_mut().push(Rc::downgrade(&socket));
        Ok(Connection { socket, idle_sweeps: 0 })
    }

    /// Takes back a connection whose answer was read to its end.
    pub(crate) fn give_back(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && !self.is_down() {
            connection.idle_sweeps = 0;
            idle.push(connection);
        }
    }

    /// Closes connections that nobody will use any more. To be called every five seconds.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain_mut(|each| {
            each.idle_sweeps += 1;
            each.idle_sweeps <= IDLE_SWEEPS && each.is_quiet()
        });
        self.open.borrow_mut().retain(|socket| socket.strong_count() > 0);
    }

    fn cut(&self) {
        for socket in self.open.borrow_mut().drain(..).filter_map(|socket| socket.upgrade()) {
            // Fails if the other side was faster.
            let _ = socket2::SockRef::from(&socket.borrow().stream).shutdown(Shutdown::Both);
        }
    }
}

async fn cut_when_down(upstream: Weak<Upstream>, mut down: Down) {
    down.wait().await;
    if let Some(upstream) = upstream.upgrade() {
        upstream.cut();
    }
}

fn unconnected(error: &io::Error) -> Failed {
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Cause::Refused,
        _ => Cause::Unreachable,
    };
    Failed { failure: Failure::Unsent, cause }
}

impl Connection {
    /// True if nothing came since the last answer: neither its end nor bytes that nobody asked for.
    fn is_quiet(&self) -> bool {
        self.poll_read(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    async fn send(&self, bytes: &[u8]) -> Result<(), Failed> {
        let mut sent = 0;
        while sent < bytes.len() {
            let write = |cx: &mut Context<'_>| Pin::new(&mut *self.socket.borrow_mut()).poll_write(cx, &bytes[sent..]);
            match poll_fn(write).await {
                Ok(written) if written > 0 => sent += written,
                Ok(_) | Err(_) => return Err(if sent == 0 { UNSENT } else { UNANSWERED }),
            }
        }
        Ok(())
    }

    async fn receive(self, is_head: bool) -> Result<Answered, Failed> {
        let mut rest = Bytes::new();
        loop {
            let fresh = poll_fn(|cx| self.poll_read(cx)).await.map_err(|_| UNANSWERED)?;
            if fresh.is_empty() || rest.len() > MAX_HEAD {
                return Err(UNANSWERED);
            }
            rest = wire::joined(rest, fresh);
            if let Some(head) = wire::take_head(&mut rest, is_head).map_err(|_| UNANSWERED)? {
                return Ok(Answered { head, rest, connection: self });
            }
        }
    }

    /// The next bytes; none at the end of the connection.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        with_buffer(|buffer| {
            ready!(Pin::new(&mut *self.socket.borrow_mut()).poll_read(cx, buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    }

    /// The socket, after a 101.
    pub(crate) fn into_socket(self) -> Option<InstanceIo> {
        Rc::try_unwrap(self.socket).ok().map(RefCell::into_inner)
    }
}

/// A connection to an instance. Every byte read from it is a sign of life.
pub(crate) struct InstanceIo {
    stream: TcpStream,
    traffic: Arc<Traffic>,
    clock: Clock,
}

impl AsyncRead for InstanceIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.traffic.heard(self.clock.now());
        }
        polled
    }
}

impl AsyncWrite for InstanceIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
