//! What is told of requests: the access log.

use std::path::Path;

use sluice_process::config::ConfigError;

use crate::config::{Options, writable_file};
use crate::observe::{AccessFormat, AccessLogSpec, Destination};

/// The access log, if one is wanted.
pub(super) fn access_log(options: &Options) -> Result<Option<AccessLogSpec>, ConfigError> {
    let sample = share("access-log-sample", options.access_log_sample)?;
    let Some(path) = &options.access_log else { return Ok(None) };
    let file = if path == Path::new("-") {
        Destination::Stdout
    } else {
        writable_file("access-log", path)?;
        Destination::File(path.clone())
    };
    let format = options.access_log_format.clone().unwrap_or_else(AccessFormat::combined);
    Ok(Some(AccessLogSpec { file, format, sample }))
}

/// A part of all requests.
fn share(field: &str, given: Option<f64>) -> Result<f64, ConfigError> {
    let share = given.unwrap_or(1.0);
    if share > 0.0 && share <= 1.0 {
        return Ok(share);
    }
    Err(ConfigError::value(field, share, "a share above 0 to 1, such as 0.1"))
}
