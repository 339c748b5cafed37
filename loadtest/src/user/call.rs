//! The call of a virtual user: its state, the watch over its packets, and the look back at calls that were called lost.

use super::{Command, Link, LinkStep, LossKind, MAX_ANNOUNCED, Now, Told, VirtualUser};
use gateway_protocol::CallId;
use gateway_protocol::message::{CallSnapshot, CallState, Direction, EndReason, Request as Verb};
use rand::Rng;
use std::time::Duration;

/// DESIGN §3: media is alive when a packet came within this time.
const LIVENESS: Duration = Duration::from_millis(600);
/// From the first missing packet to `media-lost`: ICE restart is allowed 4 s.
const RESTART_PATIENCE: Duration = Duration::from_secs(4);
/// How often a stalled call is looked at.
const STALL_STEP: Duration = Duration::from_millis(50);
/// A call called lost is listened to for this long: a packet sent after the verdict that comes back proves it wrong.
const AUTOPSY: Duration = Duration::from_millis(1000);

/// The one call of a user.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    target: String,
    state: Option<CallState>,
    /// Time of the last packet; none before media is connected.
    heard: Option<Now>,
    stall: Option<Stall>,
    pub(super) hanging_up: bool,
    /// Somebody else called; the first offer goes into the answer.
    incoming: bool,
    /// Its instance is out of reach for signalling, its media lives.
    pub(super) orphan: bool,
}

/// No packet although the instance may live.
#[derive(Debug)]
struct Stall {
    since: Now,
    look_again: Now,
}

/// A call that was called lost at `verdict`.
#[derive(Debug)]
pub(super) struct Autopsy {
    call: CallId,
    verdict: Now,
    heard: bool,
}

impl Call {
    pub(super) fn new(id: CallId, target: &str) -> Self {
        let target = target.to_owned();
        Self { id, target, state: None, heard: None, stall: None, hanging_up: false, incoming: false, orphan: false }
    }

    pub(super) fn incoming(id: CallId) -> Self {
        Self { incoming: true, ..Self::new(id, "") }
    }
}

impl Call {
    fn lives(&self, now: Now) -> bool {
        self.heard.is_some_and(|heard| now < heard + LIVENESS)
    }

    fn timeout(&self) -> Option<(Now, &'static str)> {
        let heard = self.heard?;
        Some(match &self.stall {
            Some(stall) => (stall.look_again, "media stall"),
            None => (heard + LIVENESS, "media liveness"),
        })
    }
}

impl<R: Rng> VirtualUser<R> {
    /// The SDP offer that a [`Command::Offer`] asked for.
    pub fn handle_offer(&mut self, call: &CallId, sdp: String) {
        let Some(known) = self.call.as_ref().filter(|known| known.id == *call) else { return };
        let call_id = call.clone();
        let verb = match known.state {
            None if known.incoming => Verb::AnswerCall { call_id, sdp },
            None => Verb::StartCall { call_id, target: known.target.clone(), sdp },
            Some(_) => Verb::RestartIce { call_id, sdp },
        };
        self.request(verb);
    }

    /// The call's media is connected.
    pub fn handle_connected(&mut self, call: &CallId, now: Now) {
        self.handle_heard(call, now);
    }

    /// The last packet of the call's peer came at `at`.
    pub fn handle_heard(&mut self, call: &CallId, at: Now) {
        if let Some(known) = self.call.as_mut().filter(|known| known.id == *call) {
            known.heard = known.heard.max(Some(at));
            if known.stall.take_if(|stall| stall.since < at).is_some()
                && self.unavailable == Some(LossKind::NetworkChanged)
            {
                self.has_service();
            }
        }
    }

    /// The newest packet of the call's peer that came back had been sent at `sent`.
    pub fn handle_returned(&mut self, call: &CallId, sent: Now) {
        let autopsy = self.autopsy.as_mut().filter(|autopsy| autopsy.call == *call && autopsy.verdict < sent);
        if autopsy.is_some_and(|autopsy| !std::mem::replace(&mut autopsy.heard, true)) {
            self.told.push_back(Told::FalselyLost { call: call.clone() });
        }
    }

    /// The instance closed the call's peer connection (DTLS close_notify). The reason comes by signalling.
    pub fn handle_peer_closed(&mut self, call: &CallId) {
        if let Some(known) = self.call.as_mut().filter(|known| known.id == *call) {
            known.heard = None;
            known.stall = None;
        }
    }

    /// A call that rings is told once, whether by its event or by the snapshot of an attach.
    pub(super) fn handle_incoming(&mut self, call: &CallSnapshot) {
        let rings = call.direction == Direction::Incoming && call.state == CallState::Ringing;
        if !rings || self.announced.contains(&call.call_id) {
            return;
        }
        if self.announced.len() == MAX_ANNOUNCED {
            self.announced.pop_front();
        }
        self.announced.push_back(call.call_id.clone());
        self.told.push_back(Told::IncomingCall { call: call.call_id.clone(), from: call.target.clone() });
    }

    pub(super) fn handle_call_state(&mut self, call: &CallId, state: CallState) {
        if let Some(known) = self.call.as_mut().filter(|known| known.id == *call && known.state != Some(state)) {
            known.state = Some(state);
            self.told.push_back(Told::CallState { call: call.clone(), state });
        }
    }

    /// The call is over, once. One that is called lost keeps its peer for the [`Autopsy`].
    pub(super) fn end_call(&mut self, reason: EndReason, now: Now) {
        let Some(call) = self.call.take() else { return };
        let reason = if call.hanging_up { EndReason::LocalHangUp } else { reason };
        self.told.push_back(Told::Ended { call: call.id.clone(), reason });
        match reason {
            EndReason::InstanceLost | EndReason::MediaLost => {
                self.finish_autopsy();
                self.autopsy = Some(Autopsy { call: call.id, verdict: now, heard: false });
            }
            EndReason::Internal | EndReason::SessionEnded if call.lives(now) && self.unavailable.is_none() => {
                self.told.push_back(Told::FalselyLost { call: call.id.clone() });
                self.close_peer(call.id);
            }
            _ => self.close_peer(call.id),
        }
    }

    /// The call never came to be.
    pub(super) fn drop_call(&mut self) {
        if let Some(call) = self.call.take() {
            self.close_peer(call.id);
        }
    }

    fn finish_autopsy(&mut self) {
        if let Some(autopsy) = self.autopsy.take() {
            self.close_peer(autopsy.call);
        }
    }

    pub(super) fn media_lives(&self, now: Now) -> bool {
        self.call.as_ref().is_some_and(|call| call.lives(now))
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.stall.is_some())
    }

    pub(super) fn restart_ice_if_stalled(&mut self) {
        if let Some(call) = self.call.as_ref().filter(|call| call.stall.is_some()) {
            self.commands.push_back(Command::Offer { call: call.id.clone(), restart: true });
        }
    }

    pub(super) fn media_deadline(&self) -> Option<(Now, &'static str)> {
        let autopsy = self.autopsy.as_ref().map(|autopsy| (autopsy.verdict + AUTOPSY, "look back"));
        autopsy.into_iter().chain(self.call.as_ref().and_then(Call::timeout)).min()
    }

    pub(super) fn media_timeout(&mut self, now: Now) {
        if self.autopsy.as_ref().is_some_and(|autopsy| autopsy.verdict + AUTOPSY <= now) {
            self.finish_autopsy();
        }
        let attached = self.is_attached();
        let Some(call) = self.call.as_mut().filter(|call| call.timeout().is_some_and(|(at, _)| at <= now)) else {
            return;
        };
        if call.orphan {
            return self.end_call(EndReason::InstanceLost, now);
        }
        if self.link.as_ref().is_some_and(|link| link.silent_since.is_some()) {
            return self.leave(LossKind::InstanceSilent, now);
        }
        match &mut call.stall {
            Some(stall) if now < stall.since + RESTART_PATIENCE => stall.look_again = now + STALL_STEP,
            Some(_) if attached => self.media_lost(now),
            Some(stall) => stall.look_again = now + STALL_STEP,
            None => self.stall_begins(now),
        }
    }

    /// The instance may be gone, or only the way to it: a probe tells.
    fn stall_begins(&mut self, now: Now) {
        if let Some(call) = &mut self.call {
            call.stall = Some(Stall { since: now, look_again: now + STALL_STEP });
            self.told.push_back(Told::MediaStalled { call: call.id.clone() });
        }
        if let Some(Link { step: LinkStep::Attached { socket, .. }, .. }) = self.link {
            self.probe(Some(socket), false, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::Identity;
    use gateway_protocol::ClientId;
    use rand::{SeedableRng, rngs::SmallRng};

    fn ms(ms: u64) -> Now {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_call_is_falsely_lost_when_a_later_packet_comes_back() {
        let client_id = ClientId::parse("t").expect("an id");
        let identity = Identity { user: "u".to_owned(), client_id, jwt: None, bases: vec!["http://a".to_owned()] };
        let mut user = VirtualUser::new(identity, SmallRng::seed_from_u64(1));
        let call = CallId::parse("c").expect("an id");
        user.call = Some(Call::new(call.clone(), "echo"));
        user.end_call(EndReason::InstanceLost, ms(100));
        user.handle_returned(&call, ms(99));
        let falsely = |user: &mut VirtualUser<SmallRng>| {
            std::iter::from_fn(|| user.next_told()).filter(|told| matches!(told, Told::FalselyLost { .. })).count()
        };
        assert_eq!(falsely(&mut user), 0, "sent before the verdict");
        user.handle_returned(&call, ms(101));
        user.handle_returned(&call, ms(120));
        assert_eq!(falsely(&mut user), 1);
    }

    #[test]
    fn an_incoming_call_is_told_once_and_answered_while_no_other_is_up() {
        let client_id = ClientId::parse("t").expect("an id");
        let identity = Identity { user: "u".to_owned(), client_id, jwt: None, bases: vec!["http://a".to_owned()] };
        let mut user = VirtualUser::new(identity, SmallRng::seed_from_u64(1));
        let mut ringing = CallSnapshot {
            call_id: CallId::parse("in").expect("an id"),
            direction: Direction::Incoming,
            target: "sip:c7@load.test".to_owned(),
            state: CallState::Ringing,
            media: gateway_protocol::message::MediaState::Connecting,
            name: None,
            held_by: None,
            video: false,
            replaces: None,
        };
        user.handle_incoming(&ringing);
        user.handle_incoming(&ringing);
        let told = Told::IncomingCall { call: ringing.call_id.clone(), from: ringing.target.clone() };
        assert_eq!((user.next_told(), user.next_told()), (Some(told), None));
        ringing.call_id = CallId::parse("out").expect("an id");
        ringing.direction = Direction::Outgoing;
        user.handle_incoming(&ringing);
        assert_eq!(user.next_told(), None);
        user.call = Some(Call::incoming(CallId::parse("in").expect("an id")));
        user.handle_offer(&CallId::parse("in").expect("an id"), "v=0".to_owned());
        assert!(matches!(&user.pending[0].verb, Verb::AnswerCall { sdp, .. } if sdp == "v=0"));
    }
}
