//! What is told of requests: the access log, and traces.

use std::path::Path;

use sluice_process::config::ConfigError;

use crate::config::{Options, writable_file};
use crate::observe::{AccessFormat, AccessLogSpec, Destination, ObserverSpecs, OtlpSpec};

/// What is wanted.
pub(super) fn observers(options: &Options) -> Result<ObserverSpecs, ConfigError> {
    Ok(ObserverSpecs { access: access_log(options)?, otlp: otlp(options)? })
}

fn access_log(options: &Options) -> Result<Option<AccessLogSpec>, ConfigError> {
    let sample = options.access_log_sample.unwrap_or(1.0);
    if !(sample > 0.0 && sample <= 1.0) {
        return Err(ConfigError::value("access-log-sample", sample, "a share above 0 to 1, such as 0.1"));
    }
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

fn otlp(options: &Options) -> Result<Option<OtlpSpec>, ConfigError> {
    let sample = options.otlp_sample.unwrap_or_default();
    if !(0.0..=1.0).contains(&sample) {
        return Err(ConfigError::value("otlp-sample", sample, "a share from 0 to 1, such as 0.1"));
    }
    let Some(endpoint) = options.otlp_endpoint.clone() else { return Ok(None) };
    let is_http = reqwest::Url::parse(&endpoint).is_ok_and(|url| url.scheme() == "http" && url.has_host());
    if !is_http {
        let accepted = "an http:// address such as http://127.0.0.1:4318: a collector nearby, which can pass spans on by https";
        return Err(ConfigError::value("otlp-endpoint", endpoint, accepted));
    }
    Ok(Some(OtlpSpec { endpoint, sample }))
}
