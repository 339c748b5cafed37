//! The RTP ports of `--rtp-ports`: even and odd pairs in random order, silent before use and rested after.
//!
//! After a crash the far ends of old calls keep sending to ports that the new process may hand out. So pairs are bound
//! ahead, and one on which anything arrived is not used.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A pair hears nothing for so long before it is used.
const SILENCE: Duration = Duration::from_millis(20);
/// A pair is not used again for so long.
const REST: Duration = Duration::from_secs(60);
/// Pairs bound ahead: so many calls may begin within [`SILENCE`], since one is bound for each used.
const AHEAD: usize = 256;
/// Random ports tried per pair, some of which rest or are someone else's.
const TRIES: usize = 64;

/// Why there is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// `--rtp-ports` is not set.
    #[error("no RTP ports are configured")]
    NotConfigured,
    /// All are in use, rest, or hear packets of past calls.
    #[error("no RTP port is free")]
    None,
}

/// Hands out pairs.
#[derive(Debug)]
pub(in crate::media) struct Ports {
    ip: IpAddr,
    first: u16,
    pairs: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ahead: VecDeque<(Instant, Pair)>,
    resting: HashMap<u16, Instant>,
}

/// Two bound sockets. Dropping it closes them and lets the ports rest.
#[derive(Debug)]
pub(in crate::media) struct Pair {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(in crate::media) port: u16,
    owner: Weak<Ports>,
}

impl Ports {
    /// Binds the first pairs of `low` to `high` on `ip` and listens until they can be used.
    pub(in crate::media) fn new(ip: IpAddr, low: u16, high: u16) -> Arc<Self> {
        let first = low.saturating_add(low % 2);
        let pairs = (high.saturating_sub(first).saturating_add(1)) / 2;
        let ports = Arc::new(Self { ip, first, pairs, state: Mutex::default() });
        while ports.bind_ahead(Instant::now()) {}
        std::thread::sleep(SILENCE);
        ports
    }

    /// A pair that heard nothing.
    pub(in crate::media) fn take(self: &Arc<Self>, now: Instant) -> Result<Pair, PortsError> {
        loop {
            self.bind_ahead(now);
            let mut state = self.lock();
            let oldest = state.ahead.front().map(|(bound, _)| *bound);
            if oldest.is_none_or(|bound| now.saturating_duration_since(bound) < SILENCE) {
                return Err(PortsError::None);
            }
            let pair = state.ahead.pop_front();
            drop(state);
            let Some((_, pair)) = pair else { return Err(PortsError::None) };
            if pair.is_silent() {
                return Ok(pair);
            }
        }
    }

    /// Adds one pair; false when there are enough, or none was found.
    fn bind_ahead(self: &Arc<Self>, now: Instant) -> bool {
        let enough = AHEAD.min(usize::from(self.pairs).div_ceil(2));
        let mut state = self.lock();
        if state.ahead.len() > enough {
            return false;
        }
        state.resting.retain(|_, since| now.saturating_duration_since(*since) < REST);
        let pair = (0..TRIES).find_map(|_| {
            let port = self.first + 2 * dice().checked_rem(self.pairs)?;
            if state.resting.contains_key(&port) {
                return None;
            }
            Pair::bind(self, port).ok()
        });
        let Some(pair) = pair else { return false };
        state.ahead.push_back((now, pair));
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dice() -> u16 {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    u16::from_ne_bytes(bytes)
}

impl Pair {
    fn bind(owner: &Arc<Ports>, port: u16) -> io::Result<Self> {
        let bind = |port| {
            let socket = UdpSocket::bind(SocketAddr::new(owner.ip, port))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        Ok(Self { rtp: bind(port)?, rtcp: bind(port + 1)?, port, owner: Arc::downgrade(owner) })
    }

    fn is_silent(&self) -> bool {
        let hears = |socket: &UdpSocket| matches!(socket.recv(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        hears(&self.rtp) && hears(&self.rtcp)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.upgrade() {
            owner.lock().resting.insert(self.port, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Ranges that no other test uses.
    fn ports(low: u16, high: u16) -> Arc<Ports> {
        Ports::new(LOCAL, low, high)
    }

    #[test]
    fn a_pair_is_even_and_odd_in_the_range_and_rests_afterwards() {
        let ports = ports(21_001, 21_008);
        assert_eq!((ports.first, ports.pairs), (21_002, 3));
        let later = Instant::now() + SILENCE;
        let pairs: Vec<_> = std::iter::from_fn(|| ports.take(Instant::now() + SILENCE).ok()).collect();
        assert!((1..=3).contains(&pairs.len()));
        for pair in &pairs {
            assert!([21_002, 21_004, 21_006].contains(&pair.port));
            assert_eq!(pair.rtcp.local_addr().expect("bound").port(), pair.port + 1);
        }
        let used: Vec<_> = pairs.iter().map(|pair| pair.port).collect();
        drop(pairs);
        let again = std::iter::from_fn(|| ports.take(later + SILENCE).ok()).map(|pair| pair.port).collect::<Vec<_>>();
        assert!(again.iter().all(|port| !used.contains(port)), "{again:?} of {used:?}");
        let rested = later + REST + SILENCE;
        while ports.bind_ahead(rested) {}
        assert!(ports.take(rested + SILENCE).is_ok());
    }

    #[test]
    fn a_pair_that_hears_a_past_call_is_not_used() {
        let ports = ports(21_010, 21_011);
        let orphan = UdpSocket::bind((LOCAL, 0)).expect("a socket");
        orphan.send_to(b"rtp", (LOCAL, 21_010)).expect("sent");
        assert_eq!(ports.take(Instant::now() + SILENCE).map(|pair| pair.port).err(), Some(PortsError::None));
        assert!(ports.lock().resting.contains_key(&21_010));
    }
}
