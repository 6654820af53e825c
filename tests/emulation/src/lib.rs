//! Emulated instances and an open-loop load generator, shared by demo, tests and benchmarks.
//!
//! ```text
//!  load::run ── requests that carry their own cost ──► any balancer ──► instance::Instance
//!     ▲            (X-Emulate-*: work.rs)                                  │ a few workers, a cache,
//!  load::Schedule: who asks when, for what,                                │ a release point
//!  at what cost; a pure function of the seed                               ▼
//!  load::Summary ◄── latencies from the scheduled arrival ── pattern bytes (pattern.rs)
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`dist`] | distributions of worker time and sizes, sampled with a generator passed in |
//! | [`work`] | the cost of one request as headers: written by the load, read by the instance |
//! | [`pattern`] | bodies whose every byte is known |
//! | [`instance`] | an application server with few workers |
//! | [`load`] | workload, schedule, client, summary |
//! | [`scenario`] | the named workloads, each with the instances that it is meant for |
//!
//! What is not here: any balancing, TLS, HTTP/2, and traffic to anything but the target given.

pub mod dist;
pub mod instance;
pub mod load;
pub mod pattern;
pub mod scenario;
pub mod work;
