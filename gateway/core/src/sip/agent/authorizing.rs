//! Digest credentials: a challenge is answered, and its nonce signs what goes to the same server after it, so that only the
//! first request takes two round trips (RFC 7616 §3.4, RFC 3261 §22.3).

use super::{Agent, LeaseId, Pending};
use crate::sip::command::ClientTransaction;
use crate::sip::digest::Challenge;
use crate::sip::message::{Method, SipRequest, SipResponse};
use std::collections::BTreeMap;

/// Challenges that one request answers, the later ones only if its nonce was too old each time.
const MAX_CHALLENGES: u8 = 3;

/// Who asks: the server itself or one that it passes the request to, and the header fields of question and answer.
const FIELDS: [(u16, &str, &str); 2] =
    [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")];

/// What a nonce is good for: a server's registrar and its proxy may be two machines.
type Scope = (usize, bool, &'static str);

/// The nonces of one user: at most four for each server.
#[derive(Debug, Default)]
pub(super) struct Nonces(BTreeMap<Scope, Used>);

#[derive(Debug)]
struct Used {
    challenge: Challenge,
    /// Requests signed with it.
    count: u32,
}

impl Agent {
    /// Signs a request with what its server asked for last. A server that wants each nonce once asks again.
    pub(super) fn authorize(&mut self, lease: LeaseId, server: usize, request: &mut SipRequest) {
        let Self { leases, names, .. } = self;
        let Some(lease) = leases.get_mut(&lease) else { return };
        let Some(credentials) = &lease.identity.credentials else { return };
        for (_, _, field) in FIELDS {
            let Some(used) = lease.nonces.0.get_mut(&scope(server, request, field)) else { continue };
            used.count += 1;
            let (method, cnonce) = (request.method.as_str(), names.token());
            request.headers.set(field, used.challenge.answer(credentials, method, &request.uri, &cnonce, used.count));
        }
    }

    /// Sends the request again with credentials, if the challenge is one for us, and the first or for a nonce that was too
    /// old.
    pub(super) fn answer_challenge(&mut self, transaction: ClientTransaction, response: &SipResponse) -> bool {
        let Some((_, asked, field)) = FIELDS.into_iter().find(|(status, ..)| *status == response.status) else {
            return false;
        };
        let Some(pending) = self.pending.get(&transaction) else { return false };
        let ours = |value: &&str| Challenge::parse(value).is_some_and(|one| one.realm == self.settings.realm);
        let Some(challenge) = Challenge::strongest(response.headers.all(asked).filter(ours)) else { return false };
        let Some(credentials) = pending.credentials.clone() else { return false };
        let lease = self.lease_of(pending.purpose);
        if pending.challenged >= if challenge.stale { MAX_CHALLENGES } else { 1 } {
            if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
                lease.nonces.0.remove(&scope(pending.server, &pending.request, field));
            }
            return false;
        }
        let Some(pending) = self.pending.remove(&transaction) else { return false };
        let Pending { purpose, server, mut request, challenged, .. } = pending;
        let cnonce = self.names.token();
        let used = lease.and_then(|lease| self.leases.get_mut(&lease)).map(|lease| {
            let used = lease.nonces.0.entry(scope(server, &request, field));
            let used = used.or_insert_with(|| Used { challenge: challenge.clone(), count: 0 });
            if used.challenge.nonce != challenge.nonce {
                *used = Used { challenge: challenge.clone(), count: 0 };
            }
            used.count += 1;
            used.count
        });
        let value = challenge.answer(&credentials, request.method.as_str(), &request.uri, &cnonce, used.unwrap_or(1));
        request.headers.set(field, value);
        self.count_on(purpose, &mut request);
        let credentials = Some(credentials);
        self.transmit(Pending { challenged: challenged + 1, ..Pending::new(purpose, server, request, credentials) });
        true
    }
}

fn scope(server: usize, request: &SipRequest, field: &'static str) -> Scope {
    (server, request.method == Method::Register, field)
}
