use std::{io, path::PathBuf};

/// Why a program does not start. Each variant says which knob to turn.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// `message` shows the line, the key and what is accepted there, as the TOML reader words it.
    #[error("configuration file {}: {message}", path.display())]
    Invalid { path: PathBuf, message: String },
    /// `field` as the operator knows it (`--admin`, `SLUICE_LOG`); `accepted` is a phrase that follows a colon.
    #[error("{field} = {value:?} is not usable: {accepted}")]
    Value { field: String, value: String, accepted: String },
    /// A setting with no default was given nowhere.
    #[error("{field} is missing: {accepted}")]
    Missing { field: String, accepted: String },
}

impl ConfigError {
    /// A value that was understood but can not be used; see [`ConfigError::Value`].
    pub fn value(field: impl Into<String>, value: impl ToString, accepted: impl Into<String>) -> Self {
        Self::Value { field: field.into(), value: value.to_string(), accepted: accepted.into() }
    }

    /// A setting that was given nowhere; see [`ConfigError::Missing`].
    pub fn missing(field: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self::Missing { field: field.into(), accepted: accepted.into() }
    }
}
