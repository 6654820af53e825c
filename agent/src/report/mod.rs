//! What balancers are told: one report per interval or change of state, the same for all of them.
//!
//! ```text
//!  Recorder ──cut──► collect ──build──► watch (newest wins) ──► send: one task and one Link per balancer
//!  StateCell ──────────▲                                                   │
//!  Link ◄── outcome, plan ─────────────────────────────────────────────────┘
//! ```

mod build;
mod collect;
mod link;
mod links;
mod send;

pub use build::{Identity, Moment, build, encode};
pub use collect::{Collector, Form, Published};
pub use link::{Link, LinkStatus, SendOutcome};
pub use links::Links;
pub use send::Sender;
