//! The line of a phone that speaks UDP, as most do: known at every server, reached by each of them, and for what it says within a
//! call bound to the way that the call has taken. What is lost it does not say again; what it is asked again it answers again.

use anyhow::Context;
use loadtest::sip_phone::message::Message;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EXPIRES: &str = "3600";
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_DATAGRAM: usize = 65_536;

/// The end that messages are given to.
#[derive(Debug, Clone)]
pub(crate) struct LineOut {
    pub(crate) local: SocketAddr,
    socket: Arc<UdpSocket>,
    /// Where calls of its own go.
    server: Arc<Mutex<SocketAddr>>,
    /// By Via and CSeq of what it was asked.
    answers: Arc<Mutex<HashMap<String, Option<Message>>>>,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) out: LineOut,
    inbound: tokio::net::UdpSocket,
    servers: [SocketAddr; 2],
}

impl LineOut {
    pub(crate) fn send(&self, message: Message) {
        let server = *self.server.lock().expect("not poisoned");
        let to = next_hop(&message).unwrap_or(server);
        self.say(&message, to);
        if message.status().is_some() {
            self.answers.lock().expect("not poisoned").insert(name(&message), Some(message));
        }
    }

    /// True if it was asked this before.
    fn is_known(&self, request: &Message) -> bool {
        let known = match self.answers.lock().expect("not poisoned").entry(name(request)) {
            std::collections::hash_map::Entry::Occupied(known) => known.get().clone(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(None);
                return false;
            }
        };
        known.into_iter().for_each(|answer| self.send(answer));
        true
    }

    fn say(&self, message: &Message, to: SocketAddr) {
        // A port where nobody listens answers by an error, which the next datagram reports.
        for _ in 0..2 {
            if self.socket.send_to(message.encode().as_bytes(), to).is_ok() {
                return;
            }
        }
    }

    /// Its own calls go through this server from now on.
    pub(crate) fn prefer(&self, server: SocketAddr) {
        *self.server.lock().expect("not poisoned") = server;
    }

    pub(crate) fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/UDP {};branch=z9hG4bK{branch}-{};rport", self.local, self.local.port())
    }

    pub(crate) fn contact(&self, user: &str) -> String {
        format!("<sip:{user}@{}>", self.local)
    }
}

impl Line {
    pub(crate) async fn connect(servers: [SocketAddr; 2]) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let inbound = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
        let out = LineOut {
            local,
            socket: Arc::new(socket),
            server: Arc::new(Mutex::new(servers[0])),
            answers: Arc::default(),
        };
        Ok(Self { out, inbound, servers })
    }

    pub(crate) async fn next(&mut self) -> Option<Message> {
        let mut datagram = vec![0; MAX_DATAGRAM];
        loop {
            let Ok((length, _)) = self.inbound.recv_from(&mut datagram).await else { continue };
            let Ok(Some(message)) = Message::take(&mut datagram[..length].to_vec()) else { continue };
            if message.status().is_some() || !self.out.is_known(&message) {
                return Some(message);
            }
        }
    }

    /// At every server.
    pub(crate) async fn register(&mut self, user: &str, domain: &str) -> anyhow::Result<()> {
        let mut servers = self.servers.to_vec();
        servers.dedup();
        for (number, server) in servers.into_iter().enumerate() {
            let address = format!("<sip:{user}@{domain}>");
            let register = Message::request("REGISTER", &format!("sip:{domain}"))
                .with("Via", self.out.via(&format!("reg{number}")))
                .with("Max-Forwards", "70")
                .with("From", format!("{address};tag=reg"))
                .with("To", address)
                .with("Call-ID", format!("reg-{user}-{number}-{}", self.out.local.port()))
                .with("CSeq", "1 REGISTER")
                .with("Contact", self.out.contact(user))
                .with("Expires", EXPIRES);
            self.out.say(&register, server);
            let answer = tokio::time::timeout(PATIENCE, self.next()).await.context("no answer to REGISTER")?;
            let status = answer.and_then(|answer| answer.status());
            anyhow::ensure!(status == Some(200), "REGISTER of {user}: {status:?}");
        }
        Ok(())
    }
}

fn name(message: &Message) -> String {
    format!("{} {}", message.header("Via"), message.header("CSeq"))
}

/// A response goes back by its topmost Via, a request by its topmost Route.
fn next_hop(message: &Message) -> Option<SocketAddr> {
    if message.status().is_some() {
        return message.header("Via").split_whitespace().nth(1)?.split(';').next()?.parse().ok();
    }
    message.header("Route").strip_prefix("<sip:")?.split([';', '>']).next()?.parse().ok()
}
