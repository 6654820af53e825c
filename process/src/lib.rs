//! What both programs need around the relay: configuration, logs, admin server, token, signals, upgrades.
//!
//! ```text
//!  flags + environment + file ──config──► options ──► the program's own checked types
//!  SIGTERM, SIGINT ──shutdown──► every runtime
//!  SIGUSR2 ──upgrade──► a new process gets the sockets and what is known
//!  control thread:  admin (metrics, readiness, token, TLS) ◄── operators, agents, scrapers
//!  SIGHUP, a changed file ──reload──► the options once more
//!  main: Result<(), RunError> ──exit──► 0, 1 or 2 and one line on stderr
//! ```
//!
//! Nothing here touches a request on its way to an instance, and nothing here knows what a plan or a report is.

#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod control;
pub mod descriptors;
pub mod discover;
pub mod exit;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod openmetrics;
pub mod progress;
pub mod readiness;
pub mod reload;
pub mod shutdown;
pub mod supervisor;
pub mod tls;
pub mod token;
pub mod upgrade;

pub use config::{ByteSize, ConfigError, Span};
pub use control::run_on_own_thread;
pub use exit::{Exit, RunError};
pub use logging::LogFormat;
pub use progress::Progress;
pub use readiness::Readiness;
pub use shutdown::{Shutdown, Watch};
pub use token::TokenFile;

#[doc(hidden)] // for the macros of `config`
pub use serde as __serde;
