//! The way in: who gets a place.

use super::{Instance, Key, UserLimits, millis};
use crate::capsule::{self, Capsule};
use crate::idempotency::Asked;
use crate::limits::{GRACE, HEARTBEAT};
use crate::random::Random;
use crate::rate::RateLimit;
use crate::refusal::Refusal;
use crate::session::{Earlier, Place, Session};
use crate::token::TokenHash;
use crate::user::User;
use gateway_protocol::sign_in::SessionState;
use gateway_protocol::{ClientId, CloseCode, SessionId, SignedIn};
use std::time::{Duration, Instant};

/// A sign-in whose user is known.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// Who.
    pub user: User,
    /// Which tab.
    pub client_id: ClientId,
    /// With an accepted capsule.
    pub recovering: bool,
    /// What capsule or ticket told of the session before.
    pub earlier: Earlier,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// Who takes a place.
struct Arrival {
    user: User,
    client_id: ClientId,
    recovering: bool,
    earlier: Earlier,
}

impl<R: Random> Instance<R> {
    /// Reserves a place and does nothing else.
    pub fn reserve(&mut self, request: Reserve, now: Instant) -> Result<SignedIn, Refusal> {
        self.notice_freeze(now);
        let Reserve { user, client_id, recovering, earlier, idempotency_key } = request;
        let asked = Asked { user: user.clone(), client_id: client_id.clone() };
        if let Some(key) = &idempotency_key
            && let Some(answer) = self.repeatable.find(key, &asked, now)?
            && self.by_id.contains_key(&answer.session_id)
        {
            return Ok(answer.clone());
        }
        if earlier.let_go_by.as_ref() == Some(&(self.settings.instance_id.clone(), self.settings.boot_id.clone())) {
            return Err(Refusal::LetGo);
        }
        self.admit(&user, &client_id, now)?;
        self.replace_reserved(&client_id);
        let answer = self.take_place(Arrival { user, client_id, recovering, earlier }, now);
        if let Some(key) = idempotency_key {
            self.repeatable.keep(key, asked, answer.clone(), now);
        }
        Ok(answer)
    }

    fn admit(&mut self, user: &User, client_id: &ClientId, now: Instant) -> Result<(), Refusal> {
        if self.drain.is_draining() {
            return Err(Refusal::Draining);
        }
        let of_client = self.by_client.get(client_id).map(Vec::as_slice).unwrap_or_default();
        if of_client.iter().any(|key| self.sessions[key].place().user != *user) {
            return Err(Refusal::ClientIdTaken);
        }
        let replaced = of_client.iter().filter(|key| self.is_reserved(**key)).count();
        if self.sessions.len() - replaced >= self.settings.limits.sessions as usize {
            return Err(Refusal::Full(self.settings.limits.sessions));
        }
        self.user_limits(user).sign_ins.take(now).map_err(Refusal::UserRate)?;
        self.setups.take(now).map_err(Refusal::SetupRate)
    }

    fn is_reserved(&self, key: Key) -> bool {
        self.sessions[&key].state() == Some(SessionState::Reserved)
    }

    pub(super) fn user_limits(&mut self, user: &User) -> &mut UserLimits {
        let limits = &self.settings.limits;
        let minute = |count| RateLimit::new(count, Duration::from_secs(60));
        self.users.entry(user.clone()).or_insert_with(|| UserLimits {
            sign_ins: minute(limits.sign_ins_per_minute),
            calls: minute(limits.calls_per_minute),
        })
    }

    /// A tab that signs in again does not want the place that it never attached to.
    fn replace_reserved(&mut self, client_id: &ClientId) {
        let keys = self.by_client.get(client_id).cloned().unwrap_or_default();
        for key in keys.into_iter().filter(|key| self.is_reserved(*key)).collect::<Vec<_>>() {
            self.end(key, CloseCode::SessionGone, "signed in anew");
        }
    }

    fn take_place(&mut self, arrival: Arrival, now: Instant) -> SignedIn {
        let Arrival { user, client_id, recovering, mut earlier } = arrival;
        // However the clocks of two instances differ, the later registration has the higher number.
        earlier.generation = (earlier.generation + 1).max(self.unix_millis(now));
        let id = SessionId::parse(self.random.text::<16>()).expect("base64url of 16 bytes is an id");
        let session_token = self.random.text::<32>();
        let token = TokenHash::of(&session_token);
        let epoch = self.random.text::<6>();
        let place = Place {
            id: id.clone(),
            user: user.clone(),
            client_id: client_id.clone(),
            token,
            epoch,
            recovering,
            earlier,
        };
        self.last_key += 1;
        let key = Key(self.last_key);
        self.by_id.insert(id.clone(), key);
        self.by_client.entry(client_id).or_default().push(key);
        let mut session = Session::new(place, now);
        if self.telephony.is_some() {
            session.expect_registration();
        }
        self.sessions.insert(key, session);
        self.settle(key);
        self.counts.sign_ins += 1;
        self.refresh_window();
        SignedIn {
            session_id: id,
            session_token,
            instance_id: self.settings.instance_id.clone(),
            boot_id: self.settings.boot_id.clone(),
            user: user.into(),
            heartbeat_ms: millis(HEARTBEAT),
            grace_ms: millis(GRACE),
            reconnect_window_ms: self.around.reconnect_window_ms,
            ice_servers: Vec::new(),
            services: self.around.services.clone(),
            capsule: self.seal_capsule(key, now),
            recovering,
            alternates: self.settings.alternates.clone(),
        }
    }

    pub(super) fn seal_capsule(&mut self, key: Key, now: Instant) -> String {
        let expires = self.unix(now) + capsule::LIFE.as_secs();
        let session = self.sessions.get_mut(&key).expect("the caller has just looked it up");
        let revision = session.next_revision();
        let calls = self.telephony.as_ref().map(|telephony| telephony.sealed_calls(session)).unwrap_or_default();
        let place = session.place();
        let capsule = Capsule {
            user: place.user.clone(),
            client_id: place.client_id.clone(),
            instance_id: self.settings.instance_id.clone(),
            boot_id: self.settings.boot_id.clone(),
            token: place.token,
            revision,
            expires,
            generation: place.earlier.generation,
            sip_password: place.earlier.sip_password.clone(),
            calls,
        };
        capsule.seal(&self.settings.ring, self.random.bytes())
    }

    pub(super) fn unix(&self, now: Instant) -> u64 {
        self.unix_millis(now) / 1_000
    }

    pub(super) fn unix_millis(&self, now: Instant) -> u64 {
        let (at, unix) = self.wall;
        u64::try_from((unix + now.saturating_duration_since(at)).as_millis()).unwrap_or(u64::MAX)
    }
}
