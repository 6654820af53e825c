use std::{fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use super::{ConfigError, Layer};

/// Reads a TOML file. A problem in it is told with file, line, key, and what is accepted there.
pub fn read_file<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T, ConfigError> {
    let path = path.as_ref();
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| ConfigError::Invalid {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    })
}

/// `args` (what clap read from flags and environment) over the file, if there is one.
pub fn over_file<T: Layer + DeserializeOwned>(args: T, file: Option<&Path>) -> Result<T, ConfigError> {
    match file {
        Some(path) => Ok(args.or(read_file(path)?)),
        None => Ok(args),
    }
}

/// The options as a file that [`read_file`] reads back: what `check` prints.
pub fn to_toml<T: Serialize>(options: &T) -> String {
    toml::to_string_pretty(options).expect("options are plain text, numbers, lists and tables")
}
