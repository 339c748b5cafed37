//! The two pin cookies on the wire: found and taken off a request, set and expired on an answer.

use balancer_core::{
    instance::is_id,
    pin::{KeyRing, Pin, PinError, Proven},
    route::Kind,
};
use cookie::{Cookie, CookieBuilder, SameSite, time::Duration};
use gateway_protocol::header as own;
use http::{
    HeaderMap, HeaderValue,
    header::{self, Entry},
};
use std::io::BufRead;

const SESSIONS: &str = "/v1/sessions/";
/// A session cookie outlives a day without a probe by nothing.
const SESSION_AGE: Duration = Duration::days(1);
/// Values of one name that are looked at: more are an attempt to make the balancer compute signatures.
const MAX_CANDIDATES: usize = 4;

/// The Cookie fields of a request, taken out of its head so that pins may borrow from them.
#[derive(Default)]
pub(crate) struct Received(Vec<HeaderValue>);

/// What the pin cookies of a request say, as far as it matters.
#[derive(Default)]
pub(crate) struct Pins<'a> {
    pub(crate) browser: Option<Pin<'a>>,
    pub(crate) session: Option<Pin<'a>>,
    /// Why values were treated as absent.
    pub(crate) errors: Vec<PinError>,
}

impl Received {
    /// Takes the Cookie fields out and puts back what is not the balancer's.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        let Entry::Occupied(fields) = headers.entry(header::COOKIE) else { return Self::default() };
        let received = Self(fields.remove_entry_mult().1.collect());
        let mut others = Vec::new();
        for piece in received.pieces().filter(|piece| !is_ours(piece)) {
            if !others.is_empty() {
                others.extend_from_slice(b"; ");
            }
            others.extend_from_slice(piece);
        }
        if !others.is_empty()
            && let Ok(value) = HeaderValue::try_from(others)
        {
            headers.insert(header::COOKIE, value);
        }
        received
    }

    /// The pin that decides a request of this kind. The first value of a name that can be read counts: a planted one can't
    /// hide the real one.
    pub(crate) fn pins(&self, kind: Kind, keys: &KeyRing, proven: &mut Proven, is_secure: bool) -> Pins<'_> {
        let mut pins = Pins::default();
        if kind == Kind::Session {
            pins.session = self.first(own::SESSION_COOKIE, keys, proven, &mut pins.errors);
        }
        // A signature costs more than the rest of the decision.
        if pins.session.is_none() {
            pins.browser = self.first(browser_name(is_secure), keys, proven, &mut pins.errors);
        }
        pins
    }

    fn first<'a>(
        &'a self,
        name: &str,
        keys: &KeyRing,
        proven: &mut Proven,
        errors: &mut Vec<PinError>,
    ) -> Option<Pin<'a>> {
        let values = self.pieces().filter_map(|piece| piece.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        values.take(MAX_CANDIDATES).find_map(|value| {
            let value = std::str::from_utf8(value).map_err(|_| PinError::Malformed);
            value.and_then(|value| keys.read_again(value, proven)).map_err(|error| errors.push(error)).ok()
        })
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|value| pieces(value.as_bytes()))
    }
}

/// The cookies of one field. As bytes, because other applications' may hold any.
fn pieces(mut field: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let rest = field;
        let length = field.skip_until(b';').ok().filter(|length| *length > 0)?;
        let piece = &rest[..length];
        Some(piece.strip_suffix(b";").unwrap_or(piece).trim_ascii())
    })
}

fn is_ours(piece: &[u8]) -> bool {
    [own::COOKIE, own::COOKIE_TLS, own::SESSION_COOKIE].iter().any(|ours| {
        piece.strip_prefix(ours.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'='))
    })
}

fn browser_name(is_secure: bool) -> &'static str {
    if is_secure { own::COOKIE_TLS } else { own::COOKIE }
}

/// The id in the path of a session, `/v1/sessions/{id}` with or without more behind it.
pub(crate) fn session_id(path: &str) -> Option<&str> {
    let id = path.strip_prefix(SESSIONS)?.split('/').next()?;
    is_id(id).then_some(id)
}

/// Adds the cookie that places a browser.
pub(crate) fn set_browser(headers: &mut HeaderMap, pin: &str, is_secure: bool) {
    add(headers, made(browser_name(is_secure), pin, is_secure).path("/"));
}

/// Adds the cookie of one session.
pub(crate) fn set_session(headers: &mut HeaderMap, id: &str, pin: &str, is_secure: bool) {
    let cookie = made(own::SESSION_COOKIE, pin, is_secure).max_age(SESSION_AGE);
    add(headers, cookie.path(format!("{SESSIONS}{id}")));
}

/// Expires the cookie of one session.
pub(crate) fn expire_session(headers: &mut HeaderMap, id: &str, is_secure: bool) {
    let cookie = made(own::SESSION_COOKIE, "", is_secure).max_age(Duration::ZERO);
    add(headers, cookie.path(format!("{SESSIONS}{id}")));
}

fn made<'a>(name: &'a str, value: &'a str, is_secure: bool) -> CookieBuilder<'a> {
    let cookie = Cookie::build((name, value)).http_only(true).same_site(SameSite::Lax);
    if is_secure { cookie.secure(true) } else { cookie }
}

fn add(headers: &mut HeaderMap, cookie: CookieBuilder<'_>) {
    let value = HeaderValue::try_from(cookie.build().to_string());
    headers.append(header::SET_COOKIE, value.expect("ids and base64 are visible ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use balancer_core::{
        Run,
        pin::{PinId, PinKey},
    };

    fn ring() -> KeyRing {
        KeyRing::new(&[PinKey { id: [1; 4], secret: [7; 32] }]).expect("a key")
    }

    fn request(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|text| (header::COOKIE, HeaderValue::from_str(text).expect("valid"))).collect()
    }

    #[test]
    fn only_the_balancers_cookies_are_taken_off() {
        let mut headers = request(&["a=1;holdfast=x; holdfast-session=y;  b=2", "__Host-holdfast=z; holdfastx=3"]);
        Received::take(&mut headers);
        assert_eq!(headers[header::COOKIE], "a=1; b=2; holdfastx=3");
        let mut headers = request(&["holdfast=x"]);
        Received::take(&mut headers);
        assert!(!headers.contains_key(header::COOKIE));
    }

    #[test]
    fn a_planted_value_does_not_hide_the_real_one() {
        let run = Run::parse("gw-1", "b1").expect("valid");
        let real = ring().write(&run, PinId(5), 9, true);
        let received = Received::take(&mut request(&[&format!("holdfast=planted; holdfast={real}")]));
        let (keys, pins) = (ring(), received.pins(Kind::Page, &ring(), &mut Proven::default(), false));
        assert_eq!(pins.browser, keys.read(&real).ok());
        assert_eq!(pins.errors, [PinError::Malformed]);
        assert!(
            received.pins(Kind::Page, &keys, &mut Proven::default(), true).browser.is_none(),
            "over TLS the name is another"
        );
    }

    #[test]
    fn attributes_follow_the_transport() {
        let mut headers = HeaderMap::new();
        set_browser(&mut headers, "v", true);
        set_session(&mut headers, "s1", "v", false);
        expire_session(&mut headers, "s1", false);
        let lines: Vec<_> =
            headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().expect("text")).collect();
        assert_eq!(lines[0], "__Host-holdfast=v; HttpOnly; SameSite=Lax; Secure; Path=/");
        assert_eq!(lines[1], "holdfast-session=v; HttpOnly; SameSite=Lax; Path=/v1/sessions/s1; Max-Age=86400");
        assert_eq!(lines[2], "holdfast-session=; HttpOnly; SameSite=Lax; Path=/v1/sessions/s1; Max-Age=0");
    }

    #[test]
    fn a_session_id_is_an_id() {
        assert_eq!(session_id("/v1/sessions/s-1/socket"), Some("s-1"));
        assert_eq!(session_id("/v1/sessions/a;b"), None);
        assert_eq!(session_id("/v1/sessions/"), None);
    }
}
