//! Long bodies of known length go from socket to socket through a kernel pipe, without being copied.
//!
//! ```text
//!   instance's socket ──splice──► pipe ──splice──► client's socket
//!          │ Inlet                  │ Outlet             ▲ ClientIo
//!          └── as many bytes ──► Piped, a stand-in ──► HTTP library: framing, order, back-pressure
//! ```
//!
//! On the instance's side the codec is our own (`crate::h1`), which reads the head and gives the connection away with
//! what it has read ahead. On the client's side, which is not trusted, the HTTP library stays: it is given stand-ins that
//! it queues and frames like any bytes, and when it wants to write one, as many bytes are moved out of the pipe instead.
//! The stand-in's own bytes can not be sent: see [`Piped`].
//!
//! What a slow client leaves for later goes another way ([`crate::drained`]).
//!
//! Bodies of unknown length, short ones, those to clients over TLS, and those for which there is no pipe are copied.

mod chunk;
mod inlet;
mod outlet;
mod pipe;
#[cfg(test)]
mod tests;
mod write;

pub use chunk::Chunk;
pub(crate) use chunk::{Piped, is_stand_in};
pub(crate) use inlet::{Inlet, Next};
pub(crate) use outlet::{Feeding, Fill, Outlet};
pub(crate) use pipe::{CAPACITY, Pipe};
pub(crate) use write::write;

/// Shortest body worth it, in bytes. 64 KiB: a pipe that is filled and emptied costs about as much as copying that.
pub(crate) const SHORTEST: u64 = 64 * 1024;
