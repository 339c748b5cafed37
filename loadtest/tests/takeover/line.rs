//! A phone's connection to the SIP server that remembers what came over it, and when.

use crate::cluster::place;
use loadtest::sip_phone::line as plain;
use loadtest::sip_phone::message::Message;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) struct Line {
    pub(crate) out: plain::LineOut,
    pub(crate) log: Log,
    connected: Option<plain::Line>,
    inbound: mpsc::UnboundedReceiver<Message>,
    tell: mpsc::UnboundedSender<Message>,
    task: Option<JoinHandle<()>>,
}

/// What came, but for answers to anything else than an INVITE.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Heard>>>);

#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    /// A method, or the status of an answer.
    pub(crate) what: String,
    /// Host and port of whoever made it.
    pub(crate) from: String,
}

impl Log {
    fn note(&self, message: &Message) {
        let (what, from) = match (message.method(), message.status()) {
            // A request's maker is the last Via.
            (Some(method), _) => (method.to_owned(), message.headers.iter().rev().find(|(name, _)| name == "Via")),
            (None, Some(status)) if message.cseq_method() == "INVITE" => {
                (status.to_string(), message.headers.iter().find(|(name, _)| name == "Contact"))
            }
            (None, _) => return,
        };
        let from = from.map_or("", |(_, value)| value.rsplit(',').next().unwrap_or_default().trim());
        let from = place(from.strip_prefix("SIP/2.0/").and_then(|via| via.split(' ').nth(1)).unwrap_or(from));
        self.0.lock().expect("not poisoned").push(Heard { at: Instant::now(), what, from });
    }

    pub(crate) fn all(&self) -> Vec<Heard> {
        self.0.lock().expect("not poisoned").clone()
    }

    /// Who answered: an answer may come again until it is acknowledged.
    pub(crate) fn answered_by(&self) -> BTreeSet<String> {
        self.all().into_iter().filter(|heard| heard.what == "200").map(|heard| heard.from).collect()
    }

    /// How many of a kind came.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.all().iter().filter(|heard| heard.what == what).count()
    }
}

impl Line {
    pub(crate) async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        let connected = plain::Line::connect(server).await?;
        let (tell, inbound) = mpsc::unbounded_channel();
        let out = connected.out.clone();
        Ok(Self { out, log: Log::default(), connected: Some(connected), inbound, tell, task: None })
    }

    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.inbound.recv().await
    }

    /// From here on everything is read as it comes.
    pub(crate) async fn register(&mut self, user: &str, domain: &str) -> anyhow::Result<()> {
        let mut line = self.connected.take().expect("registered once");
        line.register(user, domain).await?;
        let (log, tell) = (self.log.clone(), self.tell.clone());
        self.task = Some(tokio::spawn(async move {
            while let Some(message) = line.next().await {
                log.note(&message);
                let _ = tell.send(message);
            }
        }));
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}
