//! The instance's SIP user agent: a registration for every attached user, and the legs of their calls.
//!
//! It speaks to SIP servers only: every request goes to one of them, and whatever comes from elsewhere is dropped. It knows
//! leases (sessions) and legs, no browsers and no media; session descriptions pass through as text.
//!
//! Owes: [`Agent::next_command`] and [`Agent::next_news`] are to be emptied after every call, [`Agent::handle_timeout`] is
//! called at [`Agent::poll_timeout`]. Nothing leaves for a lease whose browser has yet to prove that it is here
//! ([`Agent::set_proven`]).

mod authorizing;
mod established;
mod incoming;
mod leg;
mod outgoing;
mod referral;
mod registering;
mod servers;
mod takeover;

use super::address::{MAX_URI_BYTES, NameAddr, SipUri, tag_of};
use super::command::{ClientTransaction, Peer, SendFailure, ServerTransaction, SipCommand, SipEvent, Transport};
use super::dialog::MAX_FORWARDS;
use super::digest::Credentials;
use super::message::{Headers, Method, SipRequest, SipResponse};
use super::names::Names;
use super::registration::Registered;
use crate::random::Random;
use crate::timers::Timers;
use leg::{Leg, LegState};
use registering::Lease;
use servers::Server;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

pub use leg::{LeaseId, LegEnd, LegId};
pub use registering::Identity;
pub use takeover::{Restored, SealedInvite, SealedLeg, takeover_cseq};

/// Methods we take in.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, NOTIFY";
/// Extensions that a request may require of us.
const SUPPORTED: [&str; 2] = ["timer", "replaces"];
/// Commands kept for a lease whose browser has yet to prove itself; beyond it the oldest is dropped.
const MAX_HELD: usize = 64;

/// What the agent is told at its start.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// SIP servers, the preferred one first.
    pub servers: Vec<Peer>,
    /// Addresses from which servers send besides their own; what comes from there is as if from the first server.
    pub trusted: Vec<IpAddr>,
    /// The domain of the users' addresses.
    pub domain: String,
    /// Digest is answered for this realm only.
    pub realm: String,
    /// A far side that hears nothing of us for so long ends the call (RFC 4028).
    pub session_expires: Duration,
    /// Most legs at once; beyond it an INVITE is answered 503.
    pub legs: usize,
    /// Most legs of one lease; beyond it an INVITE is answered 486.
    pub legs_per_lease: usize,
    /// In the User-Agent header field.
    pub user_agent: String,
}

/// What the agent tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipNews {
    /// A user's registration changed.
    Registration {
        /// Whose.
        lease: LeaseId,
        /// To what.
        registered: Registered,
    },
    /// Somebody calls. Owes [`Agent::accept`] or [`Agent::reject`].
    Incoming {
        /// Whom.
        lease: LeaseId,
        /// The new leg.
        leg: LegId,
        /// Who calls, as a URI.
        from: String,
        /// The caller's display name.
        name: Option<String>,
        /// The offer; without one ours goes into the answer.
        offer: Option<String>,
    },
    /// A provisional answer to our INVITE.
    Progress {
        /// Which leg.
        leg: LegId,
        /// 180 to 199.
        status: u16,
        /// Early media.
        sdp: Option<String>,
    },
    /// Our INVITE was answered.
    Answered {
        /// Which leg.
        leg: LegId,
        /// The answer to our offer; `None` if it came in a provisional answer.
        sdp: Option<String>,
    },
    /// The far side changes the session. Owes [`Agent::answer_offer`].
    Offered {
        /// Which leg.
        leg: LegId,
        /// The offer; without one the answer carries ours.
        offer: Option<String>,
    },
    /// The answer to an offer of ours in a running call, or in our 2xx.
    OfferAnswered {
        /// Which leg.
        leg: LegId,
        /// The description, or why there is none.
        answer: Result<String, u16>,
    },
    /// The change that [`AgentError::Busy`] or a 491 spoke of is over.
    Settled {
        /// Of which leg.
        leg: LegId,
    },
    /// A digit came by INFO.
    Digit {
        /// Which leg.
        leg: LegId,
        /// 0-9, A-D, `*`, `#`.
        digit: char,
    },
    /// How our transfer goes.
    Transfer {
        /// Which leg.
        leg: LegId,
        /// The status of the new call as the far side tells it, 200 at the end of a good one.
        status: u16,
    },
    /// The far side wants us to call somebody else instead; owes [`Agent::answer_transfer`].
    TransferAsked {
        /// Which leg.
        leg: LegId,
        /// Whom.
        to: Referral,
    },
    /// Our INVITE was answered with other addresses, the preferred one first. Owes [`Agent::redirect`].
    Redirected {
        /// Which leg.
        leg: LegId,
        /// URIs.
        to: Vec<String>,
    },
    /// Somebody calls in place of the far side of a call (RFC 3891). Owes [`Agent::accept`] or [`Agent::reject`] for the new
    /// leg.
    Replaced {
        /// Whose place is taken.
        leg: LegId,
        /// The new leg.
        by: LegId,
        /// Who, as a URI.
        from: String,
        /// Display name.
        name: Option<String>,
        /// The offer; without one ours goes into the answer.
        offer: Option<String>,
    },
    /// What became of a leg of an instance that is gone.
    Restored {
        /// The leg; forgotten unless it is alive.
        leg: LegId,
        /// What.
        restored: Restored,
    },
    /// The leg is over.
    Ended {
        /// Which leg.
        leg: LegId,
        /// Why.
        why: LegEnd,
    },
}

/// Whom a far side wants called, from its Refer-To.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referral {
    /// A SIP URI.
    pub target: String,
    /// Whose place the new call takes there: a Replaces value.
    pub replaces: Option<String>,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// No SIP server can be reached, or the user is not registered.
    #[error("no SIP server serves this user")]
    Unavailable,
    /// The target is no SIP address.
    #[error("not a SIP address")]
    BadTarget,
    /// Not in this state of the leg.
    #[error("not in this state of the call")]
    WrongState,
    /// Another change of the session is under way; owes [`SipNews::Settled`].
    #[error("another change is under way")]
    Busy,
}

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SipCounts {
    /// Requests from addresses that are no server's.
    pub strangers: u64,
    /// Requests for dialogs that are not here (481).
    pub unknown_dialogs: u64,
    /// INVITEs refused for a limit, within a dialog or outside.
    pub refused: u64,
    /// Requests refused for whatever reason, by status.
    pub refusals: BTreeMap<u16, u64>,
    /// Commands dropped because their browser never proved itself.
    pub withheld: u64,
}

/// What a client transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Heartbeat(usize),
    Register(LeaseId, usize),
    /// Of a lease or leg that is no more.
    Farewell,
    Invite(LegId),
    Offer(LegId),
    Info(LegId),
    Refer(LegId),
    /// OPTIONS in a dialog that was taken over.
    Probe(LegId),
    /// BYE, NOTIFY: whatever the answer, nothing follows.
    Notice(LeaseId),
}

/// A request that is out.
#[derive(Debug)]
struct Pending {
    purpose: Purpose,
    server: usize,
    request: SipRequest,
    credentials: Option<Credentials>,
    /// How often it was answered by a challenge.
    challenged: u8,
    /// No server has shown that it took it.
    is_untaken: bool,
}

impl Pending {
    fn new(purpose: Purpose, server: usize, request: SipRequest, credentials: Option<Credentials>) -> Self {
        Self { purpose, server, request, credentials, challenged: 0, is_untaken: true }
    }
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Server(usize),
    Registration(LeaseId, usize),
    Leg(LegId),
}

/// See the module.
#[derive(Debug)]
pub struct Agent {
    settings: AgentSettings,
    names: Names,
    servers: Vec<Server>,
    leases: BTreeMap<LeaseId, Lease>,
    legs: BTreeMap<LegId, Leg>,
    by_call_id: BTreeMap<String, Vec<LegId>>,
    pending: BTreeMap<ClientTransaction, Pending>,
    answering: BTreeMap<ServerTransaction, LegId>,
    /// The newest lease of each Contact user: the Request-URI of a call carries it.
    by_contact: BTreeMap<String, LeaseId>,
    /// Leases that were told so.
    registered: u32,
    timers: Timers<Due>,
    last: u64,
    counts: SipCounts,
    /// Legs of which a capsule says too little now.
    changed: BTreeSet<LegId>,
    commands: VecDeque<SipCommand>,
    news: VecDeque<SipNews>,
}

impl Agent {
    /// Opens a flow to every server.
    pub fn new(settings: AgentSettings, random: &mut impl Random, now: Instant) -> Self {
        let servers = settings.servers.iter().map(|peer| Server::new(*peer, now)).collect();
        let mut agent = Self {
            settings,
            names: Names::new(random),
            servers,
            leases: BTreeMap::new(),
            legs: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            pending: BTreeMap::new(),
            answering: BTreeMap::new(),
            by_contact: BTreeMap::new(),
            registered: 0,
            timers: Timers::new(),
            last: 0,
            counts: SipCounts::default(),
            changed: BTreeSet::new(),
            commands: VecDeque::new(),
            news: VecDeque::new(),
        };
        (0..agent.servers.len()).for_each(|server| agent.settle_server(server));
        agent
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> &SipCounts {
        &self.counts
    }

    /// Users whose calls arrive here.
    #[must_use]
    pub fn registered(&self) -> u32 {
        self.registered
    }

    /// A leg whose capsule must be written anew before [`Agent::next_command`] is looked at.
    pub fn next_changed(&mut self) -> Option<LegId> {
        self.changed.pop_first()
    }

    /// The next thing for the shell to do.
    pub fn next_command(&mut self) -> Option<SipCommand> {
        self.commands.pop_front()
    }

    /// The next thing for the owner to know.
    pub fn next_news(&mut self) -> Option<SipNews> {
        self.news.pop_front()
    }

    /// When it wants to be driven, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next()
    }

    /// Acts on what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.timers.pop_due(now) {
            match due {
                Due::Server(server) => self.handle_server_timeout(server, now),
                Due::Registration(lease, server) => self.handle_registration_timeout(lease, server, now),
                Due::Leg(leg) => self.handle_leg_timeout(leg, now),
            }
        }
    }

    /// Takes in what the sockets tell.
    pub fn handle(&mut self, event: SipEvent, now: Instant) {
        match event {
            SipEvent::Up { peer, local } => self.handle_up(peer, local, now),
            SipEvent::Down { peer } => self.handle_down(peer, now),
            SipEvent::Found { server, addrs } => self.handle_found(server, &addrs, now),
            SipEvent::Response { transaction, response } => self.handle_response(transaction, response, now),
            SipEvent::Failed { transaction, why } => self.handle_failed(transaction, why, now),
            SipEvent::Request { transaction, from, request } => self.handle_request(transaction, from, request, now),
            SipEvent::Cancelled(transaction) => self.handle_cancelled(transaction),
            SipEvent::Acked { transaction, request } => self.handle_acked(transaction, &request),
            SipEvent::NeverAcked(transaction) => self.handle_never_acked(transaction),
        }
    }

    fn handle_response(&mut self, transaction: ClientTransaction, response: SipResponse, now: Instant) {
        let Some(pending) = self.pending.get_mut(&transaction) else {
            return self.handle_late_response(&response);
        };
        pending.is_untaken = false;
        let (purpose, server) = (pending.purpose, pending.server);
        self.handle_heard(server, now);
        if matches!(response.status, 401 | 407) && self.answer_challenge(transaction, &response) {
            return;
        }
        let request = match response.is_final() {
            true => self.pending.remove(&transaction).map(|pending| pending.request),
            false => None,
        };
        match purpose {
            Purpose::Register(lease, server) if response.is_final() => {
                self.handle_registered(lease, server, &response, now);
            }
            Purpose::Invite(leg) => self.handle_invite_response(leg, &response, now),
            Purpose::Offer(leg) if response.is_final() => self.handle_offer_response(leg, request, &response, now),
            Purpose::Probe(leg) if response.is_final() => self.handle_probe_response(leg, Some(&response)),
            Purpose::Refer(leg) if response.is_final() => self.handle_refer_response(leg, response.status),
            Purpose::Info(leg) if is_lost(response.status) => self.end_leg(leg, LegEnd::FarLost),
            Purpose::Heartbeat(_) | Purpose::Farewell | Purpose::Notice(_) | Purpose::Info(_) => {}
            Purpose::Register(..) | Purpose::Offer(_) | Purpose::Refer(_) | Purpose::Probe(_) => {}
        }
    }

    fn handle_failed(&mut self, transaction: ClientTransaction, why: SendFailure, now: Instant) {
        let Some(pending) = self.pending.remove(&transaction) else { return };
        if why == SendFailure::Unreachable
            && let Some(server) = self.elsewhere(&pending)
        {
            return self.send_again(pending, server);
        }
        match pending.purpose {
            Purpose::Register(lease, server) => self.handle_register_failed(lease, server, now),
            Purpose::Invite(leg) => {
                let status = if why == SendFailure::TimedOut { 408 } else { 503 };
                self.end_leg(leg, LegEnd::of_status(status));
            }
            Purpose::Offer(leg) => {
                let is_silent = why == SendFailure::TimedOut && self.servers[pending.server].alive;
                self.handle_offer_failed(leg, &pending.request, is_silent, now);
            }
            Purpose::Refer(leg) => self.news.push_back(SipNews::Transfer { leg, status: 408 }),
            Purpose::Probe(leg) => self.handle_probe_response(leg, None),
            Purpose::Heartbeat(_) | Purpose::Farewell | Purpose::Notice(_) | Purpose::Info(_) => {}
        }
    }

    /// A request that goes out again has the next number (RFC 3261 §8.1.3.5), which its dialog must know.
    fn count_on(&mut self, purpose: Purpose, request: &mut SipRequest) {
        let mut next = request.cseq().unwrap_or(0) + 1;
        match purpose {
            Purpose::Register(lease, server) => {
                if let Some(lease) = self.leases.get_mut(&lease) {
                    lease.set_cseq(server, next);
                }
            }
            Purpose::Offer(leg) | Purpose::Info(leg) | Purpose::Refer(leg) | Purpose::Probe(leg) => {
                if let Some(up) = self.legs.get_mut(&leg).and_then(Leg::up) {
                    // Others may have been sent since.
                    next = next.max(up.dialog.cseq + 1);
                    up.dialog.cseq = next;
                }
            }
            Purpose::Invite(_) | Purpose::Heartbeat(_) | Purpose::Farewell | Purpose::Notice(_) => {}
        }
        request.headers.set("CSeq", format!("{next} {}", request.method));
    }

    /// Gives the request its Via and sends it; an INVITE and a re-INVITE are known by their leg from then on.
    fn transmit(&mut self, mut pending: Pending) -> Option<ClientTransaction> {
        let server = self.servers.get(pending.server)?;
        let (peer, local) = (server.peer, server.local?);
        self.last += 1;
        let transaction = ClientTransaction(self.last);
        let alias = if peer.transport.is_reliable() { ";alias" } else { "" };
        let branch = self.names.branch();
        pending.request.headers.remove("Via");
        pending
            .request
            .headers
            .push_front("Via", format!("SIP/2.0/{} {local};branch={branch};rport{alias}", peer.transport));
        match pending.purpose {
            Purpose::Invite(leg) => self.note_invite(leg, transaction, &pending.request),
            Purpose::Offer(leg) => {
                if let Some(up) = self.legs.get_mut(&leg).and_then(Leg::up) {
                    up.ours = Some(transaction);
                }
            }
            _ => {}
        }
        let command = SipCommand::Request { transaction, to: peer, request: pending.request.clone() };
        let lease = self.lease_of(pending.purpose);
        self.pending.insert(transaction, pending);
        self.send(lease, command);
        Some(transaction)
    }

    fn lease_of(&self, purpose: Purpose) -> Option<LeaseId> {
        match purpose {
            Purpose::Register(lease, _) | Purpose::Notice(lease) => Some(lease),
            Purpose::Invite(leg)
            | Purpose::Offer(leg)
            | Purpose::Info(leg)
            | Purpose::Refer(leg)
            | Purpose::Probe(leg) => self.legs.get(&leg).map(|leg| leg.lease),
            Purpose::Heartbeat(_) | Purpose::Farewell => None,
        }
    }

    /// Nothing leaves for a lease whose browser may be served elsewhere by now.
    fn send(&mut self, lease: Option<LeaseId>, command: SipCommand) {
        match lease.and_then(|lease| self.leases.get_mut(&lease)).filter(|lease| !lease.proven) {
            None => self.commands.push_back(command),
            Some(lease) => {
                if lease.held.len() == MAX_HELD {
                    lease.held.pop_front();
                    self.counts.withheld += 1;
                }
                lease.held.push_back(command);
            }
        }
    }

    fn respond(&mut self, lease: Option<LeaseId>, transaction: ServerTransaction, response: SipResponse) {
        self.send(lease, SipCommand::Respond { transaction, response });
    }

    fn refuse(&mut self, transaction: ServerTransaction, request: &SipRequest, status: u16) {
        *self.counts.refusals.entry(status).or_default() += 1;
        let tag = self.names.token();
        let mut response = SipResponse::to(request, status, &tag);
        match status {
            405 => response.headers.push("Allow", ALLOW),
            406 | 415 => response.headers.push("Accept", "application/sdp"),
            420 => response.headers.push("Unsupported", unsupported(&request.headers)),
            503 => response.headers.push("Retry-After", "5"),
            500 => response.headers.push("Retry-After", "1"),
            422 => response.headers.push("Min-SE", outgoing::MIN_SESSION.as_secs().to_string()),
            _ => {}
        }
        self.respond(None, transaction, response);
    }

    fn handle_request(&mut self, transaction: ServerTransaction, from: Peer, request: SipRequest, now: Instant) {
        let Some(server) = self.server_of(from) else {
            // Not even a refusal: it would tell a stranger who is here.
            self.counts.strangers += 1;
            return;
        };
        self.handle_heard(server, now);
        let in_dialog = request.headers.get("To").and_then(tag_of).is_some();
        if let Some(status) = beyond_us(&request) {
            return self.refuse(transaction, &request, status);
        }
        match request.method {
            _ if in_dialog => self.handle_in_dialog(transaction, request, now),
            Method::Invite => self.handle_invite(transaction, server, request, now),
            Method::Options => {
                let tag = self.names.token();
                let mut response = SipResponse::to(&request, 200, &tag);
                response.headers.push("Allow", ALLOW);
                response.headers.push("Accept", "application/sdp");
                self.respond(None, transaction, response);
            }
            _ => self.refuse(transaction, &request, 405),
        }
    }

    fn leg_of_dialog(&self, request: &SipRequest) -> Option<LegId> {
        let legs = self.by_call_id.get(request.headers.get("Call-ID")?)?;
        legs.iter().copied().find(|leg| match &self.legs[leg].state {
            LegState::Up(up) => up.dialog.owns(request),
            LegState::Alerting(alerting) => alerting.dialog.owns(request),
            LegState::Calling(calling) => calling.forks.values().any(|fork| fork.owns(request)),
        })
    }

    fn add_leg(&mut self, leg: Leg) -> LegId {
        self.last += 1;
        let id = LegId(self.last);
        self.by_call_id.entry(leg.call_id.clone()).or_default().push(id);
        self.legs.insert(id, leg);
        id
    }

    fn remove_leg(&mut self, id: LegId) -> Option<Leg> {
        let leg = self.legs.remove(&id)?;
        if let Some(legs) = self.by_call_id.get_mut(&leg.call_id) {
            legs.retain(|other| *other != id);
            if legs.is_empty() {
                self.by_call_id.remove(&leg.call_id);
            }
        }
        self.answering.retain(|_, other| *other != id);
        self.timers.set(Due::Leg(id), None);
        Some(leg)
    }

    fn end_leg(&mut self, id: LegId, why: LegEnd) {
        if self.remove_leg(id).is_some() {
            self.news.push_back(SipNews::Ended { leg: id, why });
        }
    }
}

/// What asks for more than we have, in the order of RFC 3261 §8.2.
fn beyond_us(request: &SipRequest) -> Option<u16> {
    let scheme = request.uri.split(':').next().unwrap_or_default();
    let is_sip = ["sip", "sips"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let is_offer = matches!(request.method, Method::Invite | Method::Update);
    match () {
        () if !is_sip => Some(416),
        () if !unsupported(&request.headers).is_empty() => Some(420),
        () if is_offer && request.body.is_some() && request.sdp().is_none() => Some(415),
        () if request.method == Method::Invite && !accepts_sdp(&request.headers) => Some(406),
        () => None,
    }
}

/// Of what a request requires, what we lack.
fn unsupported(headers: &Headers) -> String {
    let required = headers.all("Require").flat_map(|value| value.split(',')).map(str::trim);
    let lacking =
        required.filter(|one| !one.is_empty() && !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(one)));
    lacking.collect::<Vec<_>>().join(", ")
}

/// Without Accept, descriptions are welcome (RFC 3261 §20.1).
fn accepts_sdp(headers: &Headers) -> bool {
    let mut accepted = headers.all("Accept").flat_map(|value| value.split(',')).peekable();
    accepted.peek().is_none()
        || accepted.any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            ["application/sdp", "application/*", "*/*"].iter().any(|known| known.eq_ignore_ascii_case(kind))
        })
}

/// The far side, or a server on the way, knows the dialog no more (RFC 3261 §12.2.1.2).
fn is_lost(status: u16) -> bool {
    matches!(status, 481 | 408)
}

/// The parts of a request outside a dialog that all have in common.
fn request(method: Method, uri: &str, from: &str, to: &str, call_id: &str, cseq: u32) -> SipRequest {
    let headers: Headers = [
        ("Max-Forwards", MAX_FORWARDS.to_owned()),
        ("From", from.to_owned()),
        ("To", to.to_owned()),
        ("Call-ID", call_id.to_owned()),
        ("CSeq", format!("{cseq} {method}")),
    ]
    .into_iter()
    .collect();
    SipRequest { method, uri: uri.to_owned(), headers, body: None }
}

/// The user part of an address (RFC 3261 §25.1): what is not allowed there is escaped.
fn escape_user(user: &str) -> String {
    use std::fmt::Write as _;
    user.bytes().fold(String::with_capacity(user.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// The SIP address that a dialled text means in `domain`: a URI as it is, a name or a number in the domain.
fn dialled(target: &str, domain: &str) -> Result<SipUri, AgentError> {
    let text = target.trim();
    if text.is_empty() || text.len() > MAX_URI_BYTES {
        return Err(AgentError::BadTarget);
    }
    let has_scheme = ["sip:", "sips:"].iter().any(|scheme| text.to_ascii_lowercase().starts_with(scheme));
    let uri = match (has_scheme, text.contains('@')) {
        (true, _) => text.to_owned(),
        (false, true) => format!("sip:{text}"),
        (false, false) => format!("sip:{}@{domain}", escape_user(text)),
    };
    SipUri::parse(&uri).map_err(|_| AgentError::BadTarget)
}

fn display_of(value: &str) -> (String, Option<String>) {
    match NameAddr::parse(value) {
        Ok(address) => (address.uri, address.display.filter(|name| !name.is_empty())),
        Err(_) => (String::new(), None),
    }
}

fn transport_param(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
    }
}
