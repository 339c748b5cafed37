//! SIP messages as the machines see them: a start line, header fields in their order, a body.

use std::fmt;

/// A method; those that some rule names have a variant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the RFCs")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Register,
    Options,
    Refer,
    Notify,
    Info,
    Update,
    Prack,
    Message,
    Subscribe,
    Publish,
    Other(String),
}

const METHODS: [(&str, Method); 14] = [
    ("INVITE", Method::Invite),
    ("ACK", Method::Ack),
    ("BYE", Method::Bye),
    ("CANCEL", Method::Cancel),
    ("REGISTER", Method::Register),
    ("OPTIONS", Method::Options),
    ("REFER", Method::Refer),
    ("NOTIFY", Method::Notify),
    ("INFO", Method::Info),
    ("UPDATE", Method::Update),
    ("PRACK", Method::Prack),
    ("MESSAGE", Method::Message),
    ("SUBSCRIBE", Method::Subscribe),
    ("PUBLISH", Method::Publish),
];

impl Method {
    /// The method of this name; names are case-sensitive (RFC 3261 §7.1).
    #[must_use]
    pub fn of(name: &str) -> Self {
        METHODS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or_else(|| Self::Other(name.to_owned()), |(_, m)| m.clone())
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => METHODS.iter().find(|(_, method)| method == known).map_or("", |(name, _)| name),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Header fields in their order. Names are in their long form and compare without case (RFC 3261 §7.3.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a name, in order; one header field may hold several, separated by commas.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Adds one behind the others.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds one before all others.
    pub fn push_front(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(0, (name.to_owned(), value.into()));
    }

    /// Replaces all of a name by one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Drops all of a name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// Drops the first of a name.
    pub fn remove_first(&mut self, name: &str) {
        if let Some(at) = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name)) {
            self.0.remove(at);
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A body and its type; the machines write the Content-Type header field from here and read it into here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Such as `application/sdp`.
    pub content_type: String,
    /// Text; a body of another kind is dropped by the shell.
    pub text: String,
}

impl Body {
    /// A session description.
    #[must_use]
    pub fn sdp(text: impl Into<String>) -> Self {
        Self { content_type: "application/sdp".to_owned(), text: text.into() }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipRequest {
    /// What.
    pub method: Method,
    /// The Request-URI.
    pub uri: String,
    /// Without Content-Type and Content-Length.
    pub headers: Headers,
    /// With its type.
    pub body: Option<Body>,
}

impl SipRequest {
    /// The session description, if it carries one.
    #[must_use]
    pub fn sdp(&self) -> Option<&str> {
        sdp(self.body.as_ref())
    }

    /// The number in CSeq.
    #[must_use]
    pub fn cseq(&self) -> Option<u32> {
        self.headers.get("CSeq")?.split_whitespace().next()?.parse().ok()
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipResponse {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Without Content-Type and Content-Length.
    pub headers: Headers,
    /// With its type.
    pub body: Option<Body>,
}

impl SipResponse {
    /// A response to `request` (RFC 3261 §8.2.6): its Via, From, To, Call-ID, CSeq, Record-Route for what makes a dialog, and `to_tag` where To
    /// has none.
    #[must_use]
    pub fn to(request: &SipRequest, status: u16, to_tag: &str) -> Self {
        let mut headers = Headers::default();
        for (name, value) in request.headers.iter() {
            let copied = ["Via", "From", "Call-ID", "CSeq"].iter().any(|copied| name.eq_ignore_ascii_case(copied));
            let route = name.eq_ignore_ascii_case("Record-Route") && (101..300).contains(&status);
            if copied || route {
                headers.push(name, value);
            } else if name.eq_ignore_ascii_case("To") {
                let tagged = status == 100 || super::address::tag_of(value).is_some();
                headers.push("To", if tagged { value.to_owned() } else { format!("{value};tag={to_tag}") });
            }
        }
        Self { status, reason: reason(status).to_owned(), headers, body: None }
    }

    /// The session description, if it carries one.
    #[must_use]
    pub fn sdp(&self) -> Option<&str> {
        sdp(self.body.as_ref())
    }

    /// 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// 200 and above.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.status >= 200
    }
}

fn sdp(body: Option<&Body>) -> Option<&str> {
    let is_sdp =
        |body: &&Body| body.content_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/sdp");
    body.filter(is_sdp).map(|body| body.text.as_str())
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        600 => "Busy Everywhere",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
