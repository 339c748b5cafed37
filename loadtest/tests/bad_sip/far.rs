//! A SIP phone at the registrar that says exactly what it is told to.

use crate::cluster::DOMAIN;
use loadtest::sip_phone::line::Line;
use loadtest::sip_phone::message::Message;
use std::net::SocketAddr;
use std::time::Duration;

/// What comes, comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Far {
    pub(crate) user: String,
    pub(crate) line: Line,
}

/// A call as the phone knows it.
#[derive(Clone)]
pub(crate) struct Dialog {
    /// A request within it, but for its method, Via and CSeq.
    template: Message,
    pub(crate) target: String,
    pub(crate) cseq: u32,
    /// Of the other side.
    pub(crate) sdp: String,
}

impl Far {
    pub(crate) async fn register(registrar: SocketAddr, user: &str) -> Self {
        let mut line = Line::connect(registrar).await.expect("the registrar listens");
        line.register(user, DOMAIN).await.expect("registered");
        Self { user: user.to_owned(), line }
    }

    pub(crate) fn send(&self, message: Message) {
        self.line.out.send(message);
    }

    pub(crate) fn contact(&self) -> String {
        self.line.out.contact(&self.user)
    }

    /// The next request of this method or response of this status; other requests but INVITE are answered 200.
    pub(crate) async fn hears(&mut self, what: &str) -> Message {
        let heard = async {
            loop {
                let message = self.line.next().await.expect("the line is open");
                let is_it = message.method() == Some(what) || message.status().is_some_and(|is| is.to_string() == what);
                if is_it {
                    return message;
                }
                self.serves(&message);
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {what} at {}", self.user))
    }

    /// Answers what needs no thought.
    pub(crate) fn serves(&self, message: &Message) {
        if matches!(message.method(), Some("OPTIONS" | "UPDATE" | "INFO" | "BYE" | "NOTIFY")) {
            let answer = Message::response(message, 200, "far").with("Contact", self.contact());
            self.send(answer);
        }
    }

    /// Answers the call that comes next, with this description.
    pub(crate) async fn answers(&mut self, sdp: String) -> Dialog {
        let invite = self.hears("INVITE").await;
        self.accepts(&invite, sdp).await
    }

    pub(crate) async fn accepts(&mut self, invite: &Message, sdp: String) -> Dialog {
        let answer = Message::response(invite, 200, "far").with("Contact", self.contact());
        let local = answer.header("To").to_owned();
        self.send(answer.with_sdp(sdp));
        self.hears("ACK").await;
        let mut template = Message::request("", "");
        template.push("From", local);
        template.push("To", invite.header("From"));
        template.push("Call-ID", invite.header("Call-ID"));
        let routes = invite.headers.iter().filter(|(name, _)| name == "Record-Route");
        routes.for_each(|(_, route)| template.push("Route", route.clone()));
        Dialog { template, target: uri(invite.header("Contact")), cseq: 0, sdp: invite.body.clone() }
    }

    /// A request within the call, with the next number.
    pub(crate) fn within(&self, dialog: &mut Dialog, method: &str) -> Message {
        dialog.cseq += 1;
        self.numbered(dialog, method, dialog.cseq)
    }

    pub(crate) fn numbered(&self, dialog: &Dialog, method: &str, cseq: u32) -> Message {
        let call = dialog.template.header("Call-ID");
        let request = Message::request(method, &dialog.target)
            .with("Via", self.line.out.via(&format!("{method}{cseq}{call}")))
            .with("Max-Forwards", "70")
            .with("CSeq", format!("{cseq} {method}"))
            .with("Contact", self.contact());
        dialog.template.headers.iter().fold(request, |request, (name, value)| request.with(name, value.clone()))
    }
}

/// A description of PCMU at a port of loopback.
pub(crate) fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=far 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n"
    )
}

/// Without what stands around it.
pub(crate) fn uri(contact: &str) -> String {
    let inner = contact.split_once('<').map_or(contact, |(_, rest)| rest);
    inner.split('>').next().unwrap_or_default().to_owned()
}

/// Where a description wants sound.
pub(crate) fn sound_of(sdp: &str) -> SocketAddr {
    let ip = sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("an address").trim();
    let port = sdp.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()).expect("audio");
    format!("{ip}:{port}").parse().expect("an address")
}
