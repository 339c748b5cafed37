//! URIs, name-addrs and their parameters (RFC 3261 §19.1 and §20.10), and lists of them.

use std::fmt;

/// Longest URI that is read, in bytes.
pub const MAX_URI_BYTES: usize = 512;

/// Not a SIP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a SIP address: {0}")]
pub struct AddressError(pub &'static str);

/// A `sip:` or `sips:` URI. Parameters keep their order and case; header fields (`?..`) are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri {
    /// `sips:`.
    pub secure: bool,
    /// Left of the `@`.
    pub user: Option<String>,
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// If named.
    pub port: Option<u16>,
    /// Name and value of each `;` parameter.
    pub params: Vec<(String, Option<String>)>,
}

impl SipUri {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_URI_BYTES
            || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"<>\"".contains(&byte))
        {
            return Err(AddressError("too long, or with a character that a URI has not"));
        }
        let (scheme, rest) = text.split_once(':').ok_or(AddressError("no scheme"))?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("sip") => false,
            _ if scheme.eq_ignore_ascii_case("sips") => true,
            _ => return Err(AddressError("neither sip nor sips")),
        };
        if rest.contains('?') {
            return Err(AddressError("header fields in a URI"));
        }
        // A user part may hold `;` (RFC 3261 §25.1), so the `@` goes first.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, rest),
        };
        let mut parts = rest.split(';');
        let (host, port) = host_and_port(parts.next().unwrap_or_default())?;
        let params = parts.map(parameter).collect();
        Ok(Self { secure, user, host, port, params })
    }

    /// The value of a parameter; empty for one without a value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        find(&self.params, name)
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write_params(f, &self.params)
    }
}

/// A URI with a display name and parameters: the value of From, To, Contact, Route, Record-Route, Refer-To.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Without quotes.
    pub display: Option<String>,
    /// As written; see [`SipUri::parse`].
    pub uri: String,
    /// Parameters of the header field, outside the `<>`.
    pub params: Vec<(String, Option<String>)>,
}

impl NameAddr {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (display, rest) = display_name(text)?;
        let (uri, params) = match rest.strip_prefix('<') {
            Some(rest) => rest.split_once('>').ok_or(AddressError("no closing bracket"))?,
            // Without brackets every parameter is one of the header field (RFC 3261 §20.10).
            None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
        };
        if uri.trim().is_empty() {
            return Err(AddressError("no URI"));
        }
        let params = split_outside_quotes(params, ';').filter(|text| !text.is_empty()).map(parameter).collect();
        Ok(Self { display, uri: uri.trim().to_owned(), params })
    }

    /// Reads a comma-separated list, such as a Contact or Route header field; what can't be read is left out.
    pub fn list<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Self> {
        values.flat_map(|value| split_outside_quotes(value, ',')).filter_map(|value| Self::parse(value).ok()).collect()
    }

    /// The value of a parameter; empty for one without a value, without the quotes of a quoted one.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        find(&self.params, name).map(|value| value.trim_matches('"'))
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "\"{}\" ", display.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        write!(f, "<{}>", self.uri)?;
        write_params(f, &self.params)
    }
}

/// The tag of a From or To value.
#[must_use]
pub fn tag_of(value: &str) -> Option<String> {
    NameAddr::parse(value).ok()?.param("tag").filter(|tag| !tag.is_empty()).map(str::to_owned)
}

fn display_name(text: &str) -> Result<(Option<String>, &str), AddressError> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Ok(match text.find('<') {
            Some(0) | None => (None, text),
            Some(at) => (Some(text[..at].trim().to_owned()), &text[at..]),
        });
    };
    let mut name = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Some(name), quoted[at + 1..].trim_start())),
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => name.push(plain),
        }
    }
    Err(AddressError("no closing quote"))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), AddressError> {
    let end_of_host = match text.strip_prefix('[') {
        Some(v6) => v6.find(']').map(|at| at + 2).ok_or(AddressError("no closing bracket of IPv6"))?,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end_of_host);
    if host.is_empty() {
        return Err(AddressError("no host"));
    }
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().map_err(|_| AddressError("the port is none"))?),
        None if port.is_empty() => None,
        None => return Err(AddressError("something behind the host")),
    };
    Ok((host.to_owned(), port))
}

fn parameter(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), Some(value.trim().to_owned())),
        None => (text.trim().to_owned(), None),
    }
}

fn find<'a>(params: &'a [(String, Option<String>)], name: &str) -> Option<&'a str> {
    let (_, value) = params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.as_deref().unwrap_or_default())
}

fn write_params(f: &mut fmt::Formatter<'_>, params: &[(String, Option<String>)]) -> fmt::Result {
    params.iter().try_for_each(|(name, value)| match value {
        Some(value) => write!(f, ";{name}={value}"),
        None => write!(f, ";{name}"),
    })
}

/// Splits at a separator that stands neither in quotes nor in brackets.
pub(super) fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    text.split(move |character| {
        let within = quoted || bracketed;
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            _ => {}
        }
        character == separator && !within
    })
    .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_and_written() {
        for text in ["sip:alice@example.org", "sips:a;b@[::1]:5061;transport=tcp;lr", "sip:10.0.0.1:5060;hf-gen=17"] {
            assert_eq!(SipUri::parse(text).map(|uri| uri.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(SipUri::parse("sip:a@h;hf-gen=17").expect("a URI").param("HF-GEN"), Some("17"));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in ["", "tel:+49", "sip:", "sip:a@", "sip:a@h:x", "sip:a b@h", "sip:a@h?Route=x", "sip:a@h\r\nX: y"] {
            assert!(SipUri::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_addr_is_read_in_all_its_forms() {
        let parsed = |text| NameAddr::parse(text).expect("an address");
        assert_eq!(parsed("\"A \\\"B\\\", C\" <sip:a@h;lr>;tag=1").display.as_deref(), Some("A \"B\", C"));
        assert_eq!(parsed("Alice <sip:a@h>;tag=1").param("tag"), Some("1"));
        assert_eq!(parsed("sip:a@h;tag=2").uri, "sip:a@h");
        assert_eq!(tag_of("<sip:a@h>"), None);
    }

    #[test]
    fn a_list_is_split_at_its_own_commas_only() {
        let list =
            NameAddr::list(["\"x, y\" <sip:a@h;p=1,2>;q=1, <sip:b@h>;+sip.instance=\"<urn:uuid:1>\""].into_iter());
        assert_eq!(list.iter().map(|entry| entry.uri.as_str()).collect::<Vec<_>>(), ["sip:a@h;p=1,2", "sip:b@h"]);
        assert_eq!(list[1].param("+sip.instance"), Some("<urn:uuid:1>"));
    }
}
