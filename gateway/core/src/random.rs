//! Where random bytes come from: a parameter, so that a test can repeat a run.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A source of random bytes. Ids, tokens and nonces are made of them: in production it must be cryptographic.
pub trait Random {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);

    /// `N` random bytes.
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// `N` random bytes as base64url text, which is also a valid id of the protocol.
    fn text<const N: usize>(&mut self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<N>())
    }
}

impl<F: FnMut(&mut [u8])> Random for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}
