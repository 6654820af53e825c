//! The world that policies are tried in.
//!
//! A request reaches its instance half a round trip after it is dispatched, waits there for a worker if all
//! are busy, holds one for its work, and the balancer learns of the free worker half a round trip later.

mod agent;
mod arrivals;
mod cache;
mod events;
mod instance;
mod jobs;
pub(crate) mod report;
mod simulation;

pub(crate) use arrivals::mix;
pub use simulation::{Simulation, run};
