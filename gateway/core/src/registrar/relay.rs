//! Requests that are passed on: forked, held, cancelled, answered (RFC 3261 §16.6 to §16.11).

use super::bindings::Binding;
use super::{Aor, HOLD, MAX_RELAYS, Registrar};
use crate::sip::{
    ClientTransaction, Method, Peer, SendFailure, ServerTransaction, SipCommand, SipRequest, SipResponse, Transport,
};
use std::time::{Duration, Instant};

/// A callee that rings for longer is given up (§16.6, Timer C).
const RINGING: Duration = Duration::from_secs(180);
/// 2xx responses that come again, and those of other forks, are passed on for so long after the first (64 × T1).
const AFTERMATH: Duration = Duration::from_secs(32);

/// One request on its way.
#[derive(Debug)]
pub(super) struct Relay {
    /// As it came, but for one hop and our own Routes.
    request: SipRequest,
    /// Of a request to a user of ours.
    user: Option<Aor>,
    branches: Vec<Branch>,
    state: State,
    since: Instant,
    is_cancelled: bool,
}

/// | state    | on                          | becomes  |
/// |----------|-----------------------------|----------|
/// | Waiting  | a 2xx                       | Answered |
/// | Waiting  | the last branch was refused | gone     |
/// | Waiting  | the last branch was lost    | Held, for an INVITE whose time is not up |
/// | Held     | a REGISTER of the user      | Waiting  |
/// | Held     | the time is up, CANCEL      | gone     |
/// | Answered | the aftermath is over       | gone     |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Held,
    Answered { at: Instant },
}

/// One of the contacts that it went to.
#[derive(Debug)]
struct Branch {
    transaction: ClientTransaction,
    uri: String,
    instance: Option<String>,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Nothing came yet; after [`HOLD`] the contact counts as lost.
    Silent {
        since: Instant,
    },
    Ringing {
        since: Instant,
    },
    Refused(Box<SipResponse>),
    Lost,
}

impl Relay {
    pub(super) fn is_held(&self) -> bool {
        self.state == State::Held
    }

    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    fn pending(&self) -> impl Iterator<Item = &Branch> {
        self.branches.iter().filter(|branch| matches!(branch.outcome, Outcome::Silent { .. } | Outcome::Ringing { .. }))
    }

    fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Held => Some((self.since + HOLD, "a held call")),
            State::Answered { at } => Some((at + AFTERMATH, "an answered call")),
            State::Waiting if !self.is_invite() => None,
            State::Waiting => {
                let ends = self.branches.iter().filter_map(|branch| match branch.outcome {
                    Outcome::Silent { since } => Some(since + HOLD),
                    Outcome::Ringing { since } => Some(since + RINGING),
                    Outcome::Refused(_) | Outcome::Lost => None,
                });
                ends.min().map(|at| (at, "a contact that does not answer"))
            }
        }
    }
}

/// Where a branch goes.
struct Contact {
    uri: String,
    peer: Peer,
    instance: Option<String>,
}

impl From<&Binding> for Contact {
    fn from(binding: &Binding) -> Self {
        Self { uri: binding.uri.clone(), peer: binding.peer, instance: binding.instance.clone() }
    }
}

impl Registrar {
    pub(super) fn relay_to_peer(&mut self, id: ServerTransaction, request: SipRequest, peer: Peer, now: Instant) {
        let contact = Contact { uri: request.uri.clone(), peer, instance: None };
        self.relay(id, request, None, now);
        self.branch(id, contact, now);
        self.set_timer(id);
    }

    pub(super) fn relay_to_user(&mut self, id: ServerTransaction, request: SipRequest, user: Aor, now: Instant) {
        let contacts: Vec<Contact> = self.bindings.of(&user).iter().map(Contact::from).collect();
        self.relay(id, request, Some(user), now);
        contacts.into_iter().for_each(|contact| self.branch(id, contact, now));
        self.set_timer(id);
    }

    /// Nobody is there, but somebody was a moment ago.
    pub(super) fn hold(&mut self, id: ServerTransaction, request: SipRequest, user: Aor, now: Instant) {
        self.relay(id, request, Some(user), now);
        self.hold_relay(id);
        self.set_timer(id);
    }

    fn hold_relay(&mut self, id: ServerTransaction) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        relay.state = State::Held;
        self.counts.holds += 1;
        let request = relay.request.clone();
        self.answer(id, &request, 182);
    }

    fn relay(&mut self, id: ServerTransaction, request: SipRequest, user: Option<Aor>, now: Instant) {
        if self.relays.len() >= MAX_RELAYS {
            return self.answer(id, &request, 503);
        }
        if request.method == Method::Invite {
            self.answer(id, &request, 100);
        }
        if let Some(user) = &user {
            self.by_user.entry(user.clone()).or_default().insert(id);
        }
        let relay =
            Relay { request, user, branches: Vec::new(), state: State::Waiting, since: now, is_cancelled: false };
        self.relays.insert(id, relay);
    }

    fn branch(&mut self, id: ServerTransaction, contact: Contact, now: Instant) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        self.next_client += 1;
        let transaction = ClientTransaction(self.next_client);
        let Contact { uri, peer, instance } = contact;
        let mut request = SipRequest { uri: uri.clone(), ..relay.request.clone() };
        relay.state = State::Waiting;
        relay.branches.push(Branch { transaction, uri, instance, outcome: Outcome::Silent { since: now } });
        self.by_client.insert(transaction, id);
        if makes_dialog(&request) {
            let from = top_transport(&request);
            self.record_route(&mut request, from.unwrap_or(peer.transport), peer.transport);
        }
        self.push_via(&mut request, peer.transport);
        self.commands.push_back(SipCommand::Request { transaction, to: peer, request });
    }

    /// The user has registered. Held calls go to where he is now; those that ring, or rang, at a binding of an instance that has a
    /// new contact go there too.
    pub(super) fn user_came(&mut self, user: &Aor, new: &[Binding], now: Instant) {
        let waiting: Vec<ServerTransaction> = self.by_user.get(user).into_iter().flatten().copied().collect();
        for id in waiting {
            let contacts: Vec<Contact> = match self.relays.get(&id) {
                Some(relay) if relay.is_held() => self.bindings.of(user).iter().map(Contact::from).collect(),
                Some(relay) if relay.state == State::Waiting && relay.is_invite() && !relay.is_cancelled => {
                    new.iter().filter(|binding| relay.lost_to(binding)).map(Contact::from).collect()
                }
                Some(_) | None => continue,
            };
            contacts.into_iter().for_each(|contact| self.branch(id, contact, now));
            self.set_timer(id);
        }
    }

    pub(super) fn relay_response(&mut self, transaction: ClientTransaction, mut response: SipResponse, now: Instant) {
        let Some(id) = self.by_client.get(&transaction).copied() else { return };
        let Some(relay) = self.relays.get_mut(&id) else { return };
        response.headers.remove_first("Via");
        let is_answered = matches!(relay.state, State::Answered { .. });
        let Some(branch) = relay.branches.iter_mut().find(|branch| branch.transaction == transaction) else { return };
        match response.status {
            100 => branch.outcome = Outcome::Ringing { since: now },
            101..=199 => {
                branch.outcome = Outcome::Ringing { since: now };
                if !is_answered {
                    self.commands.push_back(SipCommand::Respond { transaction: id, response });
                }
            }
            200..=299 => return self.relay_success(id, transaction, response, now),
            status => {
                branch.outcome = Outcome::Refused(Box::new(response));
                if status >= 600 && !is_answered {
                    self.cancel_others(id, None);
                }
            }
        }
        self.settle(id, now);
    }

    /// Every 2xx to an INVITE goes up; the first one ends the other branches.
    fn relay_success(&mut self, id: ServerTransaction, from: ClientTransaction, response: SipResponse, now: Instant) {
        self.commands.push_back(SipCommand::Respond { transaction: id, response });
        let Some(relay) = self.relays.get_mut(&id) else { return };
        if !relay.is_invite() {
            return self.forget(id);
        }
        if !matches!(relay.state, State::Answered { .. }) {
            relay.state = State::Answered { at: now };
            self.cancel_others(id, Some(from));
            self.set_timer(id);
        }
    }

    pub(super) fn relay_failed(&mut self, transaction: ClientTransaction, why: SendFailure, now: Instant) {
        let Some(id) = self.by_client.get(&transaction).copied() else { return };
        self.lose_branch(id, transaction, why == SendFailure::Unreachable, now);
        self.settle(id, now);
    }

    fn lose_branch(
        &mut self,
        id: ServerTransaction,
        transaction: ClientTransaction,
        is_unreachable: bool,
        now: Instant,
    ) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let user = relay.user.clone();
        let Some(branch) = relay.branches.iter_mut().find(|branch| branch.transaction == transaction) else { return };
        branch.outcome = Outcome::Lost;
        if let (Some(user), true) = (user, is_unreachable) {
            self.bindings.lose(&user, &branch.uri, now);
        }
    }

    pub(super) fn relay_cancelled(&mut self, id: ServerTransaction, now: Instant) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        relay.is_cancelled = true;
        if relay.is_held() {
            relay.state = State::Waiting;
        }
        self.cancel_others(id, None);
        self.settle(id, now);
    }

    fn cancel_others(&mut self, id: ServerTransaction, but: Option<ClientTransaction>) {
        let Some(relay) = self.relays.get(&id).filter(|relay| relay.is_invite()) else { return };
        let pending = relay.pending().map(|branch| branch.transaction).filter(|transaction| Some(*transaction) != but);
        self.commands.extend(pending.map(SipCommand::Cancel));
    }

    pub(super) fn relay_timeout(&mut self, id: ServerTransaction, now: Instant) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        match relay.state {
            State::Answered { .. } => return self.forget(id),
            State::Held => relay.state = State::Waiting,
            State::Waiting => self.give_up_branches(id, now),
        }
        self.settle(id, now);
    }

    fn give_up_branches(&mut self, id: ServerTransaction, now: Instant) {
        let Some(relay) = self.relays.get(&id) else { return };
        let is_over = |branch: &&Branch| match branch.outcome {
            Outcome::Silent { since } => since + HOLD <= now,
            Outcome::Ringing { since } => since + RINGING <= now,
            Outcome::Refused(_) | Outcome::Lost => false,
        };
        let over: Vec<ClientTransaction> =
            relay.branches.iter().filter(is_over).map(|branch| branch.transaction).collect();
        for transaction in over {
            self.commands.push_back(SipCommand::Cancel(transaction));
            self.lose_branch(id, transaction, false, now);
        }
    }

    /// Answers the request once no branch can any more.
    fn settle(&mut self, id: ServerTransaction, now: Instant) {
        let Some(relay) = self.relays.get(&id) else { return };
        if relay.state != State::Waiting || relay.pending().next().is_some() {
            return self.set_timer(id);
        }
        let user = relay.user.clone();
        match best(&relay.branches) {
            Some(response) if !relay.is_cancelled => {
                self.commands.push_back(SipCommand::Respond { transaction: id, response });
            }
            _ if relay.is_cancelled => self.finish(id, 487),
            // RFC 4320 §4.2: nobody waits for a 408 to anything but an INVITE, and a lost contact says 480 at once.
            _ if !relay.is_invite() => self.finish(id, 480),
            _ if user.is_some() && now < relay.since + HOLD => {
                self.hold_relay(id);
                return self.set_timer(id);
            }
            _ if user.is_some() => self.finish(id, 480),
            _ => self.finish(id, 408),
        }
        self.forget(id);
    }

    fn finish(&mut self, id: ServerTransaction, status: u16) {
        if let Some(request) = self.relays.get(&id).map(|relay| relay.request.clone()) {
            self.answer(id, &request, status);
        }
    }

    fn set_timer(&mut self, id: ServerTransaction) {
        let deadline = self.relays.get(&id).and_then(Relay::deadline);
        self.timers.set(id, deadline);
    }

    fn forget(&mut self, id: ServerTransaction) {
        let Some(relay) = self.relays.remove(&id) else { return };
        self.timers.set(id, None);
        for branch in &relay.branches {
            self.by_client.remove(&branch.transaction);
        }
        if let Some(user) = &relay.user
            && let Some(relays) = self.by_user.get_mut(user)
        {
            relays.remove(&id);
            if relays.is_empty() {
                self.by_user.remove(user);
            }
        }
    }
}

impl Relay {
    /// A branch of it went to the same instance, which did not refuse, at a contact that is no more.
    fn lost_to(&self, binding: &Binding) -> bool {
        binding.instance.is_some()
            && !self.branches.iter().any(|branch| branch.uri == binding.uri)
            && self
                .branches
                .iter()
                .any(|branch| branch.instance == binding.instance && !matches!(branch.outcome, Outcome::Refused(_)))
    }
}

/// §16.7 step 6: a 6xx wins, else the lowest class, and in it what the caller can do something about.
fn best(branches: &[Branch]) -> Option<SipResponse> {
    let refusals = branches.iter().filter_map(|branch| match &branch.outcome {
        Outcome::Refused(response) => Some(response.as_ref()),
        Outcome::Silent { .. } | Outcome::Ringing { .. } | Outcome::Lost => None,
    });
    refusals.min_by_key(|response| rank(response.status)).cloned()
}

fn rank(status: u16) -> (u16, u16) {
    match status {
        600.. => (0, status),
        401 | 407 | 415 | 420 | 484 => (status / 100, 0),
        // Of two ways of the same call to one instance it refuses one with 482; that says nothing.
        482 => (7, 0),
        _ => (status / 100, status),
    }
}

fn makes_dialog(request: &SipRequest) -> bool {
    !super::is_in_dialog(request) && matches!(request.method, Method::Invite | Method::Subscribe | Method::Refer)
}

/// How it came here.
fn top_transport(request: &SipRequest) -> Option<Transport> {
    let via = request.headers.get("Via")?;
    [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|transport| via.to_ascii_uppercase().starts_with(&format!("SIP/2.0/{transport}")))
}
