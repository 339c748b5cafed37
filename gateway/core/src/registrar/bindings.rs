//! Who is registered where, until when, and over which flow.

use super::{Aor, MAX_BINDINGS, MAX_USERS, RECENT};
use crate::sip::{Peer, SipUri};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One contact of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    /// The whole Contact URI, as it was registered.
    pub(super) uri: String,
    /// Where its REGISTER came from, and requests go to.
    pub(super) peer: Peer,
    /// `+sip.instance`.
    pub(super) instance: Option<String>,
    /// As it was given.
    pub(super) q: Option<String>,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) expires: Instant,
}

/// What a user is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Bound,
    /// Was bound within [`RECENT`], and did not sign out.
    Recent,
    Unknown,
}

/// Why a binding is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotBound {
    TooManyBindings,
    TooManyUsers,
}

#[derive(Debug, Default)]
struct User {
    bindings: Vec<Binding>,
    recent_until: Option<Instant>,
}

impl User {
    fn next_end(&self) -> Option<Instant> {
        self.bindings.iter().map(|binding| binding.expires).chain(self.recent_until).min()
    }
}

/// What came over one flow.
#[derive(Debug, Default)]
struct Flow {
    bindings: BTreeSet<(Aor, String)>,
    places: BTreeSet<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    users: BTreeMap<Aor, User>,
    ends: BTreeSet<(Instant, Aor)>,
    flows: BTreeMap<Peer, Flow>,
    by_contact: BTreeMap<String, Aor>,
    /// Host and port of a contact to the flow of the newest REGISTER that named it: where requests to contacts of former
    /// generations go.
    places: BTreeMap<String, Peer>,
    count: usize,
}

impl Bindings {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn find(&self, user: &str, now: Instant) -> Found {
        match self.users.get(user) {
            Some(user) if !user.bindings.is_empty() => Found::Bound,
            Some(user) if user.recent_until.is_some_and(|until| until > now) => Found::Recent,
            Some(_) | None => Found::Unknown,
        }
    }

    pub(super) fn of(&self, user: &str) -> &[Binding] {
        self.users.get(user).map_or(&[], |user| &user.bindings)
    }

    pub(super) fn by_contact(&self, uri: &str) -> Option<&Binding> {
        self.of(self.by_contact.get(uri)?).iter().find(|binding| binding.uri == uri)
    }

    pub(super) fn has_peer(&self, peer: Peer) -> bool {
        self.flows.contains_key(&peer)
    }

    /// The flow over which contacts at this host and port were registered last.
    pub(super) fn flow_to(&self, uri: &SipUri) -> Option<Peer> {
        self.places.get(&place(uri)).copied()
    }

    /// Adds one, in place of the one with the same instance or else the same URI.
    pub(super) fn bind(&mut self, user: &Aor, binding: Binding) -> Result<(), NotBound> {
        let is_new = !self.users.contains_key(user);
        if is_new && self.users.len() >= MAX_USERS {
            return Err(NotBound::TooManyUsers);
        }
        let replaced: Vec<String> =
            self.of(user).iter().filter(|old| is_same(old, &binding)).map(|old| old.uri.clone()).collect();
        if self.of(user).len() - replaced.len() >= MAX_BINDINGS {
            return Err(NotBound::TooManyBindings);
        }
        replaced.iter().for_each(|uri| self.take_out(user, uri));
        let flow = self.flows.entry(binding.peer).or_default();
        flow.bindings.insert((user.clone(), binding.uri.clone()));
        if let Ok(uri) = SipUri::parse(&binding.uri) {
            flow.places.insert(place(&uri));
            self.places.insert(place(&uri), binding.peer);
        }
        self.by_contact.insert(binding.uri.clone(), user.clone());
        self.count += 1;
        self.change(user, |user| {
            user.recent_until = None;
            user.bindings.push(binding);
        });
        Ok(())
    }

    /// Ends one by its URI because its user says so. Whoever has none left has signed out.
    pub(super) fn unbind(&mut self, user: &Aor, uri: &str) {
        self.take_out(user, uri);
    }

    /// Ends one that turned out to lead nowhere.
    pub(super) fn lose(&mut self, user: &Aor, uri: &str, now: Instant) {
        if self.of(user).iter().any(|binding| binding.uri == uri) {
            self.take_out(user, uri);
            self.remember(user, now);
        }
    }

    /// A flow is gone, and with it what was registered over it.
    pub(super) fn drop_peer(&mut self, peer: Peer, now: Instant) {
        let Some(flow) = self.flows.get(&peer) else { return };
        for (user, uri) in flow.bindings.clone() {
            self.lose(&user, &uri, now);
        }
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, user)) = self.ends.first().cloned()
            && at <= now
        {
            let over: Vec<String> = self
                .of(&user)
                .iter()
                .filter(|binding| binding.expires <= now)
                .map(|binding| binding.uri.clone())
                .collect();
            over.iter().for_each(|uri| self.take_out(&user, uri));
            if !over.is_empty() {
                self.remember(&user, now);
            }
            self.change(&user, |user| user.recent_until = user.recent_until.filter(|until| *until > now));
        }
    }

    fn remember(&mut self, user: &Aor, now: Instant) {
        self.change(user, |user| user.recent_until = Some(now + RECENT));
    }

    fn take_out(&mut self, user: &Aor, uri: &str) {
        let Some(binding) = self.of(user).iter().find(|binding| binding.uri == uri).cloned() else { return };
        if let Some(flow) = self.flows.get_mut(&binding.peer) {
            flow.bindings.remove(&(user.clone(), binding.uri.clone()));
            if flow.bindings.is_empty()
                && let Some(flow) = self.flows.remove(&binding.peer)
            {
                flow.places.iter().for_each(|place| {
                    if self.places.get(place) == Some(&binding.peer) {
                        self.places.remove(place);
                    }
                });
            }
        }
        if self.by_contact.get(uri) == Some(user) {
            self.by_contact.remove(uri);
        }
        self.count -= 1;
        self.change(user, |user| user.bindings.retain(|binding| binding.uri != uri));
    }

    /// Keeps the queue of ends, and drops a user of whom nothing is left to know.
    fn change(&mut self, name: &Aor, change: impl FnOnce(&mut User)) {
        let user = self.users.entry(name.clone()).or_default();
        let before = user.next_end();
        change(user);
        let after = user.next_end();
        if before != after {
            if let Some(at) = before {
                self.ends.remove(&(at, name.clone()));
            }
            if let Some(at) = after {
                self.ends.insert((at, name.clone()));
            }
        }
        if after.is_none() {
            self.users.remove(name);
        }
    }
}

/// RFC 5626 §6: the instance decides where there is one.
fn is_same(old: &Binding, new: &Binding) -> bool {
    old.uri == new.uri || (old.instance.is_some() && old.instance == new.instance)
}

fn place(uri: &SipUri) -> String {
    format!("{}:{}", uri.host.to_ascii_lowercase(), uri.port.unwrap_or_default())
}
