//! Between rsipstack's messages and those of the machines.

use super::frame::verbatim;
use gateway_core::sip::{Body, Headers, Method, SipRequest, SipResponse};
use rsipstack::sip::headers::make_header;
use rsipstack::sip::{self as wire, Header, StatusCode};

/// Compact names that rsipstack does not read (RFC 3261 §7.3.3 and the registry of header fields).
const COMPACT: [(&str, &str); 11] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("u", "Allow-Events"),
    ("y", "Identity"),
];

/// The body is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotText;

/// A message of a machine that must not be sent: with a line end inside a field, or a method that rsipstack has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsendable;

pub(super) fn request_from_wire(request: &wire::Request) -> Result<SipRequest, NotText> {
    let (headers, body) = fields_from_wire(&request.headers, &request.body)?;
    Ok(SipRequest { method: Method::of(&request.method.to_string()), uri: request.uri.to_string(), headers, body })
}

pub(super) fn response_from_wire(response: &wire::Response) -> Result<SipResponse, NotText> {
    let (headers, body) = fields_from_wire(&response.headers, &response.body)?;
    let reason = response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned());
    Ok(SipResponse { status: response.status_code.code(), reason, headers, body })
}

fn fields_from_wire(fields: &wire::Headers, body: &[u8]) -> Result<(Headers, Option<Body>), NotText> {
    let mut headers = Headers::default();
    let mut content_type = None;
    for field in fields.iter() {
        match field {
            Header::ContentLength(_) => {}
            Header::ContentType(value) => content_type = Some(value.value().trim().to_owned()),
            Header::Via(value) => split_at_commas(value.value()).for_each(|via| headers.push("Via", via)),
            // One that begins in its second line has a space before it.
            other => headers.push(long_name(other.name()), other.value().trim()),
        }
    }
    if body.is_empty() {
        return Ok((headers, None));
    }
    let text = std::str::from_utf8(body).map_err(|_| NotText)?.to_owned();
    let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    Ok((headers, Some(Body { content_type, text })))
}

fn long_name(name: &str) -> &str {
    COMPACT.iter().find(|(compact, _)| name.eq_ignore_ascii_case(compact)).map_or(name, |(_, long)| long)
}

/// A hop per field, so that the topmost can be taken off.
fn split_at_commas(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |character| {
            quoted ^= character == '"';
            character == ',' && !quoted
        })
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

pub(super) fn request_to_wire(request: &SipRequest) -> Result<wire::Request, Unsendable> {
    let method = wire::Method::all().into_iter().find(|known| known.to_string() == request.method.as_str());
    if request.uri.is_empty() || request.uri.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Unsendable);
    }
    Ok(wire::Request {
        method: method.ok_or(Unsendable)?,
        uri: verbatim(&request.uri),
        version: wire::Version::V2,
        headers: fields_to_wire(&request.headers, request.body.as_ref())?,
        body: body_to_wire(request.body.as_ref()),
    })
}

pub(super) fn response_to_wire(response: &SipResponse) -> Result<wire::Response, Unsendable> {
    if !(100..700).contains(&response.status) || has_control(&response.reason) {
        return Err(Unsendable);
    }
    let status_code = StatusCode::try_from((response.status, response.reason.as_str())).map_err(|_| Unsendable)?;
    Ok(wire::Response {
        status_code,
        wire_reason: None,
        version: wire::Version::V2,
        headers: fields_to_wire(&response.headers, response.body.as_ref())?,
        body: body_to_wire(response.body.as_ref()),
    })
}

fn fields_to_wire(headers: &Headers, body: Option<&Body>) -> Result<wire::Headers, Unsendable> {
    let mut fields = Vec::new();
    for (name, value) in headers.iter() {
        let is_token =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte));
        if !is_token || has_control(value) {
            return Err(Unsendable);
        }
        fields.push(make_header(name, value.to_owned()));
    }
    if let Some(body) = body {
        if has_control(&body.content_type) {
            return Err(Unsendable);
        }
        fields.push(Header::ContentType(body.content_type.as_str().into()));
    }
    let length = body.map_or(0, |body| body.text.len());
    fields.push(Header::ContentLength(length.to_string().into()));
    Ok(fields.into())
}

fn body_to_wire(body: Option<&Body>) -> Vec<u8> {
    body.map(|body| body.text.clone().into_bytes()).unwrap_or_default()
}

fn has_control(value: &str) -> bool {
    value.chars().any(|character| character.is_control() && character != '\t')
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Parsed, parse};
    use super::*;
    use rsipstack::sip::SipMessage;

    fn read(text: &str) -> SipRequest {
        match parse(text.as_bytes()) {
            Ok(Parsed::Message(SipMessage::Request(request))) => request_from_wire(&request).expect("text"),
            other => panic!("a request: {other:?}"),
        }
    }

    const COMPACT_INVITE: &str = "INVITE sip:a@h;hf-gen=1 SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1, SIP/2.0/TCP i;branch=z9hG4bK2;x=\"a,b\"\r\n\
         f: <sip:b@h>;tag=1\r\nt: <sip:a@h>\r\ni: c\r\nCSeq: 1 INVITE\r\nm: <sip:b@h>\r\nk: timer\r\ns: x\r\no: talk\r\nu: refer\r\n\
         r: <sip:c@h>\r\nx: 90\r\ne: gzip\r\nc: text/plain\r\nl: 2\r\n\r\nhi";

    #[test]
    fn compact_names_become_long_and_every_hop_has_a_field() {
        let request = read(COMPACT_INVITE);
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name).collect();
        let long = [
            "Via",
            "Via",
            "From",
            "To",
            "Call-ID",
            "CSeq",
            "Contact",
            "Supported",
            "Subject",
            "Event",
            "Allow-Events",
            "Refer-To",
            "Session-Expires",
            "Content-Encoding",
        ];
        assert_eq!(names, long);
        assert_eq!(request.headers.all("Via").nth(1), Some("SIP/2.0/TCP i;branch=z9hG4bK2;x=\"a,b\""));
        assert_eq!(request.body, Some(Body { content_type: "text/plain".to_owned(), text: "hi".to_owned() }));
        assert_eq!(request.uri, "sip:a@h;hf-gen=1");
    }

    #[test]
    fn a_request_survives_the_way_out_and_back() {
        let request = read(COMPACT_INVITE);
        let bytes = request_to_wire(&request).expect("sendable").to_bytes();
        assert_eq!(read(std::str::from_utf8(&bytes).expect("text")), request);
    }

    #[test]
    fn nothing_with_a_line_end_inside_leaves() {
        let request = read(COMPACT_INVITE);
        let with = |change: fn(&mut SipRequest)| {
            let mut request = request.clone();
            change(&mut request);
            request_to_wire(&request).is_err()
        };
        assert!(with(|request| request.headers.push("Subject", "x\r\nRoute: <sip:evil>")));
        assert!(with(|request| request.headers.push("X: y\r\nZ", "x")));
        assert!(with(|request| request.uri = "sip:a@h SIP/2.0\r\nX: y".to_owned()));
        assert!(with(|request| request.body.iter_mut().for_each(|body| body.content_type.push('\n'))));
        assert!(with(|request| request.method = Method::Other("X Y".to_owned())));
        assert!(!with(|_| ()));
    }
}
