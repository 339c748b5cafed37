//! A dialog (RFC 3261 §12): who talks to whom, over which route, and which number comes next. Plain data, so that a capsule
//! can carry it to another instance.

use super::address::{MAX_URI_BYTES, NameAddr, tag_of};
use super::message::{Headers, Method, SipRequest, SipResponse};
use serde::{Deserialize, Serialize};

/// Most hops of a request (RFC 3261 §8.1.1.6).
pub(super) const MAX_FORWARDS: &str = "70";
/// Longest route set that is kept.
const MAX_ROUTES: usize = 16;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// From of the requests we send, with our tag.
    pub local: String,
    /// To of the requests we send, with the far side's tag.
    pub remote: String,
    /// Where the far side wants requests: its Contact URI.
    pub target: String,
    /// Route header fields, first hop first.
    pub routes: Vec<String>,
    /// The number of our last request.
    pub cseq: u32,
    /// The number of the far side's last request.
    pub remote_cseq: Option<u32>,
}

/// The far side's request is older than one that was seen (RFC 3261 §12.2.2: 500).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder;

impl Dialog {
    /// The dialog that a response with a To tag makes of our INVITE (RFC 3261 §12.1.2).
    #[must_use]
    pub fn of_response(invite: &SipRequest, response: &SipResponse) -> Option<Self> {
        let remote = response.headers.get("To")?;
        tag_of(remote)?;
        let mut routes = routes(&response.headers, "Record-Route");
        routes.reverse();
        Some(Self {
            call_id: invite.headers.get("Call-ID")?.to_owned(),
            local: invite.headers.get("From")?.to_owned(),
            remote: remote.to_owned(),
            // A provisional response may come without a Contact.
            target: contact(&response.headers).unwrap_or_else(|| invite.uri.clone()),
            routes,
            cseq: invite.cseq()?,
            remote_cseq: None,
        })
    }

    /// The dialog that a 2xx makes of an INVITE of ours that nobody remembers.
    #[must_use]
    pub fn of_late_response(response: &SipResponse) -> Option<Self> {
        let mut headers = response.headers.clone();
        headers.remove("Contact");
        let uri = contact(&response.headers)?;
        Self::of_response(&SipRequest { method: Method::Invite, uri, headers, body: None }, response)
    }

    /// The dialog that the far side's INVITE makes once we answer with `tag` (RFC 3261 §12.1.1).
    #[must_use]
    pub fn of_request(invite: &SipRequest, tag: &str) -> Option<Self> {
        Some(Self {
            call_id: invite.headers.get("Call-ID")?.to_owned(),
            local: format!("{};tag={tag}", invite.headers.get("To")?),
            remote: invite.headers.get("From")?.to_owned(),
            target: contact(&invite.headers)?,
            routes: routes(&invite.headers, "Record-Route"),
            cseq: 0,
            remote_cseq: invite.cseq(),
        })
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> String {
        tag_of(&self.local).unwrap_or_default()
    }

    /// The far side's tag.
    #[must_use]
    pub fn remote_tag(&self) -> String {
        tag_of(&self.remote).unwrap_or_default()
    }

    /// Our next request, without Via and Contact (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: Method) -> SipRequest {
        self.cseq += 1;
        let mut headers = Headers::default();
        for route in &self.routes {
            headers.push("Route", route);
        }
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", &self.local);
        headers.push("To", &self.remote);
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{} {method}", self.cseq));
        SipRequest { method, uri: self.target.clone(), headers, body: None }
    }

    /// Takes in the number of the far side's request, which must grow (RFC 3261 §12.2.2).
    pub fn accept(&mut self, request: &SipRequest) -> Result<(), OutOfOrder> {
        let cseq = request.cseq().ok_or(OutOfOrder)?;
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        Ok(())
    }

    /// A target refresh (RFC 3261 §12.2): an INVITE or UPDATE, or the 2xx to one, with a new Contact.
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(target) = contact(headers) {
            self.target = target;
        }
    }

    /// False for what no instance would keep: one that a capsule brings is not sent to the server without end.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        are_plausible(&self.routes) && self.target.len() <= MAX_URI_BYTES
    }

    /// True if the request belongs to this dialog.
    #[must_use]
    pub fn owns(&self, request: &SipRequest) -> bool {
        let tag = |name| request.headers.get(name).and_then(tag_of);
        tag("To").as_deref() == Some(&self.local_tag()) && tag("From").as_deref() == Some(&self.remote_tag())
    }
}

/// Whether a route set is one that is kept.
pub(super) fn are_plausible(routes: &[String]) -> bool {
    routes.len() <= MAX_ROUTES
}

/// The URI of the Contact header field.
#[must_use]
fn contact(headers: &Headers) -> Option<String> {
    NameAddr::parse(headers.get("Contact")?).ok().map(|contact| contact.uri).filter(|uri| uri.len() <= MAX_URI_BYTES)
}

fn routes(headers: &Headers, name: &str) -> Vec<String> {
    NameAddr::list(headers.all(name)).into_iter().take(MAX_ROUTES).map(|route| route.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cseq: u32, fields: &[(&str, &str)]) -> SipRequest {
        let mut headers: Headers = fields.iter().copied().collect();
        headers.push("CSeq", format!("{cseq} INVITE"));
        SipRequest { method: Method::Invite, uri: "sip:bob@example.org".into(), headers, body: None }
    }

    fn invite() -> SipRequest {
        request(
            7,
            &[
                ("From", "<sip:alice@example.org>;tag=a"),
                ("To", "<sip:bob@example.org>"),
                ("Call-ID", "c"),
                ("Contact", "<sip:alice@10.0.0.1:5070>"),
                ("Record-Route", "<sip:p2;lr>, <sip:p1;lr>"),
            ],
        )
    }

    #[test]
    fn the_caller_routes_in_reverse_and_counts_on() {
        let mut response = SipResponse::to(&invite(), 200, "b");
        response.headers.push("Contact", "<sip:bob@10.0.0.2>");
        let mut dialog = Dialog::of_response(&invite(), &response).expect("a dialog");
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri, "sip:bob@10.0.0.2");
        assert_eq!(bye.headers.all("Route").collect::<Vec<_>>(), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(bye.headers.get("CSeq"), Some("8 BYE"));
        assert_eq!(bye.headers.get("To"), Some("<sip:bob@example.org>;tag=b"));
    }

    #[test]
    fn the_called_side_keeps_the_order_of_the_routes() {
        let mut dialog = Dialog::of_request(&invite(), "b").expect("a dialog");
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.headers.all("Route").collect::<Vec<_>>(), ["<sip:p2;lr>", "<sip:p1;lr>"]);
        assert_eq!((bye.uri.as_str(), bye.headers.get("CSeq")), ("sip:alice@10.0.0.1:5070", Some("1 BYE")));
    }

    #[test]
    fn a_request_is_taken_once_and_in_order() {
        let mut dialog = Dialog::of_request(&invite(), "b").expect("a dialog");
        let tags = [("From", "<sip:alice@example.org>;tag=a"), ("To", "<sip:bob@example.org>;tag=b")];
        assert!(dialog.owns(&request(8, &tags)));
        assert_eq!(dialog.accept(&request(7, &tags)), Err(OutOfOrder));
        assert_eq!(dialog.accept(&request(8, &tags)), Ok(()));
        assert_eq!(dialog.accept(&request(8, &tags)), Err(OutOfOrder));
    }
}
