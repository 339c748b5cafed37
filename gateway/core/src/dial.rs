//! Whom a user may call: dial patterns of the operator.

use crate::sip::SipUri;

/// Parameters that send a request elsewhere than the address says, or make another one of it (RFC 3261 §19.1.1).
const ELSEWHERE: [&str; 4] = ["maddr", "ttl", "lr", "method"];

/// Patterns that a dialled target must match. `*` stands for any text. A pattern without `@` is for users and numbers of the
/// own domain; one with `@` for whole addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialPlan {
    domain: String,
    patterns: Vec<String>,
}

impl DialPlan {
    /// A plan for a domain. Without a pattern nobody can be called.
    #[must_use]
    pub fn new(domain: &str, patterns: Vec<String>) -> Self {
        Self { domain: domain.to_owned(), patterns }
    }

    /// True if the target may be called: a name, a number, `user@host`, or a SIP URI.
    #[must_use]
    pub fn allows(&self, target: &str) -> bool {
        let Some((user, host)) = self.parts(target) else { return false };
        let own = host.eq_ignore_ascii_case(&self.domain);
        let address = format!("{user}@{host}");
        self.patterns.iter().any(|pattern| match pattern.contains('@') {
            true => matches(pattern, &address),
            false => own && matches(pattern, &user),
        })
    }

    fn parts(&self, target: &str) -> Option<(String, String)> {
        let target = target.trim();
        // Nothing that could become a header field or a second parameter of ours.
        if target.is_empty() || target.chars().any(|character| character.is_control() || " <>\"".contains(character)) {
            return None;
        }
        let scheme = target.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let has_scheme = scheme.is_some_and(|scheme| scheme == "sip" || scheme == "sips");
        if has_scheme || target.contains('@') {
            let uri = if has_scheme { target.to_owned() } else { format!("sip:{target}") };
            let uri = SipUri::parse(&uri).ok()?;
            if ELSEWHERE.iter().any(|name| uri.param(name).is_some()) {
                return None;
            }
            // Another port is another address.
            let host = match uri.port.filter(|port| *port != if uri.secure { 5061 } else { 5060 }) {
                Some(port) => format!("{}:{port}", uri.host),
                None => uri.host,
            };
            return Some((uri.user?, host));
        }
        Some((target.to_owned(), self.domain.clone()))
    }
}

/// Whether `pattern`, in which `*` stands for any text, matches all of `text`. Linear but for repeated `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next().unwrap_or_default()) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in &middle[..middle.len().saturating_sub(1)] {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(patterns: &[&str]) -> DialPlan {
        DialPlan::new("example.org", patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
    }

    #[test]
    fn a_pattern_is_for_the_own_domain_unless_it_says_otherwise() {
        let plan = plan(&["bob", "+49*", "*@partner.example"]);
        for target in ["bob", "bob@example.org", "sip:bob@example.org", "+4930123", "sip:x@partner.example"] {
            assert!(plan.allows(target), "{target}");
        }
        let elsewhere = ["bob@example.org:9", "sip:bob@example.org;maddr=10.0.0.1", "sip:x@partner.example;Method=BYE"];
        for target in elsewhere.into_iter().chain(["sip:x@partner.example:9;lr"]) {
            assert!(!plan.allows(target), "{target}");
        }
        for target in ["bobby", "bob@evil.example", "+1900", "sip:x@partner.example.evil", "", "b\r\nTo: x", "bob>"] {
            assert!(!plan.allows(target), "{target:?}");
        }
    }

    #[test]
    fn without_a_pattern_nobody_can_be_called() {
        assert!(!plan(&[]).allows("bob"));
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, matched) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("*b*", "abc", true),
            ("a*b*c", "axbxc", true),
            ("ab*bc", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} {text}");
        }
    }
}
