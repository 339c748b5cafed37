//! The data path: browsers on one side, instances on the other.
//!
//! One thread per core, each with its own listener on the same port, its own connections to the instances and nothing shared
//! but the published view, so that threads never wait for each other.
//!
//! Read in the order in which a request meets them: [`listener`] and [`client_io`], whose bytes [`head`] and [`patience`] watch; [`serve`],
//! with the checks of [`request`]; [`forward`] with [`cookies`], [`watch`], [`upstream`] and [`wire`]; [`body`]; and for a WebSocket
//! [`tunnel`], which follows [`frame`]s.

mod answer;
mod body;
mod client_io;
mod cookies;
mod forward;
mod frame;
mod head;
mod listener;
mod patience;
mod quota;
mod request;
mod serve;
mod threads;
mod tls;
mod tunnel;
mod upstream;
mod watch;
mod wire;

pub use serve::Rules;
pub use threads::{Proxy, start};
pub use tls::{Tls, TlsError};
