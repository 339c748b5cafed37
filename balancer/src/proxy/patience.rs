//! Which clients are too slow to be waited for.
//!
//! Pure but for the task that it ends: each thread looks at all of its connections at once now and then, which costs a
//! connection neither a timer nor a clock reading.

use super::client_io::ClientState;
use std::{collections::HashMap, rc::Rc};
use tokio::task::AbortHandle;

/// Looks in which a head must be completed, the first of which may come at once: 10 s to 15 s.
const HEAD_LOOKS: u8 = 3;
/// Looks without a byte in either direction after which a connection is closed: 60 s to 65 s.
const IDLE_LOOKS: u8 = 13;

/// The connections of one thread, by the address of their state.
#[derive(Default)]
pub(crate) struct Patience(HashMap<*const ClientState, Watched>);

struct Watched {
    client: Rc<ClientState>,
    task: AbortHandle,
    seen: Seen,
}

/// What the last look saw.
#[derive(Default)]
struct Seen {
    moved: u64,
    heads: u64,
    head_looks: u8,
    idle_looks: u8,
}

impl Patience {
    /// Begins to watch a connection.
    pub(crate) fn watch(&mut self, client: &Rc<ClientState>, task: AbortHandle) {
        self.0.insert(Rc::as_ptr(client), Watched { client: Rc::clone(client), task, seen: Seen::default() });
    }

    /// To be called when a connection ends or becomes a tunnel; its task's memory is held until then.
    pub(crate) fn forget(&mut self, client: &Rc<ClientState>) {
        self.0.remove(&Rc::as_ptr(client));
    }

    /// To be called every five seconds: ends the connections that it has no patience with.
    pub(crate) fn look(&mut self) {
        for Watched { client, task, seen } in self.0.values_mut() {
            if seen.look(client) {
                task.abort();
            }
        }
    }
}

impl Seen {
    /// True if the client is too slow.
    fn look(&mut self, client: &ClientState) -> bool {
        let guard = client.guard.borrow();
        let owes_a_head = guard.heads() == self.heads && (guard.is_in_head() || self.heads == 0);
        self.head_looks = if owes_a_head { self.head_looks + 1 } else { 0 };
        self.idle_looks = if client.moved.get() == self.moved { self.idle_looks + 1 } else { 0 };
        (self.moved, self.heads) = (client.moved.get(), guard.heads());
        self.head_looks >= HEAD_LOOKS || self.idle_looks >= IDLE_LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client() -> ClientState {
        ClientState::new(IpAddr::from([127, 0, 0, 1]))
    }

    fn receives(client: &ClientState, bytes: &[u8]) {
        client.guard.borrow_mut().feed(bytes);
        client.moved.set(client.moved.get() + bytes.len() as u64);
    }

    fn looks_until_given_up(client: &ClientState, mut between: impl FnMut(&ClientState)) -> usize {
        let mut seen = Seen::default();
        let mut looks = 1;
        while !seen.look(client) {
            between(client);
            looks += 1;
        }
        looks
    }

    #[test]
    fn a_head_that_does_not_end_is_given_up_however_it_trickles() {
        assert_eq!(looks_until_given_up(&client(), |client| receives(client, b"x")), 3);
        let client = client();
        receives(&client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET");
        assert_eq!(looks_until_given_up(&client, |client| receives(client, b"x")), 4, "the first head was in time");
    }

    #[test]
    fn a_connection_that_never_asks_is_given_up_as_early() {
        assert_eq!(looks_until_given_up(&client(), |_| {}), 3);
    }

    #[test]
    fn a_connection_that_has_asked_may_be_idle_for_a_minute() {
        let client = client();
        receives(&client, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(looks_until_given_up(&client, |_| {}), 14);
    }
}
