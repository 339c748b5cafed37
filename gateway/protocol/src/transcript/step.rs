//! The steps of a transcript. Messages and bodies stay JSON, because they hold variables.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One step: an actor and what it does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Step {
    /// Who does what.
    #[serde(flatten)]
    pub act: Act,
    /// Which browser tab.
    #[serde(default = "first")]
    pub tab: u8,
    /// Which instance.
    #[serde(default = "instance_a")]
    pub at: String,
    /// Which of the tab's sockets at that instance, from 1; the newest if absent.
    #[serde(default)]
    pub socket: Option<usize>,
    /// The sender did it, the receiver never gets it.
    #[serde(default)]
    pub lost: bool,
    /// Base URL that the client must use.
    #[serde(default)]
    pub base: Option<String>,
    /// For the reader.
    #[serde(default)]
    pub note: Option<String>,
}

fn first() -> u8 {
    1
}

fn instance_a() -> String {
    "a".to_owned()
}

/// An actor and what it does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The application at the client's API.
    App(AppAct),
    /// Bytes from client to server.
    Client(ClientAct),
    /// Bytes from an instance to the client.
    Server(ServerAct),
    /// What the balancer puts in.
    Balancer(BalancerAct),
    /// What happens to the wires.
    Network(NetworkAct),
    /// A person at the admin listener.
    Operator(OperatorAct),
    /// The clock moves by so many milliseconds.
    Time(u64),
    /// An event that the application must get.
    Told(Value),
}

/// What the application does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum AppAct {
    /// Sign in.
    SignIn {
        /// Template of the user's name.
        user: String,
    },
    /// Sign off.
    SignOut,
    /// Start a call.
    StartCall {
        /// Variable that stands for the call.
        call: String,
        /// Far side.
        target: String,
    },
    /// End a call.
    HangUp {
        /// Variable that stands for the call.
        call: String,
    },
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAct {
    /// An HTTP request.
    Request(HttpRequest),
    /// Opens the WebSocket at this path.
    Open(String),
    /// A [`crate::ClientMessage`].
    Send(Value),
    /// Closes the socket.
    Close(Close),
    /// DTLS close_notify for this call.
    PeerClose(String),
}

/// What an instance sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerAct {
    /// The answer to the tab's oldest unanswered request at this instance.
    Answer(Answer),
    /// A [`crate::ServerMessage`].
    Send(Value),
    /// Closes the socket.
    Close(Close),
    /// DTLS close_notify for this call.
    PeerClose(String),
}

/// What the balancer does itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalancerAct {
    /// Answers in place of an instance.
    Answer(Answer),
    /// Closes the socket.
    Close(Close),
    /// `holdfast-pin` of the next answer.
    Pin(String),
}

/// What happens to the wires.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkAct {
    /// The socket is gone without a close code.
    Cut,
    /// The unanswered request or open failed.
    Unreachable,
    /// So many milliseconds pass, and every request and open in them fails.
    DarkMs(u64),
    /// Sockets are dead without a word, media stops.
    AddressChanged,
    /// The process is dead.
    InstanceGone,
    /// It stands still.
    InstanceFrozen,
    /// It moves on.
    InstanceThawed,
    /// Comes to the client although the instance did not send it (again).
    ToClient(Value),
    /// Comes to the instance although the client did not send it (again).
    ToServer(Value),
    /// A call's packets.
    #[serde(untagged)]
    Media {
        /// What changes.
        media: MediaChange,
        /// Which call.
        call: String,
    },
}

/// What happens to a call's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaChange {
    /// ICE and DTLS are done, packets flow.
    Connected,
    /// No packet arrives any more.
    Stopped,
    /// Packets flow again.
    Flowing,
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorAct {
    /// `POST /drain`.
    Drain,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// With variables.
    pub path: String,
    /// Names in lower case.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub headers: Map<String, Value>,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub headers: Map<String, Value>,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// A WebSocket close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// See [`crate::CloseCode`].
    pub code: u16,
    /// Empty when absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
