//! Layered configuration: *flag beats environment beats file*.
//!
//! One struct of `Option`s and `Vec`s per program is both the command line (clap, which also reads the environment)
//! and the file (serde). `None` and empty mean "not said here", so a default belongs where the options are turned
//! into checked types, never in the struct.
//!
//! ```
//! use std::{net::SocketAddr, path::PathBuf};
//! use sluice_process::config::{self, Span};
//!
//! #[derive(Debug, Default, clap::Args, serde::Serialize, serde::Deserialize)]
//! #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
//! struct Options {
//!     /// Base URL of a balancer's admin server; may be repeated
//!     #[arg(long, value_name = "URL", env = "SLUICE_BALANCER", value_delimiter = ' ')]
//!     #[serde(deserialize_with = "config::one_or_many", skip_serializing_if = "Vec::is_empty")]
//!     balancer: Vec<String>,
//!     /// Time between reports [default: 1s]
//!     #[arg(long, value_name = "TIME", env = "SLUICE_INTERVAL")]
//!     interval: Option<Span>,
//!     /// Configuration file
//!     #[arg(long, value_name = "FILE", env = "SLUICE_CONFIG")]
//!     #[serde(skip)] // a file does not name itself
//!     config: Option<PathBuf>,
//! }
//! sluice_process::layered!(Options { balancer, interval, config });
//!
//! # fn effective(options: Options) -> Result<Options, config::ConfigError> {
//! let file = options.config.clone();
//! config::over_file(options, file.as_deref())
//! # }
//! ```

mod admin_addr;
mod byte_size;
mod error;
mod file;
mod layer;
mod span;
#[cfg(test)]
mod tests;
pub mod text;

pub use admin_addr::{AdminSpec, AdminSpecError};
pub use byte_size::{ByteSize, ByteSizeError};
pub use error::ConfigError;
pub use file::{over_file, read_file, to_toml};
pub use layer::Layer;
pub use span::{Span, SpanError};
pub use text::one_or_many;
