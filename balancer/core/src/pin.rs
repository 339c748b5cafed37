//! The value of a pin cookie: which run of which instance a browser belongs to. A pin is placement, never authentication.
//!
//! ```text
//! 1 . <key id> . <instance> . <boot> . <pin id> . <unix seconds> . m|- . <HMAC-SHA-256 of everything before this dot>
//! ```
//!
//! Any balancer with the same key file reads it. What can't be read counts as absent, with a counted reason. A new format is
//! read for one release before it is written.

use crate::{Run, instance::is_id, random::Random};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// The format that is written.
pub const WRITES: &str = "1";
/// Longest value that is looked at: two ids of 64 bytes and the rest.
pub const MAX_VALUE_BYTES: usize = 256;
/// Age in seconds from which a pin is renewed.
const OLD_AFTER: u64 = 60;

/// A key for pins, derived from one line of the cluster key file.
#[derive(Clone)]
pub struct PinKey {
    /// Names the key in the value, without telling it.
    pub id: [u8; 4],
    /// 32 secret bytes.
    pub secret: [u8; 32],
}

/// The keys of a cluster for pins: the first signs, all verify.
pub struct KeyRing {
    keys: Vec<RingKey>,
}

/// The value whose signature was found right last, by the same ring: its repetition needs no second proof.
#[derive(Debug, Default)]
pub struct Proven(String);

struct RingKey {
    id: String,
    mac: Hmac<Sha256>,
}

/// Names one pin for as long as it is rewritten: what counts sign-ins of one browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PinId(pub u64);

impl PinId {
    /// A new one.
    pub fn random(random: &mut impl Random) -> Self {
        Self(random.bits())
    }
}

/// A pin that was read: its signature is right. Whether its run lives is for [`crate::route`] to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin<'a> {
    /// Which instance.
    pub instance: &'a str,
    /// Which run of it.
    pub boot: &'a str,
    /// Which pin.
    pub id: PinId,
    /// Wall-clock time of issue, in Unix seconds. Informs only: a pin whose run lives is never too old.
    pub issued: u64,
    /// True if a sign-in was answered with 201 under this pin: a returning user.
    pub member: bool,
}

impl Pin<'_> {
    /// True if a pin issued now would say the same.
    fn is_as_good_as_new(&self, run: &Run, id: PinId, unix_seconds: u64, member: bool) -> bool {
        let is_young = unix_seconds.checked_sub(self.issued).is_some_and(|age| age < OLD_AFTER);
        is_young && run.is(self.instance, self.boot) && (self.id, self.member) == (id, member)
    }
}

/// Why a pin counts as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PinError {
    /// Not made by any release.
    #[error("not a pin")]
    Malformed,
    /// Of a format that this release can't read.
    #[error("a format that is not read here")]
    UnknownFormat,
    /// Made with a key that this cluster does not have (any more).
    #[error("made with an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Forged,
}

impl PinError {
    /// All, for metrics.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::UnknownFormat, Self::UnknownKey, Self::Forged];

    /// Metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownFormat => "unknown_format",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
        }
    }
}

impl KeyRing {
    /// The ring of these keys, the signing one first; `None` if there is none.
    #[must_use]
    pub fn new(keys: &[PinKey]) -> Option<Self> {
        let keys: Vec<_> = keys.iter().map(RingKey::new).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The pin in a cookie's value.
    pub fn read<'a>(&self, value: &'a str) -> Result<Pin<'a>, PinError> {
        self.read_again(value, &mut Proven::default())
    }

    /// As [`Self::read`], for one of many requests on a connection, which mostly bear the same value.
    pub fn read_again<'a>(&self, value: &'a str, proven: &mut Proven) -> Result<Pin<'a>, PinError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(PinError::Malformed);
        }
        let mut rest = value;
        match field(&mut rest)? {
            WRITES => self.read_1(value, rest, proven),
            _ => Err(PinError::UnknownFormat),
        }
    }

    fn read_1<'a>(&self, value: &str, mut rest: &'a str, proven: &mut Proven) -> Result<Pin<'a>, PinError> {
        let mut next = || field(&mut rest);
        let (key_id, instance, boot, pin_id, issued, member) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let key = self.keys.iter().find(|key| key.id == key_id).ok_or(PinError::UnknownKey)?;
        if proven.0 != value {
            key.verify(&value[..value.len() - rest.len() - 1], rest)?;
            value.clone_into(&mut proven.0);
        }
        if !is_id(instance) || !is_id(boot) {
            return Err(PinError::Malformed);
        }
        Ok(Pin {
            instance,
            boot,
            id: PinId(u64::from_str_radix(pin_id, 16).map_err(|_| PinError::Malformed)?),
            issued: issued.parse().map_err(|_| PinError::Malformed)?,
            member: member == "m",
        })
    }

    /// As [`Self::write`]; `None` while `old`, which its bearer has, is young and says the same: each probe renews its cookie,
    /// and a signature with a cookie around it costs more than the rest of the answer.
    #[must_use]
    pub fn renew(&self, old: Option<Pin<'_>>, run: &Run, id: PinId, unix_seconds: u64, member: bool) -> Option<String> {
        let suffices = old.is_some_and(|old| old.is_as_good_as_new(run, id, unix_seconds, member));
        (!suffices).then(|| self.write(run, id, unix_seconds, member))
    }

    /// The value of a pin to `run`, issued at `unix_seconds`.
    #[must_use]
    pub fn write(&self, run: &Run, id: PinId, unix_seconds: u64, member: bool) -> String {
        let key = &self.keys[0];
        let flag = if member { 'm' } else { '-' };
        let mut value = format!("{WRITES}.{}.{}.{}.{:x}.{unix_seconds}.{flag}", key.id, run.instance, run.boot, id.0);
        let signature = key.mac.clone().chain_update(&value).finalize().into_bytes();
        value.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut value);
        value
    }
}

/// Takes what stands before the next dot off `rest`.
fn field<'a>(rest: &mut &'a str) -> Result<&'a str, PinError> {
    let dot = rest.bytes().position(|byte| byte == b'.').ok_or(PinError::Malformed)?;
    let (field, behind) = rest.split_at(dot);
    *rest = &behind[1..];
    Ok(field)
}

impl RingKey {
    fn new(key: &PinKey) -> Self {
        let mut id = String::with_capacity(8);
        for byte in key.id {
            write!(id, "{byte:02x}").expect("a String takes everything");
        }
        Self { id, mac: Hmac::new_from_slice(&key.secret).expect("HMAC takes keys of any length") }
    }

    /// Compares in constant time.
    fn verify(&self, signed: &str, signature: &str) -> Result<(), PinError> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes) {
            Ok(32) => {}
            Ok(_) | Err(_) => return Err(PinError::Malformed),
        }
        self.mac.clone().chain_update(signed).verify_slice(&bytes).map_err(|_| PinError::Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::seeded;
    use proptest::prelude::*;

    fn key(id: u8) -> PinKey {
        PinKey { id: [id; 4], secret: [id; 32] }
    }

    fn ring(ids: &[u8]) -> KeyRing {
        KeyRing::new(&ids.iter().copied().map(key).collect::<Vec<_>>()).expect("not empty")
    }

    fn run() -> Run {
        Run::parse("gw-1", "boot_1").expect("valid")
    }

    #[test]
    fn a_rotation_never_loses_a_pin() {
        let id = PinId::random(&mut seeded(3));
        let old = ring(&[1]).write(&run(), id, 7, false);
        let appended = ring(&[1, 2]);
        let moved = ring(&[2, 1]);
        assert!(appended.read(&old).is_ok() && moved.read(&old).is_ok());
        let new = moved.write(&run(), id, 8, true);
        assert!(appended.read(&new).is_ok(), "a balancer that has not yet moved the key reads the new pins");
        assert_eq!(ring(&[2]).read(&old), Err(PinError::UnknownKey));
    }

    #[test]
    fn reasons_are_told_apart() {
        let ring = ring(&[1]);
        let value = ring.write(&run(), PinId(1), 7, false);
        assert_eq!(ring.read(""), Err(PinError::Malformed));
        assert_eq!(ring.read(&value.replacen('1', "2", 1)), Err(PinError::UnknownFormat));
        assert_eq!(ring.read(&value.replace(".-.", ".m.")), Err(PinError::Forged));
        assert_eq!(ring.read(&value[..value.len() - 1]), Err(PinError::Malformed));
        assert_eq!(ring.read(&"1.".repeat(MAX_VALUE_BYTES)), Err(PinError::Malformed));
    }

    #[test]
    fn a_pin_is_written_anew_when_it_is_old_or_says_something_else() {
        let (ring, run, next_run) = (ring(&[1]), run(), Run::parse("gw-1", "boot_2").expect("valid"));
        let value = ring.write(&run, PinId(1), 100, true);
        let renewed = |run, id, now, member| ring.renew(ring.read(&value).ok(), run, PinId(id), now, member);
        assert_eq!(renewed(&run, 1, 159, true), None);
        for (run, id, now, member) in [
            (&run, 1, 160, true),
            (&run, 1, 99, true),
            (&run, 1, 100, false),
            (&run, 2, 100, true),
            (&next_run, 1, 100, true),
        ] {
            assert_eq!(renewed(run, id, now, member), Some(ring.write(run, PinId(id), now, member)));
        }
        assert_eq!(ring.renew(None, &run, PinId(1), 100, true), Some(value));
    }

    #[test]
    fn what_was_proven_proves_nothing_else() {
        let (ring, mut proven) = (ring(&[1]), Proven::default());
        let value = ring.write(&run(), PinId(1), 100, false);
        let forged = value.replace(".-.", ".m.");
        for _ in 0..2 {
            assert!(ring.read_again(&value, &mut proven).is_ok_and(|pin| !pin.member));
            assert_eq!(ring.read_again(&forged, &mut proven), Err(PinError::Forged));
        }
    }

    #[test]
    fn a_ring_needs_a_key() {
        assert!(KeyRing::new(&[]).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            instance in "[A-Za-z0-9_-]{1,64}", boot in "[A-Za-z0-9_-]{1,64}", id: u64, issued: u64, member: bool,
        ) {
            let run = Run::parse(&instance, &boot).expect("valid");
            let value = ring(&[1]).write(&run, PinId(id), issued, member);
            prop_assert!(value.len() <= MAX_VALUE_BYTES);
            let pin = Pin { instance: &instance, boot: &boot, id: PinId(id), issued, member };
            prop_assert_eq!(ring(&[9, 1]).read(&value), Ok(pin));
        }

        #[test]
        fn a_changed_byte_is_never_accepted(at: prop::sample::Index, byte in b' '..=b'~') {
            let ring = ring(&[1]);
            let value = ring.write(&run(), PinId(5), 1_700_000_000, true);
            let mut bytes = value.clone().into_bytes();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).expect("ascii");
            prop_assert!(ring.read(&changed).is_err());
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,300}") {
            prop_assert!(ring(&[1]).read(&text).is_err());
        }
    }
}
