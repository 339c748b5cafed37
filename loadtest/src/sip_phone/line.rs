//! One TCP connection to a SIP server: messages in, messages out, and the registration of the address that is reached over it.

use super::message::Message;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages that wait, each way.
const MAX_WAITING: usize = 65_536;
/// A SIP server that does not answer a REGISTER for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Registered for so long: longer than any bench.
const EXPIRES: u32 = 3_600;

/// The end that messages are given to; clone it.
#[derive(Debug, Clone)]
pub struct LineOut {
    /// Our end of the connection.
    pub local: SocketAddr,
    messages: mpsc::Sender<Message>,
}

/// The connection; it closes when this and every [`LineOut`] are gone.
#[derive(Debug)]
pub struct Line {
    /// Where messages are given to.
    pub out: LineOut,
    inbound: mpsc::Receiver<Message>,
    tasks: [JoinHandle<()>; 2],
}

impl LineOut {
    /// Sends when the connection has room; what can't be sent is lost, as the connection is.
    pub fn send(&self, message: Message) {
        let _ = self.messages.try_send(message);
    }

    /// Via of a request that has this branch.
    #[must_use]
    pub fn via(&self, branch: &str) -> String {
        format!("SIP/2.0/TCP {};branch=z9hG4bK{branch};alias", self.local)
    }

    /// Where a user is reached over this connection.
    #[must_use]
    pub fn contact(&self, user: &str) -> String {
        format!("<sip:{user}@{};transport=tcp>", self.local)
    }
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When the server can't be reached.
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await.with_context(|| format!("the SIP server {server}"))?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (source, sink) = stream.into_split();
        let (messages, outbound) = mpsc::channel(MAX_WAITING);
        let (taken, inbound) = mpsc::channel(MAX_WAITING);
        let tasks = [tokio::spawn(read(source, taken)), tokio::spawn(write(sink, outbound))];
        Ok(Self { out: LineOut { local, messages }, inbound, tasks })
    }

    /// The next message; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Message> {
        self.inbound.recv().await
    }

    /// Registers a user to be reached over this connection.
    ///
    /// # Errors
    ///
    /// When the server refuses or says nothing.
    pub async fn register(&mut self, user: &str, domain: &str) -> anyhow::Result<()> {
        let address = format!("<sip:{user}@{domain}>");
        let register = Message::request("REGISTER", &format!("sip:{domain}"))
            .with("Via", self.out.via(&format!("reg{user}")))
            .with("Max-Forwards", "70")
            .with("From", format!("{address};tag=reg"))
            .with("To", address)
            .with("Call-ID", format!("reg-{user}-{}", self.out.local.port()))
            .with("CSeq", "1 REGISTER")
            .with("Contact", self.out.contact(user))
            .with("Expires", EXPIRES.to_string());
        self.out.send(register);
        loop {
            let answer = tokio::time::timeout(PATIENCE, self.next()).await.context("no answer to REGISTER")?;
            let answer = answer.context("the SIP server closed the connection")?;
            match answer.status() {
                Some(100..200) => {}
                Some(200) => return Ok(()),
                Some(status) => bail!("REGISTER of {user}: {status}"),
                None => {}
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn read(mut source: OwnedReadHalf, taken: mpsc::Sender<Message>) {
    let mut bytes = Vec::new();
    while source.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        loop {
            match Message::take(&mut bytes) {
                Ok(Some(message)) => {
                    if taken.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(why) => return tracing::error!(why, "the SIP server sends no SIP"),
            }
        }
    }
}

async fn write(mut sink: OwnedWriteHalf, mut outbound: mpsc::Receiver<Message>) {
    while let Some(message) = outbound.recv().await {
        if sink.write_all(message.encode().as_bytes()).await.is_err() {
            return;
        }
    }
}
