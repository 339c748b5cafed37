//! SIP messages as text: as much of RFC 3261 §7 as phones behind a well-behaved server need.

/// A request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// Names in their long form, in order.
    pub headers: Vec<(String, String)>,
    /// Mostly SDP.
    pub body: String,
}

/// Longest message that is taken.
const MAX_BYTES: usize = 64 * 1024;

/// Compact forms (RFC 3261 §7.3.3).
const COMPACT: [(&str, &str); 7] = [
    ("v", "Via"),
    ("f", "From"),
    ("t", "To"),
    ("i", "Call-ID"),
    ("m", "Contact"),
    ("l", "Content-Length"),
    ("c", "Content-Type"),
];

impl Message {
    /// A request without headers.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        Self { start: format!("{method} {uri} SIP/2.0"), headers: Vec::new(), body: String::new() }
    }

    /// A response to `request` with what it must repeat of it (RFC 3261 §8.2.6.2).
    #[must_use]
    pub fn response(request: &Self, status: u16, to_tag: &str) -> Self {
        let mut response =
            Self { start: format!("SIP/2.0 {status} {}", reason(status)), headers: Vec::new(), body: String::new() };
        for (name, value) in &request.headers {
            let repeated = ["Via", "Record-Route", "From", "Call-ID", "CSeq"].contains(&name.as_str());
            if name == "To" && !value.contains(";tag=") {
                response.push("To", format!("{value};tag={to_tag}"));
            } else if repeated || name == "To" {
                response.push(name, value.clone());
            }
        }
        response
    }

    /// Adds a header field.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The same with one.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.push(name, value);
        self
    }

    /// The same with a session description.
    #[must_use]
    pub fn with_sdp(mut self, body: String) -> Self {
        self.body = body;
        self.with("Content-Type", "application/sdp")
    }

    /// The first value of a name; empty without one.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Of a request.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        let (method, rest) = self.start.split_once(' ')?;
        rest.ends_with(" SIP/2.0").then_some(method)
    }

    /// Of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// In CSeq: also that of a response.
    #[must_use]
    pub fn cseq_method(&self) -> &str {
        self.header("CSeq").split(' ').nth(1).unwrap_or_default()
    }

    /// As it goes over a connection.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + &format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body)
    }

    /// Takes the first whole message out of what came over a connection; `Ok(None)` while it is not all there.
    ///
    /// # Errors
    ///
    /// When this is no SIP: the connection is of no use any more.
    pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, &'static str> {
        let skipped = bytes.iter().take_while(|byte| b"\r\n\0".contains(byte)).count();
        bytes.drain(..skipped);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > MAX_BYTES { Err("a head without end") } else { Ok(None) };
        };
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines.filter_map(field).collect();
        let length = headers.iter().find(|(name, _)| name == "Content-Length").map_or("0", |(_, value)| value);
        let length: usize = length.parse().ok().filter(|length| *length < MAX_BYTES).ok_or("no Content-Length")?;
        let whole = end + 4 + length;
        if bytes.len() < whole {
            return Ok(None);
        }
        let body = String::from_utf8_lossy(&bytes[end + 4..whole]).into_owned();
        bytes.drain(..whole);
        Ok(Some(Self { start, headers, body }))
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim();
    let long = COMPACT.iter().find(|(short, _)| short.eq_ignore_ascii_case(name)).map_or(name, |(_, long)| long);
    Some((long.to_owned(), value.trim().to_owned()))
}

fn reason(status: u16) -> &'static str {
    match status {
        180 => "Ringing",
        200 => "OK",
        486 => "Busy Here",
        487 => "Request Terminated",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_one_by_one_as_they_come() {
        let invite = Message::request("INVITE", "sip:a@b")
            .with("Via", "SIP/2.0/TCP h;branch=z9hG4bK1")
            .with("Record-Route", "<sip:p;lr>")
            .with("From", "<sip:c@b>;tag=1")
            .with("To", "<sip:a@b>")
            .with("Call-ID", "x")
            .with("CSeq", "7 INVITE")
            .with_sdp("v=0\r\n".to_owned());
        let text = format!("\r\n\r\n{}{}", invite.encode(), Message::request("BYE", "sip:a@b").encode());
        let mut bytes = Vec::new();
        let mut taken = Vec::new();
        for byte in text.bytes() {
            bytes.push(byte);
            taken.extend(Message::take(&mut bytes).expect("it is SIP"));
        }
        assert_eq!(taken.iter().filter_map(Message::method).collect::<Vec<_>>(), ["INVITE", "BYE"]);
        assert_eq!((taken[0].body.as_str(), taken[0].cseq_method()), ("v=0\r\n", "INVITE"));
        let ok = Message::response(&taken[0], 200, "t");
        assert_eq!(
            (ok.status(), ok.header("To"), ok.header("Record-Route")),
            (Some(200), "<sip:a@b>;tag=t", "<sip:p;lr>")
        );
        assert_eq!(ok.header("Content-Type"), "");
    }

    #[test]
    fn compact_names_are_made_long_and_garbage_ends_the_connection() {
        let mut bytes = b"BYE sip:a SIP/2.0\r\ni: x\r\nl: 2\r\n\r\nhi".to_vec();
        let message = Message::take(&mut bytes).expect("it is SIP").expect("it is whole");
        assert_eq!((message.header("Call-ID"), message.body.as_str()), ("x", "hi"));
        assert!(Message::take(&mut b"x\r\nl: many\r\n\r\n".to_vec()).is_err());
        assert!(Message::take(&mut vec![b'a'; MAX_BYTES + 1]).is_err());
    }
}
