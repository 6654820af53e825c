//! Balancers that are found by name in DNS, and come and go while the agent runs.
//!
//! ```text
//!  Source: one URL ────────────────────────────────────────────────────────┐
//!  Source: a name ─► sluice_process::discover: who is there, by the TTL ───┴─► crew: Links, and a Sender for each
//! ```

mod crew;
mod source;

pub use crew::Crew;
pub use source::{Source, SourceError};
