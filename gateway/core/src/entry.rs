//! Who signs in: the one decision that turns a request body and an `Authorization` header into a user.

use crate::capsule::Capsule;
use crate::seal::SealRing;
use crate::secret::Secret;
use crate::session::Earlier;
use crate::ticket::Ticket;
use crate::user::User;
use gateway_protocol::{ProblemType, SignIn};

/// Longest password for the SIP server, in bytes; a longer one counts as none.
const MAX_PASSWORD_BYTES: usize = 128;

/// How users prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// By a JWT.
    Jwt,
    /// Not at all: the body names the user.
    Anonymous,
}

/// What the shell made of the `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearer {
    /// There is none.
    Absent,
    /// There is one that proves nothing; the text says why, for a person.
    Invalid(&'static str),
    /// A valid JWT of this user.
    User(User),
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: User,
    /// A capsule of the same user and tab came along.
    pub recovering: bool,
    /// What capsule or ticket told.
    pub earlier: Earlier,
}

/// Why nobody signs in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Nothing in the request proves a user.
    #[error("{0}")]
    Unproven(&'static str),
    /// An anonymous sign-in without a usable name.
    #[error("`user` must have 1 to 128 bytes and no control characters")]
    NoName,
}

impl EntryError {
    /// What to answer.
    #[must_use]
    pub fn problem(&self) -> ProblemType {
        match self {
            Self::Unproven(_) => ProblemType::Unauthorized,
            Self::NoName => ProblemType::BadRequest,
        }
    }
}

/// Decides who signs in. A capsule or ticket that does not fit is as if absent.
pub fn identify(
    sign_in: &SignIn,
    auth: Auth,
    bearer: Bearer,
    ring: &SealRing,
    unix_now: u64,
) -> Result<Identity, EntryError> {
    let mut identity = proven(sign_in, auth, bearer, ring, unix_now)?;
    if let Some(ticket) = usable_ticket(sign_in, ring, unix_now).filter(|ticket| ticket.user == identity.user) {
        identity.earlier.let_go_by = Some((ticket.instance_id, ticket.boot_id));
        identity.earlier.moved = ticket.moved;
    }
    if let Some(password) = &sign_in.sip_password {
        let fits = (1..=MAX_PASSWORD_BYTES).contains(&password.len()) && !password.chars().any(char::is_control);
        identity.earlier.sip_password = fits.then(|| Secret::new(password.clone()));
    }
    Ok(identity)
}

fn proven(
    sign_in: &SignIn,
    auth: Auth,
    bearer: Bearer,
    ring: &SealRing,
    unix_now: u64,
) -> Result<Identity, EntryError> {
    let capsule = usable_capsule(sign_in, ring, unix_now);
    if let Some(user) = named(sign_in, auth, &bearer)? {
        let own = capsule.filter(|capsule| capsule.user == user);
        let recovering = own.is_some();
        let earlier = own.map(earlier).unwrap_or_default();
        return Ok(Identity { user, recovering, earlier });
    }
    if let Some(ticket) = usable_ticket(sign_in, ring, unix_now) {
        let (generation, sip_password) = (ticket.generation, ticket.sip_password);
        let earlier = Earlier { generation, sip_password, ..Earlier::default() };
        return Ok(Identity { user: ticket.user, recovering: false, earlier });
    }
    let previous_token = sign_in.previous_token.as_deref().unwrap_or_default();
    match capsule {
        Some(capsule) if capsule.token.proves(previous_token) => {
            Ok(Identity { user: capsule.user.clone(), recovering: true, earlier: earlier(capsule) })
        }
        _ => Err(unproven(auth, &bearer)),
    }
}

fn earlier(capsule: Capsule) -> Earlier {
    let (generation, sip_password, calls) = (capsule.generation, capsule.sip_password, capsule.calls);
    Earlier { generation, sip_password, calls, ..Earlier::default() }
}

fn named(sign_in: &SignIn, auth: Auth, bearer: &Bearer) -> Result<Option<User>, EntryError> {
    match (auth, &sign_in.user, bearer) {
        (Auth::Anonymous, Some(name), _) => User::parse(name).map(Some).map_err(|_| EntryError::NoName),
        (Auth::Jwt, _, Bearer::User(user)) => Ok(Some(user.clone())),
        _ => Ok(None),
    }
}

fn usable_capsule(sign_in: &SignIn, ring: &SealRing, unix_now: u64) -> Option<Capsule> {
    let capsule = Capsule::open(ring, sign_in.capsule.as_ref()?, unix_now).ok()?;
    (capsule.client_id == sign_in.client_id).then_some(capsule)
}

fn usable_ticket(sign_in: &SignIn, ring: &SealRing, unix_now: u64) -> Option<Ticket> {
    let ticket = Ticket::open(ring, sign_in.move_ticket.as_ref()?, unix_now).ok()?;
    (ticket.client_id == sign_in.client_id).then_some(ticket)
}

fn unproven(auth: Auth, bearer: &Bearer) -> EntryError {
    match (auth, bearer) {
        (Auth::Anonymous, _) => EntryError::NoName,
        (Auth::Jwt, Bearer::Invalid(why)) => EntryError::Unproven(why),
        (Auth::Jwt, _) => EntryError::Unproven("a Bearer JWT is missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SealKey;
    use crate::token::TokenHash;

    const NOW: u64 = 1_000_000;

    fn ring(key: u8) -> SealRing {
        SealRing::new(vec![SealKey { id: [key; 4], key: [key; 32] }]).expect("one key")
    }

    fn user(name: &str) -> User {
        User::parse(name).expect("a name")
    }

    fn capsule() -> Capsule {
        Capsule {
            user: user("alice"),
            client_id: "tab".parse().expect("an id"),
            instance_id: "a".parse().expect("an id"),
            boot_id: "b".parse().expect("an id"),
            token: TokenHash::of("old token"),
            revision: 1,
            expires: NOW + 10,
            generation: 7,
            sip_password: Some(Secret::new("secret".to_owned())),
            calls: Vec::new(),
        }
    }

    fn body(capsule: &Capsule, key: u8) -> SignIn {
        SignIn {
            client_id: "tab".parse().expect("an id"),
            user: None,
            capsule: Some(capsule.seal(&ring(key), [1; 24])),
            previous_token: Some("old token".to_owned()),
            move_ticket: None,
            sip_password: None,
        }
    }

    fn who(body: &SignIn, bearer: Bearer) -> Result<Identity, EntryError> {
        identify(body, Auth::Jwt, bearer, &ring(1), NOW)
    }

    #[test]
    fn a_capsule_with_its_token_signs_the_same_user_in() {
        let identity = who(&body(&capsule(), 1), Bearer::Absent).expect("signed in");
        assert_eq!(identity, Identity { user: user("alice"), recovering: true, earlier: earlier(capsule()) });
    }

    #[test]
    fn a_capsule_without_proof_is_none() {
        let mut wrong = body(&capsule(), 1);
        wrong.previous_token = Some("guessed".to_owned());
        let mut none = body(&capsule(), 1);
        none.previous_token = None;
        let mut other_tab = body(&capsule(), 1);
        other_tab.client_id = "other".parse().expect("an id");
        let old = body(&Capsule { expires: NOW - 1, ..capsule() }, 1);
        for body in [wrong, none, other_tab, old, body(&capsule(), 2)] {
            assert!(matches!(who(&body, Bearer::Absent), Err(EntryError::Unproven(_))));
        }
    }

    #[test]
    fn a_capsule_of_another_user_is_ignored() {
        let identity = who(&body(&capsule(), 1), Bearer::User(user("bob"))).expect("signed in");
        assert_eq!(identity, Identity { user: user("bob"), recovering: false, earlier: Earlier::default() });
        let identity = who(&body(&capsule(), 1), Bearer::User(user("alice"))).expect("signed in");
        assert!(identity.recovering);
    }

    #[test]
    fn a_sip_password_comes_with_the_body_or_with_the_capsule() {
        let password = |body: &SignIn| who(body, Bearer::Absent).expect("signed in").earlier.sip_password;
        let secret = |text: &str| Some(Secret::new(text.to_owned()));
        let mut fresh = body(&capsule(), 1);
        assert_eq!(password(&fresh), secret("secret"));
        fresh.sip_password = Some("changed".to_owned());
        assert_eq!(password(&fresh), secret("changed"));
        fresh.sip_password = Some("a\r\nb".to_owned());
        assert_eq!(password(&fresh), None);
    }

    #[test]
    fn a_ticket_signs_its_tab_in_until_it_expires() {
        let ticket = Ticket {
            user: user("alice"),
            client_id: "tab".parse().expect("an id"),
            instance_id: "a".parse().expect("an id"),
            boot_id: "b".parse().expect("an id"),
            expires: NOW,
            generation: 8,
            sip_password: None,
            moved: Some(9),
        };
        let mut body = body(&capsule(), 2);
        body.move_ticket = Some(ticket.seal(&ring(1), [2; 24]));
        let let_go_by = Some((ticket.instance_id, ticket.boot_id));
        let earlier = Earlier { generation: 8, let_go_by, moved: Some(9), ..Earlier::default() };
        assert_eq!(who(&body, Bearer::Absent), Ok(Identity { user: user("alice"), recovering: false, earlier }));
        assert!(identify(&body, Auth::Jwt, Bearer::Absent, &ring(1), NOW + 1).is_err());
    }

    #[test]
    fn only_an_anonymous_instance_reads_the_name() {
        let mut named = body(&capsule(), 2);
        named.user = Some("carol".to_owned());
        assert!(who(&named, Bearer::Invalid("expired")).is_err());
        let identity = identify(&named, Auth::Anonymous, Bearer::Absent, &ring(1), NOW).expect("signed in");
        assert_eq!(identity.user, user("carol"));
        named.user = Some("\n".to_owned());
        assert_eq!(identify(&named, Auth::Anonymous, Bearer::Absent, &ring(1), NOW), Err(EntryError::NoName));
    }
}
