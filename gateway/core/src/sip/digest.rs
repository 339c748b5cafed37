//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760): MD5 and SHA-256, `qop=auth`, both sides.

use super::address::split_outside_quotes;
use sha2::Digest as _;
use std::fmt::Write as _;

/// A hash that a challenge names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RFC 3261.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    fn of(name: &str) -> Option<Self> {
        match name {
            _ if name.eq_ignore_ascii_case("MD5") => Some(Self::Md5),
            _ if name.eq_ignore_ascii_case("SHA-256") => Some(Self::Sha256),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&<md5::Md5 as md5::Digest>::digest(text)),
            Self::Sha256 => hex(&sha2::Sha256::digest(text)),
        }
    }
}

/// A user's name and password at one realm.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// As the server knows it.
    pub user: String,
    /// In the clear: digest needs it.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a server asks for: a WWW-Authenticate or Proxy-Authenticate value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Where the credentials count.
    pub realm: String,
    /// To be hashed in.
    pub nonce: String,
    /// With which hash.
    pub algorithm: Algorithm,
    /// To be returned as it is.
    pub opaque: Option<String>,
    /// `qop=auth` is offered.
    pub qop_auth: bool,
    /// The credentials were right, the nonce was too old.
    pub stale: bool,
}

impl Challenge {
    /// The strongest of the challenges that can be answered.
    pub fn strongest<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        values.filter_map(Self::parse).max_by_key(|challenge| challenge.algorithm)
    }

    /// Reads one; `None` if it is no digest, or asks for what is not known here.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let fields = Fields::parse(value)?;
        let qop = fields.find("qop");
        let qop_auth = qop.as_ref().is_some_and(|qop| qop.split(',').any(|one| one.trim() == "auth"));
        if qop.is_some() && !qop_auth {
            return None;
        }
        Some(Self {
            realm: fields.find("realm")?,
            nonce: fields.find("nonce")?,
            algorithm: fields.find("algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::of(&name))?,
            opaque: fields.find("opaque"),
            qop_auth,
            stale: fields.find("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of a WWW-Authenticate or Proxy-Authenticate header field.
    #[must_use]
    pub fn header(&self) -> String {
        let Self { realm, nonce, algorithm, .. } = self;
        let stale = if self.stale { ", stale=true" } else { "" };
        let qop = if self.qop_auth { ", qop=\"auth\"" } else { "" };
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={}{qop}{stale}", algorithm.as_str())
    }

    /// The value of the Authorization or Proxy-Authorization header field that answers it. `count` is 1 for the first
    /// request with this nonce.
    #[must_use]
    pub fn answer(&self, credentials: &Credentials, method: &str, uri: &str, cnonce: &str, count: u32) -> String {
        let Self { realm, nonce, algorithm, opaque, .. } = self;
        let user = &credentials.user;
        let nc = format!("{count:08x}");
        let qop = self.qop_auth.then_some((nc.as_str(), cnonce));
        let response = response(*algorithm, credentials, realm, nonce, qop, method, uri);
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm={}",
            quoted(user),
            algorithm.as_str()
        );
        if let Some(opaque) = opaque {
            let _ = write!(value, ", opaque=\"{opaque}\"");
        }
        if self.qop_auth {
            let _ = write!(value, ", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
        }
        value
    }
}

/// An answer to a challenge: an Authorization or Proxy-Authorization value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who claims to ask.
    pub user: String,
    /// The realm of the challenge.
    pub realm: String,
    /// The nonce of the challenge.
    pub nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    qop: Option<(String, String)>,
}

impl Authorization {
    /// Reads one.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let fields = Fields::parse(value)?;
        let qop = match fields.find("qop") {
            Some(_) => Some((fields.find("nc")?, fields.find("cnonce")?)),
            None => None,
        };
        Some(Self {
            user: unquoted(fields.raw("username")?),
            realm: fields.find("realm")?,
            nonce: fields.find("nonce")?,
            uri: fields.find("uri")?,
            response: fields.find("response")?,
            algorithm: fields.find("algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::of(&name))?,
            qop,
        })
    }

    /// True if it was made with these credentials for a request of this method.
    #[must_use]
    pub fn proves(&self, credentials: &Credentials, method: &str) -> bool {
        let qop = self.qop.as_ref().map(|(nc, cnonce)| (nc.as_str(), cnonce.as_str()));
        let expected = response(self.algorithm, credentials, &self.realm, &self.nonce, qop, method, &self.uri);
        let equal = subtle::ConstantTimeEq::ct_eq(expected.as_bytes(), self.response.as_bytes());
        self.user == credentials.user && bool::from(equal)
    }
}

fn response(
    algorithm: Algorithm,
    credentials: &Credentials,
    realm: &str,
    nonce: &str,
    qop: Option<(&str, &str)>,
    method: &str,
    uri: &str,
) -> String {
    let Credentials { user, password } = credentials;
    let who = algorithm.hash(&format!("{user}:{realm}:{password}"));
    let what = algorithm.hash(&format!("{method}:{uri}"));
    algorithm.hash(&match qop {
        Some((nc, cnonce)) => format!("{who}:{nonce}:{nc}:{cnonce}:auth:{what}"),
        None => format!("{who}:{nonce}:{what}"),
    })
}

/// The fields behind `Digest`.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let fields = split_outside_quotes(rest, ',').filter_map(|field| field.split_once('='));
        Some(Self(fields.map(|(name, value)| (name.trim(), value.trim())).collect()))
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn find(&self, name: &str) -> Option<String> {
        Some(self.raw(name)?.trim_matches('"').to_owned())
    }
}

/// What stands between quotes (RFC 3261 §25.1).
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The text that stands between quotes.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut is_escaped = false;
    inner
        .chars()
        .filter(|character| {
            is_escaped = *character == '\\' && !is_escaped;
            !is_escaped
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa() -> Credentials {
        Credentials { user: "Mufasa".to_owned(), password: "Circle of Life".to_owned() }
    }

    /// The examples of RFC 7616 §3.9.1, of which RFC 8760 takes over the hash.
    #[test]
    fn the_answers_are_those_of_the_standard() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let challenge = Challenge::parse(&challenge).expect("a challenge");
            let credentials = Credentials { user: "Mufasa".into(), password: "Circle of Life".into() };
            let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
            let answer = challenge.answer(&credentials, "GET", "/dir/index.html", cnonce, 1);
            assert!(answer.contains(response), "{answer}");
            assert!(Authorization::parse(&answer).expect("an answer").proves(&mufasa(), "GET"));
            assert!(!Authorization::parse(&answer).expect("an answer").proves(&mufasa(), "PUT"));
        }
    }

    #[test]
    fn the_strongest_known_challenge_is_taken() {
        let values = [
            "Digest realm=\"r\", nonce=\"1\"",
            "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth\"",
            "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-512-256",
            "Basic realm=\"r\"",
        ];
        assert_eq!(Challenge::strongest(values.into_iter()).map(|challenge| challenge.nonce).as_deref(), Some("2"));
    }

    #[test]
    fn a_name_with_a_quote_stays_a_name() {
        let challenge = Challenge::parse("Digest realm=\"r\", nonce=\"n\"").expect("a challenge");
        let credentials = Credentials { user: "a\", realm=\"evil\\".to_owned(), password: "p".to_owned() };
        let answer = challenge.answer(&credentials, "INVITE", "sip:b@h", "c", 1);
        let parsed = Authorization::parse(&answer).expect("an answer");
        assert_eq!((parsed.user.as_str(), parsed.realm.as_str()), (credentials.user.as_str(), "r"));
        assert!(parsed.proves(&credentials, "INVITE"));
    }

    #[test]
    fn a_challenge_survives_its_own_header() {
        let challenge = Challenge {
            realm: "example.org".into(),
            nonce: "n".into(),
            algorithm: Algorithm::Sha256,
            opaque: None,
            qop_auth: true,
            stale: true,
        };
        assert_eq!(Challenge::parse(&challenge.header()), Some(challenge));
    }
}
