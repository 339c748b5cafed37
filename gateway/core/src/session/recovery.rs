//! Calls of an instance that is gone: what their capsule says, and what becomes of their far sides.
//!
//! An old call is over for the browser, whatever happens here. With `resume` its far side comes back as a new call, which the
//! browser answers like any other; without, the far side is hung up.

use super::Session;
use super::far::FarCommand;
use crate::call::{Call, FarCall};
use crate::limits::{REMEMBERED_ENDS, RING_TIME};
use crate::sdp::FarSdp;
use crate::secret::Secret;
use crate::sip::{Dialog, LegId, Restored, SealedLeg};
use gateway_protocol::message::{DeadCall, DeadCallAction, Event};
use gateway_protocol::{BootId, CallId, InstanceId};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// After this an attach's dead calls are told `unknown`.
pub const RECOVERY_TIME: Duration = Duration::from_secs(5);

/// What hangs up a far side has surely left the machine after this. Until then the call counts as open: should this instance die,
/// too, the next one does it again.
const SENT: Duration = Duration::from_millis(100);

/// Longest record of a call in a capsule, as JSON. A far side whose route is longer can't be taken over; eight calls of this size
/// fit into what is opened.
const MAX_SEALED_CALL: usize = 4 * 1024;

/// A call with a SIP side as a capsule carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCall {
    /// Which.
    pub call_id: CallId,
    /// The other side.
    pub target: String,
    /// Its display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The leg.
    pub leg: SealedLeg,
    /// The one that was to take its place, because the far side wanted its call transferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<SealedLeg>,
    /// What was described to the far side.
    pub sdp: FarSdp,
}

/// What a capsule or a ticket tells of the session before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Of its registration.
    pub generation: u64,
    /// The user's password at the SIP server, where no file has it.
    pub sip_password: Option<Secret>,
    /// Its calls.
    pub calls: Vec<SealedCall>,
    /// The run of an instance that let it go by a ticket.
    pub let_go_by: Option<(InstanceId, BootId)>,
    /// Unix time in seconds at which it was asked last to make place for the sake of balance.
    pub moved: Option<u64>,
}

/// What became of the dead calls so far.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    until: Option<Instant>,
    /// Far sides that the SIP side is about to ask or to hang up.
    begun: usize,
    /// Far sides that were hung up less than [`SENT`] before this moment.
    hung_up: Vec<(Instant, SealedCall)>,
    /// Far sides that were asked whether they are still there.
    asked: Vec<(LegId, SealedCall)>,
    /// Dead calls that were not asked for yet: no SIP server is there.
    waiting: Vec<(DeadCallAction, SealedCall)>,
    recovered: Vec<CallId>,
    lost: Vec<CallId>,
    unknown: Vec<CallId>,
}

impl Recovery {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.hung_up.iter().map(|(sent, _)| *sent).chain(self.until).min()
    }
}

impl Session {
    /// It is asked to make place for the sake of balance.
    pub(crate) fn note_moved(&mut self, unix: u64) {
        self.place.earlier.moved = Some(unix);
    }

    /// A first attach after a loss: the client says what to do about each call that it judged dead. Of calls that no capsule
    /// describes nothing is left: built-in far sides die with their instance.
    pub(super) fn recover(&mut self, dead_calls: Vec<DeadCall>, now: Instant) {
        let mut sealed = std::mem::take(&mut self.place.earlier.calls);
        for dead in dead_calls.into_iter().take(REMEMBERED_ENDS) {
            match sealed.iter().position(|call| call.call_id == dead.call_id) {
                Some(at) => self.recovery.waiting.push((dead.action, sealed.swap_remove(at))),
                None => self.recovery.lost.push(dead.call_id),
            }
        }
        self.recovery.until = Some(now + RECOVERY_TIME);
        for (action, call) in std::mem::take(&mut self.recovery.waiting) {
            self.begin_recovery(action, call);
        }
        self.finish_recovery();
    }

    fn begin_recovery(&mut self, action: DeadCallAction, call: SealedCall) {
        self.recovery.begun += 1;
        match (action, call.leg.clone()) {
            (DeadCallAction::Resume, SealedLeg::Up { dialog }) => {
                self.far(FarCommand::Restore(Box::new((call, dialog))))
            }
            (DeadCallAction::HangUp | DeadCallAction::Resume, _) => self.far(FarCommand::HangUpSealed(Box::new(call))),
        }
    }

    /// A dead call was hung up; `done` is false while no SIP server is there.
    pub fn handle_hung_up(&mut self, call: SealedCall, done: bool, now: Instant) {
        self.recovery.begun -= 1;
        match done {
            true => self.recovery.hung_up.push((now + SENT, call)),
            false => self.recovery.waiting.push((DeadCallAction::HangUp, call)),
        }
    }

    /// A dead call's far side was asked; without a leg while no SIP server is there.
    pub fn handle_restoring(&mut self, call: SealedCall, leg: Option<LegId>) {
        self.recovery.begun -= 1;
        match leg {
            Some(leg) => self.recovery.asked.push((leg, call)),
            None => self.recovery.waiting.push((DeadCallAction::Resume, call)),
        }
    }

    /// A SIP server is there again.
    pub(super) fn handle_server_back(&mut self) {
        for (action, call) in std::mem::take(&mut self.recovery.waiting) {
            self.begin_recovery(action, call);
        }
    }

    /// A far side answered; with `call` a name and a peer for the new call.
    pub fn handle_restored(
        &mut self,
        leg: LegId,
        restored: Restored,
        call: (CallId, crate::call::PeerId),
        now: Instant,
    ) {
        let Some(at) = self.recovery.asked.iter().position(|(asked, _)| *asked == leg) else { return };
        let (_, sealed) = self.recovery.asked.swap_remove(at);
        match restored {
            Restored::Lost => self.recovery.lost.push(sealed.call_id),
            Restored::Unknown => self.recovery.unknown.push(sealed.call_id),
            Restored::Alive => self.come_back(leg, sealed, call, now),
        }
        self.finish_recovery();
    }

    /// A far side hung up while it was asked.
    pub(super) fn handle_asked_ended(&mut self, leg: LegId) {
        let Some(at) = self.recovery.asked.iter().position(|(asked, _)| *asked == leg) else { return };
        let (_, sealed) = self.recovery.asked.swap_remove(at);
        self.recovery.lost.push(sealed.call_id);
        self.finish_recovery();
    }

    fn come_back(&mut self, leg: LegId, sealed: SealedCall, new: (CallId, crate::call::PeerId), now: Instant) {
        let (id, peer) = new;
        let far = FarCall {
            leg: Some(leg),
            sdp: Some(sealed.sdp),
            ring_until: Some(now + RING_TIME),
            restored: true,
            ..FarCall::default()
        };
        let call = Call {
            replaces: Some(sealed.call_id),
            ..Call::incoming(id.clone(), sealed.target, sealed.name, peer, far)
        };
        self.recovery.recovered.push(id);
        let told = Event::IncomingCall { call: call.snapshot() };
        self.calls.push(call);
        self.tell(told);
    }

    /// Tells what became of the dead calls once that is known of all of them.
    fn finish_recovery(&mut self) {
        let recovery = &mut self.recovery;
        let is_open = recovery.begun > 0
            || !recovery.hung_up.is_empty()
            || !recovery.asked.is_empty()
            || !recovery.waiting.is_empty();
        if recovery.until.is_none() || is_open {
            return;
        }
        recovery.until = None;
        let (recovered, lost, unknown) = (
            std::mem::take(&mut recovery.recovered),
            std::mem::take(&mut recovery.lost),
            std::mem::take(&mut recovery.unknown),
        );
        self.tell(Event::SessionRecovered { recovered, lost, unknown });
    }

    pub(super) fn handle_recovery_timeout(&mut self, now: Instant) {
        let is_over = self.recovery.until.is_some_and(|until| until <= now);
        let is_sent = |(sent, _): &mut (Instant, SealedCall)| is_over || *sent <= now;
        let sent: Vec<_> = self.recovery.hung_up.extract_if(.., is_sent).map(|(_, call)| call.call_id).collect();
        if !sent.is_empty() {
            self.recovery.lost.extend(sent);
            self.finish_recovery();
        }
        if is_over {
            for (leg, call) in std::mem::take(&mut self.recovery.asked) {
                // Nobody waits for what it says later.
                self.far(FarCommand::HangUp(leg));
                self.recovery.unknown.push(call.call_id);
            }
            let waiting = std::mem::take(&mut self.recovery.waiting).into_iter().map(|(_, call)| call.call_id);
            self.recovery.unknown.extend(waiting);
            self.finish_recovery();
        }
    }

    /// What a capsule says of its calls, given their legs: of those of the instance before too, as long as nothing became of
    /// them.
    pub fn sealed_calls(&self, leg: impl Fn(LegId) -> Option<SealedLeg>) -> Vec<SealedCall> {
        let earlier = self.place.earlier.calls.iter().cloned();
        let waiting = self.recovery.waiting.iter().map(|(_, call)| call.clone());
        let hung_up = self.recovery.hung_up.iter().map(|(_, call)| call.clone());
        let asked = self.recovery.asked.iter().map(|(id, call)| match leg(*id) {
            Some(leg) => SealedCall { leg, ..call.clone() },
            None => call.clone(),
        });
        let seal = |call: &Call| {
            let far = call.far.as_ref()?;
            Some(SealedCall {
                call_id: call.id.clone(),
                target: call.target.clone(),
                name: call.name.clone(),
                leg: leg(far.leg?)?,
                moving: far.moving.as_ref().and_then(|moving| leg(moving.leg?)),
                sdp: far.sdp.clone()?,
            })
        };
        let live = self.calls.iter().filter_map(seal);
        earlier.chain(waiting).chain(hung_up).chain(asked).chain(live).filter(is_brief).collect()
    }
}

fn is_brief(call: &SealedCall) -> bool {
    serde_json::to_vec(call).is_ok_and(|json| json.len() <= MAX_SEALED_CALL)
}

/// The dialog that a sealed call is restored from.
pub(super) type SealedUp = (SealedCall, Dialog);
