//! Names that must not be guessed or met twice: tags, branches, Call-IDs, client nonces.

use crate::random::Random;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Makes names out of one seed, so that the machines need no random source of their own.
#[derive(Clone)]
pub struct Names {
    seed: [u8; 32],
    count: u64,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Names {
    /// A sequence of names that only the seed tells.
    pub fn new(random: &mut impl Random) -> Self {
        Self { seed: random.bytes(), count: 0 }
    }

    fn next(&mut self) -> [u8; 32] {
        self.count += 1;
        Sha256::new().chain_update(self.seed).chain_update(self.count.to_be_bytes()).finalize().into()
    }

    /// 96 bits in hexadecimal.
    pub fn token(&mut self) -> String {
        self.next()[..12].iter().fold(String::with_capacity(24), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// A branch of a Via header field (RFC 3261 §8.1.1.7).
    pub fn branch(&mut self) -> String {
        format!("z9hG4bK{}", self.token())
    }

    /// Evenly from 0 up to 1.
    pub fn fraction(&mut self) -> f64 {
        let bytes = self.next();
        f64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) / (f64::from(u32::MAX) + 1.0)
    }
}
