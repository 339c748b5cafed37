//! The ICE-lite responder of one peer (RFC 8445 §2.5): answers checks, never sends its own, knows who is who after a
//! restart. Pure: time and datagrams come in, a verdict comes out.

use super::path::Paths;
use super::stats::Drop;
use super::stun::{Request, Transaction};
use bytes::BytesMut;
use rtc::crypto::RTCCrypto;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

/// Transactions remembered for finding replays: some 20 minutes of a browser's keep-alives. An older capture that is
/// replayed moves the path at most until the browser's next check.
const REMEMBERED: usize = 512;

/// User fragments and our password for the time until the next ICE restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) local_ufrag: String,
    pub(super) local_pwd: String,
    pub(super) remote_ufrag: String,
}

/// What became of a check.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Valid: send the response, and note the route changes. Only a fresh one proves that the peer is there now.
    Valid { response: BytesMut, fresh: bool, evicted: Option<SocketAddr>, new_generation: bool },
    /// The sender must switch to the controlling role; nothing changed.
    RoleConflict(BytesMut),
    /// To be dropped.
    Dropped(Drop),
}

/// The responder.
#[derive(Debug)]
pub(super) struct Ice {
    current: Generation,
    /// Offered by a restart; takes over with its first valid check, until then the current one goes on.
    next: Option<Generation>,
    seen: VecDeque<(u64, SocketAddr)>,
    pub(super) paths: Paths,
}

impl Ice {
    pub(super) fn new(current: Generation) -> Self {
        Self { current, next: None, seen: VecDeque::new(), paths: Paths::default() }
    }

    /// Whether a check with this user fragment is meant for this peer.
    pub(super) fn answers_to(&self, local_ufrag: &str) -> bool {
        self.generation(local_ufrag).is_some()
    }

    /// Adds the generation of a restart; one that was never used is replaced.
    pub(super) fn restart(&mut self, next: Generation) {
        self.next = Some(next);
    }

    /// Judges a check from `from`.
    pub(super) fn check(
        &mut self,
        request: &Request<'_>,
        from: SocketAddr,
        now: Instant,
        crypto: &dyn RTCCrypto,
    ) -> Verdict {
        let Some(generation) = self.generation(request.local_ufrag) else { return Verdict::Dropped(Drop::StunUser) };
        if generation.remote_ufrag != request.remote_ufrag {
            return Verdict::Dropped(Drop::StunUser);
        }
        if !request.verify(&generation.local_pwd, crypto) {
            return Verdict::Dropped(Drop::StunIntegrity);
        }
        if request.controlled {
            let response = request.role_conflict(&generation.local_pwd, crypto);
            return response.map_or(Verdict::Dropped(Drop::StunMalformed), Verdict::RoleConflict);
        }
        let Some(response) = request.success(from, &generation.local_pwd, crypto) else {
            return Verdict::Dropped(Drop::StunMalformed);
        };
        match self.remember(&request.transaction, from) {
            Seen::Elsewhere => return Verdict::Dropped(Drop::StunReplayed),
            // A repeated datagram is answered again, but is not fresh: it moves no path.
            Seen::Here => return Verdict::Valid { response, fresh: false, evicted: None, new_generation: false },
            Seen::Never => {}
        }
        let new_generation = self.promote(request.local_ufrag);
        let evicted = self.paths.checked(from, request.use_candidate, now);
        Verdict::Valid { response, fresh: true, evicted, new_generation }
    }

    fn generation(&self, local_ufrag: &str) -> Option<&Generation> {
        [Some(&self.current), self.next.as_ref()].into_iter().flatten().find(|one| one.local_ufrag == local_ufrag)
    }

    fn promote(&mut self, local_ufrag: &str) -> bool {
        let Some(next) = self.next.take_if(|next| next.local_ufrag == local_ufrag) else { return false };
        self.current = next;
        self.seen.clear();
        self.paths.restart();
        true
    }

    fn remember(&mut self, transaction: &Transaction, from: SocketAddr) -> Seen {
        let mut short = [0; 8];
        short.copy_from_slice(&transaction[..8]);
        let short = u64::from_ne_bytes(short);
        if let Some((_, first)) = self.seen.iter().find(|(known, _)| *known == short) {
            return if *first == from { Seen::Here } else { Seen::Elsewhere };
        }
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((short, from));
        Seen::Never
    }
}

enum Seen {
    Never,
    Here,
    Elsewhere,
}
