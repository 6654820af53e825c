//! Log lines on stderr, as text for people or JSON for collectors.

use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt as _};

use crate::ConfigError;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for a person.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The variable that says what is logged: `info`, `debug`, `sluice_balancer=debug,warn`.
const FILTER: &str = "SLUICE_LOG";

/// Starts logging to stderr, at `info` unless `SLUICE_LOG` says otherwise.
///
/// Only the first call in a process has an effect, so that tests can run several programs in one.
/// A filter that can not be read is an error and not silence.
///
/// Lines are written by the thread that logs: a reader of stderr that stalls stalls that thread. Nothing may be
/// logged per request above `debug`.
pub fn init(format: LogFormat) -> Result<(), ConfigError> {
    let filter = filter(std::env::var(FILTER).ok().as_deref())?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    Ok(())
}

fn filter(wanted: Option<&str>) -> Result<EnvFilter, ConfigError> {
    match wanted.map(str::trim) {
        None | Some("") => Ok(EnvFilter::new("info")),
        Some(text) => EnvFilter::builder().parse(text).map_err(|error| {
            let accepted = format!(
                "{error}; write a level (error, warn, info, debug, trace) or target=level pairs with commas"
            );
            ConfigError::value(FILTER, text, accepted)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_defaults_to_info_and_nonsense_is_refused() {
        for (wanted, filtered) in [
            (None, "info"),
            (Some(""), "info"),
            (Some("debug"), "debug"),
            (Some("sluice_agent=debug,warn"), "sluice_agent=debug,warn"),
        ] {
            assert_eq!(filter(wanted).expect("a filter").to_string(), filtered, "{wanted:?}");
        }
        let message = filter(Some("sluice=loud")).expect_err("no such level").to_string();
        assert!(message.contains("SLUICE_LOG") && message.contains("target=level"), "{message}");
    }

    #[test]
    fn starting_twice_is_harmless() {
        init(LogFormat::Json).expect("the first start");
        init(LogFormat::Text).expect("the second start");
    }
}
