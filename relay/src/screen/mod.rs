//! Which bytes from a client are HTTP/1.1 that can be read in one way only (RFC 9112). They are looked at before the
//! HTTP library sees them, because it repairs what should be refused: a length beside chunks, lines that end with a
//! bare LF, space around names, odd chunk sizes.
//!
//! ```text
//!  socket ──► Screened ──► HTTP library
//!              │  Screen      follows messages: head, body, next head
//!              │   ├ head     line by line: target, fields, framing     (an incomplete head is held back)
//!              │   └ chunked  sizes, extensions, trailers               (bodies pass as they come)
//!              ▼
//!             Refusal         a stand-in for the request, which is answered in its turn like any other
//! ```
//!
//! What passes here is framed in one way only; whether a relay serves it is for [`police`](crate::police) to say.

mod authority;
mod characters;
pub(crate) mod chunked;
mod fields;
mod head;
mod io;
pub(crate) mod messages;
mod refusal;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use authority::{is_authority, is_same};
pub(crate) use head::HeadLimits;
pub(crate) use io::{Screened, refusal_of};
pub use refusal::Refusal;
pub(crate) use target::{check_method, check_path};
