//! Phones that call users and hang up again: before an answer once they have rung for a moment, after an answer likewise. All
//! of them share one connection to the SIP server.

use super::line::{Line, LineOut};
use super::message::Message;
use super::rtp::{RtpPhones, Voice};
use super::sdp::{Theirs, ours};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A phone that was heard ringing gives up after this.
const RING: Duration = Duration::from_millis(400);
/// A phone that was answered hangs up after this.
const TALK: Duration = Duration::from_millis(600);
/// A phone that hears nothing gives up after this: longer than any SIP server holds a call.
const PATIENCE: Duration = Duration::from_secs(8);

/// What a phone heard of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The user's browser rings.
    Ringing,
    /// The user answered.
    Answered,
    /// This status ended it.
    Refused(u16),
}

/// A call, by the number that it was placed under.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// Which.
    pub call: u64,
    /// What.
    pub heard: Heard,
    /// When.
    pub at: Instant,
}

#[derive(Debug)]
enum Order {
    Place(u64, String),
    /// Of a call that has not been answered.
    GiveUp(u64),
    HangUp(u64),
}

/// They fall silent when this is dropped.
#[derive(Debug)]
pub struct Calling {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Calling {
    /// Connects to the SIP server.
    ///
    /// # Errors
    ///
    /// When it can't be reached.
    pub async fn start(
        server: SocketAddr,
        domain: &str,
        rtp: Arc<RtpPhones>,
    ) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<News>)> {
        let mut line = Line::connect(server).await?;
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (news, told) = mpsc::unbounded_channel();
        let (out, later, domain) = (line.out.clone(), orders.clone(), domain.to_owned());
        let mut phones = Phones { out, domain, rtp, later, news, calls: HashMap::new() };
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(order) = ordered.recv() => phones.obey(order),
                    message = line.next() => match message {
                        Some(message) => phones.take(&message),
                        None => return,
                    },
                }
            }
        });
        Ok((Self { orders, task }, told))
    }

    /// Calls `user`; the caller's name is `c` and the number.
    pub fn place(&self, call: u64, user: &str) {
        let _ = self.orders.send(Order::Place(call, user.to_owned()));
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The number in the name of a caller's URI.
#[must_use]
pub fn number_of(uri: &str) -> Option<u64> {
    uri.strip_prefix("sip:c")?.split('@').next()?.parse().ok()
}

struct Phones {
    out: LineOut,
    domain: String,
    rtp: Arc<RtpPhones>,
    later: mpsc::UnboundedSender<Order>,
    news: mpsc::UnboundedSender<News>,
    calls: HashMap<u64, Call>,
}

struct Call {
    invite: Message,
    uri: String,
    rang: bool,
    /// The other side's tag, contact, route and sound, once it answered.
    dialog: Option<Dialog>,
}

struct Dialog {
    to: String,
    contact: String,
    routes: Vec<String>,
    remote: Option<SocketAddr>,
}

impl Phones {
    fn tell(&self, call: u64, heard: Heard) {
        let _ = self.news.send(News { call, heard, at: Instant::now() });
    }

    fn order(&self, order: Order, after: Duration) {
        let later = self.later.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = later.send(order);
        });
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Place(call, user) => self.place(call, &user),
            Order::GiveUp(call) => {
                if let Some(call) = self.calls.get(&call).filter(|call| call.dialog.is_none()) {
                    self.out.send(call.follow_up("CANCEL", call.invite.header("To")));
                }
            }
            Order::HangUp(number) => {
                let Some(call) = self.calls.remove(&number) else { return };
                let Some(dialog) = &call.dialog else { return };
                self.out.send(call.in_dialog(dialog, "BYE", 2, &self.out.via(&format!("b{number}"))));
                dialog.remote.iter().for_each(|remote| self.rtp.remove(*remote));
            }
        }
    }

    fn place(&mut self, call: u64, user: &str) {
        let name = format!("c{call}");
        let uri = format!("sip:{user}@{}", self.domain);
        let invite = Message::request("INVITE", &uri)
            .with("Via", self.out.via(&format!("i{call}")))
            .with("Max-Forwards", "70")
            .with("From", format!("<sip:{name}@{}>;tag={name}", self.domain))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", format!("{name}-{}", self.out.local.port()))
            .with("CSeq", "1 INVITE")
            .with("Contact", self.out.contact(&name))
            .with_sdp(ours(self.rtp.address(), Voice::Pcmu, 0));
        self.out.send(invite.clone());
        self.calls.insert(call, Call { invite, uri, rang: false, dialog: None });
        self.order(Order::GiveUp(call), PATIENCE);
    }

    fn take(&mut self, message: &Message) {
        let number = message.header("Call-ID").split('-').next().and_then(|name| name.strip_prefix('c')?.parse().ok());
        match (message.status(), message.method(), number) {
            (Some(status), _, Some(number)) if message.cseq_method() == "INVITE" => {
                self.answered(number, status, message);
            }
            (None, Some("ACK"), _) | (Some(_), ..) => {}
            (None, Some("BYE"), Some(number)) => {
                self.out.send(Message::response(message, 200, "phone"));
                let dialog = self.calls.remove(&number).and_then(|call| call.dialog);
                dialog.and_then(|dialog| dialog.remote).iter().for_each(|remote| self.rtp.remove(*remote));
            }
            _ => self.out.send(Message::response(message, 200, "phone")),
        }
    }

    fn answered(&mut self, number: u64, status: u16, response: &Message) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        match status {
            // 182 says that the call is held: nobody is told of it yet.
            180 | 183 if !std::mem::replace(&mut call.rang, true) => {
                self.tell(number, Heard::Ringing);
                self.order(Order::GiveUp(number), RING);
            }
            100..=199 => {}
            200..=299 => {
                let first = call.dialog.is_none();
                let dialog = Dialog::of(response);
                self.out.send(call.in_dialog(&dialog, "ACK", 1, &self.out.via(&format!("a{number}"))));
                if first {
                    dialog.remote.iter().for_each(|remote| self.rtp.add(*remote, Voice::Pcmu, 0));
                    call.dialog = Some(dialog);
                    self.tell(number, Heard::Answered);
                    self.order(Order::HangUp(number), TALK);
                }
            }
            _ => {
                self.out.send(call.follow_up("ACK", response.header("To")));
                self.calls.remove(&number);
                self.tell(number, Heard::Refused(status));
            }
        }
    }
}

impl Dialog {
    fn of(response: &Message) -> Self {
        let bare = |contact: &str| contact.split(['<', '>']).nth(1).unwrap_or(contact).to_owned();
        let routes = response.headers.iter().filter(|(name, _)| name == "Record-Route");
        let mut routes: Vec<String> =
            routes.flat_map(|(_, value)| value.split(',')).map(|route| route.trim().to_owned()).collect();
        routes.reverse();
        Self {
            to: response.header("To").to_owned(),
            contact: bare(response.header("Contact")),
            routes,
            remote: Theirs::parse(&response.body).map(|theirs| theirs.address),
        }
    }
}

impl Call {
    /// CANCEL, and the ACK to a refusal: of the INVITE's own transaction (RFC 3261 §9.1 and §17.1.1.3).
    fn follow_up(&self, method: &str, to: &str) -> Message {
        self.request(method, &self.uri, self.invite.header("Via"), to, 1)
    }

    fn in_dialog(&self, dialog: &Dialog, method: &str, cseq: u32, via: &str) -> Message {
        let mut request = self.request(method, &dialog.contact, via, &dialog.to, cseq);
        dialog.routes.iter().for_each(|route| request.push("Route", route.clone()));
        request
    }

    fn request(&self, method: &str, uri: &str, via: &str, to: &str, cseq: u32) -> Message {
        Message::request(method, uri)
            .with("Via", via)
            .with("Max-Forwards", "70")
            .with("From", self.invite.header("From"))
            .with("To", to)
            .with("Call-ID", self.invite.header("Call-ID"))
            .with("CSeq", format!("{cseq} {method}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_follows_the_recorded_route_backwards() {
        let response = Message::request("x", "y")
            .with("Record-Route", "<sip:far;lr>, <sip:middle;lr>")
            .with("Record-Route", "<sip:near;lr>")
            .with("To", "<sip:u@d>;tag=7")
            .with("Contact", "\"U\" <sip:u@h:1;transport=tcp>;q=1");
        let invite = Message::request("INVITE", "sip:u@d").with("From", "<sip:c1@d>;tag=c1").with("Call-ID", "c1-5");
        let call = Call { invite, uri: "sip:u@d".to_owned(), rang: false, dialog: None };
        let bye = call.in_dialog(&Dialog::of(&response), "BYE", 2, "v");
        assert_eq!(bye.start, "BYE sip:u@h:1;transport=tcp SIP/2.0");
        let routes: Vec<&str> =
            bye.headers.iter().filter(|(name, _)| name == "Route").map(|(_, route)| route.as_str()).collect();
        assert_eq!(routes, ["<sip:near;lr>", "<sip:middle;lr>", "<sip:far;lr>"]);
        assert_eq!((bye.header("To"), bye.header("CSeq")), ("<sip:u@d>;tag=7", "2 BYE"));
    }

    #[test]
    fn a_caller_is_known_by_its_uri() {
        assert_eq!(number_of("sip:c12@load.test"), Some(12));
        assert_eq!(number_of("sip:bob@load.test"), None);
    }
}
