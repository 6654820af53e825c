//! What is compressed, and with what.

use sluice_process::{ByteSize, ConfigError};
use sluice_proto::Mode;

use super::{Options, check::within};
use crate::compress::{Encoding, MediaPattern, default_types};

/// A response that fits one packet is not there sooner if it is smaller. As Apache's common setting; nginx takes 20
/// bytes, at which the result is larger.
const MIN_SIZE: ByteSize = ByteSize::kib(1);

/// One thread compresses 100 MB of pages a second and more, and leaves the other cores to the application.
const THREADS: u16 = 1;

/// How responses are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressConfig {
    /// Each once; of several that a client likes equally, the first is taken. Empty: nothing is compressed.
    pub encodings: Vec<Encoding>,
    pub types: Vec<MediaPattern>,
    /// Of a body of known length, in bytes.
    pub min_size: u64,
    /// 1 to 64.
    pub threads: u16,
}

pub(super) fn compress(options: &Options, mode: Mode) -> Result<CompressConfig, ConfigError> {
    let mut encodings = Vec::new();
    for &encoding in &options.compress {
        if encodings.contains(&encoding) {
            return Err(ConfigError::value("--compress", encoding.token(), "give each coding once"));
        }
        encodings.push(encoding);
    }
    if let (Some(encoding), Mode::Passive) = (encodings.first(), mode) {
        let accepted = "responses do not pass the agent in mode passive; leave it out, or use --mode inline";
        return Err(ConfigError::value("--compress", encoding.token(), accepted));
    }
    let types =
        if options.compress_types.is_empty() { default_types() } else { options.compress_types.clone() };
    Ok(CompressConfig {
        encodings,
        types,
        min_size: options.compress_min_size.unwrap_or(MIN_SIZE).as_u64(),
        threads: within("--compress-threads", options.compress_threads.unwrap_or(THREADS), 1, 64)?,
    })
}
