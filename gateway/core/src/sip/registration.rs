//! The registration of one user's tab at one SIP server: a lease on the browser's socket.
//!
//! Every REGISTER names a generation in the Contact URI (`hf-gen`). Whoever reads an older generation than its own beside
//! its own `+sip.instance` registers again at once; whoever reads a newer one has been replaced and stops. So neither a
//! frozen instance nor a late message can take a user back.

use super::address::{NameAddr, SipUri};
use super::message::SipResponse;
use super::names::Names;
use std::time::{Duration, Instant};

/// What is asked for, unless the server wants more (423).
pub(super) const EXPIRES: Duration = Duration::from_secs(90);
/// A refresh comes at this share of the time, give or take [`REFRESH_SPREAD`].
pub(super) const REFRESH_AT: f64 = 0.75;
/// See [`REFRESH_AT`].
pub(super) const REFRESH_SPREAD: f64 = 0.1;
/// After a takeover the binding is looked at this long after the registration.
pub(super) const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// First pause after a failure; it doubles up to [`MAX_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A user or password that the server refused is tried again this rarely.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Times in a row that an older generation is overwritten before it counts as a failure.
const MAX_OVERWRITES: u32 = 5;

/// What kind of REGISTER is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// With our Contact.
    Register {
        /// For how long.
        expires: Duration,
    },
    /// Without a Contact: what is bound?
    Query,
}

/// What became of it, told once per change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// Calls to the user arrive here.
    Yes,
    /// They don't, for this reason, which is stable for programs.
    No(&'static str),
    /// A newer instance of this tab has taken the binding; nothing is sent any more.
    Superseded,
}

/// | state | left by |
/// |---|---|
/// | waiting | its time, or [`Registration::start`] |
/// | asked | an answer |
/// | bound | its time: a look at the binding, then a refresh |
/// | stopped | nothing |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { at: Option<Instant> },
    Asked(Ask),
    Bound(Times),
    Stopped,
}

/// Of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    refresh: Instant,
    expires: Instant,
}

/// See the module. The owner sends what [`Registration::next_ask`] says, and owes an answer for each.
#[derive(Debug)]
pub struct Registration {
    instance: String,
    generation: u64,
    state: State,
    looks: Vec<Instant>,
    ask: Option<Ask>,
    wanted: Duration,
    pause: Duration,
    overwrites: u32,
    told: Option<Registered>,
    news: Option<Registered>,
    /// Of the binding that was last made.
    bound: Option<Times>,
    refresh_after_query: bool,
}

impl Registration {
    /// Not registered. `instance` is the value of `+sip.instance` without quotes.
    #[must_use]
    pub fn new(instance: String, generation: u64) -> Self {
        Self {
            instance,
            generation,
            state: State::Waiting { at: None },
            looks: Vec::new(),
            ask: None,
            wanted: EXPIRES,
            pause: FIRST_PAUSE,
            overwrites: 0,
            told: None,
            news: None,
            bound: None,
            refresh_after_query: false,
        }
    }

    /// Registers. After a `takeover` the binding is looked at twice more, since the earlier instance may yet speak.
    pub fn start(&mut self, takeover: bool, now: Instant) {
        if self.state == State::Stopped {
            return;
        }
        if takeover {
            self.looks = LOOKS.iter().rev().map(|pause| now + *pause).collect();
        }
        self.register();
    }

    /// Registers at a later time.
    pub fn start_at(&mut self, at: Instant) {
        if self.state != State::Stopped {
            self.state = State::Waiting { at: Some(at) };
        }
    }

    /// The server can't be reached: nothing is sent until [`Registration::start`].
    pub fn suspend(&mut self, reason: &'static str) {
        if self.state != State::Stopped {
            self.state = State::Waiting { at: None };
            self.ask = None;
            self.tell(Registered::No(reason));
        }
    }

    /// True while calls to the user arrive here.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.told == Some(Registered::Yes)
    }

    /// True if there may be a binding that [`Registration::start`] made and a sign-off should remove.
    #[must_use]
    pub fn may_be_bound(&self) -> bool {
        !matches!(self.state, State::Stopped | State::Waiting { at: None })
    }

    /// True if there is a binding and nothing is asked.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// Looks whether the binding is still there.
    pub fn look(&mut self) {
        if self.is_settled() {
            self.ask(Ask::Query);
        }
    }

    fn register(&mut self) {
        self.refresh_after_query = false;
        self.ask(Ask::Register { expires: self.wanted });
    }

    fn query_before_refresh(&mut self) {
        self.refresh_after_query = true;
        self.ask(Ask::Query);
    }

    fn ask(&mut self, ask: Ask) {
        self.state = State::Asked(ask);
        self.ask = Some(ask);
    }

    /// The REGISTER to send now.
    pub fn next_ask(&mut self) -> Option<Ask> {
        self.ask.take()
    }

    /// What to tell the user.
    pub fn next_news(&mut self) -> Option<Registered> {
        self.news.take()
    }

    fn tell(&mut self, registered: Registered) {
        if self.told != Some(registered) {
            self.told = Some(registered);
            self.news = Some(registered);
        }
    }

    /// The final answer to what was asked, after any challenge was answered. Tells whether a binding that should be there was,
    /// if that was asked for.
    pub fn handle_response(&mut self, response: &SipResponse, names: &mut Names, now: Instant) -> Option<bool> {
        let State::Asked(ask) = self.state else { return None };
        let looked = ask == Ask::Query && self.bound.is_some_and(|times| now < times.expires);
        match response.status {
            200..300 => {
                let found = self.handle_bindings(ask, response.headers.all("Contact"), names, now);
                return looked.then_some(found);
            }
            423 => self.handle_too_brief(response, names, now),
            401 | 407 | 403 => self.fail("registration-refused", REFUSED_PAUSE, now),
            404 => self.fail("unknown-user", REFUSED_PAUSE, now),
            _ => {
                let wanted = response.headers.get("Retry-After").and_then(seconds);
                self.fail_for_now("registration-failed", wanted, names, now);
            }
        }
        None
    }

    /// No answer came, or the request did not get out.
    pub fn handle_failed(&mut self, names: &mut Names, now: Instant) {
        if matches!(self.state, State::Asked(_)) {
            self.fail_for_now("no-answer-of-the-sip-server", None, names, now);
        }
    }

    /// True if there is one of this tab.
    fn handle_bindings<'a>(
        &mut self,
        ask: Ask,
        contacts: impl Iterator<Item = &'a str>,
        names: &mut Names,
        now: Instant,
    ) -> bool {
        self.pause = FIRST_PAUSE;
        let bound =
            NameAddr::list(contacts).into_iter().find(|contact| contact.param("+sip.instance") == Some(&self.instance));
        let generation = bound.as_ref().and_then(generation_of).unwrap_or(0);
        let is_there = bound.is_some();
        match (bound, generation.cmp(&self.generation)) {
            (Some(_), std::cmp::Ordering::Greater) => {
                self.state = State::Stopped;
                self.tell(Registered::Superseded);
            }
            (Some(contact), std::cmp::Ordering::Equal) if !self.refresh_after_query => {
                self.overwrites = 0;
                let granted = contact.param("expires").and_then(seconds).unwrap_or(self.wanted);
                self.handle_bound(ask, granted, names, now);
            }
            // A query that found our binding, when it is time to refresh it.
            (Some(_), std::cmp::Ordering::Equal) => self.register(),
            _ if self.overwrites >= MAX_OVERWRITES => {
                self.overwrites = 0;
                self.fail_for_now("registration-contested", None, names, now);
            }
            _ => {
                self.overwrites += 1;
                self.register();
            }
        }
        is_there
    }

    fn handle_bound(&mut self, ask: Ask, granted: Duration, names: &mut Names, now: Instant) {
        let granted = granted.max(Duration::from_secs(1));
        let share = REFRESH_AT + REFRESH_SPREAD * (2.0 * names.fraction() - 1.0);
        let fresh = Times { refresh: now + granted.mul_f64(share), expires: now + granted };
        // A look at the binding does not put its refresh off.
        let times = self.bound.filter(|_| ask == Ask::Query).unwrap_or(fresh);
        self.bound = Some(times);
        self.state = State::Bound(times);
        self.tell(Registered::Yes);
    }

    /// 423 names the least it takes (RFC 3261 §10.2.8).
    fn handle_too_brief(&mut self, response: &SipResponse, names: &mut Names, now: Instant) {
        match response.headers.get("Min-Expires").and_then(seconds) {
            Some(least) if least > self.wanted => {
                self.wanted = least;
                self.register();
            }
            _ => self.fail_for_now("registration-failed", None, names, now),
        }
    }

    fn fail(&mut self, reason: &'static str, pause: Duration, now: Instant) {
        self.tell(Registered::No(reason));
        self.state = State::Waiting { at: Some(now + pause) };
    }

    fn fail_for_now(&mut self, reason: &'static str, wanted: Option<Duration>, names: &mut Names, now: Instant) {
        let pause = self.pause.mul_f64(0.5 + names.fraction());
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        self.fail(reason, wanted.unwrap_or_default().max(pause), now);
    }

    /// When it wants to be driven, and why. `held` as in [`Registration::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self, held: bool) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Waiting { at } if !held => at.map(|at| (at, "registration retry")),
            State::Bound(times) if held => Some((times.expires, "registration end")),
            State::Bound(times) => {
                let refresh = (times.refresh, "registration refresh");
                Some(self.looks.last().map_or(refresh, |look| refresh.min((*look, "registration look"))))
            }
            State::Waiting { .. } | State::Asked(_) | State::Stopped => None,
        }
    }

    /// Acts on what is due. `held` while the browser's socket is not there: then nothing is refreshed.
    pub fn handle_timeout(&mut self, held: bool, now: Instant) {
        match self.state {
            State::Waiting { at: Some(at) } if at <= now && !held => match self.bound {
                // Meanwhile another instance may have taken the user.
                Some(times) if times.expires <= now => self.query_before_refresh(),
                Some(_) | None => self.register(),
            },
            State::Bound(times) if held && times.expires <= now => {
                self.state = State::Waiting { at: Some(now) };
                self.tell(Registered::No("not-refreshed"));
            }
            State::Bound(times) if !held && times.refresh <= now => self.query_before_refresh(),
            State::Bound(_) if !held && self.looks.last().is_some_and(|look| *look <= now) => {
                self.looks.pop();
                self.ask(Ask::Query);
            }
            State::Waiting { .. } | State::Asked(_) | State::Bound(_) | State::Stopped => {}
        }
    }
}

fn generation_of(contact: &NameAddr) -> Option<u64> {
    SipUri::parse(&contact.uri).ok()?.param("hf-gen")?.parse().ok()
}

/// The seconds at the start of a value; Retry-After may carry a comment behind them.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim().split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse::<u32>().ok().map(|seconds| Duration::from_secs(u64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::test_clock;
    use crate::sip::{Headers, Method, SipRequest};

    const INSTANCE: &str = "<urn:uuid:1>";

    fn names() -> Names {
        Names::new(&mut |bytes: &mut [u8]| bytes.fill(7))
    }

    fn answer(status: u16, fields: &[(&str, &str)]) -> SipResponse {
        let request =
            SipRequest { method: Method::Register, uri: "sip:d".into(), headers: Headers::default(), body: None };
        let mut response = SipResponse::to(&request, status, "");
        fields.iter().for_each(|(name, value)| response.headers.push(name, *value));
        response
    }

    fn bound(generation: u64) -> SipResponse {
        let own = format!("<sip:u@10.0.0.1;hf-gen={generation}>;+sip.instance=\"{INSTANCE}\";expires=90");
        answer(200, &[("Contact", "<sip:u@desk-phone>;expires=3600"), ("Contact", &own)])
    }

    fn registered(now: Instant) -> Registration {
        let mut registration = Registration::new(INSTANCE.into(), 5);
        registration.start(false, now);
        assert_eq!(registration.next_ask(), Some(Ask::Register { expires: EXPIRES }));
        registration.handle_response(&bound(5), &mut names(), now);
        assert_eq!(registration.next_news(), Some(Registered::Yes));
        registration
    }

    #[test]
    fn a_refresh_asks_first_and_comes_at_three_quarters() {
        let now = test_clock();
        let mut registration = registered(now);
        let (at, why) = registration.poll_timeout(false).expect("a refresh");
        assert_eq!(why, "registration refresh");
        assert!((58..77).contains(&(at - now).as_secs()), "{:?}", at - now);
        registration.handle_timeout(false, at);
        assert_eq!(registration.next_ask(), Some(Ask::Query));
        registration.handle_response(&bound(5), &mut names(), at);
        assert_eq!(registration.next_ask(), Some(Ask::Register { expires: EXPIRES }));
        registration.handle_response(&bound(5), &mut names(), at);
        assert_eq!((registration.next_news(), registration.is_bound()), (None, true));
    }

    #[test]
    fn a_newer_generation_stops_it_for_good() {
        let now = test_clock();
        let mut registration = registered(now);
        let (at, _) = registration.poll_timeout(false).expect("a refresh");
        registration.handle_timeout(false, at);
        assert_eq!(registration.next_ask(), Some(Ask::Query));
        registration.handle_response(&bound(6), &mut names(), at);
        assert_eq!(registration.next_news(), Some(Registered::Superseded));
        registration.start(false, at);
        assert_eq!((registration.next_ask(), registration.poll_timeout(false)), (None, None));
    }

    #[test]
    fn an_older_generation_is_overwritten_at_once() {
        let now = test_clock();
        let mut registration = Registration::new(INSTANCE.into(), 5);
        registration.start(true, now);
        assert!(registration.next_ask().is_some());
        registration.handle_response(&bound(5), &mut names(), now);
        let (at, why) = registration.poll_timeout(false).expect("a look");
        assert_eq!((at - now, why), (LOOKS[0], "registration look"));
        registration.handle_timeout(false, at);
        assert_eq!(registration.next_ask(), Some(Ask::Query));
        registration.handle_response(&bound(4), &mut names(), at);
        assert_eq!(registration.next_ask(), Some(Ask::Register { expires: EXPIRES }));
    }

    #[test]
    fn nothing_is_refreshed_without_the_browser() {
        let now = test_clock();
        let mut registration = registered(now);
        let (at, why) = registration.poll_timeout(true).expect("the end");
        assert_eq!((at - now, why), (EXPIRES, "registration end"));
        registration.handle_timeout(true, at);
        assert_eq!(registration.next_news(), Some(Registered::No("not-refreshed")));
        assert_eq!((registration.next_ask(), registration.poll_timeout(true)), (None, None));
    }

    #[test]
    fn the_server_decides_how_long_and_how_soon_again() {
        let now = test_clock();
        let mut registration = Registration::new(INSTANCE.into(), 5);
        registration.start(false, now);
        assert!(registration.next_ask().is_some());
        registration.handle_response(&answer(423, &[("Min-Expires", "600")]), &mut names(), now);
        assert_eq!(registration.next_ask(), Some(Ask::Register { expires: Duration::from_secs(600) }));
        registration.handle_response(&answer(503, &[("Retry-After", "20 (maintenance)")]), &mut names(), now);
        assert_eq!(registration.next_news(), Some(Registered::No("registration-failed")));
        let (at, _) = registration.poll_timeout(false).expect("a retry");
        assert_eq!(at - now, Duration::from_secs(20));
        registration.handle_timeout(false, at);
        assert!(registration.next_ask().is_some());
    }
}
