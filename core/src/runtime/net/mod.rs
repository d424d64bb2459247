//! Listening sockets, streams, datagrams, and the cap on connections.

mod bind;
mod datagram;
mod files;
mod gate;
mod listener;
mod stream;

pub use bind::{BoundSocket, LISTEN_BACKLOG, bind_tcp, bind_unix, reserve_tcp};
pub use datagram::Datagram;
pub use files::widen_file_table;
pub use gate::{Gate, Permit};
pub use listener::{AcceptStats, Listener, ServeOptions, WhenExhausted};
pub use stream::{DetachedStream, PeerCredentials, Stream};
