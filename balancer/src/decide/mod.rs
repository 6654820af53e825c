//! Decisions: pure functions and state machines over values.
//!
//! Time and chance are arguments; nothing here is async, reads a clock, locks or does I/O. The
//! simulation and the tests run this very code.

pub mod breaker;
pub mod carrier;
pub mod classify;
pub mod decision;
pub mod dispatch;
pub mod flows;
pub mod foreign;
pub mod hash;
pub mod ids;
pub mod learn;
pub mod lease;
pub mod membership;
pub mod notices;
pub mod outlier;
pub mod pace;
pub mod pauses;
pub mod plan;
pub mod predict;
pub mod queueing;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod sender;
pub mod sources;
pub mod sticky;
pub mod throttle;
pub mod treatment;
pub mod versions;
pub mod window;
