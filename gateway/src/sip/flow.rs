//! Connections under TCP and TLS: one task each that reads messages and writes those of its queue.
//!
//! A connection to a server that broke comes back at the same port of ours, if it may: what servers and far sides hold of us, in
//! Contact and Via fields, stays true, and what belongs to transactions that they still know goes out then. So a server whose
//! address moves to another machine finds calls as they were.

use super::frame::{Frame, Framer, Parsed, parse};
use super::sources::Sources;
use super::tls::SipTls;
use super::{Counts, Inbound};
use gateway_core::sip::{Peer, Transport};
use rsipstack::sip::{self as wire, SipMessage, Transport as WireTransport};
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, Semaphore, watch};

/// Connections from others; beyond it they wait in the kernel.
const MAX_INBOUND: usize = 8_192;
/// To be connected, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that takes nothing for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte of a message to its last, and from accepting to the first message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that wait to be written; a peer that lets more wait is gone.
const MAX_QUEUED: usize = 16_384;
/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 64 * 1024;
/// A server whose address moves is back within this time; afterwards calls that rang are over.
const RETURN: Duration = Duration::from_secs(5);
/// For the port of ours that the last connection had.
const TRIES: u32 = 10;
/// Between two of these.
const TRY_PAUSE: Duration = Duration::from_millis(20);
/// Kept for a connection that comes back.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Names a connection; a peer's next one has another.
pub(super) type FlowId = u64;

/// A connection that is there.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) peer: Peer,
    /// Our end of it.
    pub(super) local: SocketAddr,
    /// Takes messages without waiting.
    pub(super) connection: SipConnection,
    pub(super) tether: Tether,
}

/// One connection of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link {
    id: FlowId,
    local: SocketAddr,
}

/// Tells the end of the connection that a message was sent over.
#[derive(Debug, Clone)]
pub(super) struct Tether {
    links: watch::Receiver<Option<Link>>,
    own: Link,
}

impl Tether {
    /// Returns when no answer can come any more. One that may come late comes over the next connection, too, if that is there soon
    /// and at the same port of ours.
    pub(super) async fn ended(&mut self, may_come_late: bool) {
        loop {
            let own = self.own;
            let _ = self.links.wait_for(|link| *link != Some(own)).await;
            if !may_come_late {
                return;
            }
            match tokio::time::timeout(RETURN, self.links.wait_for(Option::is_some))
                .await
                .map(|link| link.map(|link| *link))
            {
                Ok(Ok(Some(link))) if link.local == own.local => self.own = link,
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// What a flow keeps from one connection to the next.
#[derive(Debug)]
pub(super) struct Pipe {
    connection: SipConnection,
    queue: UnboundedReceiver<TransportEvent>,
    links: watch::Sender<Option<Link>>,
    /// Our end of the last connection, and when that ended.
    last: Option<(SocketAddr, Instant)>,
    /// Keeps that port for the next one: nobody else gets it meanwhile.
    reserved: Option<TcpSocket>,
}

impl Pipe {
    async fn new(peer: Peer) -> Option<Self> {
        let (_nothing, never) = unbounded_channel();
        let (outgoing, queue) = unbounded_channel();
        let channel = ChannelConnection::create_connection(never, outgoing, wire_addr(peer), None).await.ok()?;
        Some(Self {
            connection: SipConnection::Channel(channel),
            queue,
            links: watch::Sender::new(None),
            last: None,
            reserved: None,
        })
    }

    /// What waits for a new connection: nothing that was given up, as every request was.
    fn waiting(&mut self) -> Vec<u8> {
        let is_late = self.last.is_none_or(|(_, ended)| ended.elapsed() > RETURN);
        let mut bytes = Vec::new();
        while let Ok(event) = self.queue.try_recv() {
            let is_wanted = match &event {
                TransportEvent::Incoming(SipMessage::Response(_), ..) => true,
                TransportEvent::Incoming(SipMessage::Request(request), ..) => {
                    matches!(request.method, wire::Method::Ack | wire::Method::Cancel)
                }
                _ => false,
            };
            if is_wanted && !is_late && bytes.len() < MAX_WAITING_BYTES {
                append(&mut bytes, event);
            }
        }
        bytes
    }
}

/// What a connection tells.
#[derive(Debug)]
pub(super) enum FlowNote {
    /// It is there. Comes before its first message.
    Up(Flow),
    /// It could not be had, for this reason.
    Failed(Peer, Option<Pipe>, String),
    /// It has ended.
    Down(Peer, FlowId, Pipe),
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Flows {
    pub(super) inbound: mpsc::Sender<Inbound>,
    /// Bounded by the number of connections.
    pub(super) notes: mpsc::UnboundedSender<FlowNote>,
    pub(super) tls: Option<Arc<SipTls>>,
    pub(super) sources: Sources,
    pub(super) counts: Arc<Counts>,
    next: Arc<AtomicU64>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Flows {
    pub(super) fn new(
        inbound: mpsc::Sender<Inbound>,
        notes: mpsc::UnboundedSender<FlowNote>,
        tls: Option<Arc<SipTls>>,
        sources: Sources,
        counts: Arc<Counts>,
    ) -> Self {
        Self { inbound, notes, tls, sources, counts, next: Arc::default() }
    }

    /// Connects to a peer that is known as `host`, then serves the connection until it ends. With the pipe of the last one it is
    /// the same flow.
    pub(super) async fn open(self, peer: Peer, host: String, pipe: Option<Pipe>) {
        let last = pipe.as_ref().and_then(|pipe| pipe.last).map(|(local, _)| local);
        let why = match tokio::time::timeout(CONNECT_TIMEOUT, self.connect(peer, &host, last)).await {
            Ok(Ok((stream, local))) => return self.serve(stream, peer, local, pipe, false).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let _ = self.notes.send(FlowNote::Failed(peer, pipe, why));
    }

    async fn connect(
        &self,
        peer: Peer,
        host: &str,
        last: Option<SocketAddr>,
    ) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        let stream = connect_from(last, peer.addr).await?;
        tune(&stream)?;
        let local = stream.local_addr()?;
        Ok(match (peer.transport, &self.tls) {
            (Transport::Tls, Some(tls)) => (Box::new(tls.connect(stream, host).await?), local),
            (Transport::Tls, None) => return Err(io::Error::other("no TLS is configured")),
            (Transport::Tcp | Transport::Udp, _) => (Box::new(stream), local),
        })
    }

    /// Accepts connections for ever.
    pub(super) async fn listen(self, listener: TcpListener, transport: Transport) {
        let room = Arc::new(Semaphore::new(MAX_INBOUND));
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            match listener.accept().await {
                Ok((_, from)) if !self.sources.may_connect(from.ip()) => {
                    self.counts.strangers.fetch_add(1, Ordering::Relaxed);
                }
                Ok((stream, from)) => {
                    let flows = self.clone();
                    tokio::spawn(async move {
                        flows.accept(stream, Peer { transport, addr: from }).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a SIP connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept(self, stream: TcpStream, peer: Peer) {
        let Ok(local) = tune(&stream).and_then(|()| stream.local_addr()) else {
            return;
        };
        let stream: Box<dyn Stream> = match (peer.transport, &self.tls) {
            (Transport::Tls, Some(tls)) => match tokio::time::timeout(CONNECT_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => Box::new(stream),
                Ok(Err(_)) | Err(_) => return,
            },
            (Transport::Tls, None) => return,
            (Transport::Tcp | Transport::Udp, _) => Box::new(stream),
        };
        self.serve(stream, peer, local, None, true).await;
    }

    async fn serve(self, stream: Box<dyn Stream>, peer: Peer, local: SocketAddr, pipe: Option<Pipe>, is_inbound: bool) {
        let pipe = match pipe {
            Some(pipe) => Some(pipe),
            None => Pipe::new(peer).await,
        };
        let Some(mut pipe) = pipe else { return };
        let first = pipe.waiting();
        pipe.reserved = None;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let own = Link { id, local };
        pipe.links.send_replace(Some(own));
        let tether = Tether { links: pipe.links.subscribe(), own };
        let connection = pipe.connection.clone();
        let flow = Flow { id, peer, local, connection: connection.clone(), tether };
        if self.notes.send(FlowNote::Up(flow)).is_err() {
            return;
        }
        let (read, write) = tokio::io::split(stream);
        let pings = Notify::new();
        // Side by side, so that two peers which both write a lot never wait for one another.
        let ended = tokio::select! {
            ended = self.read(read, peer, &connection, &pings, is_inbound) => ended,
            ended = self.write(write, first, &mut pipe.queue, &pings) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a SIP connection broke");
        }
        pipe.links.send_replace(None);
        pipe.last = Some((local, Instant::now()));
        pipe.reserved = bound(Some(local), peer.addr).ok().filter(|_| !is_inbound);
        let _ = self.notes.send(FlowNote::Down(peer, id, pipe));
    }

    /// A message that can't be read is left out: the connection may carry thousands of users.
    async fn read(
        &self,
        mut stream: impl AsyncRead + Unpin,
        peer: Peer,
        connection: &SipConnection,
        pings: &Notify,
        is_inbound: bool,
    ) -> io::Result<()> {
        let mut framer = Framer::default();
        let mut bytes = vec![0; 16 * 1024];
        let until = || Some(Instant::now() + MESSAGE_TIMEOUT);
        // Of the message that has begun, however slowly its bytes come.
        let mut deadline = until().filter(|_| is_inbound);
        loop {
            let read = stream.read(&mut bytes);
            let count = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), read).await??,
                None => read.await?,
            };
            if count == 0 {
                return Ok(());
            }
            framer.push(&bytes[..count]);
            let mut is_new = deadline.is_none();
            while let Some(frame) = framer.next().map_err(io::Error::other)? {
                is_new = true;
                match frame {
                    Frame::Ping => pings.notify_one(),
                    Frame::Message(bytes) => self.hand_over(&bytes, peer, connection).await?,
                }
            }
            if framer.is_empty() {
                deadline = deadline.filter(|_| !is_new);
            } else if is_new {
                deadline = until();
            }
        }
    }

    async fn hand_over(&self, bytes: &[u8], from: Peer, connection: &SipConnection) -> io::Result<()> {
        let Some(parsed) = self.parse(bytes) else { return Ok(()) };
        let inbound = Inbound { parsed, from, connection: connection.clone() };
        self.inbound.send(inbound).await.map_err(|_| io::Error::other("the line has ended"))
    }

    /// Nothing for what is no SIP, which is counted.
    pub(super) fn parse(&self, bytes: &[u8]) -> Option<Parsed> {
        // rsipstack's parser is foreign code over foreign bytes.
        let parsed = std::panic::catch_unwind(|| parse(bytes));
        let parsed = parsed.unwrap_or(Err(super::frame::FrameError::NotSip("its parser panicked")));
        parsed
            .inspect_err(|error| {
                self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a message can't be read");
            })
            .ok()
    }

    async fn write(
        &self,
        mut stream: impl AsyncWrite + Unpin,
        mut bytes: Vec<u8>,
        queue: &mut UnboundedReceiver<TransportEvent>,
        pings: &Notify,
    ) -> io::Result<()> {
        loop {
            if !bytes.is_empty() {
                tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&bytes)).await??;
                tokio::time::timeout(WRITE_TIMEOUT, stream.flush()).await??;
                bytes.clear();
            }
            tokio::select! {
                () = pings.notified() => bytes.extend_from_slice(b"\r\n"),
                event = queue.recv() => {
                    // Its sender lives as long as the connection object, which the reader holds.
                    append(&mut bytes, event.ok_or_else(|| io::Error::other("nobody writes"))?);
                    if queue.len() > MAX_QUEUED {
                        return Err(io::Error::other("the peer takes too little"));
                    }
                    while bytes.len() < WRITE_BYTES && let Ok(event) = queue.try_recv() {
                        append(&mut bytes, event);
                    }
                }
            }
        }
    }
}

/// From our end of the last connection, or another where that can't be had.
async fn connect_from(last: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    for _ in 0..TRIES {
        let Some(last) = last else { break };
        match connect_at(Some(last), to).await {
            // It may not have ended on our side yet.
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {
                tokio::time::sleep(TRY_PAUSE).await;
            }
            other => return other,
        }
    }
    connect_at(None, to).await
}

async fn connect_at(local: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    bound(local, to)?.connect(to).await
}

fn bound(local: Option<SocketAddr>, to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A connection elsewhere from the same port is in nobody's way.
    socket.set_reuseaddr(true)?;
    if let Some(local) = local {
        socket.bind(local)?;
    }
    Ok(socket)
}

fn append(bytes: &mut Vec<u8>, event: TransportEvent) {
    if let TransportEvent::Incoming(message, _, _) = event {
        bytes.extend_from_slice(&message.to_bytes());
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3)),
    )?;
    socket.set_tcp_user_timeout(Some(MESSAGE_TIMEOUT))
}

/// A peer as rsipstack names it.
pub(super) fn wire_addr(peer: Peer) -> SipAddr {
    let transport = match peer.transport {
        Transport::Udp => WireTransport::Udp,
        Transport::Tcp => WireTransport::Tcp,
        Transport::Tls => WireTransport::Tls,
    };
    SipAddr { r#type: Some(transport), addr: peer.addr.into() }
}
