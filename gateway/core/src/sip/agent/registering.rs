//! Leases: whose registrations the agent keeps.

use super::authorizing::Nonces;
use super::{Agent, Due, LeaseId, LegState, Pending, Purpose, SipNews, escape_user, request, transport_param};
use crate::rate::RateLimit;
use crate::sip::command::SipCommand;
use crate::sip::digest::Credentials;
use crate::sip::message::{Method, SipResponse};
use crate::sip::registration::{Ask, Registered, Registration};
use crate::user::User;
use gateway_protocol::ClientId;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Name space of `+sip.instance`: every instance derives the same name for a user's tab (RFC 9562 §5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x8d5a_9f52_6f0e_4f6b_9c0a_5b1e_7a3d_2c41);

/// Who is to be registered.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user part of the address.
    pub user: User,
    /// The tab.
    pub client_id: ClientId,
    /// For the configured realm.
    pub credentials: Option<Credentials>,
    /// Higher than that of every earlier instance: Unix time in milliseconds, or one more than the capsule's.
    pub generation: u64,
}

/// Calls to one user's tab within a time; beyond it 503.
const INVITES: (u32, Duration) = (20, Duration::from_secs(2));

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) identity: Identity,
    /// `urn:uuid:..` in angle brackets.
    instance: String,
    /// User part of the Contact URI; the Request-URI of calls to this tab carries it.
    pub(super) contact_user: String,
    /// Of each server.
    registrations: Vec<AtServer>,
    /// The browser's socket is there.
    attached: bool,
    /// The browser is known to be here.
    pub(super) proven: bool,
    /// What is to leave once it is.
    pub(super) held: VecDeque<SipCommand>,
    told: Option<Registered>,
    /// What signs its requests.
    pub(super) nonces: Nonces,
    /// Calls to it.
    pub(super) invites: RateLimit,
}

/// One registration with the numbers of its requests.
#[derive(Debug)]
struct AtServer {
    machine: Registration,
    call_id: String,
    tag: String,
    cseq: u32,
}

impl Lease {
    pub(super) fn is_bound(&self) -> bool {
        self.registrations.iter().any(|registration| registration.machine.is_bound())
    }

    pub(super) fn is_bound_at(&self, server: usize) -> bool {
        self.registrations[server].machine.is_bound()
    }

    /// There is a binding to look for.
    pub(super) fn is_settled_at(&self, server: usize) -> bool {
        !self.held() && self.registrations[server].machine.is_settled()
    }

    pub(super) fn set_cseq(&mut self, server: usize, cseq: u32) {
        self.registrations[server].cseq = cseq;
    }

    fn held(&self) -> bool {
        !self.attached || !self.proven
    }
}

impl Agent {
    /// A browser's socket is attached: registers its user. `takeover` if an earlier instance may have done so before.
    pub fn attach(&mut self, id: LeaseId, identity: Identity, takeover: bool, now: Instant) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.attached = true;
            return self.set_proven(id, true);
        }
        let name = format!("{}\n{}", identity.user, identity.client_id);
        let uuid = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        let registrations = (0..self.servers.len()).map(|_| self.new_registration(uuid, identity.generation)).collect();
        let lease = Lease {
            identity,
            instance: format!("<urn:uuid:{uuid}>"),
            contact_user: uuid.simple().to_string(),
            registrations,
            attached: true,
            proven: true,
            held: VecDeque::new(),
            told: None,
            nonces: Nonces::default(),
            invites: RateLimit::new(INVITES.0, INVITES.1),
        };
        self.by_contact.insert(lease.contact_user.clone(), id);
        self.leases.insert(id, lease);
        for server in 0..self.servers.len() {
            let alive = self.servers[server].alive;
            self.with_registration(id, server, |registration| match alive {
                true => registration.start(takeover, now),
                false => registration.suspend("sip-server-unreachable"),
            });
        }
        self.tell_registration(id);
    }

    fn new_registration(&mut self, uuid: Uuid, generation: u64) -> AtServer {
        let machine = Registration::new(format!("<urn:uuid:{uuid}>"), generation);
        AtServer { machine, call_id: self.names.token(), tag: self.names.token(), cseq: 0 }
    }

    /// The browser's socket is lost: nothing is refreshed until it is back.
    pub fn detach(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.attached = false;
        }
        self.settle_registrations(id);
    }

    /// Whether the browser is known to be here; false after the process stood still. Until it is, nothing leaves for it.
    pub fn set_proven(&mut self, id: LeaseId, proven: bool) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.proven = proven;
        if proven {
            self.commands.append(&mut lease.held);
        }
        self.settle_registrations(id);
    }

    /// The session is over: its legs are hung up and its own bindings removed. One that is not proven leaves without a word,
    /// since another instance may serve its user.
    pub fn end(&mut self, id: LeaseId) {
        let proven = self.leases.get(&id).is_some_and(|lease| lease.proven);
        let legs: Vec<_> = self.legs.iter().filter(|(_, leg)| leg.lease == id).map(|(leg, _)| *leg).collect();
        for leg in legs {
            if proven {
                self.hang_up(leg);
            } else {
                self.remove_leg(leg);
            }
        }
        for server in 0..self.servers.len() {
            self.unregister(id, server);
        }
        let Some(lease) = self.leases.remove(&id) else { return };
        self.counts.withheld += lease.held.len() as u64;
        self.registered -= u32::from(lease.told == Some(Registered::Yes));
        if self.by_contact.get(&lease.contact_user) == Some(&id) {
            self.by_contact.remove(&lease.contact_user);
        }
    }

    fn unregister(&mut self, id: LeaseId, server: usize) {
        self.timers.set(Due::Registration(id, server), None);
        let Some(lease) = self.leases.get(&id) else { return };
        if !lease.proven || !lease.registrations[server].machine.may_be_bound() {
            return;
        }
        // By the exact Contact URI and without the instance: what a newer generation bound is not meant.
        let Some(contact) = self.contact_of(id, server) else { return };
        self.register(id, server, Purpose::Farewell, Some(format!("{contact};expires=0")), None);
    }

    /// The Contact of this lease towards a server, in angle brackets.
    pub(super) fn contact_of(&self, id: LeaseId, server: usize) -> Option<String> {
        let lease = self.leases.get(&id)?;
        let server = self.servers.get(server)?;
        let (user, local, generation) = (&lease.contact_user, server.local?, lease.identity.generation);
        Some(format!("<sip:{user}@{local}{};hf-gen={generation}>", transport_param(server.peer.transport)))
    }

    /// The address of record, without brackets.
    pub(super) fn address_of(&self, id: LeaseId) -> Option<String> {
        let user = escape_user(self.leases.get(&id)?.identity.user.as_str());
        // A user name that is an address of our domain already is not put before it again.
        let suffix = format!("%40{}", self.settings.domain);
        let user = user.strip_suffix(&suffix).unwrap_or(&user);
        Some(format!("sip:{user}@{}", self.settings.domain))
    }

    fn register(
        &mut self,
        id: LeaseId,
        server: usize,
        purpose: Purpose,
        contact: Option<String>,
        expires: Option<Duration>,
    ) {
        let Some(address) = self.address_of(id) else { return };
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let registration = &mut lease.registrations[server];
        registration.cseq += 1;
        let domain = format!("sip:{}", self.settings.domain);
        let from = format!("<{address}>;tag={}", registration.tag);
        let (call_id, cseq) = (&registration.call_id, registration.cseq);
        let mut request = request(Method::Register, &domain, &from, &format!("<{address}>"), call_id, cseq);
        if let Some(contact) = contact {
            request.headers.push("Contact", contact);
        }
        if let Some(expires) = expires {
            request.headers.push("Expires", expires.as_secs().to_string());
        }
        request.headers.push("User-Agent", &self.settings.user_agent);
        let credentials = lease.identity.credentials.clone();
        self.authorize(id, server, &mut request);
        self.transmit(Pending::new(purpose, server, request, credentials));
    }

    pub(super) fn handle_registered(&mut self, id: LeaseId, server: usize, response: &SipResponse, now: Instant) {
        let Self { leases, names, .. } = self;
        let Some(lease) = leases.get_mut(&id) else { return };
        let looked = lease.registrations[server].machine.handle_response(response, names, now);
        self.settle_registration(id, server);
        if let Some(found) = looked {
            self.note_look(server, found, now);
        }
    }

    pub(super) fn handle_register_failed(&mut self, id: LeaseId, server: usize, now: Instant) {
        let Self { leases, names, .. } = self;
        let Some(lease) = leases.get_mut(&id) else { return };
        lease.registrations[server].machine.handle_failed(names, now);
        self.settle_registration(id, server);
    }

    pub(super) fn handle_registration_timeout(&mut self, id: LeaseId, server: usize, now: Instant) {
        let Some(held) = self.leases.get(&id).map(Lease::held) else { return };
        self.with_registration(id, server, |registration| registration.handle_timeout(held, now));
    }

    pub(super) fn suspend_registrations(&mut self, server: usize, reason: &'static str) {
        for id in self.leases.keys().copied().collect::<Vec<_>>() {
            self.with_registration(id, server, |registration| registration.suspend(reason));
        }
    }

    /// Everybody registers at a server that is back, `pace` apart.
    pub(super) fn resume_registrations(&mut self, server: usize, pace: Duration, now: Instant) {
        for (place, id) in self.leases.keys().copied().collect::<Vec<_>>().into_iter().enumerate() {
            let at = now + pace * u32::try_from(place).unwrap_or(u32::MAX);
            self.with_registration(id, server, |registration| registration.start_at(at));
        }
    }

    pub(super) fn with_registration(&mut self, id: LeaseId, server: usize, act: impl FnOnce(&mut Registration)) {
        if let Some(lease) = self.leases.get_mut(&id) {
            act(&mut lease.registrations[server].machine);
            self.settle_registration(id, server);
        }
    }

    fn settle_registrations(&mut self, id: LeaseId) {
        (0..self.servers.len()).for_each(|server| self.settle_registration(id, server));
    }

    fn settle_registration(&mut self, id: LeaseId, server: usize) {
        while let Some(ask) = self.leases.get_mut(&id).and_then(|lease| lease.registrations[server].machine.next_ask())
        {
            let (contact, expires) = match ask {
                Ask::Query => (None, None),
                Ask::Register { expires } => {
                    let instance = self.leases[&id].instance.clone();
                    let contact = self.contact_of(id, server);
                    (contact.map(|contact| format!("{contact};+sip.instance=\"{instance}\"")), Some(expires))
                }
            };
            self.register(id, server, Purpose::Register(id, server), contact, expires);
        }
        let Some(lease) = self.leases.get(&id) else { return };
        let deadline = lease.registrations[server].machine.poll_timeout(lease.held());
        self.timers.set(Due::Registration(id, server), deadline);
        self.tell_registration(id);
    }

    /// One server that knows the user is enough.
    fn tell_registration(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let mut news: Vec<_> = lease.registrations.iter_mut().filter_map(|one| one.machine.next_news()).collect();
        let told = match news.pop() {
            _ if lease.is_bound() => Some(Registered::Yes),
            Some(last) => Some(last),
            None => lease.told,
        };
        if let Some(registered) = told.filter(|told| lease.told != Some(*told)) {
            self.registered -= u32::from(lease.told == Some(Registered::Yes));
            self.registered += u32::from(registered == Registered::Yes);
            lease.told = Some(registered);
            self.news.push_back(SipNews::Registration { lease: id, registered });
        }
    }

    /// How many legs a lease has.
    pub(super) fn legs_of(&self, id: LeaseId) -> usize {
        self.legs.values().filter(|leg| leg.lease == id).count()
    }

    /// True if the leg waits for our answer.
    pub(super) fn is_alerting(&self, leg: super::LegId) -> bool {
        self.legs.get(&leg).is_some_and(|leg| matches!(leg.state, LegState::Alerting(_)))
    }
}
