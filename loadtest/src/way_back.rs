//! The way of the users of a lost instance to another, step by step. Pure.

use crate::report::Quantiles;
use crate::user::Now;
use serde::Serialize;
use std::time::Duration;

/// One user on its way from a lost instance to a new one.
#[derive(Debug)]
pub struct Failover {
    /// The kill, or the first user's notice of the loss.
    pub since: Now,
    /// Its call ended with the instance.
    pub in_call: bool,
    noticed: Now,
    asked: Option<Now>,
    answered: Option<Now>,
    attached: Option<Now>,
}

/// All steps of all users that came back.
#[derive(Debug, Default)]
pub struct WayBack {
    notice: Vec<Duration>,
    window: Vec<Duration>,
    sign_in: Vec<Duration>,
    attach: Vec<Duration>,
    call: Vec<Duration>,
    last: Option<Now>,
}

/// The steps of the way back, as a report shows them: each from the end of the one before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// From the kill to the user's notice.
    pub notice: Option<Quantiles>,
    /// To its first request: the window that the instance told it.
    pub window: Option<Quantiles>,
    /// To its 201, refusals and further tries included.
    pub sign_in: Option<Quantiles>,
    /// To `attached`.
    pub attach: Option<Quantiles>,
    /// To the first packet of a new call: SDP, ICE and DTLS.
    pub call: Option<Quantiles>,
}

impl Failover {
    /// A user noticed the loss.
    #[must_use]
    pub fn new(since: Now, noticed: Now) -> Self {
        Self { since, in_call: false, noticed, asked: None, answered: None, attached: None }
    }

    /// It asks to sign in.
    pub fn ask(&mut self, at: Now) {
        self.asked.get_or_insert(at);
    }

    /// It has a session again.
    pub fn answer(&mut self, at: Now) {
        self.answered = Some(at);
    }

    /// True once it is attached.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.attached.is_some()
    }
}

impl WayBack {
    /// A user is signed in again.
    pub fn attach(&mut self, failover: &mut Failover, at: Now) {
        let asked = failover.asked.unwrap_or(failover.noticed);
        let answered = failover.answered.unwrap_or(asked);
        self.notice.push(failover.noticed.saturating_sub(failover.since));
        self.window.push(asked.saturating_sub(failover.noticed));
        self.sign_in.push(answered.saturating_sub(asked));
        self.attach.push(at.saturating_sub(answered));
        self.last = self.last.max(Some(at));
        failover.attached = Some(at);
    }

    /// The first packet of its new call came.
    pub fn hear(&mut self, failover: &Failover, at: Now) {
        self.call.extend(failover.attached.map(|attached| at.saturating_sub(attached)));
    }

    /// When the last user was back.
    #[must_use]
    pub fn last(&self) -> Option<Now> {
        self.last
    }

    /// For the report; `None` if nobody came back.
    #[must_use]
    pub fn steps(&self) -> Option<Steps> {
        self.last?;
        Some(Steps {
            notice: Quantiles::of(&self.notice),
            window: Quantiles::of(&self.window),
            sign_in: Quantiles::of(&self.sign_in),
            attach: Quantiles::of(&self.attach),
            call: Quantiles::of(&self.call),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_measured_from_the_end_of_the_one_before() {
        let ms = Duration::from_millis;
        let (mut way, mut failover) = (WayBack::default(), Failover::new(ms(100), ms(103)));
        failover.ask(ms(110));
        failover.ask(ms(300));
        failover.answer(ms(320));
        way.attach(&mut failover, ms(321));
        way.hear(&failover, ms(351));
        let steps = way.steps().expect("one came back");
        let p50 = |step: Option<Quantiles>| step.map(|step| step.p50);
        assert_eq!([steps.notice, steps.window, steps.sign_in].map(p50), [Some(3.0), Some(7.0), Some(210.0)]);
        assert_eq!([steps.attach, steps.call].map(p50), [Some(1.0), Some(30.0)]);
        assert_eq!((way.last(), failover.is_over()), (Some(ms(321)), true));
    }
}
