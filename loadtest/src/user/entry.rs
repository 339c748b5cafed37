//! Signing in: `POST /v1/sessions` until it is answered, then the first attach. Also a move's second half, while the old
//! session still serves.

use super::{
    ANSWER_TIMEOUT, ATTACH_TIMEOUT, Answer, Command, LONGEST_WINDOW, Link, LinkStep, Now, OpId, Request, Session,
    SocketId, Told, VirtualUser,
};
use gateway_protocol::{Problem, ProblemType, ServerMessage, SignIn, SignedIn};
use rand::Rng;
use std::time::Duration;

/// One sign-in under way.
#[derive(Debug)]
pub(super) struct Entry {
    ticket: Option<String>,
    key: String,
    attempt: u32,
    step: EntryStep,
}

#[derive(Debug)]
enum EntryStep {
    /// To be asked at this time.
    Due(Now),
    /// Asked; given up at this time.
    Asked(OpId, Now),
    /// Signed in, the socket attaches until this time.
    Attaching(Box<Session>, SocketId, Now),
}

impl Entry {
    pub(super) fn asked(&self) -> Option<OpId> {
        match self.step {
            EntryStep::Asked(op, _) => Some(op),
            EntryStep::Due(_) | EntryStep::Attaching(..) => None,
        }
    }

    pub(super) fn socket(&self) -> Option<SocketId> {
        match self.step {
            EntryStep::Attaching(_, socket, _) => Some(socket),
            EntryStep::Due(_) | EntryStep::Asked(..) => None,
        }
    }

    pub(super) fn timeout(&self) -> Option<(Now, &'static str)> {
        Some(match self.step {
            EntryStep::Due(at) => (at, "sign in"),
            EntryStep::Asked(_, until) => (until, "sign-in timeout"),
            EntryStep::Attaching(_, _, until) => (until, "attach timeout"),
        })
    }
}

impl<R: Rng> VirtualUser<R> {
    /// Begins to sign in: spread over the window after a loss, at once at the first time.
    pub(super) fn enter(&mut self, ticket: Option<String>, now: Now) {
        let key = format!("{}-{:016x}", self.identity.client_id, self.random.random::<u64>());
        let first = self.previous.is_none() && ticket.is_none();
        let wait = if first { Duration::ZERO } else { self.jitter(self.window) };
        self.entry = Some(Entry { ticket, key, attempt: 0, step: EntryStep::Due(now + wait) });
    }

    /// Begins anew: what was signed in is not to be had any more.
    pub(super) fn restart_entry(&mut self, now: Now) {
        let attempt = self.entry.as_ref().map_or(0, |entry| entry.attempt);
        self.enter(None, now);
        if let Some(entry) = &mut self.entry {
            entry.attempt = attempt;
        }
        self.retry_entry(Duration::ZERO, now);
    }

    /// Asks again with the same key, not before `floor`.
    pub(super) fn retry_entry(&mut self, floor: Duration, now: Now) {
        let Some(attempt) = self.entry.as_mut().map(|entry| {
            entry.attempt += 1;
            entry.attempt
        }) else {
            return;
        };
        let window = (self.window * 2_u32.saturating_pow(attempt.min(8))).min(LONGEST_WINDOW.max(self.window));
        // Jitter above a floor that many users share stays short: the server has spread the floors already.
        let window = if floor.is_zero() { window } else { window.min(Duration::from_secs(1)) };
        let at = now + floor + self.jitter(window);
        if let Some(entry) = &mut self.entry {
            entry.step = EntryStep::Due(at);
        }
    }

    pub(super) fn entry_timeout(&mut self, now: Now) {
        match self.entry.as_ref().map(|entry| &entry.step) {
            Some(EntryStep::Due(at)) if *at <= now => self.ask_to_sign_in(now),
            Some(EntryStep::Asked(_, until)) if *until <= now => {
                self.next_base();
                self.retry_entry(Duration::ZERO, now);
            }
            Some(EntryStep::Attaching(_, socket, until)) if *until <= now => {
                let socket = *socket;
                self.commands.push_back(Command::Close(socket));
                self.restart_entry(now);
            }
            Some(EntryStep::Due(_) | EntryStep::Asked(..) | EntryStep::Attaching(..)) | None => {}
        }
    }

    fn ask_to_sign_in(&mut self, now: Now) {
        let op = self.op();
        let base = self.base();
        let Some(entry) = &mut self.entry else { return };
        entry.step = EntryStep::Asked(op, now + ANSWER_TIMEOUT);
        let (previous_token, capsule) = match (&entry.ticket, &self.previous) {
            (None, Some((token, capsule))) => (Some(token.clone()), Some(capsule.clone())),
            (Some(_), _) | (None, None) => (None, None),
        };
        let anonymous = entry.ticket.is_none() && capsule.is_none() && self.identity.jwt.is_none();
        let body = SignIn {
            client_id: self.identity.client_id.clone(),
            user: anonymous.then(|| self.identity.user.clone()),
            capsule,
            previous_token,
            move_ticket: entry.ticket.clone(),
            sip_password: None,
        };
        let request = Request {
            base,
            method: "POST",
            path: "/v1/sessions".to_owned(),
            bearer: self.identity.jwt.clone(),
            idempotency_key: Some(entry.key.clone()),
            avoid: self.avoid.clone(),
            body: Some(body),
        };
        self.commands.push_back(Command::Request(op, request));
    }

    pub(super) fn handle_sign_in(&mut self, answer: &Answer, now: Now) {
        match answer.status {
            201 => match serde_json::from_slice::<SignedIn>(&answer.body) {
                Ok(body) => self.handle_signed_in(body, now),
                Err(_) => self.retry_entry(Duration::ZERO, now),
            },
            400 | 401 | 403 | 409 | 410 | 413 => self.handle_refused(answer, now),
            _ => {
                self.next_base();
                self.retry_entry(answer.retry_after.unwrap_or_default(), now);
            }
        }
    }

    fn handle_signed_in(&mut self, body: SignedIn, now: Now) {
        self.window = Duration::from_millis(body.reconnect_window_ms.into());
        for alternate in &body.alternates {
            if !self.identity.bases.contains(alternate) && self.identity.bases.len() < 16 {
                self.identity.bases.push(alternate.clone());
            }
        }
        let session = Session::new(body);
        let dead = self.dead_calls.clone();
        let socket = self.open(&session, Vec::new(), &dead);
        if let Some(entry) = &mut self.entry {
            entry.step = EntryStep::Attaching(Box::new(session), socket, now + ATTACH_TIMEOUT);
        }
    }

    /// A refused ticket or capsule is dropped, and the user signs in like a new one; that refused is the end.
    fn handle_refused(&mut self, answer: &Answer, now: Now) {
        let had_ticket = self.entry.take().is_some_and(|entry| entry.ticket.is_some());
        if had_ticket && self.link.is_some() {
            return;
        }
        if had_ticket || self.previous.take().is_some() {
            return self.enter(None, now);
        }
        let kind = serde_json::from_slice(&answer.body).map_or(ProblemType::Unknown, |problem: Problem| problem.kind);
        self.told.push_back(Told::Refused { status: answer.status, kind });
    }

    pub(super) fn handle_entry_message(&mut self, message: ServerMessage, now: Now) {
        let ServerMessage::Attached { snapshot, reconnect_window_ms, capsule, .. } = message else { return };
        let Some(EntryStep::Attaching(mut session, socket, _)) = self.entry.take().map(|entry| entry.step) else {
            return;
        };
        self.window = Duration::from_millis(reconnect_window_ms.into());
        session.capsule = capsule;
        let (instance_id, boot_id) = (session.instance.clone(), session.boot.clone());
        self.dead_calls.clear();
        self.avoid = None;
        let step = LinkStep::Attached { socket, heard: now };
        if let Some(old) = self.link.replace(Link { session: *session, step, silent_since: None, attempt: 0 }) {
            self.sign_off(&old.session);
        }
        self.told.push_back(Told::SignedIn { instance_id, boot_id });
        self.has_service();
        self.apply_snapshot(snapshot, now);
    }
}
