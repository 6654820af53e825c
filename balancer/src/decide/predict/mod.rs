//! What a request will cost: how long it will hold a worker, and how many bytes it will send.
//!
//! ```text
//! URL memory  ─►  class (template)  ─►  extension  ─►  prior
//! what departs    64 observations,      robust:        robust: the bulk
//! from its class  follows a change      most of them   of all requests
//! ```
//!
//! Each level is corrected by its own evidence and borrows from the one to its right while it has
//! little (`belief::Shrinkage`); all of it in logarithms (algorithms.md 1.7). An unknown request is
//! taken to be an ordinary, small one; one large observation is enough to think otherwise, because a
//! guess that is too low costs a blocked worker, and one that is too high a short wait. Evidence is
//! counted in observations and forgotten by observations, not by the clock: a nightly export is as
//! well known on the next night.
//!
//! No time passes here and nothing is drawn: a [`Predictor`] is a value. One per service, under the
//! service's lock. A prediction takes about 0.1 µs and an observation 0.2 µs (`benches/predict.rs`, on a
//! busy machine); neither allocates once the class is known and the first URL is remembered.

mod belief;
mod bulk;
mod extension;
mod memory;
mod moments;
mod predictor;
mod remembered;
mod state;
#[cfg(test)]
mod tests;
mod tracker;
mod url;

use serde::{Deserialize, Serialize};

pub use crate::decide::ids::ClassId;
pub use extension::ExtensionKey;
pub use predictor::Predictor;
pub use state::PredictorState;
pub use url::{UrlKey, UrlSeed};

/// What a prediction may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    pub class: ClassId,
    pub url: UrlKey,
    pub extension: ExtensionKey,
}

/// What a request is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// How long it will hold a worker. Mean in seconds.
    pub held: Estimate,
    /// What the instance will send as a body. Mean in bytes.
    pub bytes: Estimate,
}

impl Prediction {
    /// The same, for a request that asks for at most `most` bytes (`Range`).
    #[must_use]
    pub fn limit_bytes(mut self, most: u64) -> Self {
        self.bytes.mean = self.bytes.mean.min(most as f64);
        self
    }
}

/// An expected value and how well it is founded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// In the unit of the quantity. Finite and, unless limited to 0, positive.
    pub mean: f64,
    /// Observations behind it, at the level that it is from: at most 8 for a URL, 64 for a class.
    pub samples: f64,
    pub from: Source,
}

/// The most specific level that had evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Url,
    Class,
    Extension,
    Prior,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Url, Self::Class, Self::Extension, Self::Prior];

    /// For labels and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Class => "class",
            Self::Extension => "extension",
            Self::Prior => "prior",
        }
    }
}

/// A request that was counted while it ran ([`Predictor::reclassified`]): given back when it is
/// counted again or completes, so that it counts once. It may also be dropped: then what was counted
/// stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Counted {
    log_seconds: f32,
    stamp: u32,
}
