//! Which peer a user fragment belongs to, and which worker has it: the only state that workers and signalling share.
//!
//! It is asked for STUN from a new address, and when a peer comes or goes; media never passes here.

use super::answer::Sources;
use super::fingerprint::Fingerprint;
use super::ice::Generation;
use super::peer::{FarSetup, PeerSetup};
use super::{FarLeg, OfferError, PeerId};
use gateway_core::sdp::CodecKind;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a restart must not change, and what its answer repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) far: FarLeg,
    pub(super) sources: Sources,
    pub(super) fingerprint: Fingerprint,
    pub(super) audio_types: u128,
    pub(super) video_types: Option<u128>,
    pub(super) session_id: u64,
}

struct Known {
    terms: Terms,
    current: Generation,
    next: Option<Generation>,
    version: u32,
    place: Place,
    /// The browser's video codecs, until the far ports are opened. `None` afterwards, and for other far legs.
    far_video: Option<Vec<CodecKind>>,
}

enum Place {
    /// No check has arrived.
    Waiting(Box<PeerSetup>),
    /// Adopted by this worker.
    At(usize),
}

/// Whom a check is for.
pub(super) enum Located {
    Unknown,
    Forged,
    /// It is the asking worker's from now on; the generation is a restart's that came meanwhile.
    Adopted(PeerId, Box<PeerSetup>, Option<Generation>),
    At(PeerId, usize),
}

/// What became of a change.
pub(super) enum Reached<T> {
    Unknown,
    Changed,
    At(usize, T),
}

/// A restart to be told to the peer's worker.
pub(super) struct Restarted {
    pub(super) generation: Generation,
    pub(super) version: u32,
    /// `None` while no worker has the peer, or when the offer was no restart.
    pub(super) worker: Option<usize>,
}

#[derive(Default)]
struct Inner {
    peers: HashMap<PeerId, Known>,
    by_ufrag: HashMap<String, PeerId>,
}

/// The registry.
#[derive(Default)]
pub(super) struct Registry(Mutex<Inner>);

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Peers known now.
    pub(super) fn len(&self) -> usize {
        self.lock().peers.len()
    }

    /// Adds a peer, unless its id is in use or `max` are there.
    pub(super) fn insert(&self, id: PeerId, terms: Terms, setup: PeerSetup, max: usize) -> Result<(), OfferError> {
        let mut inner = self.lock();
        if inner.peers.len() >= max {
            return Err(OfferError::Full);
        }
        let Entry::Vacant(slot) = inner.peers.entry(id) else { return Err(OfferError::Peer(id, true)) };
        let current = setup.generation.clone();
        let ufrag = current.local_ufrag.clone();
        let far_video = match &setup.far {
            FarSetup::Rtp(link) => Some(link.types.video().collect()),
            FarSetup::Echo | FarSetup::Tone(..) => None,
        };
        let place = Place::Waiting(Box::new(setup));
        slot.insert(Known { terms, current, next: None, version: 1, place, far_video });
        inner.by_ufrag.insert(ufrag, id);
        Ok(())
    }

    /// What was agreed with a peer.
    pub(super) fn terms(&self, id: PeerId) -> Option<Terms> {
        self.lock().peers.get(&id).map(|known| known.terms.clone())
    }

    /// Adds the generation of a restart offer. An offer with the user fragment of the current generation is no
    /// restart (RFC 8839 §4.4.1.1.1): it keeps our credentials.
    pub(super) fn restart(&self, id: PeerId, fresh: Generation) -> Option<Restarted> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let known = inner.peers.get_mut(&id)?;
        known.version += 1;
        let version = known.version;
        let same = |one: &&Generation| one.remote_ufrag == fresh.remote_ufrag;
        let known_one = known.next.as_ref().filter(same).or(Some(&known.current).filter(same));
        if let Some(generation) = known_one.cloned() {
            return Some(Restarted { generation, version, worker: None });
        }
        if let Some(unused) = known.next.replace(fresh.clone()) {
            inner.by_ufrag.remove(&unused.local_ufrag);
        }
        inner.by_ufrag.insert(fresh.local_ufrag.clone(), id);
        let worker = match known.place {
            Place::At(worker) => Some(worker),
            Place::Waiting(_) => None,
        };
        Some(Restarted { generation: fresh, version, worker })
    }

    /// Finds the peer of a check by its user fragment. One that nobody has goes to `worker` if `verify` accepts the
    /// password.
    pub(super) fn locate(&self, ufrag: &str, worker: usize, verify: impl FnOnce(&str) -> bool) -> Located {
        let mut inner = self.lock();
        let Some(&id) = inner.by_ufrag.get(ufrag) else { return Located::Unknown };
        let Some(known) = inner.peers.get_mut(&id) else { return Located::Unknown };
        let generations = [Some(&known.current), known.next.as_ref()];
        let generation = generations.into_iter().flatten().find(|one| one.local_ufrag == ufrag);
        if !generation.is_some_and(|one| verify(&one.local_pwd)) {
            return Located::Forged;
        }
        match std::mem::replace(&mut known.place, Place::At(worker)) {
            Place::Waiting(setup) => Located::Adopted(id, setup, known.next.clone()),
            Place::At(owner) => {
                known.place = Place::At(owner);
                Located::At(id, owner)
            }
        }
    }

    /// The browser's video codecs of a peer whose far ports are to be opened; each peer once.
    pub(super) fn far_video(&self, id: PeerId) -> Option<Vec<CodecKind>> {
        self.lock().peers.get_mut(&id)?.far_video.take()
    }

    /// Changes a peer that no worker has yet; otherwise says which one must be told `what`.
    pub(super) fn reach<T>(&self, id: PeerId, what: T, change: impl FnOnce(&mut PeerSetup, T)) -> Reached<T> {
        match self.lock().peers.get_mut(&id).map(|known| &mut known.place) {
            None => Reached::Unknown,
            Some(Place::At(worker)) => Reached::At(*worker, what),
            Some(Place::Waiting(setup)) => {
                change(setup, what);
                Reached::Changed
            }
        }
    }

    /// The restart's generation took over.
    pub(super) fn promoted(&self, id: PeerId) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(known) = inner.peers.get_mut(&id) else { return };
        if let Some(next) = known.next.take() {
            let old = std::mem::replace(&mut known.current, next);
            inner.by_ufrag.remove(&old.local_ufrag);
        }
    }

    /// Forgets a peer and says which worker has it; `None` when nobody does.
    pub(super) fn remove(&self, id: PeerId) -> Option<usize> {
        let mut inner = self.lock();
        match inner.forget(id)?.place {
            Place::At(worker) => Some(worker),
            Place::Waiting(_) => None,
        }
    }

    /// Forgets the peers that waited for their first check for too long.
    pub(super) fn expire(&self) -> Vec<PeerId> {
        let mut inner = self.lock();
        let late = |known: &Known| match &known.place {
            Place::Waiting(setup) => setup.waited() >= setup.times.setup,
            Place::At(_) => false,
        };
        let expired: Vec<_> = inner.peers.iter().filter(|(_, known)| late(known)).map(|(&id, _)| id).collect();
        for &id in &expired {
            inner.forget(id);
        }
        expired
    }
}

impl Inner {
    fn forget(&mut self, id: PeerId) -> Option<Known> {
        let known = self.peers.remove(&id)?;
        self.by_ufrag.remove(&known.current.local_ufrag);
        if let Some(next) = &known.next {
            self.by_ufrag.remove(&next.local_ufrag);
        }
        Some(known)
    }
}

impl PeerSetup {
    /// How long it has been waiting for its first check.
    pub(super) fn waited(&self) -> Duration {
        self.created.elapsed()
    }
}
