//! Names in DNS that stand for several addresses, which come and go.
//!
//! ```text
//!  Name ─► Resolver ─► Known ─────────► Follower: what changed, and when to look again
//!          (A, AAAA,   (which addresses
//!           SRV)        hold)
//! ```

mod follow;
mod known;
mod name;
mod resolve;

pub use follow::{Follower, LookUp};
pub use name::Name;
pub use resolve::{ResolveError, Resolver};
