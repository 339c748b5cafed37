//! One thread's connections to one run of an instance.
//!
//! Each connection is driven by a task of its own, and all of them are aborted when the instance is declared down; so every
//! request in flight and every half-received answer breaks off in that moment, and none of them watches the signal itself.

use crate::state::{Clock, Down};
use balancer_core::{Instance, Traffic, retry::Failure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

/// A connection that takes longer is a failure; a dead network should not hold a request that another instance can serve.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// An idle connection may meet the instance's own closing of it; young ones rarely do.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Idle connections kept per thread and instance. More are closed after use.
const MAX_IDLE: usize = 256;
/// Read buffer of one connection; an answer's head must fit.
const MAX_BUFFER: usize = 64 * 1024;

pub(crate) type Outgoing = Request<Full<Bytes>>;

/// One thread's way to one run of an instance.
pub(crate) struct Upstream {
    pub(crate) instance: Arc<Instance>,
    pub(crate) down: Down,
    clock: Clock,
    idle: RefCell<Vec<Connection>>,
    drivers: RefCell<JoinSet<()>>,
}

/// A connection that one request at a time may use.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Rc<Driver>,
    idle_since: balancer_core::Time,
    /// Resolves to the socket after a 101, if one was asked for.
    pub(crate) switched: Option<oneshot::Receiver<Switched>>,
}

/// What a connection and the task that drives it share.
#[derive(Default)]
struct Driver {
    /// The driver was aborted.
    is_cut: Cell<bool>,
    /// Who waits for the socket after a 101.
    upgrade: RefCell<Option<oneshot::Sender<Switched>>>,
}

/// A connection after a 101: the socket, and what was read behind the answer's head.
pub(crate) type Switched = (InstanceIo, Bytes);

/// A try that brought no answer.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// Handed back when it was not sent.
    pub(crate) request: Option<Outgoing>,
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

impl Upstream {
    /// Starts to listen for the loss of `instance`.
    pub(crate) fn start(instance: Arc<Instance>, down: Down, clock: Clock) -> Rc<Self> {
        let upstream = Rc::new(Self {
            instance,
            down: down.clone(),
            clock,
            idle: RefCell::default(),
            drivers: RefCell::default(),
        });
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
    pub(crate) async fn exchange(
        self: Rc<Self>,
        mut request: Outgoing,
        is_upgrade: bool,
    ) -> Result<(Response<Incoming>, Connection), Failed> {
        loop {
            let (mut connection, is_reused) = match self.pooled().await {
                Some(connection) => (connection, true),
                // Boxed, as it is rare and large: every request's future would have to hold it.
                None => match Box::pin(self.connect()).await {
                    Ok(connection) => (connection, false),
                    Err(error) => return Err(Failed::unconnected(request, &error)),
                },
            };
            if is_upgrade {
                connection.expect_switch();
            }
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    // Closed by the instance while it lay in the pool; the next one may be whole.
                    Some(unsent) if is_reused && !self.is_down() => request = unsent,
                    Some(unsent) => return Err(Failed::handed_back(unsent)),
                    None => return Err(Failed::unanswered()),
                },
            }
        }
    }

    async fn pooled(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            let is_young = self.clock.now().saturating_sub(connection.idle_since) < IDLE_LIMIT;
            if is_young && (connection.sender.is_ready() || connection.sender.ready().await.is_ok()) {
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
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER)
            .writev(false)
            .handshake(TokioIo::new(io))
            .await
            .map_err(io::Error::other)?;
        let driver = Rc::new(Driver::default());
        self.drivers.borrow_mut().spawn_local(drive(connection, Rc::clone(&driver)));
        Ok(Connection { sender, driver, idle_since: self.clock.now(), switched: None })
    }

    /// Takes back a connection whose answer was read to its end.
    pub(crate) fn give_back(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !connection.sender.is_closed() && idle.len() < MAX_IDLE && !self.is_down() {
            connection.idle_since = self.clock.now();
            idle.push(connection);
        }
    }

    /// Closes connections that nobody will use any more.
    pub(crate) fn sweep(&self) {
        while self.drivers.borrow_mut().try_join_next().is_some() {}
        let now = self.clock.now();
        self.idle
            .borrow_mut()
            .retain(|each| !each.sender.is_closed() && now.saturating_sub(each.idle_since) < IDLE_LIMIT);
    }
}

impl Connection {
    /// True if the answer broke off because the instance was declared down.
    pub(crate) fn is_cut(&self) -> bool {
        self.driver.is_cut.get()
    }

    /// Before the request is sent: the driver may be done before its answer is looked at.
    fn expect_switch(&mut self) {
        let (sender, receiver) = oneshot::channel();
        *self.driver.upgrade.borrow_mut() = Some(sender);
        self.switched = Some(receiver);
    }
}

impl Failed {
    fn unconnected(request: Outgoing, error: &io::Error) -> Self {
        let cause = match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Cause::Refused,
            _ => Cause::Unreachable,
        };
        Self { failure: Failure::Unsent, request: Some(request), cause }
    }

    fn handed_back(request: Outgoing) -> Self {
        Self { failure: Failure::Unsent, request: Some(request), cause: Cause::Closed }
    }

    fn unanswered() -> Self {
        Self { failure: Failure::NoAnswer, request: None, cause: Cause::Closed }
    }
}

async fn cut_when_down(upstream: Weak<Upstream>, mut down: Down) {
    down.wait().await;
    if let Some(upstream) = upstream.upgrade() {
        upstream.drivers.borrow_mut().abort_all();
    }
}

async fn drive(connection: http1::Connection<TokioIo<InstanceIo>, Full<Bytes>>, driver: Rc<Driver>) {
    let cut = CutOnDrop(&driver);
    let done = connection.without_shutdown().await;
    std::mem::forget(cut);
    if let (Ok(parts), Some(waiting)) = (done, driver.upgrade.take()) {
        let _ = waiting.send((parts.io.into_inner(), parts.read_buf));
    }
}

struct CutOnDrop<'a>(&'a Driver);

impl Drop for CutOnDrop<'_> {
    fn drop(&mut self) {
        self.0.is_cut.set(true);
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
