//! Instances under a stepped clock, with everybody around them played by a transcript.

mod node;

use gateway_core::SocketId;
use gateway_protocol::transcript::{
    Act, Bindings, ClientAct, MediaChange, NetworkAct, OperatorAct, Role, Runner, ServerAct, Step, Transcript,
};
use node::Node;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The instances of a transcript; each comes into being when it is first named.
pub(crate) struct World {
    transcript: Transcript,
    now: Instant,
    nodes: BTreeMap<String, Node>,
    /// Sockets by instance and tab, in the order of their opening.
    sockets: BTreeMap<(String, u8), Vec<SocketId>>,
    last_socket: u64,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "one instant to count from")]
    pub(crate) fn new(transcript: &Transcript) -> Self {
        let now = Instant::now();
        let mut world = Self {
            transcript: transcript.clone(),
            now,
            nodes: BTreeMap::new(),
            sockets: BTreeMap::new(),
            last_socket: 0,
        };
        for step in &transcript.steps {
            world.nodes.entry(step.at.clone()).or_insert_with(|| Node::new(&step.at, &world.transcript, now));
        }
        world
    }

    fn node(&mut self, step: &Step) -> Result<&mut Node, String> {
        self.nodes.get_mut(&step.at).ok_or_else(|| format!("instance {} is gone", step.at))
    }

    fn socket(&self, step: &Step) -> Option<SocketId> {
        let sockets = self.sockets.get(&(step.at.clone(), step.tab))?;
        match step.socket {
            Some(number) => sockets.get(number - 1).copied(),
            None => sockets.last().copied(),
        }
    }

    fn client(&mut self, step: &Step, act: &ClientAct, vars: &mut Bindings) -> Result<(), String> {
        let (now, socket) = (self.now, self.socket(step));
        match act {
            ClientAct::Request(request) => {
                let request = vars.fill(&serde_json::json!(request));
                self.node(step)?.request(step.tab, &request, now)
            }
            ClientAct::Open(path) => {
                let path = vars.fill_str(path);
                self.last_socket += 1;
                let socket = SocketId(self.last_socket);
                self.sockets.entry((step.at.clone(), step.tab)).or_default().push(socket);
                self.node(step)?.open(socket, &path, now)
            }
            ClientAct::Send(message) => {
                let message = vars.fill(message);
                self.node(step)?.message(socket.ok_or("no socket")?, message, now)
            }
            ClientAct::Close(_) => self.node(step)?.cut(socket.ok_or("no socket")?, now),
            ClientAct::PeerClose(call) => {
                let call = vars.fill_str(call);
                self.node(step)?.media(&call, gateway_core::MediaChange::PeerClosed, now)
            }
        }
    }

    fn network(&mut self, step: &Step, act: &NetworkAct, vars: &mut Bindings) -> Result<(), String> {
        let (now, socket) = (self.now, self.socket(step));
        match act {
            NetworkAct::Cut => self.node(step)?.cut(socket.ok_or("no socket")?, now),
            NetworkAct::DarkMs(millis) => self.pass(*millis),
            NetworkAct::InstanceGone => self.nodes.remove(&step.at).map(drop).ok_or("no such instance".to_owned()),
            NetworkAct::InstanceFrozen => self.node(step).map(|node| node.frozen = true),
            NetworkAct::InstanceThawed => self.node(step)?.thaw(now),
            NetworkAct::ToServer(message) => {
                let message = vars.fill(message);
                self.node(step)?.message(socket.ok_or("no socket")?, message, now)
            }
            NetworkAct::Media { media, call } => {
                let call = vars.fill_str(call);
                match media {
                    MediaChange::Connected => self.node(step)?.media(&call, gateway_core::MediaChange::Connected, now),
                    MediaChange::Flowing => self.node(step)?.media(&call, gateway_core::MediaChange::Resumed, now),
                    // The media plane says nothing before 15 s without consent have passed.
                    MediaChange::Stopped => Ok(()),
                }
            }
            NetworkAct::Unreachable | NetworkAct::AddressChanged | NetworkAct::ToClient(_) => Ok(()),
        }
    }

    fn pass(&mut self, millis: u64) -> Result<(), String> {
        self.now += Duration::from_millis(millis);
        self.nodes.values_mut().for_each(|node| node.advance(self.now));
        Ok(())
    }
}

impl Runner for World {
    fn role(&self, step: &Step) -> Role {
        match step.act {
            Act::Client(_) if step.lost => Role::Ignore,
            // A frozen or dead instance gets nothing.
            Act::Client(_) if !self.nodes.contains_key(&step.at) => Role::Ignore,
            Act::Client(_) | Act::Network(_) | Act::Operator(_) | Act::Time(_) => Role::Drive,
            Act::Server(_) => Role::Check,
            Act::App(_) | Act::Balancer(_) | Act::Told(_) => Role::Ignore,
        }
    }

    fn drive(&mut self, step: &Step, vars: &mut Bindings) -> Result<(), String> {
        let now = self.now;
        match &step.act {
            Act::Client(act) => self.client(step, act, vars)?,
            Act::Network(act) => self.network(step, act, vars)?,
            Act::Operator(OperatorAct::Drain) => self.node(step)?.drain(now),
            Act::Time(millis) => self.pass(*millis)?,
            Act::App(_) | Act::Server(_) | Act::Balancer(_) | Act::Told(_) => {}
        }
        // What is due at once.
        self.pass(0)
    }

    fn observe(&mut self, step: &Step) -> Option<Value> {
        let Act::Server(act) = &step.act else { return None };
        let socket = self.socket(step);
        let node = self.nodes.get_mut(&step.at)?;
        match act {
            ServerAct::Answer(_) => node.answers.get_mut(&step.tab)?.pop_front(),
            ServerAct::Send(_) | ServerAct::Close(_) => node.sent.get_mut(&socket?)?.pop_front(),
            ServerAct::PeerClose(_) => node.closed_peers.pop_front(),
        }
    }

    fn left_over(&mut self) -> Vec<String> {
        self.nodes.values().flat_map(Node::left_over).collect()
    }
}
