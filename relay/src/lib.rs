//! The forwarding engine that balancer and agent share.
//!
//! ```text
//!             listen      one socket per data thread (SO_REUSEPORT), conflicts refused
//!                │
//!  client ──► server ── peer    deadlines, half-closed and vanished clients, lingering close
//!                │ screen       only bytes that can be read in one way
//!                │
//!             Handler           the program's own: where does this request go, and may it now?
//!                │ head         hop-by-hop out, forwarded, ids and trace in
//!             upstream          connections per thread; one attempt, with its timeouts
//!                │ relayed      streams back; tells an Observer the first byte and the end
//!                │ splice       long bodies: from socket to socket, past the HTTP library
//!  client ◄──────┘ tunnel       or bytes both ways, after a 101
//! ```
//!
//! What it does not do: choose an instance, queue, retry, measure. That is the program's part,
//! and each of the two has its own.
//!
//! Everything of a connection lives on one thread (`Rc`, `spawn_local`); nothing here takes a lock
//! that another thread holds.

#![forbid(unsafe_code)]

pub mod body;
mod connection;
pub mod failure;
pub mod head;
mod instance_io;
pub mod limits;
pub mod listen;
pub mod metrics;
mod peer;
pub mod police;
mod relayed;
mod screen;
pub mod server;
mod sockets;
mod splice;
pub mod threads;
pub mod trace;
mod tunnel;
pub mod upstream;

pub use body::{ClientBody, End, Observer, ReplyBody};
pub use failure::Failure;
pub use limits::Limits;
pub use peer::Client;
pub use screen::Refusal;
pub use server::Handler;
pub use splice::Chunk;
pub use tunnel::{is_upgrade, splice_upgrade};
pub use upstream::{SendError, Upstreams};
