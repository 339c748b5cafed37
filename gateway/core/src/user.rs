//! The name of a user, checked where it enters.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Longest user name, in bytes.
pub const MAX_USER_BYTES: usize = 128;

/// A user's name: 1 to [`MAX_USER_BYTES`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct User(Arc<str>);

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user name has 1 to {MAX_USER_BYTES} bytes and no control characters")]
pub struct NoUser;

impl User {
    /// The user in `text`.
    pub fn parse(text: &str) -> Result<Self, NoUser> {
        let fits = (1..=MAX_USER_BYTES).contains(&text.len());
        if fits && !text.chars().any(char::is_control) { Ok(Self(text.into())) } else { Err(NoUser) }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for User {
    type Error = NoUser;
    fn try_from(text: String) -> Result<Self, NoUser> {
        Self::parse(&text)
    }
}

impl From<User> for String {
    fn from(user: User) -> Self {
        user.0.as_ref().to_owned()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_short_and_printable() {
        assert!(User::parse("alice@example.org").is_ok());
        assert!(User::parse("Zoë").is_ok());
        assert_eq!(User::parse(""), Err(NoUser));
        assert_eq!(User::parse("a\r\nb"), Err(NoUser));
        assert_eq!(User::parse(&"x".repeat(129)), Err(NoUser));
    }
}
