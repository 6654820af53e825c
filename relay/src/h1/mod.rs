//! HTTP/1.1 towards instances: a client codec that needs no task of its own.
//!
//! ```text
//!  request ──► Sending  (request: head into one buffer, body by length or in chunks) ──► InstanceIo
//!                 │ goes on in a task only if the response is there before its end            │
//!  response ◄── InstanceBody ◄── Decoder (decoder, screen::chunked) ◄── Arriving (response) ◄─┘
//!                 └── long ones of known length: splice::Inlet
//! ```
//!
//! Who waits for a response writes the request and reads the head, in its own future ([`Exchange`]); who passes a body
//! on reads it. A connection that idles is a socket and nothing else: whether it is still good is asked of what the
//! runtime knows anyway. What clients send is not trusted and is the HTTP library's; an instance is gated, and its
//! responses go out through that library, which frames them anew. So being strict here serves to notice what is
//! broken, and nothing is repaired.

mod body;
mod connection;
mod decoder;
mod exchange;
mod request;
mod response;
mod sending;
#[cfg(test)]
mod tests;

pub use body::InstanceBody;
pub(crate) use connection::{Connection, Upgraded};
pub(crate) use decoder::{Decoder, Piece};
pub(crate) use exchange::Exchange;
pub(crate) use response::Arriving;
