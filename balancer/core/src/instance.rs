//! What is known of one gateway instance: where it listens, which run of it answers, and what it reports of itself.

use serde::Serialize;
use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

/// Longest id, in bytes; the same bound as in the protocol.
pub const MAX_ID_BYTES: usize = 64;

/// A text that is no id: an id matches `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to {MAX_ID_BYTES} of A-Z a-z 0-9 _ -")]
pub struct NotAnId;

/// True if `text` matches `[A-Za-z0-9_-]{1,64}`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id in `text`, if it is one.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                if is_id(text) { Ok(Self(text.into())) } else { Err(NotAnId) }
            }

            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// One gateway instance; keeps its id over restarts when configured. Cheap to clone.
    InstanceId
}
id! {
    /// Random at each start of an instance's process. Cheap to clone.
    BootId
}

/// One run of one instance: the process between a start and its end. Pins name a run, never an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// Which instance.
    pub instance: InstanceId,
    /// Which start of it.
    pub boot: BootId,
}

impl Run {
    /// The run with these two ids.
    pub fn parse(instance: &str, boot: &str) -> Result<Self, NotAnId> {
        Ok(Self { instance: InstanceId::parse(instance)?, boot: BootId::parse(boot)? })
    }

    /// True if these are the ids of this run.
    #[must_use]
    pub fn is(&self, instance: &str, boot: &str) -> bool {
        self.instance.as_str() == instance && self.boot.as_str() == boot
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.instance, self.boot)
    }
}

/// Reads `<instance>.<boot>`, the value of `holdfast-avoid`.
impl FromStr for Run {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (instance, boot) = text.split_once('.').ok_or(NotAnId)?;
        Self::parse(instance, boot)
    }
}

/// Where an instance listens. The pool knows instances by it until they have said who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Public HTTP, where requests go.
    pub http: SocketAddr,
    /// Private HTTP, where it is checked and drained.
    pub admin: SocketAddr,
}

/// What an instance says it can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Initialised, not yet asked to serve.
    Standby,
    /// Not able to serve yet, or stuck.
    Starting,
    /// Serves and takes new sessions.
    Ready,
    /// Serves what it has.
    Draining,
}

/// What an operator wants of an instance: an overlay over [`crate::State`], never a sign of ill health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminState {
    /// Nothing special.
    #[default]
    None,
    /// It keeps what it has and gets nothing new, until it restarts. The instance itself knows, so every balancer does.
    Drain,
    /// As `Drain`, and it stays out after a restart, until an operator takes that back. This balancer alone knows.
    Maintenance,
}

impl AdminState {
    /// The word in `/instances` and in logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
        }
    }
}

/// The part of an instance's health report that the balancer decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who answered.
    pub run: Run,
    /// What it can do now.
    pub stage: Stage,
    /// Sessions it can hold.
    pub capacity: u32,
    /// Places taken.
    pub used: u32,
    /// Calls it can hold.
    pub call_capacity: u32,
    /// Calls it holds.
    pub calls: u32,
    /// Attached sessions.
    pub sessions: u32,
    /// SIP registrations.
    pub registered: u32,
    /// Sessions it can set up in a second.
    pub setup_rate: u32,
    /// Hash over the settings that must agree in a cluster.
    pub config_hash: String,
    /// Ids of the cluster keys it knows, the signing one first.
    pub key_ids: Vec<String>,
    /// Release.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_as_it_is_written() {
        let run = Run::parse("gw-1", "b_7").expect("valid");
        assert_eq!(run.to_string().parse(), Ok(run));
        assert_eq!("gw-1".parse::<Run>(), Err(NotAnId));
        assert_eq!("gw-1.".parse::<Run>(), Err(NotAnId));
        assert_eq!("gw-1.a.b".parse::<Run>(), Err(NotAnId));
        assert_eq!("gw 1.a".parse::<Run>(), Err(NotAnId));
    }
}
