//! What a request must look like before an instance sees a byte of it, and what is taken off it first.
//!
//! Pure: works on the parsed head alone. Refuses what proxies and servers are known to read differently (RFC 9112 §3.2, §6,
//! §7.6; RFC 9110 §7.6.1), strips hop-by-hop fields, then everything that only the balancer may say.

use super::head::RawFault;
use balancer_core::Run;
use gateway_protocol::{ProblemType, header as own};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request::Parts, uri::PathAndQuery};
use std::net::IpAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const AVOID: HeaderName = HeaderName::from_static(own::AVOID);
const OWN_PREFIX: &str = "holdfast-";

/// What the client wants of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An answer.
    Answer,
    /// A WebSocket (RFC 6455 §4.1).
    WebSocket,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ProblemType,
    pub(crate) detail: &'static str,
}

const fn bad(detail: &'static str) -> Refusal {
    Refusal { kind: ProblemType::BadRequest, detail }
}

/// Checks a request's head and makes its target origin-form.
pub(crate) fn check(head: &mut Parts, fault: Option<RawFault>) -> Result<Wish, Refusal> {
    match fault {
        Some(RawFault::BareLf) => return Err(bad("a line of the head ends in a bare line feed")),
        Some(RawFault::LengthAndEncoding) => return Err(bad("both Content-Length and Transfer-Encoding")),
        None => {}
    }
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal { kind: ProblemType::MethodNotAllowed, detail: "CONNECT and TRACE are not served" });
    }
    check_encoding(&head.headers)?;
    check_host(head)?;
    wish(head)
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("the only Transfer-Encoding served is a single `chunked`")),
    }
}

fn check_host(head: &mut Parts) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(bad("exactly one Host is needed"));
    };
    if host.is_empty() || !host.as_bytes().iter().all(|byte| is_host_byte(*byte)) {
        return Err(bad("Host is not a host"));
    }
    match head.uri.authority() {
        None if head.uri.path().starts_with('/') => Ok(()),
        None => Err(bad("the request target is not a path")),
        Some(authority) if authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            head.uri = origin_form(&head.uri)?;
            Ok(())
        }
        Some(_) => Err(bad("the request target disagrees with Host")),
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]~%".contains(&byte)
}

/// `http://host?x` has a query and no path: the path is then `/` (RFC 9112 §3.2.1).
fn origin_form(uri: &Uri) -> Result<Uri, Refusal> {
    let text = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let parsed = if text.starts_with('/') { text.parse() } else { format!("/{text}").parse() };
    parsed.map_err(|_| bad("the request target is not a path"))
}

fn wish(head: &Parts) -> Result<Wish, Refusal> {
    let mut upgrades = head.headers.get_all(header::UPGRADE).iter();
    match (upgrades.next(), upgrades.next()) {
        (None, _) => Ok(Wish::Answer),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"websocket") => websocket(head),
        _ => Err(bad("the only Upgrade served is `websocket`")),
    }
}

fn websocket(head: &Parts) -> Result<Wish, Refusal> {
    let is_bare = !head.headers.contains_key(header::CONTENT_LENGTH) && !has_encoding(&head.headers);
    let is_asked = tokens(&head.headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    if head.method == Method::GET && head.version == Version::HTTP_11 && is_bare && is_asked {
        Ok(Wish::WebSocket)
    } else {
        Err(bad("an upgrade is a GET of HTTP/1.1 without a body, with `Connection: Upgrade`"))
    }
}

fn has_encoding(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim)
}

/// Takes off a message what concerns one connection alone (RFC 9110 §7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .filter(|name| !is_of_the_message(name))
            .collect();
        remove_each(headers, &named);
    }
    remove_where(headers, is_hop_by_hop);
}

/// Naming these in `Connection` does not make them hop-by-hop: without them the message would be another one.
fn is_of_the_message(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "content-length" | "cookie" | "set-cookie" | "authorization" | "origin")
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
    )
}

/// Takes off a request what only the balancer says to an instance. `holdfast-avoid` must be read before.
pub(crate) fn strip_own(headers: &mut HeaderMap) {
    remove_where(headers, |name| name.as_str().starts_with(OWN_PREFIX) || *name == header::EXPECT);
}

fn remove_where(headers: &mut HeaderMap, is_doomed: impl Fn(&HeaderName) -> bool) {
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| is_doomed(name)).cloned().collect();
    remove_each(headers, &doomed);
}

fn remove_each(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Says for whom the balancer asks: what an untrusted client says of itself is replaced, a trusted proxy's word is kept.
pub(crate) fn say_forwarded(headers: &mut HeaderMap, peer: &HeaderValue, is_trusted: bool, proto: &'static str) {
    if !is_trusted {
        headers.remove(header::FORWARDED);
        headers.insert(FORWARDED_FOR, peer.clone());
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
        return;
    }
    let said = headers.get_all(&FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let chain = said.chain(peer.to_str().ok()).collect::<Vec<_>>().join(", ");
    headers.insert(FORWARDED_FOR, HeaderValue::from_str(&chain).unwrap_or_else(|_| peer.clone()));
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
}

/// An address as a field value.
pub(crate) fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The run that `holdfast-avoid` names.
pub(crate) fn avoided(headers: &HeaderMap) -> Option<Run> {
    headers.get(AVOID)?.to_str().ok()?.parse().ok()
}

/// True if a proxy in front was spoken to over TLS.
pub(crate) fn is_forwarded_https(headers: &HeaderMap) -> bool {
    headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// The balancer's own half of an upgrade, which is hop-by-hop.
pub(crate) fn ask_for_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn head(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("valid").into_parts().0
    }

    fn field() -> impl Strategy<Value = (&'static str, &'static str)> {
        prop_oneof![
            Just(("host", "h")),
            Just(("host", "other")),
            Just(("transfer-encoding", "chunked")),
            Just(("transfer-encoding", "gzip")),
            Just(("content-length", "5")),
            Just(("upgrade", "websocket")),
            Just(("upgrade", "h2c")),
            Just(("connection", "Upgrade, host, x-mine")),
            Just(("connection", "close")),
            Just(("keep-alive", "5")),
            Just(("holdfast-instance", "forged")),
            Just(("x-mine", "1")),
        ]
    }

    proptest! {
        #[test]
        fn what_passes_is_unambiguous_and_what_is_stripped_is_gone(
            method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "TRACE", "CONNECT", "HEAD"]),
            target in prop::sample::select(vec!["/", "/a?b", "http://h/a", "http://h?q=1", "http://other/", "*", "h:80"]),
            fields in prop::collection::vec(field(), 0..6),
        ) {
            let mut head = head(method, target, &fields);
            let Ok(wish) = check(&mut head, None) else { return Ok(()) };
            prop_assert_eq!(head.headers.get_all(header::HOST).iter().count(), 1);
            prop_assert!(head.uri.authority().is_none() && head.uri.path().starts_with('/'));
            prop_assert!(head.headers.get_all(header::TRANSFER_ENCODING).iter().all(|value| value == "chunked"));
            prop_assert!(!["TRACE", "CONNECT"].contains(&method));
            prop_assert_eq!(wish == Wish::WebSocket, head.headers.contains_key(header::UPGRADE));
            strip_hop_by_hop(&mut head.headers);
            strip_own(&mut head.headers);
            prop_assert!(head.headers.contains_key(header::HOST));
            let is_left = |name: &HeaderName| is_hop_by_hop(name) || name.as_str().starts_with(OWN_PREFIX);
            prop_assert!(!head.headers.keys().any(is_left));
            let was_named = fields.contains(&("connection", "Upgrade, host, x-mine"));
            prop_assert!(!(was_named && head.headers.contains_key("x-mine")));
        }
    }

    #[test]
    fn only_a_trusted_proxys_word_is_passed_on() {
        let peer = address_value(IpAddr::from([10, 0, 0, 1]));
        let said = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("forwarded", "for=evil")];
        let mut untrusted = head("GET", "/", &said).headers;
        assert!(is_forwarded_https(&untrusted));
        say_forwarded(&mut untrusted, &peer, false, "http");
        assert_eq!(
            (&untrusted[FORWARDED_FOR], &untrusted[FORWARDED_PROTO]),
            (&peer, &HeaderValue::from_static("http"))
        );
        assert!(!untrusted.contains_key(header::FORWARDED));
        let mut trusted = head("GET", "/", &said).headers;
        say_forwarded(&mut trusted, &peer, true, "http");
        assert_eq!(trusted[FORWARDED_FOR], "192.0.2.7, 10.0.0.1");
        assert_eq!(trusted[FORWARDED_PROTO], "https");
    }
}
