//! Users' JWTs (RFC 7519), verified with the keys of `--jwt-key-file`.

use anyhow::{Context, bail};
use gateway_core::{Bearer, User};
use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use std::path::Path;

/// Clocks may differ by so much, in seconds.
const CLOCK_SKEW_S: u64 = 60;
/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Verifies users' tokens. Without keys (anonymous) no token proves anything.
pub struct Verifier {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Verifier {
    /// One that knows no key.
    #[must_use]
    pub fn none() -> Self {
        Self { keys: Vec::new() }
    }

    /// With the keys of a JWK or JWK set (RFC 7517).
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("error: --jwt-key-file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("error: --jwt-key-file {}", path.display()))
    }

    fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let set = match serde_json::from_slice::<JwkSet>(text) {
            Ok(set) => set.keys,
            Err(_) => vec![serde_json::from_slice::<Jwk>(text).context("neither a JWK nor a JWK set")?],
        };
        if set.is_empty() {
            bail!("no key");
        }
        Ok(Self { keys: set.iter().map(Key::of).collect::<anyhow::Result<_>>()? })
    }

    /// What the `Authorization` header proves.
    #[must_use]
    pub fn bearer(&self, headers: &HeaderMap) -> Bearer {
        match token(headers) {
            Some(token) if !self.keys.is_empty() => self.verify(token),
            Some(_) | None => Bearer::Absent,
        }
    }

    fn verify(&self, token: &str) -> Bearer {
        if token.len() > MAX_TOKEN_BYTES {
            return Bearer::Invalid("the JWT is too long");
        }
        let Ok(header) = decode_header(token) else { return Bearer::Invalid("the JWT is malformed") };
        let mut why = "no key fits the JWT";
        for key in self.keys.iter().filter(|key| key.fits(&header)) {
            match decode::<Claims>(token, &key.key, &key.validation) {
                Ok(data) => return user(&data.claims.sub),
                Err(error) => why = reason(error.kind()),
            }
        }
        Bearer::Invalid(why)
    }
}

impl Key {
    fn of(jwk: &Jwk) -> anyhow::Result<Self> {
        let mut validation = Validation::new(algorithm(jwk)?);
        validation.leeway = CLOCK_SKEW_S;
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let key = DecodingKey::from_jwk(jwk).context("a key can't be read")?;
        Ok(Self { id: jwk.common.key_id.clone(), key, validation })
    }

    /// A key id, where both have one, must agree; the algorithm is the key's, never the token's choice.
    fn fits(&self, header: &jsonwebtoken::Header) -> bool {
        let same_id = match (&self.id, &header.kid) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => true,
        };
        same_id && self.validation.algorithms.contains(&header.alg)
    }
}

fn algorithm(jwk: &Jwk) -> anyhow::Result<Algorithm> {
    Ok(match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        _ => bail!("a key is none of Ed25519 (EdDSA), P-256 (ES256), RSA (RS256) and oct (HS256)"),
    })
}

fn user(sub: &str) -> Bearer {
    User::parse(sub).map_or(Bearer::Invalid("the JWT's sub is no user name"), Bearer::User)
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the JWT has expired",
        ErrorKind::ImmatureSignature => "the JWT is not valid yet",
        ErrorKind::InvalidSignature => "the JWT's signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "the JWT lacks exp or sub",
        _ => "the JWT is malformed",
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
#[must_use]
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use std::time::{SystemTime, UNIX_EPOCH};

    /// One key of each asymmetric kind, with a token that is valid until 2100 and one that expired in 2023.
    fn fixtures() -> Vec<Value> {
        serde_json::from_str(include_str!("../tests/jwt/tokens.json")).expect("JSON")
    }

    fn judge(keys: &Value, token: &str) -> Bearer {
        let verifier = Verifier::parse(keys.to_string().as_bytes()).expect("keys");
        let value = format!("Bearer {token}").parse().expect("a header");
        verifier.bearer(&[(AUTHORIZATION, value)].into_iter().collect())
    }

    fn alice() -> Bearer {
        Bearer::User(User::parse("alice").expect("a name"))
    }

    #[test]
    fn each_kind_of_key_verifies_its_tokens() {
        for row in fixtures() {
            let (valid, expired) = (row["valid"].as_str().expect("text"), row["expired"].as_str().expect("text"));
            assert_eq!(judge(&row["jwk"], valid), alice(), "{}", row["jwk"]);
            assert_eq!(judge(&row["jwk"], expired), Bearer::Invalid("the JWT has expired"));
            let forged = format!("{}A{}", &valid[..valid.len() - 20], &valid[valid.len() - 19..]);
            assert_eq!(judge(&row["jwk"], &forged), Bearer::Invalid("the JWT's signature is wrong"));
        }
    }

    #[test]
    fn a_set_verifies_the_tokens_of_all_its_keys() {
        let rows = fixtures();
        let set = json!({ "keys": rows.iter().map(|row| row["jwk"].clone()).collect::<Vec<_>>() });
        for row in &rows {
            assert_eq!(judge(&set, row["valid"].as_str().expect("text")), alice());
        }
        let one = &rows[0]["jwk"];
        assert_eq!(judge(one, rows[1]["valid"].as_str().expect("text")), Bearer::Invalid("no key fits the JWT"));
    }

    fn secret() -> Value {
        json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMy", "kid": "one" })
    }

    fn signed(claims: &Value, kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(b"secret-secret-secret-secret-32");
        encode(&header, claims, &key).expect("a token")
    }

    fn in_seconds(seconds: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(now.as_secs()).expect("fits") + seconds
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        let token = |exp| signed(&json!({ "sub": "alice", "exp": in_seconds(exp) }), Some("one"));
        assert_eq!(judge(&secret(), &token(-30)), alice());
        assert_eq!(judge(&secret(), &token(-90)), Bearer::Invalid("the JWT has expired"));
    }

    #[test]
    fn sub_and_exp_are_required_and_checked() {
        let lacking = Bearer::Invalid("the JWT lacks exp or sub");
        assert_eq!(judge(&secret(), &signed(&json!({ "sub": "alice" }), None)), lacking);
        let no_name = signed(&json!({ "sub": "a\nb", "exp": in_seconds(60) }), None);
        assert_eq!(judge(&secret(), &no_name), Bearer::Invalid("the JWT's sub is no user name"));
        let early = signed(&json!({ "sub": "alice", "exp": in_seconds(600), "nbf": in_seconds(300) }), None);
        assert_eq!(judge(&secret(), &early), Bearer::Invalid("the JWT is not valid yet"));
    }

    #[test]
    fn the_key_chooses_the_algorithm_and_its_id_must_fit() {
        let token = signed(&json!({ "sub": "alice", "exp": in_seconds(60) }), Some("two"));
        assert_eq!(judge(&secret(), &token), Bearer::Invalid("no key fits the JWT"));
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.";
        assert_eq!(judge(&secret(), unsigned), Bearer::Invalid("the JWT is malformed"));
        assert_eq!(judge(&secret(), &"x".repeat(MAX_TOKEN_BYTES + 1)), Bearer::Invalid("the JWT is too long"));
    }

    #[test]
    fn a_key_file_without_a_usable_key_is_refused() {
        for text in ["", "{}", r#"{"keys":[]}"#, r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#] {
            assert!(Verifier::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
