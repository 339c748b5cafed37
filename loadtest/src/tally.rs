//! Counts what became of every user and call: facts in, figures out. Pure; the shell says when.

use crate::failures::{Failures, Moment};
use crate::report::{Quantiles, Report};
use crate::user::{LossKind, Now, Told};
use crate::way_back::{Failover, WayBack};
use gateway_protocol::message::EndReason;
use gateway_protocol::{BootId, CallId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A loss noticed within this time after a kill is that kill's.
const KILL_SHADOW: Duration = Duration::from_secs(10);
/// A loss from outside is dated by the first user's notice; a balancer may have told of it so much earlier.
const NOTICE: Duration = Duration::from_millis(500);

/// Some counts of a running crowd.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Users that ever were signed in.
    pub signed_in: u64,
    /// First attaches to a session, moves and returns included.
    pub attached: u64,
    /// Users that lost their instance and are not signed in again.
    pub waiting: u64,
    /// Users signed in again after a loss, each loss counted.
    pub failovers: u64,
    /// Users without service, for whatever reason.
    pub unavailable: u64,
    /// Calls that were heard, each counted once.
    pub heard: u64,
    /// Requests after the sessions.
    pub requests: u64,
    /// Calls that ended without a hang-up.
    pub calls_lost: u64,
    /// Calls that ended although instance and media lived.
    pub falsely_lost: u64,
}

/// Something that happened to a user.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// It began to sign in.
    Arrived,
    /// Its application was told.
    Told(Told),
    /// The first packet of a call came back.
    FirstPacket(CallId),
    /// An answer of the instance that keeps the session.
    Answered,
    /// A request had no usable answer.
    RequestFailed {
        /// When it was asked.
        asked: Now,
        /// Why.
        cause: String,
    },
    /// Another instance than the session's answered: right if that was lost, misrouted if not.
    AnsweredElsewhere {
        /// That of the session.
        boot: BootId,
    },
    /// A sign-in had its 201.
    SignInAnswered {
        /// When it was asked.
        asked: Now,
    },
    /// A sign-in had something else, or nothing.
    SignInFailed {
        /// When it was asked.
        asked: Now,
        /// What.
        cause: String,
    },
    /// From outside: an instance was killed.
    Killed,
}

/// What is known of one user.
#[derive(Debug, Default)]
struct Known {
    arrived: Option<Now>,
    boot: Option<BootId>,
    ever_signed_in: bool,
    unavailable: bool,
    failover: Option<Failover>,
}

/// All counts of a run.
#[derive(Debug, Default)]
pub struct Tally {
    users: BTreeMap<usize, Known>,
    /// First notice of each instance's loss, or its kill.
    lost_boots: BTreeMap<String, Now>,
    kills: Vec<Now>,
    signed_in: u64,
    attached: u64,
    waiting: u64,
    unavailable: u64,
    heard: u64,
    to_signed_in: Vec<Duration>,
    to_media: Vec<Duration>,
    sign_in: Vec<Duration>,
    failovers: u64,
    calls: u64,
    calls_failed: u64,
    calls_lost: u64,
    calls_drained: u64,
    falsely_lost: u64,
    refused: u64,
    requests: u64,
    failures: Failures,
    sign_in_failures: Failures,
    /// When requests after sessions of a run were answered by another.
    elsewhere: BTreeMap<String, Vec<Now>>,
    way_back: WayBack,
}

impl Tally {
    /// Takes one fact about one user.
    pub fn note(&mut self, user: usize, fact: Fact, at: Now) {
        match fact {
            Fact::Killed => self.kills.push(at),
            Fact::Arrived => self.known(user).arrived = Some(at),
            Fact::Answered => self.requests += 1,
            Fact::RequestFailed { asked, cause } => {
                self.requests += 1;
                self.failures.count(Moment::of(asked, at, &self.kills), cause);
            }
            Fact::AnsweredElsewhere { boot } => {
                self.requests += 1;
                self.elsewhere.entry(boot.to_string()).or_default().push(at);
            }
            Fact::SignInAnswered { asked } => {
                if let Some(failover) = self.open_failover(user) {
                    failover.ask(asked);
                    failover.answer(at);
                }
            }
            Fact::SignInFailed { asked, cause } => {
                self.sign_in_failures.count(Moment::of(asked, at, &self.kills), cause);
                if let Some(failover) = self.open_failover(user) {
                    failover.ask(asked);
                }
            }
            Fact::FirstPacket(_) => {
                self.heard += 1;
                self.note_media(user, at);
            }
            Fact::Told(told) => self.note_told(user, told, at),
        }
    }

    fn known(&mut self, user: usize) -> &mut Known {
        self.users.entry(user).or_default()
    }

    fn open_failover(&mut self, user: usize) -> Option<&mut Failover> {
        self.known(user).failover.as_mut().filter(|failover| !failover.is_over())
    }

    fn note_service(&mut self, user: usize, told: &Told) {
        let unavailable = match told {
            Told::ServiceUnavailable { .. } => true,
            Told::ServiceAvailable => false,
            _ => return,
        };
        let was = std::mem::replace(&mut self.known(user).unavailable, unavailable);
        self.unavailable = self.unavailable + u64::from(unavailable) - u64::from(was);
    }

    fn note_told(&mut self, user: usize, told: Told, at: Now) {
        self.note_service(user, &told);
        match told {
            Told::SignedIn { boot_id, .. } => self.note_signed_in(user, boot_id, at),
            Told::ServiceUnavailable { reason: LossKind::InstanceLost | LossKind::InstanceSilent } => {
                self.note_loss(user, at);
            }
            Told::Ended { reason, .. } => self.note_ended(user, reason),
            Told::FalselyLost { .. } => self.falsely_lost += 1,
            Told::Settled { method: "start_call", outcome, .. } => match outcome {
                crate::user::Settlement::Ok => self.calls += 1,
                crate::user::Settlement::Failed | crate::user::Settlement::Unknown => self.calls_failed += 1,
            },
            Told::Refused { .. } => self.refused += 1,
            Told::ServiceAvailable => self.note_preserved(user),
            Told::ServiceUnavailable { .. }
            | Told::CallState { .. }
            | Told::IncomingCall { .. }
            | Told::CallsResynced { .. }
            | Told::MediaStalled { .. }
            | Told::Settled { .. }
            | Told::SessionRecovered { .. } => {}
        }
    }

    fn note_ended(&mut self, user: usize, reason: EndReason) {
        match reason {
            EndReason::LocalHangUp | EndReason::RemoteHangUp | EndReason::PeerClosed => {}
            EndReason::InstanceLost => {
                self.calls_lost += 1;
                if let Some(failover) = &mut self.known(user).failover {
                    failover.in_call = true;
                }
            }
            EndReason::Drained => {
                self.calls_lost += 1;
                self.calls_drained += 1;
            }
            _ => self.calls_lost += 1,
        }
    }

    /// A user notices that its instance is lost; time counts from the kill, or from the first user's notice.
    fn note_loss(&mut self, user: usize, at: Now) {
        let Some(boot) = self.known(user).boot.clone() else { return };
        let kill = self.kills.iter().rev().copied().find(|kill| *kill <= at && at - *kill < KILL_SHADOW);
        let since = *self.lost_boots.entry(boot.to_string()).or_insert(kill.unwrap_or(at));
        let known = self.known(user);
        if known.failover.as_ref().is_none_or(Failover::is_over) {
            known.failover = Some(Failover::new(since, at));
            self.waiting += 1;
        }
    }

    /// Service is back on the same session: no loss after all.
    fn note_preserved(&mut self, user: usize) {
        if self.known(user).failover.take_if(|failover| !failover.is_over()).is_some() {
            self.waiting -= 1;
        }
    }

    fn note_signed_in(&mut self, user: usize, boot: BootId, at: Now) {
        let known = self.known(user);
        known.boot = Some(boot);
        let first = !std::mem::replace(&mut known.ever_signed_in, true);
        let arrived = known.arrived.filter(|_| first);
        let back = known.failover.take_if(|failover| !failover.is_over());
        self.signed_in += u64::from(first);
        self.attached += 1;
        self.sign_in.extend(arrived.map(|arrived| at.saturating_sub(arrived)));
        if let Some(mut failover) = back {
            self.waiting -= 1;
            self.failovers += 1;
            self.to_signed_in.push(at.saturating_sub(failover.since));
            self.way_back.attach(&mut failover, at);
            self.known(user).failover = Some(failover).filter(|failover| failover.in_call);
        }
    }

    fn note_media(&mut self, user: usize, at: Now) {
        if let Some(failover) = self.known(user).failover.take_if(|failover| failover.is_over()) {
            self.way_back.hear(&failover, at);
            self.to_media.push(at.saturating_sub(failover.since));
        }
    }

    /// Users that lost their instance and are not signed in again.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let waits = |known: &&Known| known.failover.as_ref().is_some_and(|failover| !failover.is_over());
        count(self.users.values().filter(waits).count())
    }

    /// Some counts, cheaply.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            signed_in: self.signed_in,
            attached: self.attached,
            waiting: self.waiting,
            requests: self.requests,
            failovers: self.failovers,
            calls_lost: self.calls_lost,
            falsely_lost: self.falsely_lost,
            unavailable: self.unavailable,
            heard: self.heard,
        }
    }

    /// One line for now.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "users {} signed in {} waiting {} recovered {} | calls {} failed {} lost {} (falsely {}) | requests {} failed {} misrouted {}",
            self.users.len(),
            self.signed_in,
            self.waiting,
            self.failovers,
            self.calls,
            self.calls_failed,
            self.calls_lost,
            self.falsely_lost,
            self.requests,
            self.failures.total(),
            self.elsewhere().1,
        )
    }

    /// From the first kill until the last user was back.
    #[must_use]
    pub fn recovery(&self) -> Option<(Now, Now)> {
        Some((*self.kills.first()?, self.way_back.last()?))
    }

    /// Requests answered elsewhere because their session's instance was lost, and although it was not.
    fn elsewhere(&self) -> (u64, u64) {
        let is_right = |boot: &str, at: Now| self.lost_boots.get(boot).is_some_and(|lost| *lost <= at + NOTICE);
        let all = self.elsewhere.iter().flat_map(|(boot, times)| times.iter().map(move |at| is_right(boot, *at)));
        let right = count(all.clone().filter(|right| *right).count());
        (right, count(all.count()) - right)
    }

    /// Puts the figures into the report.
    pub fn fill(&self, report: &mut Report) {
        report.users = Some(count(self.users.len()));
        report.signed_in = Some(self.signed_in);
        report.recovered = Some(self.failovers);
        report.never_recovered = Some(self.waiting);
        report.calls = Some(self.calls);
        report.calls_failed = Some(self.calls_failed);
        report.calls_lost = Some(self.calls_lost);
        report.calls_drained = Some(self.calls_drained);
        report.falsely_lost = Some(self.falsely_lost);
        report.requests = Some(self.requests);
        let (told_gone, misrouted) = self.elsewhere();
        report.requests_told_gone = Some(told_gone);
        report.requests_failed = Some(self.failures.total());
        report.requests_failed_by = Some(self.failures.clone());
        report.misrouted = Some(misrouted);
        report.sign_ins_failed_by = Some(self.sign_in_failures.clone());
        report.way_back_ms = self.way_back.steps();
        report.kill_to_signed_in_ms = Quantiles::of(&self.to_signed_in);
        report.kill_to_media_ms = Quantiles::of(&self.to_media);
        report.sign_in_ms = Quantiles::of(&self.sign_in);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_protocol::InstanceId;

    fn ms(ms: u64) -> Now {
        Duration::from_millis(ms)
    }

    fn signed_in(boot: &str) -> Fact {
        let instance_id = InstanceId::parse("gw").expect("an id");
        Fact::Told(Told::SignedIn { instance_id, boot_id: BootId::parse(boot).expect("an id") })
    }

    fn ended(reason: EndReason) -> Fact {
        Fact::Told(Told::Ended { call: CallId::parse("c").expect("an id"), reason })
    }

    #[test]
    fn a_kill_is_measured_from_the_kill_to_sign_in_and_to_media() {
        let mut tally = Tally::default();
        tally.note(0, Fact::Arrived, ms(0));
        tally.note(0, signed_in("a"), ms(5));
        tally.note(usize::MAX, Fact::Killed, ms(1000));
        tally.note(0, Fact::Told(Told::ServiceUnavailable { reason: LossKind::InstanceLost }), ms(1009));
        tally.note(0, ended(EndReason::InstanceLost), ms(1010));
        assert_eq!((tally.waiting, tally.failovers), (1, 0));
        tally.note(0, signed_in("b"), ms(1040));
        tally.note(0, Fact::FirstPacket(CallId::parse("c2").expect("an id")), ms(1090));
        let mut report = Report::default();
        tally.fill(&mut report);
        assert_eq!((report.recovered, report.never_recovered, report.calls_lost), (Some(1), Some(0), Some(1)));
        assert_eq!(report.kill_to_signed_in_ms.map(|q| q.max), Some(40.0));
        assert_eq!(report.kill_to_media_ms.map(|q| q.max), Some(90.0));
        assert_eq!(report.sign_in_ms.map(|q| q.max), Some(5.0));
    }

    #[test]
    fn a_loss_from_outside_is_measured_from_the_first_notice() {
        let mut tally = Tally::default();
        for user in 0..2 {
            tally.note(user, signed_in("a"), ms(5));
        }
        let lost = Fact::Told(Told::ServiceUnavailable { reason: LossKind::InstanceLost });
        tally.note(0, lost.clone(), ms(100));
        tally.note(1, lost, ms(130));
        tally.note(1, signed_in("b"), ms(150));
        assert_eq!((tally.waiting, tally.to_signed_in.clone()), (1, vec![ms(50)]));
    }

    #[test]
    fn only_a_lost_instance_may_be_answered_for_by_another() {
        let elsewhere = |text| Fact::AnsweredElsewhere { boot: BootId::parse(text).expect("an id") };
        let mut tally = Tally::default();
        tally.note(0, signed_in("a"), ms(5));
        tally.note(1, signed_in("b"), ms(5));
        tally.note(0, elsewhere("a"), ms(10));
        tally.note(usize::MAX, Fact::Killed, ms(1000));
        tally.note(0, elsewhere("a"), ms(1001));
        tally.note(1, elsewhere("b"), ms(1001));
        tally.note(0, Fact::Told(Told::ServiceUnavailable { reason: LossKind::InstanceLost }), ms(1002));
        tally.note(1, Fact::RequestFailed { asked: ms(999), cause: "reset".to_owned() }, ms(1003));
        let mut report = Report::default();
        tally.fill(&mut report);
        assert_eq!((report.requests, report.requests_told_gone, report.misrouted), (Some(4), Some(1), Some(2)));
        let by = serde_json::to_value(report.requests_failed_by).expect("plain data");
        assert_eq!((report.requests_failed, by), (Some(1), serde_json::json!({"during": {"reset": 1}})));
    }

    #[test]
    fn a_hang_up_is_no_loss_and_a_preserved_call_no_failover() {
        let mut tally = Tally::default();
        tally.note(0, signed_in("a"), ms(5));
        tally.note(0, Fact::Told(Told::ServiceUnavailable { reason: LossKind::SignalingLost }), ms(10));
        tally.note(0, ended(EndReason::LocalHangUp), ms(20));
        assert_eq!((tally.calls_lost, tally.waiting, tally.failovers), (0, 0, 0));
    }
}
