//! The way out: draining, leaving, and making place for the sake of balance.

use super::{Instance, Key, millis};
use crate::command::Command;
use crate::drain::Step;
use crate::random::Random;
use crate::session::Session;
use crate::ticket::{self, Ticket};
use gateway_protocol::CloseCode;
use gateway_protocol::message::{EndReason, Event};
use std::time::{Duration, Instant};

/// A client is asked at most once in this time to make place for the sake of balance, wherever it is.
const STAY: Duration = Duration::from_secs(3_600);
/// Part of the places that is made free at once, as a divisor.
const SHARE: u32 = 100;

impl<R: Random> Instance<R> {
    /// Asks some idle clients to sign in elsewhere, and says how many: not more than wanted or than a hundredth of the places,
    /// none who was asked within the hour, and nobody while draining, which moves everybody.
    pub fn make_place(&mut self, wanted: u32, now: Instant) -> u32 {
        self.notice_freeze(now);
        if self.drain.is_draining() {
            return 0;
        }
        let unix = self.unix(now);
        let may_go = |session: &Session| {
            let asked = session.place().earlier.moved;
            session.is_idle() && session.is_proven() && asked.is_none_or(|at| at + STAY.as_secs() <= unix)
        };
        let most = wanted.min((self.settings.limits.sessions / SHARE).max(1)) as usize;
        let chosen: Vec<Key> =
            self.sessions.iter().filter(|(_, session)| may_go(session)).map(|(key, _)| *key).take(most).collect();
        for key in &chosen {
            self.with(*key, |session, _| session.note_moved(unix));
            self.give_ticket(*key, now);
        }
        chosen.len() as u32
    }

    /// Takes no new sessions, moves idle clients elsewhere, ends the calls that are left at the deadline.
    pub fn drain(&mut self, now: Instant) {
        self.notice_freeze(now);
        if self.drain.start(now + self.settings.drain_deadline) {
            self.announce_drain(now);
        }
    }

    /// Serves again after [`Instance::drain`].
    pub fn cancel_drain(&mut self, now: Instant) {
        self.notice_freeze(now);
        if self.drain.cancel() {
            self.refresh_services();
        }
    }

    /// The process is to end: announces it, waits for calls as long as the grace allows, and at least for the notice, then
    /// closes everything and says [`Command::Exit`]. Told again, it does so at once.
    pub fn leave(&mut self, now: Instant) {
        self.notice_freeze(now);
        if self.drain.is_leaving() {
            self.drain.leave(now);
            return;
        }
        // Calls of a drain keep the deadline that they were told.
        let drain = self.drain.remaining(now).unwrap_or(Duration::MAX);
        let grace = self.settings.shutdown_grace.min(drain);
        if self.drain.leave(now + grace.max(self.settings.drain_notice)) {
            self.announce_drain(now);
        }
    }

    /// Nobody is left to wait for: those who were told to go have the notice to do it.
    pub(super) fn leave_early(&mut self, now: Instant) {
        let awaited = || self.drain.is_moving(now) || self.sessions.values().any(Session::has_calls);
        if self.drain.is_leaving() && !awaited() {
            self.drain.leave(now + self.settings.drain_notice);
        }
    }

    fn announce_drain(&mut self, now: Instant) {
        for key in self.keys() {
            self.tell_draining(key, now);
        }
        // The event has said it; whoever attaches from now on reads it in the snapshot.
        self.around.services = vec![self.calls_service()];
        for key in self.keys() {
            self.queue_if_idle(key, now);
        }
    }

    fn tell_draining(&mut self, key: Key, now: Instant) {
        let Some(remaining) = self.drain.remaining(now) else { return };
        let deadline_ms = millis(remaining);
        self.with(key, |session, _| session.tell(Event::Draining { deadline_ms }));
    }

    pub(super) fn greet_when_draining(&mut self, key: Key, now: Instant) {
        if self.drain.is_draining() {
            self.tell_draining(key, now);
            self.queue_if_idle(key, now);
        }
    }

    pub(super) fn queue_if_idle(&mut self, key: Key, now: Instant) {
        if self.sessions.get(&key).is_some_and(Session::is_idle) {
            self.drain.queue(key, now);
        }
    }

    pub(super) fn handle_drain_step(&mut self, step: Step<Key>, now: Instant) {
        match step {
            Step::Move(key) => self.move_away(key, now),
            Step::EndCalls => {
                for key in self.keys() {
                    self.with(key, |session, _| session.end_calls(EndReason::Drained, now));
                    self.queue_if_idle(key, now);
                }
            }
            Step::Leave => self.close_everything(now),
        }
    }

    fn move_away(&mut self, key: Key, now: Instant) {
        if self.sessions.get(&key).is_some_and(Session::is_idle) {
            self.give_ticket(key, now);
            self.drain.moved(key, now);
        }
    }

    fn give_ticket(&mut self, key: Key, now: Instant) {
        let expires = self.unix(now) + ticket::LIFE.as_secs();
        let Some(session) = self.sessions.get(&key) else { return };
        let ticket = Ticket {
            user: session.place().user.clone(),
            client_id: session.place().client_id.clone(),
            instance_id: self.settings.instance_id.clone(),
            boot_id: self.settings.boot_id.clone(),
            expires,
            generation: session.place().earlier.generation,
            sip_password: session.place().earlier.sip_password.clone(),
            moved: session.place().earlier.moved,
        };
        let ticket = ticket.seal(&self.settings.ring, self.random.bytes());
        self.with(key, |session, _| session.tell(Event::Move { ticket }));
    }

    fn close_everything(&mut self, now: Instant) {
        for key in self.keys() {
            self.with(key, |session, _| session.end_calls(EndReason::Drained, now));
            self.end(key, CloseCode::Restart, "restarting");
        }
        while let Some((socket, _)) = self.unattached.pop_first() {
            self.attach_timers.set(socket, None);
            self.close(socket, CloseCode::Restart, "restarting");
        }
        self.commands.push_back(Command::Exit);
    }
}
