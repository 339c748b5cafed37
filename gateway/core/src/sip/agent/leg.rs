//! One call towards the SIP side: an INVITE and the dialog that it makes.

use crate::rate::RateLimit;
use crate::sip::command::{ClientTransaction, ServerTransaction};
use crate::sip::dialog::Dialog;
use crate::sip::message::SipRequest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Names a leg; never used twice by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// Names the holder of a registration and of legs: a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// Why a leg is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEnd {
    /// The far side said BYE.
    HungUp,
    /// The far side's instance is lost, or its part of the dialog is: BYE with that reason, 481, 408.
    FarLost,
    /// The caller took its call back.
    Cancelled,
    /// 486, 600.
    Busy,
    /// 603, and a 403 of the far side.
    Rejected,
    /// 408, 480, 487: nobody answered.
    NoAnswer,
    /// 404, 410, 484, 604.
    NotFound,
    /// Anything else.
    Failed(u16),
}

impl LegEnd {
    /// What the final answer to an INVITE means.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            486 | 600 => Self::Busy,
            403 | 603 => Self::Rejected,
            408 | 480 | 487 => Self::NoAnswer,
            404 | 410 | 484 | 604 => Self::NotFound,
            other => Self::Failed(other),
        }
    }
}

/// | state | left by |
/// |---|---|
/// | calling | a final answer |
/// | alerting | our final answer, or the caller's CANCEL |
/// | up | BYE of either side, 481, the session timer |
#[derive(Debug)]
pub(super) enum LegState {
    /// We sent INVITE.
    Calling(Calling),
    /// INVITE came and waits for us.
    Alerting(Alerting),
    /// Answered.
    Up(Box<Up>),
}

#[derive(Debug)]
pub(super) struct Calling {
    /// Of the INVITE that is out.
    pub(super) transaction: ClientTransaction,
    /// The INVITE that is out.
    pub(super) invite: SipRequest,
    /// Early dialogs by To tag: one per fork.
    pub(super) forks: BTreeMap<String, Dialog>,
    /// Other addresses that were followed.
    pub(super) redirects: u32,
    /// CANCEL was asked for: a late 2xx is answered by BYE.
    pub(super) cancelled: bool,
}

#[derive(Debug)]
pub(super) struct Alerting {
    pub(super) transaction: ServerTransaction,
    pub(super) invite: SipRequest,
    pub(super) dialog: Dialog,
}

#[derive(Debug)]
pub(super) struct Up {
    pub(super) dialog: Dialog,
    /// Our re-INVITE or UPDATE that is out.
    pub(super) ours: Option<ClientTransaction>,
    /// The far side's re-INVITE or UPDATE that waits for our answer.
    pub(super) theirs: Option<(ServerTransaction, SipRequest)>,
    /// What we last described, for a refresh that changes nothing.
    pub(super) description: Option<String>,
    pub(super) timer: Option<SessionTimer>,
    /// Where the far side sends its requests to.
    pub(super) contact: Option<SocketAddr>,
    /// The far side is to learn of another place then.
    pub(super) announce: Option<Instant>,
    /// An offer of ours crossed one of the far side; it may be made again then.
    pub(super) retry: Option<Instant>,
    /// The owner waits until nothing is under way.
    pub(super) wanted: bool,
    /// We began the call.
    pub(super) is_caller: bool,
    /// The far side lists UPDATE.
    pub(super) takes_update: bool,
    /// The far side's changes of the session.
    pub(super) changes: RateLimit,
    /// What the far side says besides: INFO, NOTIFY, OPTIONS, REFER.
    pub(super) asides: RateLimit,
    /// Our 2xx carried an offer; the ACK brings its answer.
    pub(super) offered_in_answer: bool,
}

/// RFC 4028.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionTimer {
    pub(super) interval: Duration,
    pub(super) we_refresh: bool,
    pub(super) due: Instant,
    /// Without a refresh the call ends then.
    pub(super) until: Instant,
}

/// Changes of the session that a far side may ask for within a time; beyond it 500 with Retry-After (RFC 3261 §14.2).
const CHANGES: (u32, Duration) = (5, Duration::from_secs(1));

/// Other requests of a far side within a time, digits among them; beyond it 503 with Retry-After.
const ASIDES: (u32, Duration) = (40, Duration::from_secs(1));

/// A refresh that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

impl SessionTimer {
    /// We refresh at half the time; without a refresh of the far side we end at a third, or 32 s, before the end (RFC 4028 §10).
    pub(super) fn new(interval: Duration, we_refresh: bool, now: Instant) -> Self {
        let margin = (interval / 3).min(Duration::from_secs(32));
        let until = now + interval - margin;
        Self { interval, we_refresh, due: if we_refresh { now + interval / 2 } else { until }, until }
    }

    /// Refreshed.
    pub(super) fn renewed(self, now: Instant) -> Self {
        Self::new(self.interval, self.we_refresh, now)
    }

    /// Not refreshed yet.
    pub(super) fn again(self, now: Instant) -> Self {
        Self { due: (now + RETRY).min(self.until), ..self }
    }
}

/// A leg.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) lease: LeaseId,
    /// Index of the server it goes through.
    pub(super) server: usize,
    pub(super) call_id: String,
    pub(super) state: LegState,
}

impl Up {
    /// A dialog that nothing is known of but itself.
    pub(super) fn new(dialog: Dialog) -> Self {
        Self {
            dialog,
            ours: None,
            theirs: None,
            description: None,
            timer: None,
            contact: None,
            announce: None,
            retry: None,
            wanted: false,
            is_caller: false,
            takes_update: false,
            changes: RateLimit::new(CHANGES.0, CHANGES.1),
            asides: RateLimit::new(ASIDES.0, ASIDES.1),
            offered_in_answer: false,
        }
    }

    /// When something is to be sent, or not to be waited for any longer.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.timer.map(|timer| timer.due), self.announce, self.retry].into_iter().flatten().min()
    }

    /// No change of the session is under way.
    pub(super) fn is_free(&self) -> bool {
        self.ours.is_none() && self.theirs.is_none()
    }
}

impl Leg {
    pub(super) fn up(&mut self) -> Option<&mut Up> {
        match &mut self.state {
            LegState::Up(up) => Some(up),
            LegState::Calling(_) | LegState::Alerting(_) => None,
        }
    }
}
