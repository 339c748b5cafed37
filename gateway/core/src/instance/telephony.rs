//! The SIP side of the instance: sessions hold leases of the user agent, and their calls its legs.

use super::{Instance, Key};
use crate::call::{FarLeg, PeerId};
use crate::command::Command;
use crate::dial::DialPlan;
use crate::random::Random;
use crate::sdp::{FarLocal, FarSdp, Security, SrtpSecret};
use crate::session::{FarCommand, Ringing, SealedCall, Session, Wish};
use crate::sip::{
    Agent, AgentError, AgentSettings, Credentials, Identity, LeaseId, LegId, Registered, Restored, SipCounts, SipEvent,
    SipNews,
};
use gateway_protocol::CallId;
use gateway_protocol::message::{EndReason, FailReason};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// How an instance reaches SIP.
#[derive(Debug, Clone)]
pub struct SipSettings {
    /// Servers, domain, limits.
    pub agent: AgentSettings,
    /// Whom users may call.
    pub dial: DialPlan,
    /// Passwords by user.
    pub passwords: BTreeMap<String, String>,
    /// What our offers say of SRTP.
    pub security: Security,
}

/// What the instance keeps of it.
#[derive(Debug)]
pub(super) struct Telephony {
    agent: Agent,
    dial: DialPlan,
    passwords: BTreeMap<String, String>,
    security: Security,
    leases: BTreeMap<Key, Holder>,
    legs: BTreeMap<LegId, Key>,
    /// Sessions whose capsule says of a call what is true no more.
    stale: BTreeSet<Key>,
}

/// The browser's side of a lease as the agent knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    attached: bool,
    proven: bool,
}

impl Telephony {
    pub(super) fn new(settings: SipSettings, random: &mut impl Random, now: Instant) -> Self {
        let SipSettings { agent, dial, passwords, security } = settings;
        let agent = Agent::new(agent, random, now);
        Self {
            agent,
            dial,
            passwords,
            security,
            leases: BTreeMap::new(),
            legs: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.agent.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
    }

    pub(super) fn registered(&self) -> u32 {
        self.agent.registered()
    }

    pub(super) fn sealed_calls(&self, session: &Session) -> Vec<SealedCall> {
        session.sealed_calls(|leg| self.agent.seal(leg))
    }

    pub(super) fn counts(&self) -> &SipCounts {
        self.agent.counts()
    }

    /// What a wished call goes to, or why not.
    pub(super) fn leave(&self, wish: Wish<'_>, registered: Option<Registered>) -> Result<FarLeg, FailReason> {
        let (Wish::Start(target) | Wish::Transfer(target)) = wish else { return Ok(FarLeg::Rtp { video: None }) };
        match registered {
            _ if !self.dial.allows(target) => Err(FailReason::NotAllowed),
            Some(Registered::Yes) => Ok(FarLeg::Rtp { video: None }),
            Some(Registered::No(_) | Registered::Superseded) | None => Err(FailReason::ServiceUnavailable),
        }
    }
}

impl<R: Random> Instance<R> {
    /// Takes in what the SIP sockets tell.
    pub fn handle_sip(&mut self, event: SipEvent, now: Instant) {
        self.notice_freeze(now);
        if let Some(telephony) = &mut self.telephony {
            telephony.agent.handle(event, now);
        }
    }

    /// The answer to an offer of a call with a SIP side: the media plane opened these ports for it.
    pub(super) fn far_sdp(&mut self, local: Option<FarLocal>) -> Option<FarSdp> {
        let security = self.telephony.as_ref()?.security;
        let local = local?;
        let secrets = [SrtpSecret(self.random.bytes()), SrtpSecret(self.random.bytes())];
        Some(FarSdp::new(u64::from_be_bytes(self.random.bytes()), local, secrets, security))
    }

    /// Tells the agent what became of the browser's socket; a session's first attach registers its user.
    pub(super) fn settle_lease(&mut self, key: Key, now: Instant) {
        let Some(telephony) = &mut self.telephony else { return };
        let Some(session) = self.sessions.get(&key).filter(|session| session.state().is_some()) else { return };
        let holder = Holder { attached: session.socket().is_some(), proven: session.is_proven() };
        let known = telephony.leases.get(&key).copied();
        if known == Some(holder) || (known.is_none() && !holder.attached) {
            return;
        }
        let lease = LeaseId(key.0);
        telephony.leases.insert(key, holder);
        if known.is_none_or(|known| !known.attached) && holder.attached {
            let place = session.place();
            let (user, client_id, takeover) = (place.user.clone(), place.client_id.clone(), place.recovering);
            let told = place.earlier.sip_password.as_ref().map(|password| password.expose().to_owned());
            let password = telephony.passwords.get(user.as_str()).cloned().or(told);
            let credentials = password.map(|password| Credentials { user: user.as_str().to_owned(), password });
            let generation = place.earlier.generation;
            telephony.agent.attach(lease, Identity { user, client_id, credentials, generation }, takeover, now);
        }
        if !holder.attached {
            telephony.agent.detach(lease);
        }
        telephony.agent.set_proven(lease, holder.proven);
    }

    /// The session is over, and so is what it held of the agent.
    pub(super) fn end_lease(&mut self, key: Key) {
        if self.sessions.get(&key).is_some_and(|session| session.state().is_some()) {
            return;
        }
        if let Some(telephony) = &mut self.telephony
            && telephony.leases.remove(&key).is_some()
        {
            telephony.agent.end(LeaseId(key.0));
            telephony.legs.retain(|_, owner| *owner != key);
        }
    }

    /// Does what a session wants of its far sides.
    pub(super) fn settle_far(&mut self, key: Key, now: Instant) {
        while let Some(command) = self.sessions.get_mut(&key).and_then(Session::next_far_command) {
            self.do_far_command(key, command, now);
        }
    }

    fn do_far_command(&mut self, key: Key, command: FarCommand, now: Instant) {
        let unix = self.unix(now);
        let Some(Telephony { agent, legs, stale, .. }) = &mut self.telephony else { return };
        match command {
            FarCommand::Dial { peer, target, offer } => {
                let dialled = agent.call(LeaseId(key.0), &target, None, offer);
                if let Ok(leg) = dialled {
                    legs.insert(leg, key);
                }
                self.handle_dialled(key, peer, dialled, now);
            }
            FarCommand::HangUp(leg) => {
                stale.extend(legs.remove(&leg));
                agent.hang_up(leg);
            }
            FarCommand::Ring(leg) => agent.ring(leg),
            // A leg that is no more was told to be over.
            FarCommand::Accept(leg, description) => drop(agent.accept(leg, description, now)),
            FarCommand::Reject(leg, status) => {
                legs.remove(&leg);
                agent.reject(leg, status);
            }
            FarCommand::Offer(leg, description) => {
                let offered = agent.offer(leg, description);
                let Some(session) = self.sessions.get_mut(&key) else { return };
                match offered {
                    Ok(()) => {}
                    Err(AgentError::Busy) => session.handle_busy(leg, now),
                    Err(_) => session.handle_offer_answered(leg, Err(481), now),
                }
            }
            FarCommand::AnswerOffer(leg, answer) => agent.answer_offer(leg, answer, now),
            FarCommand::Digit(leg, digit) => drop(agent.send_digit(leg, digit)),
            FarCommand::Transfer(leg, target, replaced) => {
                let asked = agent.transfer(leg, &target, replaced);
                let Some(session) = self.sessions.get_mut(&key) else { return };
                match asked {
                    Ok(()) => {}
                    Err(AgentError::Busy) => session.handle_busy(leg, now),
                    Err(_) => session.handle_transfer(leg, 481, now),
                }
            }
            FarCommand::AnswerTransfer(leg, status) => agent.answer_transfer(leg, status),
            FarCommand::TellTransfer(leg, status) => agent.tell_transfer(leg, status),
            FarCommand::Move { leg, to, offer } => {
                let new = agent.call(LeaseId(key.0), &to.target, to.replaces, offer).ok();
                legs.extend(new.map(|new| (new, key)));
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.handle_moving(leg, new);
                }
            }
            FarCommand::HangUpSealed(call) => {
                let mut legs = [Some(call.leg.clone()), call.moving.clone()].into_iter().flatten();
                let done = legs.all(|leg| agent.hang_up_sealed(LeaseId(key.0), leg, unix));
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.handle_hung_up(*call, done, now);
                }
            }
            FarCommand::Restore(sealed) => {
                let (mut call, dialog) = *sealed;
                // Nobody goes on with its transfer; while no server is there the call waits as a whole.
                call.moving.take_if(|moving| agent.hang_up_sealed(LeaseId(key.0), moving.clone(), unix));
                let leg = agent.restore(LeaseId(key.0), dialog, unix);
                legs.extend(leg.map(|leg| (leg, key)));
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.handle_restoring(call, leg);
                }
            }
        }
    }

    fn handle_dialled(&mut self, key: Key, peer: PeerId, dialled: Result<LegId, AgentError>, now: Instant) {
        let dialled = dialled.map_err(|error| match error {
            AgentError::BadTarget => EndReason::NotFound,
            AgentError::Unavailable | AgentError::WrongState | AgentError::Busy => EndReason::Failed,
        });
        if let Some(session) = self.sessions.get_mut(&key) {
            session.handle_dialled(peer, dialled, now);
        }
    }

    /// Passes on one thing that the agent told; false if there was none.
    pub(super) fn settle_news(&mut self) -> bool {
        let now = self.seen;
        if let Some(news) = self.telephony.as_mut().and_then(|telephony| telephony.agent.next_news()) {
            self.handle_news(news, now);
            return true;
        }
        self.renew_capsules(now);
        let Some(telephony) = &mut self.telephony else { return false };
        while let Some(command) = telephony.agent.next_command() {
            self.commands.push_back(Command::Sip(command));
        }
        !self.commands.is_empty()
    }

    /// A browser has the capsule that describes a message before that message leaves.
    fn renew_capsules(&mut self, now: Instant) {
        let Some(Telephony { agent, legs, stale, .. }) = &mut self.telephony else { return };
        let mut keys = std::mem::take(stale);
        while let Some(leg) = agent.next_changed() {
            keys.extend(legs.get(&leg).copied());
        }
        for key in keys {
            if self.sessions.get(&key).is_none_or(|session| session.socket().is_none()) {
                continue;
            }
            let capsule = self.seal_capsule(key, now);
            self.with(key, |session, _| session.give_capsule(capsule, now));
        }
    }

    fn handle_news(&mut self, news: SipNews, now: Instant) {
        match news {
            SipNews::Registration { lease, registered } => {
                let calls = self.calls_service();
                self.with(Key(lease.0), |session, _| session.set_registered(registered, &calls));
            }
            SipNews::Incoming { lease, leg, from, name, offer } => {
                self.handle_incoming(Key(lease.0), leg, from, name, offer, now);
            }
            SipNews::Progress { leg, status, sdp } => {
                self.with_leg(leg, |session| session.handle_progress(leg, status, sdp));
            }
            SipNews::Answered { leg, sdp } => self.with_leg(leg, |session| session.handle_far_answer(leg, sdp, now)),
            SipNews::Offered { leg, offer } => self.with_leg(leg, |session| session.handle_far_offer(leg, offer)),
            SipNews::OfferAnswered { leg, answer } => {
                self.with_leg(leg, |session| session.handle_offer_answered(leg, answer, now));
            }
            SipNews::Settled { leg } => self.with_leg(leg, |session| session.handle_settled(leg)),
            SipNews::Digit { leg, digit } => self.with_leg(leg, |session| session.handle_digit(leg, digit)),
            SipNews::Transfer { leg, status } => {
                self.with_leg(leg, |session| session.handle_transfer(leg, status, now));
            }
            SipNews::TransferAsked { leg, to } => {
                let sdp = self.may_move(leg, &to.target, now).then(|| self.sdp_beside(leg)).flatten();
                self.with_leg(leg, |session| session.handle_transfer_asked(leg, to, sdp, now));
            }
            SipNews::Redirected { leg, to } => {
                let target = to.iter().find(|to| self.may_move(leg, to, now)).cloned();
                if let Some(telephony) = &mut self.telephony {
                    telephony.agent.redirect(leg, target.as_deref());
                }
            }
            SipNews::Replaced { leg, by, from, name, offer } => {
                let sdp = self.sdp_beside(leg);
                if let Some(Telephony { legs, .. }) = &mut self.telephony {
                    legs.extend(legs.get(&leg).copied().map(|key| (by, key)));
                }
                self.with_leg(leg, |session| session.handle_replaced(leg, by, (from, name), offer, sdp));
            }
            SipNews::Restored { leg, restored } => {
                let call = (self.new_call_id(), self.next_peer());
                self.with_leg(leg, |session| session.handle_restored(leg, restored, call, now));
                if let Some(Telephony { legs, stale, .. }) = &mut self.telephony {
                    stale.extend(legs.get(&leg).copied());
                    if restored != Restored::Alive {
                        legs.remove(&leg);
                    }
                }
            }
            SipNews::Ended { leg, why } => {
                self.with_leg(leg, |session| session.handle_leg_ended(leg, why, now));
                if let Some(telephony) = &mut self.telephony {
                    telephony.stale.extend(telephony.legs.remove(&leg));
                }
            }
        }
    }

    /// Whether a far side may have a leg's user call somebody else: as the user itself might.
    fn may_move(&mut self, leg: LegId, target: &str, now: Instant) -> bool {
        let Some(Telephony { legs, dial, .. }) = &self.telephony else { return false };
        let Some(session) = legs.get(&leg).and_then(|key| self.sessions.get(key)) else { return false };
        let (user, is_allowed) = (session.place().user.clone(), dial.allows(target));
        let refused = match is_allowed {
            true => self.user_limits(&user).calls.take(now).err().map(|_| FailReason::RateLimited),
            false => Some(FailReason::NotAllowed),
        };
        refused.into_iter().for_each(|reason| self.counts.refused(reason));
        refused.is_none()
    }

    /// A machine for another far side of a leg's call.
    fn sdp_beside(&mut self, leg: LegId) -> Option<FarSdp> {
        let key = self.telephony.as_ref()?.legs.get(&leg)?;
        let local = self.sessions.get(key)?.far_local(leg);
        self.far_sdp(local)
    }

    fn with_leg(&mut self, leg: LegId, act: impl FnOnce(&mut Session)) {
        let Some(key) = self.telephony.as_ref().and_then(|telephony| telephony.legs.get(&leg).copied()) else { return };
        self.with(key, |session, _| act(session));
        self.queue_if_idle(key, self.seen);
    }

    fn new_call_id(&mut self) -> CallId {
        CallId::parse(self.random.text::<12>()).expect("base64url of 12 bytes is an id")
    }

    fn next_peer(&mut self) -> PeerId {
        self.last_peer += 1;
        PeerId(self.last_peer)
    }

    fn handle_incoming(
        &mut self,
        key: Key,
        leg: LegId,
        from: String,
        name: Option<String>,
        offer: Option<String>,
        now: Instant,
    ) {
        let draining = self.drain.is_draining();
        let Some(telephony) = &mut self.telephony else { return };
        if draining || !self.sessions.contains_key(&key) {
            return telephony.agent.reject(leg, 480);
        }
        telephony.legs.insert(leg, key);
        let (call_id, peer) = (self.new_call_id(), self.next_peer());
        let ringing = Ringing { call_id, peer, leg, from, name, offer };
        self.with(key, |session, _| session.handle_ringing(ringing, now));
    }
}
