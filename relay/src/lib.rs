//! The forwarding engine that balancer and agent share.
//!
//! ```text
//!             listen      one socket per data thread (SO_REUSEPORT), conflicts refused; Unix, handed over
//!                │
//!             doors       how many clients at a time; the idlest make room
//!                │
//!  client ──► server ── peer    deadlines, least rates, half-closed and vanished clients, lingering close
//!                │ proxy_protocol, tls, http2: each where the listener says so
//!                │ screen       only bytes that can be read in one way
//!                │
//!             Handler           the program's own: where does this request go, and may it now?
//!                │ head         hop-by-hop out, forwarded, ids and trace in
//!             upstream          connections per thread; one attempt, with its timeouts
//!                │ h1           our own HTTP/1.1 client, in the request's own future
//!                │ relayed      streams back; tells an Observer the first byte and the end
//!                │ file         or a file of this host, which no data thread reads
//!                │ splice       long bodies: from socket to socket, past the HTTP library
//!                │ drained      slow clients: the instance is read all the same, into the spool
//!  client ◄──────┘ tunnel       or bytes both ways, after a 101
//! ```
//!
//! What it does not do: choose an instance, queue, retry, measure. That is the program's part,
//! and each of the two has its own.
//!
//! Everything of a connection lives on one thread (`Rc`, `spawn_local`); nothing here takes a lock
//! that another thread holds.

#![forbid(unsafe_code)]

mod alarm;
pub mod body;
mod discard;
pub mod doors;
mod drained;
pub mod failure;
pub mod file;
#[doc(hidden)] // for tests/fuzzing
pub mod fuzzing;
mod h1;
pub mod head;
mod http1;
mod http2;
mod instance_io;
mod intake;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod names;
mod pace;
mod peer;
pub mod police;
pub mod probe;
pub mod proxy_protocol;
mod relayed;
mod residents;
mod screen;
pub mod server;
mod sockets;
mod splice;
pub mod spool;
mod text;
pub mod threads;
pub mod tls;
pub mod trace;
mod tunnel;
mod upload;
pub mod upstream;

pub use body::{End, Observer, ReplyBody};
pub use discard::discard;
pub use doors::Doors;
pub use failure::{Failure, RetryAfter};
pub use h1::InstanceBody;
pub use limits::Limits;
pub use peer::Client;
pub use screen::Refusal;
pub use server::Handler;
pub use splice::Chunk;
pub use spool::Spool;
pub use tunnel::{is_upgrade, splice_upgrade};
pub use upload::{ClientBody, Progress};
pub use upstream::{SendError, Upstreams};
