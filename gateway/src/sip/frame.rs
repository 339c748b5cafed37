//! Bytes to messages: where one ends, and whether it is one. Stricter than rsipstack's parser where that one guesses: control
//! characters, a start line of another shape, a body shorter than it says.

use gateway_core::sip::{NameAddr, tag_of};
use rsipstack::sip::{Domain, Header, Host, HostWithPort, Method as KnownMethod, Request, SipMessage, Uri};

/// Longest message, head and body together.
pub(super) const MAX_MESSAGE_BYTES: usize = 65_535;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// It has more than [`MAX_MESSAGE_BYTES`], or never ends.
    #[error("longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// Where it ends can't be known.
    #[error("Content-Length is no number, or two")]
    ContentLength,
    /// Anything else.
    #[error("not SIP: {0}")]
    NotSip(&'static str),
}

/// A message that was read.
#[derive(Debug)]
pub(super) enum Parsed {
    /// To be matched to a transaction.
    Message(SipMessage),
    /// A request that gets this status and nothing else. The message has something else in place of what can't be read.
    Refused(Request, u16),
}

/// Takes a stream of bytes apart.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
    /// No head ends before this byte.
    scanned: usize,
}

/// What a stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// One whole message.
    Message(Vec<u8>),
    /// A keepalive that wants an answer (RFC 5626 §4.4.1).
    Ping,
}

impl Framer {
    /// Adds bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True between two messages.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() || self.buffer == b"\r\n"
    }

    /// The next frame, if it is all there. After an error nothing more can be read.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.starts_with(END_OF_HEAD) {
            self.buffer.drain(..END_OF_HEAD.len());
            return Ok(Some(Frame::Ping));
        }
        // A pong, or the stray line ends before a message that RFC 3261 §7.5 allows. A single CR may become a ping.
        while self.buffer.starts_with(b"\r\n") && !END_OF_HEAD.starts_with(&self.buffer) {
            self.buffer.drain(..2);
        }
        let from = self.scanned.saturating_sub(END_OF_HEAD.len());
        let Some(at) = find_end_of_head(&self.buffer[from..]) else {
            self.scanned = self.buffer.len();
            return if self.buffer.len() > MAX_MESSAGE_BYTES { Err(FrameError::TooLong) } else { Ok(None) };
        };
        let head = from + at + END_OF_HEAD.len();
        let whole = head.saturating_add(content_length(&self.buffer[..head])?.unwrap_or(0));
        if whole > MAX_MESSAGE_BYTES {
            return Err(FrameError::TooLong);
        }
        if self.buffer.len() < whole {
            return Ok(None);
        }
        self.scanned = 0;
        let rest = self.buffer.split_off(whole);
        Ok(Some(Frame::Message(std::mem::replace(&mut self.buffer, rest))))
    }
}

fn find_end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)
}

/// What others read as the length, or nothing at all: whoever read another one would find another message behind this one.
fn content_length(head: &[u8]) -> Result<Option<usize>, FrameError> {
    let mut found = None;
    for line in Lines(head) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = line[..colon].trim_ascii_end();
        if name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"l") {
            let value = std::str::from_utf8(line[colon + 1..].trim_ascii()).map_err(|_| FrameError::ContentLength)?;
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let length = value.parse().ok().filter(|_| is_number).ok_or(FrameError::ContentLength)?;
            if found.is_some_and(|found| found != length) {
                return Err(FrameError::ContentLength);
            }
            found = Some(length);
        }
    }
    Ok(found)
}

/// The lines of a head; one that goes on in the next (RFC 3261 §7.3.1) is one.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let is_end =
            |at: &usize| self.0[*at..].starts_with(b"\r\n") && !matches!(self.0.get(at + 2), Some(b' ' | b'\t'));
        let end = (0..self.0.len()).find(is_end).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.get(2..).unwrap_or_default();
        Some(line)
    }
}

/// Reads one whole message: a frame of a stream, or a datagram.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FrameError> {
    let end = find_end_of_head(bytes).ok_or(FrameError::NotSip("no end of the header fields"))?;
    let (head, body) = bytes.split_at(end + END_OF_HEAD.len());
    check_head(head)?;
    let body = match content_length(head)? {
        Some(length) => body.get(..length).ok_or(FrameError::NotSip("the body is shorter than it says"))?,
        // In a datagram it ends with the datagram (RFC 3261 §18.3).
        None => body,
    };
    let line_end = head.iter().position(|byte| *byte == b'\r').unwrap_or(0);
    let line = std::str::from_utf8(&head[..line_end]).map_err(|_| FrameError::NotSip("not UTF-8"))?;
    if line.starts_with("SIP/") { response(line, head, body) } else { request(line, &head[line_end..], body) }
}

/// Other readers of the same bytes must not see other header fields than this one does.
fn check_head(head: &[u8]) -> Result<(), FrameError> {
    let text = std::str::from_utf8(head).map_err(|_| FrameError::NotSip("not UTF-8"))?;
    let mut previous = '\0';
    for character in text.chars() {
        let allowed = match character {
            '\n' => previous == '\r',
            '\r' | '\t' => previous != '\r',
            other => previous != '\r' && !other.is_control(),
        };
        if !allowed {
            return Err(FrameError::NotSip("a control character"));
        }
        previous = character;
    }
    Ok(())
}

fn response(line: &str, head: &[u8], body: &[u8]) -> Result<Parsed, FrameError> {
    let status = line.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    if !status.is_some_and(|status| (100..700).contains(&status)) {
        return Err(FrameError::NotSip("the status line"));
    }
    let mut message = SipMessage::try_from(head).map_err(|_| FrameError::NotSip("the header fields"))?;
    if let SipMessage::Response(response) = &mut message {
        response.body = body.to_vec();
    }
    Ok(Parsed::Message(message))
}

fn request(line: &str, rest: &[u8], body: &[u8]) -> Result<Parsed, FrameError> {
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(version)) = (words.next(), words.next_back()) else {
        return Err(FrameError::NotSip("the request line"));
    };
    if !method.bytes().all(is_token) || !version.starts_with("SIP/") {
        return Err(FrameError::NotSip("the request line"));
    }
    // Method names are case-sensitive, and there are more than rsipstack knows.
    let known = KnownMethod::all().into_iter().find(|known| known.to_string() == method);
    let stand_in = format!("{} sip:x SIP/2.0", known.unwrap_or(KnownMethod::Message));
    let text = [stand_in.as_bytes(), rest].concat();
    let mut message = SipMessage::try_from(text.as_slice()).map_err(|_| FrameError::NotSip("the header fields"))?;
    let SipMessage::Request(request) = &mut message else { return Err(FrameError::NotSip("the request line")) };
    request.headers.iter_mut().for_each(|header| match header {
        Header::Via(via) => *via = without_spaces(via.value()).into(),
        Header::From(from) => *from = without_spaces(from.value()).into(),
        Header::To(to) => *to = without_spaces(to.value()).into(),
        Header::CSeq(cseq) => *cseq = without_spaces(cseq.value()).into(),
        _ => {}
    });
    let uri =
        line.strip_prefix(method).and_then(|rest| rest.strip_prefix(' ')?.strip_suffix(version)?.strip_suffix(' '));
    let uri = uri.filter(|uri| !uri.is_empty() && !uri.contains([' ', '<', '>', '"', '\t']));
    let refused = match (uri, known) {
        _ if version != "SIP/2.0" => Some(505),
        (None, _) => Some(400),
        _ if !is_whole(request, method) => Some(400),
        (Some(_), None) => Some(501),
        (Some(_), Some(_)) => None,
    };
    request.uri = verbatim(uri.unwrap_or("sip:x"));
    request.body = body.to_vec();
    match (message, refused) {
        // Nobody may answer an ACK.
        (_, Some(_)) if method == "ACK" => Err(FrameError::NotSip("an ACK that can't be read")),
        (SipMessage::Request(request), Some(status)) => Ok(Parsed::Refused(request, status)),
        (message, _) => Ok(Parsed::Message(message)),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Has each of the fields that a request must have (RFC 3261 §8.1.1) once, and numbers within their range.
fn is_whole(request: &Request, method: &str) -> bool {
    let mut once = [0; 5];
    let mut sequence = None;
    let mut is_tagged = false;
    for header in request.headers.iter() {
        let at = match header {
            Header::From(from) => {
                is_tagged = tag_of(from.value()).is_some();
                0
            }
            Header::To(to) if NameAddr::parse(to.value()).is_ok() => 1,
            Header::CallId(_) => 2,
            Header::CSeq(value) => {
                sequence = Some(value.value().split_ascii_whitespace().collect::<Vec<_>>());
                3
            }
            Header::MaxForwards(_) => 4,
            _ => continue,
        };
        once[at] += 1;
    }
    let is_in_sequence = matches!(sequence.as_deref(), Some([number, of]) if *of == method
        && number.parse::<u32>().is_ok_and(|number| i32::try_from(number).is_ok()));
    once[..4] == [1; 4] && once[4] <= 1 && is_tagged && is_in_sequence
}

/// The spaces that may stand around separators (RFC 3261 §25.1) go, which rsipstack does not expect; of others one stays.
fn without_spaces(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let (mut quoted, mut escaped, mut spaced) = (false, false, false);
    for character in value.chars() {
        if !quoted && character.is_ascii_whitespace() {
            spaced = true;
            continue;
        }
        let follows_separator = text.is_empty() || text.ends_with(SEPARATORS);
        if std::mem::take(&mut spaced) && !SEPARATORS.contains(&character) && !follows_separator {
            text.push(' ');
        }
        quoted ^= character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
        text.push(character);
    }
    text
}

const SEPARATORS: [char; 5] = ['/', ';', '=', ',', ':'];

/// A URI that is written exactly as it was read. rsipstack's own form reorders and escapes, and it is never asked to find the
/// destination: that is always set.
pub(super) fn verbatim(uri: &str) -> Uri {
    Uri {
        scheme: None,
        auth: None,
        host_with_port: HostWithPort { host: Host::Domain(Domain(uri.to_owned())), port: None },
        params: Vec::new(),
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a@h;x=%41;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n\
                           From: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nl: 4\r\n\r\nbody";

    fn frames(bytes: &[u8], piece: usize) -> Vec<Frame> {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for piece in bytes.chunks(piece) {
            framer.push(piece);
            while let Some(frame) = framer.next().expect("frames") {
                frames.push(frame);
            }
        }
        assert!(framer.is_empty());
        frames
    }

    #[test]
    fn a_stream_is_cut_the_same_however_it_arrives() {
        let stream = format!("{OPTIONS}\r\n\r\n{OPTIONS}\r\n{OPTIONS}");
        let message = || Frame::Message(OPTIONS.as_bytes().to_vec());
        for piece in [1, 2, 3, 7, 100, 10_000] {
            assert_eq!(frames(stream.as_bytes(), piece), [message(), Frame::Ping, message(), message()], "{piece}");
        }
    }

    #[test]
    fn a_stream_without_an_end_is_given_up() {
        let mut framer = Framer::default();
        framer.push(&vec![b'x'; MAX_MESSAGE_BYTES + 1]);
        assert_eq!(framer.next(), Err(FrameError::TooLong));
        for (length, error) in
            [("99999999999999999999", FrameError::ContentLength), ("18446744073709551615", FrameError::TooLong)]
        {
            let mut framer = Framer::default();
            framer.push(OPTIONS.replace("l: 4", &format!("Content-Length: {length}")).as_bytes());
            assert_eq!(framer.next(), Err(error), "{length}");
        }
    }

    #[test]
    fn a_request_uri_stays_as_it_was_written() {
        let Ok(Parsed::Message(message)) = parse(OPTIONS.as_bytes()) else { panic!("a message") };
        assert!(message.to_string().starts_with("OPTIONS sip:a@h;x=%41;transport=tcp SIP/2.0\r\n"), "{message}");
        assert!(message.to_string().ends_with("\r\n\r\nbody"), "{message}");
    }

    #[test]
    fn what_others_might_read_differently_is_refused() {
        for (from, to) in [
            ("\r\nTo:", "\nTo:"),
            ("\r\nTo:", "\rTo:"),
            ("sip:b@h", "sip:\u{0}b@h"),
            ("SIP/2.0\r\n", "SIP/3.0\r\n"),
            ("OPTIONS sip", "OPTIONS  sip"),
            ("OPTIONS sip", "options sip"),
            ("1 OPTIONS", "1 INVITE"),
            ("l: 4", "l: 5"),
            ("l: 4", "l: -1"),
            ("l: 4", "l: +4"),
            ("l: 4", "l: 4\r\nContent-Length: 3"),
        ] {
            let parsed = parse(OPTIONS.replacen(from, to, 1).as_bytes());
            assert!(!matches!(parsed, Ok(Parsed::Message(_))), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn what_can_be_told_is_refused_with_a_status() {
        for (from, to, status) in [
            ("SIP/2.0\r\n", "SIP/7.0\r\n", 505),
            ("OPTIONS sip", "OPTIONS  sip", 400),
            ("SIP/2.0\r\n", "SIP/2.0 \r\n", 400),
            ("sip:a@h;x", "<sip:a@h>;x", 400),
            ("1 OPTIONS", "1 INVITE", 400),
            ("1 OPTIONS", "4294967295 OPTIONS", 400),
            ("1 OPTIONS", "36893488147419103232 OPTIONS", 400),
            (";tag=1", "", 400),
            ("To: <", "To: \"x <", 400),
            ("Call-ID: c\r\n", "", 400),
            ("Call-ID: c", "Call-ID: c\r\ni: d", 400),
            ("To: <sip:a@h>\r\n", "", 400),
        ] {
            let parsed = parse(OPTIONS.replacen(from, to, 1).as_bytes());
            assert!(matches!(parsed, Ok(Parsed::Refused(_, told)) if told == status), "{from:?} -> {to:?}: {parsed:?}");
        }
        let unknown = parse(OPTIONS.replace("OPTIONS", "NEWMETHOD").as_bytes());
        assert!(matches!(unknown, Ok(Parsed::Refused(_, 501))), "{unknown:?}");
        let ack = OPTIONS.replace("OPTIONS", "ACK").replace("1 ACK", "x ACK");
        assert!(parse(ack.as_bytes()).is_err());
    }

    /// Whoever stands before us sees one field in two lines. Seeing two would let its writer choose where this message ends and
    /// put another behind it, in the server's name.
    #[test]
    fn a_line_that_goes_on_names_no_length() {
        let folded = OPTIONS.replace("l: 4", "Subject: x\r\n l: 0\r\n\tContent-Length: 1\r\nl:\r\n  4");
        assert_eq!(frames(folded.as_bytes(), 10_000), [Frame::Message(folded.clone().into_bytes())]);
        let Ok(Parsed::Message(SipMessage::Request(request))) = parse(folded.as_bytes()) else { panic!("a request") };
        assert_eq!(request.body, b"body");
        let mut framer = Framer::default();
        framer.push(OPTIONS.replace("l: 4", "l: 4\r\nl: 0").as_bytes());
        assert_eq!(framer.next(), Err(FrameError::ContentLength));
    }

    #[test]
    fn a_via_may_have_spaces() {
        for (spaced, plain) in [
            ("SIP  /   2.0 /UDP    192.0.2.2;branch=390", "SIP/2.0/UDP 192.0.2.2;branch=390"),
            ("SIP / 2.0/ TCP h : 5060 ; branch  = z9 ; x=\"a ; b\"", "SIP/2.0/TCP h:5060;branch=z9;x=\"a ; b\""),
            ("SIP/2.0/TCP [::1]:5060;rport", "SIP/2.0/TCP [::1]:5060;rport"),
        ] {
            assert_eq!(without_spaces(spaced), plain);
        }
    }
}
