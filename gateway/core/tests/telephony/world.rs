//! Instances, SIP servers, phones and browsers in one world whose time is stepped to the earliest deadline.

use crate::far::{Asked, Far, Heard, tcp};
use crate::gateway::{Gateway, Options, UNIX};
use crate::net::{HostId, Net};
use crate::tab::Tab;
use gateway_core::registrar::{self, Registrar};
use gateway_core::sip::{
    ClientTransaction, Dialog, Method, NameAddr, Peer, SipCommand, SipEvent, SipRequest, SipResponse, Transport,
};
use gateway_core::{Auth, Bearer, MediaChange, PeerId, Reserve, SocketId, entry};
use gateway_protocol::message::{CallState, DeadCall, DeadCallAction, EndReason, Outcome, Request};
use gateway_protocol::{ClientMessage, RequestId, SignIn, SignedIn};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub(crate) type TabId = usize;

enum Machine {
    Gateway(Box<Gateway>),
    Registrar(Box<Registrar>),
    Far(Box<Far>),
    Dead,
}

struct Host {
    ip: IpAddr,
    machine: Machine,
    is_frozen: bool,
    /// What lies in its sockets while it is frozen.
    waiting: VecDeque<Input>,
}

/// What comes out of a socket.
enum Input {
    Sip(SipEvent),
    Message(SocketId, Box<ClientMessage>),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    start: Instant,
    hosts: Vec<Host>,
    pub(crate) net: Net,
    pub(crate) tabs: Vec<Tab>,
    servers: Vec<Peer>,
    options: Options,
    last_socket: u64,
    last_request: u64,
}

/// The first instance of every world.
pub(crate) const A: HostId = 1;
/// The second one.
pub(crate) const B: HostId = 2;
/// The SIP server of every world.
pub(crate) const SERVER: HostId = 0;

impl World {
    /// One instance before a SIP server that the test plays.
    pub(crate) fn new() -> Self {
        Self::played(1, Options::default())
    }

    /// Instances before a SIP server that the test plays.
    pub(crate) fn played(instances: u8, options: Options) -> Self {
        let addr = server_addr(1);
        Self::build(vec![Machine::Far(Box::new(Far::new(addr)))], instances, options)
    }

    /// An instance before two SIP servers that the test plays; the second is the last host.
    pub(crate) fn paired() -> (Self, HostId) {
        let servers = [1, 2].map(|index| Machine::Far(Box::new(Far::new(server_addr(index)))));
        let world = Self::build(servers.into(), 1, Options::default());
        let second = world.hosts.len() - 1;
        (world, second)
    }

    /// Instances before the embedded registrar.
    pub(crate) fn cluster(instances: u8, options: Options) -> Self {
        let addr = server_addr(1);
        let credentials = (!options.passwords.is_empty())
            .then(|| options.passwords.iter().map(|(user, word)| ((*user).to_owned(), (*word).to_owned())).collect());
        let settings = registrar::Settings {
            domain: crate::gateway::DOMAIN.to_owned(),
            addresses: vec![(Transport::Tcp, addr)],
            credentials,
            digest: gateway_core::sip::Algorithm::Sha256,
        };
        let registrar = Registrar::new(settings, instant(), &mut |bytes: &mut [u8]| bytes.fill(9));
        Self::build(vec![Machine::Registrar(Box::new(registrar))], instances, options)
    }

    fn build(mut servers: Vec<Machine>, instances: u8, options: Options) -> Self {
        let now = instant();
        let mut world = Self {
            now,
            start: now,
            hosts: Vec::new(),
            net: Net::default(),
            tabs: Vec::new(),
            servers: (1..=servers.len()).map(|index| tcp(server_addr(index as u8))).collect(),
            options,
            last_socket: 0,
            last_request: 0,
        };
        world.add(server_addr(1), servers.remove(0));
        for index in 1..=instances {
            let gateway = world.fresh_gateway(index);
            world.hosts.push(Host::new(gateway.ip, Machine::Gateway(Box::new(gateway))));
        }
        for (server, index) in servers.into_iter().zip(2..) {
            world.add(server_addr(index), server);
        }
        world.pass(Duration::from_millis(10));
        world
    }

    fn fresh_gateway(&self, index: u8) -> Gateway {
        let unix = UNIX + (self.now - self.start);
        Gateway::new(index, self.servers.clone(), &self.options, self.now, unix)
    }

    fn add(&mut self, addr: SocketAddr, machine: Machine) -> HostId {
        self.hosts.push(Host::new(addr.ip(), machine));
        self.net.listen(self.hosts.len() - 1, addr);
        self.hosts.len() - 1
    }

    /// A phone that the test plays.
    pub(crate) fn add_phone(&mut self, index: u8) -> HostId {
        let addr = SocketAddr::from((Ipv4Addr::new(10, 0, 2, index), 5060));
        self.add(addr, Machine::Far(Box::new(Far::new(addr))))
    }

    pub(crate) fn gateway(&mut self, host: HostId) -> &mut Gateway {
        match &mut self.hosts[host].machine {
            Machine::Gateway(gateway) => gateway,
            _ => panic!("host {host} is no living instance"),
        }
    }

    pub(crate) fn far(&mut self, host: HostId) -> &mut Far {
        match &mut self.hosts[host].machine {
            Machine::Far(far) => far,
            _ => panic!("host {host} is not played by the test"),
        }
    }

    pub(crate) fn registrar(&mut self) -> &mut Registrar {
        match &mut self.hosts[SERVER].machine {
            Machine::Registrar(registrar) => registrar,
            _ => panic!("this world has no registrar"),
        }
    }

    /// Hands everything over until nobody has anything to say.
    pub(crate) fn pump(&mut self) {
        loop {
            for host in 0..self.hosts.len() {
                for command in self.hosts[host].commands(self.now) {
                    self.net.act(host, self.hosts[host].ip, command, self.now);
                }
            }
            self.deliver_to_tabs();
            let Some((host, event)) = self.net.arrived.pop_front() else { break };
            self.hosts[host].take(Input::Sip(event), self.now);
        }
    }

    fn deliver_to_tabs(&mut self) {
        for (host, one) in self.hosts.iter_mut().enumerate() {
            let Machine::Gateway(gateway) = &mut one.machine else { continue };
            for (socket, message) in gateway.sent.drain(..) {
                let meant = |tab: &&mut Tab| tab.at == host && tab.socket == socket && !tab.is_mute;
                if let Some(tab) = self.tabs.iter_mut().find(meant) {
                    assert_eq!(tab.closed, None, "{message:?} after the close");
                    tab.hear(message);
                }
            }
            for (socket, code) in gateway.closed.drain(..) {
                if let Some(tab) = self.tabs.iter_mut().find(|tab| tab.at == host && tab.socket == socket) {
                    tab.closed.get_or_insert(code);
                }
            }
        }
        self.answer_pings();
    }

    fn answer_pings(&mut self) {
        for tab in 0..self.tabs.len() {
            let nonces = std::mem::take(&mut self.tabs[tab].pings);
            if self.tabs[tab].is_mute || self.tabs[tab].closed.is_some() {
                continue;
            }
            for nonce in nonces {
                self.tell(tab, ClientMessage::Pong { nonce });
            }
        }
    }

    /// Lets time go by, stopping at every deadline.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.pump();
        let until = self.now + span;
        let mut steps = 0;
        while let Some(next) = self.next_deadline().filter(|next| *next <= until) {
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(steps < 100, "a deadline that is never done with");
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
        self.pump();
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hosts = self.hosts.iter().filter_map(Host::poll_timeout);
        hosts.chain(self.net.poll_timeout()).min()
    }

    fn step(&mut self) {
        self.net.handle_timeout(self.now);
        self.pump();
        for host in 0..self.hosts.len() {
            self.hosts[host].handle_timeout(self.now);
            self.pump();
        }
    }

    /// The instance stands still until [`World::thaw`].
    pub(crate) fn freeze(&mut self, host: HostId) {
        self.hosts[host].is_frozen = true;
    }

    /// The instance sends BYE for a call that its browser hangs up; it is kept back for [`World::send_late`], and the instance stands
    /// still from then on.
    pub(crate) fn freeze_with_a_late_bye(&mut self, host: HostId, tab: TabId, call: &str) -> (HostId, SipCommand) {
        let id = "late".parse().expect("an id");
        let socket = self.tabs[tab].socket;
        let request = ClientMessage::Request { id, request: hang_up(call) };
        let now = self.now;
        let gateway = self.gateway(host);
        gateway.instance.handle_message(socket, request, now);
        let command = gateway.drain(now).into_iter().next().expect("a BYE");
        gateway.sent.clear();
        self.freeze(host);
        (host, command)
    }

    /// What was kept back is sent.
    pub(crate) fn send_late(&mut self, (host, command): (HostId, SipCommand)) {
        self.net.act(host, self.hosts[host].ip, command, self.now);
        self.pump();
    }

    /// It goes on, and reads what lies in its sockets before it looks at its deadlines.
    pub(crate) fn thaw(&mut self, host: HostId) {
        self.hosts[host].is_frozen = false;
        for input in std::mem::take(&mut self.hosts[host].waiting) {
            self.hosts[host].take(input, self.now);
        }
        self.hosts[host].handle_timeout(self.now);
        self.pump();
    }

    /// As kill -9: its connections are reset.
    pub(crate) fn kill(&mut self, host: HostId) {
        self.pump();
        self.hosts[host].machine = Machine::Dead;
        self.net.kill(host);
        self.pump();
    }

    /// A process is started in a dead one's place.
    pub(crate) fn restart_gateway(&mut self, host: HostId) {
        let gateway = self.fresh_gateway(host as u8);
        self.net.revive(host);
        self.hosts[host] = Host::new(gateway.ip, Machine::Gateway(Box::new(gateway)));
        self.pass(Duration::from_millis(10));
    }

    /// The played server stands still, or goes on and reads what lies in its sockets.
    pub(crate) fn hold_server(&mut self, hold: bool) {
        self.hosts[SERVER].is_frozen = hold;
        if !hold {
            self.thaw(SERVER);
        }
    }

    pub(crate) fn has_session(&mut self, tab: TabId) -> bool {
        let (host, session, now) = (self.tabs[tab].at, self.tabs[tab].session.clone(), self.now);
        self.gateway(host).instance.probe(&session.session_id, &session.session_token, now).is_ok()
    }

    /// It starts anew under its old address.
    pub(crate) fn restart_server(&mut self) {
        let addr = server_addr(1);
        let mut far = Far::new(addr);
        far.count_from(self.net.count());
        self.hosts[SERVER].machine = Machine::Far(Box::new(far));
        self.net.listen(SERVER, addr);
        self.pump();
    }

    // Browsers.

    fn sign_in(&mut self, host: HostId, body: &SignIn) -> SignedIn {
        let (now, unix) = (self.now, (UNIX + (self.now - self.start)).as_secs());
        let gateway = self.gateway(host);
        let identity =
            entry::identify(body, Auth::Anonymous, Bearer::Absent, &gateway.ring, unix).expect("an anonymous user");
        let request = Reserve {
            user: identity.user,
            client_id: body.client_id.clone(),
            recovering: identity.recovering,
            earlier: identity.earlier,
            idempotency_key: None,
        };
        gateway.instance.reserve(request, now).expect("there is a place")
    }

    fn open(&mut self, host: HostId, session: &SignedIn) -> SocketId {
        self.last_socket += 1;
        let (socket, now) = (SocketId(self.last_socket), self.now);
        self.gateway(host).instance.handle_socket_opened(socket, session.session_id.clone(), now);
        socket
    }

    /// A user's tab, signed in and attached.
    pub(crate) fn join(&mut self, host: HostId, user: &str) -> TabId {
        let client_id = format!("tab{}", self.tabs.len());
        let body = SignIn {
            client_id: client_id.parse().expect("an id"),
            user: Some(user.to_owned()),
            capsule: None,
            previous_token: None,
            move_ticket: None,
            sip_password: None,
        };
        let session = self.sign_in(host, &body);
        let socket = self.open(host, &session);
        self.tabs.push(Tab::new(user, &client_id, host, session, socket));
        self.attach(self.tabs.len() - 1, Vec::new());
        self.tabs.len() - 1
    }

    fn attach(&mut self, tab: TabId, dead_calls: Vec<DeadCall>) {
        let token = self.tabs[tab].session.session_token.clone();
        let calls = self.tabs[tab].calls.keys().map(|call| call.parse().expect("an id")).collect();
        self.tell(tab, ClientMessage::Attach { token, calls, dead_calls });
        self.pump();
    }

    /// The tab's socket is lost.
    pub(crate) fn cut(&mut self, tab: TabId) {
        let (host, socket, now) = (self.tabs[tab].at, self.tabs[tab].socket, self.now);
        self.tabs[tab].is_mute = true;
        self.gateway(host).instance.handle_socket_closed(socket, now);
        self.pump();
    }

    /// It comes back to its session, and asks again what was not answered.
    pub(crate) fn reattach(&mut self, tab: TabId) {
        let (host, session) = (self.tabs[tab].at, self.tabs[tab].session.clone());
        self.tabs[tab].socket = self.open(host, &session);
        self.tabs[tab].is_mute = false;
        self.tabs[tab].closed = None;
        self.attach(tab, Vec::new());
        let (asked, outcomes) = (&self.tabs[tab].asked, &self.tabs[tab].outcomes);
        let open: Vec<_> = asked.iter().filter(|(id, _)| !outcomes.contains_key(*id)).collect();
        for (id, request) in open.into_iter().map(|(id, request)| (id.clone(), request.clone())).collect::<Vec<_>>() {
            self.tell(tab, ClientMessage::Request { id, request });
        }
        self.pump();
    }

    /// The tab signs in at another instance with its capsule.
    pub(crate) fn sign_in_with_its_capsule(&mut self, tab: TabId, host: HostId) -> SignedIn {
        let old = &self.tabs[tab];
        let body = SignIn {
            client_id: old.client_id.parse().expect("an id"),
            user: Some(old.user.clone()),
            capsule: Some(old.capsule.clone()),
            previous_token: Some(old.session.session_token.clone()),
            move_ticket: None,
            sip_password: None,
        };
        self.sign_in(host, &body)
    }

    /// The same, after it judged all its calls dead.
    pub(crate) fn take_over(&mut self, tab: TabId, host: HostId, action: DeadCallAction) -> TabId {
        let (old, dead) = (&self.tabs[tab], self.tabs[tab].calls.keys().cloned().collect::<Vec<_>>());
        let (user, client_id) = (old.user.clone(), old.client_id.clone());
        let session = self.sign_in_with_its_capsule(tab, host);
        assert!(session.recovering, "the capsule is accepted");
        let socket = self.open(host, &session);
        self.tabs[tab].is_mute = true;
        self.tabs[tab].is_replaced = true;
        self.tabs.push(Tab::new(&user, &client_id, host, session, socket));
        let dead = dead.iter().map(|call| DeadCall { call_id: call.parse().expect("an id"), action }).collect();
        self.attach(self.tabs.len() - 1, dead);
        self.tabs.len() - 1
    }

    pub(crate) fn tell(&mut self, tab: TabId, message: ClientMessage) {
        let (host, socket) = (self.tabs[tab].at, self.tabs[tab].socket);
        self.hosts[host].take(Input::Message(socket, Box::new(message)), self.now);
    }

    /// Asks and lets everybody say what they have to say.
    pub(crate) fn ask(&mut self, tab: TabId, request: Request) -> RequestId {
        self.last_request += 1;
        let id: RequestId = format!("r{}", self.last_request).parse().expect("an id");
        self.tabs[tab].asked.insert(id.clone(), request.clone());
        let started = match &request {
            Request::StartCall { call_id, .. } => Some(call_id.to_string()),
            _ => None,
        };
        self.tell(tab, ClientMessage::Request { id: id.clone(), request });
        self.pump();
        if let (Some(call), Some(Outcome::Ok { .. })) = (started, self.outcome(tab, &id)) {
            self.tabs[tab].has_started(call);
        }
        id
    }

    /// What was answered, if anything yet.
    pub(crate) fn outcome(&self, tab: TabId, id: &RequestId) -> Option<Outcome> {
        self.tabs[tab].outcomes.get(id).cloned()
    }

    /// Asks for what is answered at once with `ok`.
    pub(crate) fn done(&mut self, tab: TabId, request: Request) {
        let id = self.ask(tab, request.clone());
        assert!(
            matches!(self.outcome(tab, &id), Some(Outcome::Ok { .. })),
            "{request:?}: {:?}",
            self.outcome(tab, &id)
        );
    }

    pub(crate) fn dial(&mut self, tab: TabId, call: &str, target: &str) {
        self.done(tab, start(call, target));
    }

    pub(crate) fn state(&self, tab: TabId, call: &str) -> Option<CallState> {
        self.tabs[tab].calls.get(call).map(|call| call.state)
    }

    pub(crate) fn ended(&self, tab: TabId, call: &str) -> Option<EndReason> {
        self.tabs[tab].ended.get(call).copied()
    }

    pub(crate) fn is_available(&self, tab: TabId) -> bool {
        self.tabs[tab].services.iter().all(|service| service.available)
    }

    /// Why the tab can make no calls.
    pub(crate) fn unavailable(&self, tab: TabId) -> Option<String> {
        self.tabs[tab].services.iter().find_map(|service| service.reason.clone())
    }

    /// The only live call of a tab.
    pub(crate) fn only_call(&self, tab: TabId) -> String {
        let calls: Vec<_> = self.tabs[tab].calls.keys().collect();
        let [call] = calls[..] else { panic!("one call, not {calls:?}") };
        call.clone()
    }

    pub(crate) fn media(&mut self, host: HostId, peer: PeerId, change: MediaChange) {
        let now = self.now;
        if matches!(change, MediaChange::PeerClosed | MediaChange::Failed(_))
            && let Some(media) = self.gateway(host).media.get_mut(&peer)
        {
            media.is_closed = true;
        }
        self.gateway(host).instance.handle_media(peer, change, now);
        self.pump();
    }

    // The far side.

    /// The next thing that a far side heard.
    pub(crate) fn next_heard(&mut self, host: HostId) -> Option<Heard> {
        self.pump();
        self.far(host).heard.pop_front()
    }

    /// A request is the next thing that a far side hears.
    pub(crate) fn hears(&mut self, host: HostId, method: Method) -> Asked {
        match self.next_heard(host) {
            Some(Heard::Request(asked)) if asked.request.method == method => asked,
            other => panic!("{method} expected, not {other:?}"),
        }
    }

    /// The next INVITE that a far side hears, whatever it hears before.
    pub(crate) fn next_invite(&mut self, host: HostId) -> Asked {
        loop {
            match self.next_heard(host) {
                Some(Heard::Request(asked)) if asked.request.method == Method::Invite => return asked,
                Some(_) => {}
                None => panic!("no INVITE"),
            }
        }
    }

    /// A final answer is the next thing that a far side hears.
    pub(crate) fn hears_answer(&mut self, host: HostId, to: ClientTransaction) -> SipResponse {
        loop {
            match self.next_heard(host) {
                Some(Heard::Response(id, response)) if id == to && response.is_final() => return response,
                Some(Heard::Response(..)) => {}
                other => panic!("an answer expected, not {other:?}"),
            }
        }
    }

    pub(crate) fn hears_ack(&mut self, host: HostId) -> SipRequest {
        match self.next_heard(host) {
            Some(Heard::Acked(_, request)) => request,
            other => panic!("ACK expected, not {other:?}"),
        }
    }

    pub(crate) fn hears_nothing(&mut self, host: HostId) {
        let heard = self.next_heard(host);
        assert_eq!(heard, None);
    }

    pub(crate) fn respond(&mut self, host: HostId, asked: &Asked, status: u16, sdp: Option<&str>) {
        self.far(host).respond(asked, status, sdp, &[]);
        self.pump();
    }

    pub(crate) fn respond_with(&mut self, host: HostId, asked: &Asked, status: u16, fields: &[(&str, &str)]) {
        self.far(host).respond(asked, status, None, fields);
        self.pump();
    }

    /// The far side says something in a dialog of its own, towards the instance that it last heard in it.
    pub(crate) fn say(&mut self, host: HostId, to: Peer, request: SipRequest) -> ClientTransaction {
        let id = self.far(host).send(to, request);
        self.pump();
        id
    }

    /// The far side takes a request of its own back.
    pub(crate) fn cancel(&mut self, host: HostId, id: ClientTransaction) {
        self.far(host).commands.push_back(SipCommand::Cancel(id));
        self.pump();
    }

    /// Whether the played server can call a user now.
    pub(crate) fn is_registered(&mut self, user: &str) -> bool {
        let far = self.far(SERVER);
        let named = |asked: &Asked| asked.request.headers.get("To").is_some_and(|to| to.contains(user));
        far.registers.iter().any(|asked| named(asked) && asked.request.headers.get("Contact").is_some())
    }

    /// Somebody calls a tab through the played server.
    pub(crate) fn ring(&mut self, user: &str, sdp: Option<&str>) -> (ClientTransaction, SipRequest) {
        self.ring_with(user, sdp, &[])
    }

    /// The same with more header fields.
    pub(crate) fn ring_with(
        &mut self,
        user: &str,
        sdp: Option<&str>,
        fields: &[(&str, &str)],
    ) -> (ClientTransaction, SipRequest) {
        let (id, invite, _) = self.ring_from(user, sdp, fields);
        (id, invite)
    }

    /// The same, told with the flow that it goes over.
    pub(crate) fn ring_from(
        &mut self,
        user: &str,
        sdp: Option<&str>,
        fields: &[(&str, &str)],
    ) -> (ClientTransaction, SipRequest, Peer) {
        let far = self.far(SERVER);
        let of_user = |asked: &&Asked| asked.request.headers.get("To").is_some_and(|to| to.contains(user));
        let named = far.registers.iter().rev().filter(of_user).find_map(|asked| {
            let contact = NameAddr::list(asked.request.headers.all("Contact")).into_iter().next()?;
            Some((asked.from, contact.uri))
        });
        let (from, uri) = named.expect("the user registered");
        let mut invite = far.invite("\"Bob\" <sip:bob@example.org>", &uri, sdp);
        fields.iter().for_each(|(name, value)| invite.headers.push(name, *value));
        let id = far.send(from, invite.clone());
        self.pump();
        (id, invite, from)
    }

    /// An answered call of a tab to the played server, with the far side's dialog.
    pub(crate) fn talk(&mut self, tab: TabId, call: &str) -> (Dialog, Peer) {
        self.dial(tab, call, "bob");
        let invite = self.hears(SERVER, Method::Invite);
        self.respond(SERVER, &invite, 200, Some(&crate::far::sdp(30_000)));
        self.hears_ack(SERVER);
        assert_eq!(self.state(tab, call), Some(CallState::Active));
        (crate::far::dialog_of(&invite), invite.from)
    }
}

impl Host {
    fn new(ip: IpAddr, machine: Machine) -> Self {
        Self { ip, machine, is_frozen: false, waiting: VecDeque::new() }
    }

    fn commands(&mut self, now: Instant) -> Vec<SipCommand> {
        match &mut self.machine {
            _ if self.is_frozen => Vec::new(),
            Machine::Gateway(gateway) => gateway.drain(now),
            Machine::Registrar(registrar) => std::iter::from_fn(|| registrar.next_command()).collect(),
            Machine::Far(far) => far.commands.drain(..).collect(),
            Machine::Dead => Vec::new(),
        }
    }

    fn take(&mut self, input: Input, now: Instant) {
        if self.is_frozen {
            return self.waiting.push_back(input);
        }
        match (&mut self.machine, input) {
            (Machine::Gateway(gateway), Input::Sip(event)) => gateway.instance.handle_sip(event, now),
            (Machine::Gateway(gateway), Input::Message(socket, message)) => {
                gateway.instance.handle_message(socket, *message, now);
            }
            (Machine::Registrar(registrar), Input::Sip(event)) => registrar.handle(event, now),
            (Machine::Far(far), Input::Sip(event)) => far.hear(event),
            (Machine::Dead, _) | (Machine::Registrar(_) | Machine::Far(_), Input::Message(..)) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.machine {
            _ if self.is_frozen => None,
            Machine::Gateway(gateway) => Some(gateway.instance.poll_timeout().0),
            Machine::Registrar(registrar) => registrar.poll_timeout().map(|(at, _)| at),
            Machine::Far(_) | Machine::Dead => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.is_frozen || self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match &mut self.machine {
            Machine::Gateway(gateway) => gateway.instance.handle_timeout(now),
            Machine::Registrar(registrar) => registrar.handle_timeout(now),
            Machine::Far(_) | Machine::Dead => {}
        }
    }
}

pub(crate) fn start(call: &str, target: &str) -> Request {
    Request::StartCall { call_id: call.parse().expect("an id"), target: target.to_owned(), sdp: "offer".to_owned() }
}

pub(crate) fn answer(call: &str) -> Request {
    Request::AnswerCall { call_id: call.parse().expect("an id"), sdp: "offer".to_owned() }
}

pub(crate) fn hang_up(call: &str) -> Request {
    Request::HangUp { call_id: call.parse().expect("an id") }
}

fn server_addr(index: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 1, index), 5060))
}

#[allow(clippy::disallowed_methods, reason = "one instant to count from")]
fn instant() -> Instant {
    Instant::now()
}
