//! Balancers that are found by name in DNS, and come and go while the agent runs.
//!
//! ```text
//!  Source: one URL ──────────────────────────────────┐
//!  Source: a name ─► resolve ─► known ─► follow ─────┴─► crew: Links, and a Sender for each
//!                    (A, AAAA,  (who has  (by TTL)
//!                     SRV)       vanished)
//! ```

mod crew;
mod follow;
mod known;
mod resolve;
mod source;

pub use crew::Crew;
pub use resolve::Resolver;
pub use source::{Name, Source, SourceError};
