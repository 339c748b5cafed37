//! The peers of one worker in numbered slots, so that the way from an address to a peer is one look-up.

use super::PeerId;
use super::peer::Peer;
use std::collections::HashMap;
use std::time::Instant;

/// Index of a peer in its worker. It is used again after the peer is gone.
pub(super) type Slot = u32;

/// A peer and what the worker keeps beside it.
pub(super) struct Resident {
    pub(super) id: PeerId,
    pub(super) peer: Peer,
    /// The time under which it stands in the timer queue.
    pub(super) armed: Instant,
}

/// The peers.
#[derive(Default)]
pub(super) struct Residents {
    slots: Vec<Option<Box<Resident>>>,
    free: Vec<Slot>,
    by_id: HashMap<PeerId, Slot>,
}

impl Residents {
    pub(super) fn add(&mut self, id: PeerId, peer: Peer) -> Slot {
        let armed = peer.poll_timeout();
        let resident = Some(Box::new(Resident { id, peer, armed }));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = resident;
                slot
            }
            None => {
                self.slots.push(resident);
                (self.slots.len() - 1) as Slot
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Resident> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(super) fn find(&self, id: PeerId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Resident>> {
        let resident = self.slots.get_mut(slot as usize)?.take()?;
        self.by_id.remove(&resident.id);
        self.free.push(slot);
        Some(resident)
    }

    /// The slots in use.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.by_id.values().copied().collect()
    }
}
