//! How many connections one address may have.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections by address, for all threads; does nothing without a limit.
#[derive(Debug)]
pub(crate) struct Quota {
    limit: u32,
    open: Mutex<HashMap<IpAddr, u32>>,
}

/// One counted connection, or by default one that does not count.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<(Arc<Quota>, IpAddr)>);

impl Quota {
    /// `limit` 0 means none.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::default() })
    }

    /// A place for a connection from `address`, if there is one left.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        if self.limit == 0 {
            return Some(Place(None));
        }
        let holder = holder(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(holder).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(self), holder))))
    }

    fn leave(&self, holder: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&holder);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((quota, holder)) = self.0.take() {
            quota.leave(holder);
        }
    }
}

/// Who owns an address: a subscriber of IPv6 has a whole /64 (RFC 6177).
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let quota = Quota::new(2);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let first = quota.enter(address("2001:db8::1")).expect("free");
        let _second = quota.enter(address("2001:db8::2")).expect("free");
        assert!(quota.enter(address("2001:db8::3")).is_none(), "one /64 is one holder");
        assert!(quota.enter(address("192.0.2.1")).is_some());
        drop(first);
        assert!(quota.enter(address("2001:db8::3")).is_some());
    }
}
