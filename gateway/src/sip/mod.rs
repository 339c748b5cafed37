//! The sockets under the SIP machines: a thin shell over `rsipstack`, which gives parsing and transactions (RFC 3261 §17). The
//! machine's [`SipCommand`]s go in, [`SipEvent`]s come out.
//!
//! Connections, framing and TLS are ours: rsipstack closes a connection at the first message that it can't read, and one
//! connection to a SIP server carries all users. Names are never resolved: every message goes to the [`Peer`] that the machine
//! says, or back to where its request came from. All of it runs on one thread, on which rsipstack's timers need no lock.
//!
//! [`Peer`]: gateway_core::sip::Peer

mod aging;
mod client;
mod convert;
mod flow;
mod frame;
mod line;
mod server;
mod servers;
mod sources;
#[cfg(test)]
mod tests;
mod tls;

use crate::pulse::Pulse;
use flow::Flows;
use frame::{MAX_MESSAGE_BYTES, Parsed};
use gateway_core::sip::{Peer, SipCommand, SipEvent, Transport};
use line::{Datagrams, Ends, Line};
use rsipstack::EndpointBuilder;
use rsipstack::transaction::endpoint::EndpointOption;
use rsipstack::transport::SipConnection;
use rsipstack::transport::udp::UdpConnection;
use servers::Servers;
use sources::{Sources, Verdict};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

pub use sources::Source;
pub use tls::SipTls;

/// Events that wait for the machine; then the sockets wait too, and what comes over UDP is lost.
const MAX_EVENTS: usize = 8_192;
/// Messages between the sockets and the transactions, likewise.
const MAX_INBOUND_MESSAGES: usize = 1_024;
/// The thread shows this often that it moves.
const BEAT: Duration = Duration::from_millis(100);
/// RFC 3261 §17.1.1.1.
const T1: Duration = Duration::from_millis(500);
/// rsipstack ends a ringing call after this time (its Timer C). How long a call rings is the machine's business.
const MAX_RINGING: Duration = Duration::from_secs(3_600);

/// What a line is.
#[derive(Default)]
pub struct SipConfig {
    /// Where it listens; port 0 takes a free one. The first of a transport is the one it sends from over UDP.
    pub listen: Vec<(Transport, SocketAddr)>,
    /// Needed for [`Transport::Tls`], to listen and to connect.
    pub tls: Option<SipTls>,
    /// The servers as the machine counts them, for [`SipCommand::LookUp`] and for TLS.
    pub servers: Vec<ServerName>,
    /// If given, nobody is listened to but these and those whom [`SipCommand::Open`] named: datagrams from exactly there,
    /// connections from their addresses. Otherwise each address has a share.
    pub only_from: Option<Vec<Source>>,
    /// RFC 3261's T1, from which all times of transactions follow; 500 ms if absent.
    pub t1: Option<Duration>,
}

/// By what a server is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    /// A name, or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where it was found last.
    pub addrs: Vec<SocketAddr>,
}

/// Why a line could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened at.
    #[error("{transport} at {addr}")]
    Listen {
        /// Which transport.
        transport: Transport,
        /// Which address.
        addr: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is no thread for it.
    #[error("no thread")]
    Thread(#[source] io::Error),
}

/// How often something was dropped.
#[derive(Debug, Default)]
pub struct Counts {
    unreadable: AtomicU64,
    refused: AtomicU64,
    overrun: AtomicU64,
    strangers: AtomicU64,
    unmatched: AtomicU64,
    malformed: AtomicU64,
}

impl Counts {
    /// Messages that were no SIP.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Requests beyond the number that is served at a time.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Datagrams that came faster than they were handled, or than one sender may send.
    #[must_use]
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Ordering::Relaxed)
    }

    /// Datagrams and connections of those who are not listened to.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// Responses to nothing that was asked.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }

    /// Requests that got a status and nothing else: malformed ones, CANCEL of nothing.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// All of them with a name each, for metrics.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 6] {
        [
            ("unreadable", self.unreadable()),
            ("no_room", self.refused()),
            ("overrun", self.overrun()),
            ("stranger", self.strangers()),
            ("unmatched", self.unmatched()),
            ("malformed", self.malformed()),
        ]
    }
}

/// Where a machine's commands go: a [`SipLine`], or something in memory.
pub trait SipPort {
    /// Has it done, in the order of the calls. Never waits.
    fn act(&self, command: SipCommand);

    /// The first address that it listens at.
    fn local(&self, transport: Transport) -> Option<SocketAddr>;
}

/// A message from a socket.
#[derive(Debug)]
struct Inbound {
    parsed: Parsed,
    from: Peer,
    connection: SipConnection,
}

/// A running shell. Dropping it closes everything.
pub struct SipLine {
    /// Every command follows from an event, and those are bounded.
    commands: Option<mpsc::UnboundedSender<SipCommand>>,
    local: Vec<(Transport, SocketAddr)>,
    counts: Arc<Counts>,
    pulse: Arc<Pulse>,
    thread: Option<JoinHandle<()>>,
}

impl SipPort for SipLine {
    fn act(&self, command: SipCommand) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    fn local(&self, transport: Transport) -> Option<SocketAddr> {
        self.local.iter().find(|(listening, _)| *listening == transport).map(|(_, addr)| *addr)
    }
}

impl SipLine {
    /// Listens, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When an address can't be had.
    pub fn start(config: SipConfig) -> Result<(Self, mpsc::Receiver<SipEvent>), StartError> {
        let sockets = Sockets::bind(&config.listen)?;
        let local = sockets.local.clone();
        let counts = Arc::new(Counts::default());
        let (commands, commanded) = mpsc::unbounded_channel();
        let (events, received) = mpsc::channel(MAX_EVENTS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let pulse = Arc::new(Pulse::new());
        let beating = pulse.clone();
        let running = run(config, sockets, commanded, events, counts.clone());
        let thread = std::thread::Builder::new()
            .name("sip".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = running => {}
                        () = beat(beating) => {}
                    }
                });
            })
            .map_err(StartError::Thread)?;
        Ok((Self { commands: Some(commands), local, counts, pulse, thread: Some(thread) }, received))
    }

    /// Beats while its thread moves.
    #[must_use]
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// What was dropped.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }
}

async fn beat(pulse: Arc<Pulse>) {
    loop {
        tokio::time::sleep(BEAT).await;
        pulse.beat();
    }
}

impl Drop for SipLine {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bound, and not yet served.
#[derive(Default)]
struct Sockets {
    udp: Vec<(std::net::UdpSocket, SocketAddr)>,
    streams: Vec<(std::net::TcpListener, Transport)>,
    local: Vec<(Transport, SocketAddr)>,
}

impl Sockets {
    fn bind(listen: &[(Transport, SocketAddr)]) -> Result<Self, StartError> {
        let mut sockets = Self::default();
        for (transport, addr) in listen.iter().copied() {
            sockets.add(transport, addr).map_err(|cause| StartError::Listen { transport, addr, cause })?;
        }
        Ok(sockets)
    }

    fn add(&mut self, transport: Transport, addr: SocketAddr) -> io::Result<()> {
        let bound = match transport {
            Transport::Udp => {
                let socket = std::net::UdpSocket::bind(addr)?;
                socket.set_nonblocking(true)?;
                // The kernel's usual 200 kB holds 200 REGISTERs.
                let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
                let bound = socket.local_addr()?;
                self.udp.push((socket, bound));
                bound
            }
            Transport::Tcp | Transport::Tls => {
                let listener = std::net::TcpListener::bind(addr)?;
                listener.set_nonblocking(true)?;
                let bound = listener.local_addr()?;
                self.streams.push((listener, transport));
                bound
            }
        };
        self.local.push((transport, bound));
        Ok(())
    }
}

async fn run(
    config: SipConfig,
    sockets: Sockets,
    commands: mpsc::UnboundedReceiver<SipCommand>,
    events: mpsc::Sender<SipEvent>,
    counts: Arc<Counts>,
) {
    let t1 = config.t1.unwrap_or(T1);
    let endpoint = EndpointBuilder::new()
        .with_user_agent("Holdfast")
        .with_inspector(Box::new(client::Inspector))
        .with_option(EndpointOption {
            t1,
            t2: t1 * 8,
            t4: t1 * 10,
            t1x64: t1 * 64,
            timerc: MAX_RINGING,
            // It would look the destination up; ours is known.
            auto_ack_2xx: false,
            ..EndpointOption::default()
        })
        .build();
    let Ok(incoming) = endpoint.incoming_transactions() else { return };
    let timers = endpoint.inner.clone();
    tokio::spawn(async move { timers.process_timer().await });
    let (inbound, received) = mpsc::channel(MAX_INBOUND_MESSAGES);
    let (flow_notes, noted) = mpsc::unbounded_channel();
    let sources = Sources::new(config.only_from);
    let flows = Flows::new(inbound, flow_notes, config.tls.map(Arc::new), sources, counts);
    let mut datagrams = Vec::new();
    for (socket, local) in sockets.udp {
        match serve_udp(socket, local, &flows).await {
            Ok(served) => datagrams.push(served),
            Err(error) => tracing::error!(%error, "a SIP socket can't be served"),
        }
    }
    for (listener, transport) in sockets.streams {
        match TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(flows.clone().listen(listener, transport))),
            Err(error) => tracing::error!(%error, "a SIP listener can't be served"),
        }
    }
    let ends = Ends { commands, inbound: received, flow_notes: noted, events };
    let servers = Servers::new(config.servers);
    Line::run(endpoint.inner.clone(), incoming, flows, datagrams, servers, t1, ends).await;
}

async fn serve_udp(socket: std::net::UdpSocket, local: SocketAddr, flows: &Flows) -> io::Result<Datagrams> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let connection = UdpConnection::from_socket(socket.clone(), None, None).await.map_err(io::Error::other)?;
    let connection = SipConnection::Udp(connection);
    tokio::spawn(read_datagrams(socket, connection.clone(), flows.clone()));
    Ok(Datagrams { connection, local })
}

async fn read_datagrams(socket: Arc<UdpSocket>, connection: SipConnection, flows: Flows) {
    let mut bytes = vec![0; MAX_MESSAGE_BYTES];
    let mut sources = flows.sources.clone();
    loop {
        // An error is an ICMP answer to something that was sent.
        let Ok((length, from)) = socket.recv_from(&mut bytes).await else { continue };
        let dropped = match sources.take(from, Instant::now()) {
            Verdict::Taken => None,
            Verdict::Stranger => Some(&flows.counts.strangers),
            Verdict::TooMany => Some(&flows.counts.overrun),
        };
        if let Some(count) = dropped {
            count.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let datagram = &bytes[..length];
        if datagram.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Some(parsed) = flows.parse(datagram) else { continue };
        let from = Peer { transport: Transport::Udp, addr: from };
        let inbound = Inbound { parsed, from, connection: connection.clone() };
        if let Err(mpsc::error::TrySendError::Full(_)) = flows.inbound.try_send(inbound) {
            flows.counts.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }
}
