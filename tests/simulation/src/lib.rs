//! Load-balancing policies against simulated instances, in virtual time.
//!
//! ```text
//!  scenario ──► model::Simulation ── arrive, head, released, ended, timer, report ──► Policy
//!                 │  arrivals, instances,   ◄──────────── Dispatch { job, instance } ────┘
//!                 │  caches, agents
//!                 ├──► check::InvariantChecker    watches dispatches from outside
//!                 └──► stats                      latencies, utilisation, cache hits
//! ```
//!
//! A run is a function of scenario, policy and seed alone: the same three give the same result on any
//! machine, and two policies with the same seed see the same requests.
//!
//! | module | what |
//! |---|---|
//! | [`policy`] | the trait that a balancer's decisions are plugged in through |
//! | [`policies`] | the baselines, one file each, and the table of their names |
//! | [`scenario`] | workloads: those of the research, and the rows of design.md section 1 |
//! | [`model`] | the event loop and what it simulates |
//! | [`check`] | invariants that hold of any policy, judged from outside |
//! | [`stats`] | histograms and the summary of a run |
//! | [`experiment`] | many runs, on threads, merged over seeds |
//! | [`table`] | results as Markdown |
//!
//! What is not modelled: preemption, network limits, lost connections, several balancers, and workers that
//! share a processor otherwise than through [`scenario::Scenario::interference`].

pub mod check;
pub mod experiment;
pub mod model;
pub mod policies;
pub mod policy;
pub mod scenario;
pub mod stats;
pub mod table;
mod time;
