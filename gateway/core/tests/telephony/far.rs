//! The other side, played by the test: a SIP server, a phone, or both at once. It answers heartbeats and REGISTERs by itself
//! and keeps everything else for the test.

use gateway_core::sip::{
    Body, ClientTransaction, Dialog, Headers, Method, NameAddr, Peer, ServerTransaction, SipCommand, SipEvent,
    SipRequest, SipResponse, Transport,
};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// What the test is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Request(Asked),
    Response(ClientTransaction, SipResponse),
    Failed(ClientTransaction),
    Cancelled(ServerTransaction),
    Acked(ServerTransaction, SipRequest),
}

/// A request that the test owes an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) id: ServerTransaction,
    pub(crate) from: Peer,
    pub(crate) request: SipRequest,
}

/// How the next REGISTER is answered instead of as usual.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Canned {
    pub(crate) fn new(status: u16, fields: &[(&'static str, &str)]) -> Self {
        Self { status, fields: fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect() }
    }
}

#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) addr: SocketAddr,
    pub(crate) is_deaf: bool,
    /// REGISTERs wait for [`Far::register_all`].
    pub(crate) is_slow_to_register: bool,
    waiting: Vec<Asked>,
    pub(crate) canned: VecDeque<Canned>,
    pub(crate) registers: Vec<Asked>,
    /// Contacts by their instance.
    pub(crate) bindings: Vec<NameAddr>,
    pub(crate) heard: VecDeque<Heard>,
    pub(crate) commands: VecDeque<SipCommand>,
    last: u64,
}

impl Far {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            is_deaf: false,
            is_slow_to_register: false,
            waiting: Vec::new(),
            canned: VecDeque::new(),
            registers: Vec::new(),
            bindings: Vec::new(),
            heard: VecDeque::new(),
            commands: VecDeque::new(),
            last: 0,
        }
    }

    /// Names of a process that was here before are not used again.
    pub(crate) fn count_from(&mut self, count: u64) {
        self.last = count;
    }

    pub(crate) fn contact(&self, user: &str) -> String {
        format!("<sip:{user}@{};transport=tcp>", self.addr)
    }

    pub(crate) fn hear(&mut self, event: SipEvent) {
        if self.is_deaf {
            return;
        }
        match event {
            SipEvent::Request { transaction, from, request } => {
                let asked = Asked { id: transaction, from, request };
                match asked.request.method {
                    Method::Options if !asked.request.uri.contains('@') => self.respond(&asked, 200, None, &[]),
                    Method::Register => self.register(asked),
                    _ => self.heard.push_back(Heard::Request(asked)),
                }
            }
            SipEvent::Response { transaction, response } => {
                self.heard.push_back(Heard::Response(transaction, response));
            }
            SipEvent::Failed { transaction, .. } => self.heard.push_back(Heard::Failed(transaction)),
            SipEvent::Cancelled(transaction) => self.heard.push_back(Heard::Cancelled(transaction)),
            SipEvent::Acked { transaction, request } => self.heard.push_back(Heard::Acked(transaction, request)),
            SipEvent::Up { .. } | SipEvent::Down { .. } | SipEvent::Found { .. } | SipEvent::NeverAcked(_) => {}
        }
    }

    fn register(&mut self, asked: Asked) {
        self.registers.push(asked.clone());
        if self.is_slow_to_register {
            return self.waiting.push(asked);
        }
        self.bind(&asked);
    }

    /// Answers what waits.
    pub(crate) fn register_all(&mut self) {
        self.is_slow_to_register = false;
        for asked in std::mem::take(&mut self.waiting) {
            self.bind(&asked);
        }
    }

    fn bind(&mut self, asked: &Asked) {
        if let Some(canned) = self.canned.pop_front() {
            let fields: Vec<_> = canned.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            return self.respond(asked, canned.status, None, &fields);
        }
        let default = asked.request.headers.get("Expires").unwrap_or("90").to_owned();
        for contact in NameAddr::list(asked.request.headers.all("Contact")) {
            let expires = contact.param("expires").unwrap_or(&default).to_owned();
            let instance = contact.param("+sip.instance").map(str::to_owned);
            self.bindings.retain(|known| {
                known.uri != contact.uri && (instance.is_none() || known.param("+sip.instance") != instance.as_deref())
            });
            if expires != "0" {
                let mut contact = contact;
                contact.params.retain(|(name, _)| name != "expires");
                contact.params.push(("expires".to_owned(), Some(expires)));
                self.bindings.push(contact);
            }
        }
        let bindings: Vec<String> = self.bindings.iter().map(ToString::to_string).collect();
        let fields: Vec<_> = bindings.iter().map(|binding| ("Contact", binding.as_str())).collect();
        self.respond(asked, 200, None, &fields);
    }

    pub(crate) fn respond(&mut self, asked: &Asked, status: u16, sdp: Option<&str>, fields: &[(&str, &str)]) {
        self.respond_as(asked, status, "far", sdp, fields);
    }

    /// With this To tag, where the request has none.
    pub(crate) fn respond_as(
        &mut self,
        asked: &Asked,
        status: u16,
        tag: &str,
        sdp: Option<&str>,
        fields: &[(&str, &str)],
    ) {
        let mut response = SipResponse::to(&asked.request, status, tag);
        let makes_dialog =
            matches!(asked.request.method, Method::Invite | Method::Update) && (101..300).contains(&status);
        if makes_dialog && !fields.iter().any(|(name, _)| *name == "Contact") {
            response.headers.push("Contact", self.contact("far"));
        }
        fields.iter().for_each(|(name, value)| response.headers.push(name, *value));
        response.body = sdp.map(Body::sdp);
        self.commands.push_back(SipCommand::Respond { transaction: asked.id, response });
    }

    pub(crate) fn send(&mut self, to: Peer, mut request: SipRequest) -> ClientTransaction {
        self.last += 1;
        let transaction = ClientTransaction(self.last);
        let via = format!("SIP/2.0/TCP {};branch=z9hG4bK{}-{}", self.addr, self.addr.port(), self.last);
        request.headers.push_front("Via", via);
        self.commands.push_back(SipCommand::Request { transaction, to, request });
        transaction
    }

    /// An INVITE from `caller`, new in all its names.
    pub(crate) fn invite(&mut self, caller: &str, uri: &str, sdp: Option<&str>) -> SipRequest {
        self.last += 1;
        let mut headers = Headers::default();
        headers.push("Max-Forwards", "70");
        headers.push("From", format!("{caller};tag=far{}", self.last));
        headers.push("To", format!("<{uri}>"));
        headers.push("Call-ID", format!("far{}", self.last));
        headers.push("CSeq", "1 INVITE");
        headers.push("Contact", self.contact("far"));
        SipRequest { method: Method::Invite, uri: uri.to_owned(), headers, body: sdp.map(Body::sdp) }
    }
}

/// The dialog of a call that the far side took with [`Far::respond`].
pub(crate) fn dialog_of(asked: &Asked) -> Dialog {
    Dialog::of_request(&asked.request, "far").expect("an INVITE with all that a dialog needs")
}

pub(crate) fn tcp(addr: SocketAddr) -> Peer {
    Peer { transport: Transport::Tcp, addr }
}

/// A session description of the far side: PCMU and telephone events.
pub(crate) fn sdp(port: u16) -> String {
    described(port, "sendrecv", 1, true)
}

pub(crate) fn described(port: u16, direction: &str, version: u32, digits: bool) -> String {
    let (types, events) = match digits {
        true => ("0 101", "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"),
        false => ("0", ""),
    };
    format!(
        "v=0\r\no=far 1 {version} IN IP4 10.0.2.1\r\ns=-\r\nc=IN IP4 10.0.2.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {types}\r\na=rtpmap:0 PCMU/8000\r\n{events}a={direction}\r\n"
    )
}
