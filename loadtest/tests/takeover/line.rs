//! A phone's connection to the SIP server that remembers what came over it, and when.

use loadtest::sip_phone::line as plain;
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
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

/// Every request that came.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Heard>>>);

#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Host and port of whoever made it.
    pub(crate) from: String,
    pub(crate) call_id: String,
}

impl Log {
    fn note(&self, message: &Message) {
        let Some(method) = message.method() else { return };
        // The request's maker is the last Via.
        let via = message.headers.iter().rev().find(|(name, _)| name == "Via").map_or("", |(_, via)| via);
        let via = via.rsplit(',').next().unwrap_or_default().trim();
        let from = via.split([' ', ';']).nth(1).unwrap_or_default().to_owned();
        let call_id = message.header("Call-ID").to_owned();
        self.lock().push(Heard { at: Instant::now(), method: method.to_owned(), from, call_id });
    }

    pub(crate) fn all(&self) -> Vec<Heard> {
        self.lock().clone()
    }

    /// How many of a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.lock().iter().filter(|heard| heard.method == method).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.0.lock().expect("not poisoned")
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
