//! Phones that take every call at once and speak until the caller hangs up. All have one address at the SIP server.

use super::line::{Line, LineOut};
use super::message::Message;
use super::rtp::{RtpPhones, Voice};
use super::sdp::{Theirs, ours};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::JoinHandle;

/// They hang up, so to say, when this is dropped.
#[derive(Debug)]
pub struct Answering {
    calls: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

struct Phones {
    out: LineOut,
    user: String,
    voice: Voice,
    rtp: Arc<RtpPhones>,
    count: Arc<AtomicU64>,
    /// Far address and description of each call, by Call-ID.
    calls: HashMap<String, (SocketAddr, String)>,
}

impl Answering {
    /// Registers `user` at the server and answers from now on with this voice.
    ///
    /// # Errors
    ///
    /// When the server can't be reached or refuses.
    pub async fn start(
        server: SocketAddr,
        domain: &str,
        user: &str,
        voice: Voice,
        rtp: Arc<RtpPhones>,
    ) -> anyhow::Result<Self> {
        let mut line = Line::connect(server).await?;
        line.register(user, domain).await?;
        let count = Arc::<AtomicU64>::default();
        let (out, user, calls) = (line.out.clone(), user.to_owned(), HashMap::new());
        let mut phones = Phones { out, user, voice, rtp, count: count.clone(), calls };
        let task = tokio::spawn(async move {
            while let Some(message) = line.next().await {
                phones.take(&message);
            }
        });
        Ok(Self { calls: count, task })
    }

    /// Calls now.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Phones {
    fn take(&mut self, message: &Message) {
        match message.method() {
            Some("INVITE") => self.invited(message),
            Some("BYE") => {
                if let Some((remote, _)) = self.calls.remove(message.header("Call-ID")) {
                    self.rtp.remove(remote);
                    self.count.store(self.calls.len() as u64, Relaxed);
                }
                self.out.send(Message::response(message, 200, "phone"));
            }
            Some("OPTIONS" | "UPDATE" | "INFO" | "CANCEL") => self.out.send(Message::response(message, 200, "phone")),
            Some("ACK") | None => {}
            Some(_) => self.out.send(Message::response(message, 405, "phone")),
        }
    }

    /// A call, or a refreshed one.
    fn invited(&mut self, invite: &Message) {
        let call_id = invite.header("Call-ID");
        if let Some((_, sdp)) = self.calls.get(call_id) {
            let sdp = sdp.clone();
            return self.accept(invite, sdp);
        }
        let theirs = Theirs::parse(&invite.body);
        let Some((theirs, number)) = theirs.and_then(|theirs| Some((theirs, theirs.number(self.voice)?))) else {
            return self.out.send(Message::response(invite, 488, "phone"));
        };
        let sdp = ours(self.rtp.address(), self.voice, number);
        self.calls.insert(call_id.to_owned(), (theirs.address, sdp.clone()));
        self.rtp.add(theirs.address, self.voice, number);
        self.count.store(self.calls.len() as u64, Relaxed);
        self.accept(invite, sdp);
    }

    fn accept(&self, invite: &Message, sdp: String) {
        let answer = Message::response(invite, 200, "phone").with("Contact", self.out.contact(&self.user));
        self.out.send(answer.with_sdp(sdp));
    }
}
