//! The ids of the protocol: one newtype each, checked where they enter, so that a wrong one cannot exist inside.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest id, in bytes. Bounds what one session can make the instance remember.
pub const MAX_ID_BYTES: usize = 64;

/// Why a text is no id: it must match `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdError {
    /// No character at all.
    Empty,
    /// More than [`MAX_ID_BYTES`].
    TooLong(usize),
    /// A byte outside `[A-Za-z0-9_-]` at this position.
    BadByte(usize),
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an id has 1 to {MAX_ID_BYTES} characters, got none"),
            Self::TooLong(len) => write!(f, "an id has at most {MAX_ID_BYTES} characters, got {len}"),
            Self::BadByte(at) => write!(f, "an id consists of A-Z a-z 0-9 _ -, the byte at {at} is none of them"),
        }
    }
}

impl std::error::Error for IdError {}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    match text.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'-')) {
        Some(at) => Err(IdError::BadByte(at)),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id in `text`, if it is one.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text))
            }

            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// One gateway instance, stable over restarts when configured (`--instance-id`).
    InstanceId
}
id! {
    /// One run of one instance's process: random at each start. Pins and capsules name it, never an address.
    BootId
}
id! {
    /// One signed-in session on one instance.
    SessionId
}
id! {
    /// One browser tab, made by the client, kept over a reload. At most one session is attached per (user, client id).
    ClientId
}
id! {
    /// One call, named by whoever starts it (the client for outgoing calls, the instance for incoming ones).
    CallId
}
id! {
    /// One request of a client. A repeated id never acts twice within its session.
    RequestId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_checked_where_it_enters() {
        assert_eq!(ClientId::parse(""), Err(IdError::Empty));
        assert_eq!(ClientId::parse("a b"), Err(IdError::BadByte(1)));
        assert_eq!(ClientId::parse("é"), Err(IdError::BadByte(0)));
        assert_eq!(ClientId::parse("x".repeat(65)), Err(IdError::TooLong(65)));
        assert!(ClientId::parse("x".repeat(64)).is_ok());
        assert!(serde_json::from_str::<ClientId>("\"tab-1_A\"").is_ok());
        assert!(serde_json::from_str::<ClientId>("\"tab/1\"").is_err());
    }
}
