//! `versions = "any" | "majority" | { "2.1" = 90, "2.2" = 10 }`, or as text `2.1=90,2.2=10`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Label;

/// Labels that can have a share. More than a site rolls out at a time.
pub const MOST_SHARES: usize = 8;

/// Which versions of the application get requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum VersionPolicy {
    /// All of them, as if they were one.
    #[default]
    Any,
    /// Only the one that most instances carry.
    Majority,
    /// Those that are named, in these shares of the requests: positive numbers, of which only the ratio counts.
    Shares(Vec<(Label, f64)>),
}

/// Why a policy was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    #[error("{0:?}: write any, majority, or labels with their shares, as in 2.1=90,2.2=10")]
    Nonsense(String),
    #[error("{label:?} = {share}: a share is a number from 0 to 1000000")]
    Share { label: String, share: f64 },
    #[error("at least one label needs a share above 0")]
    Nothing,
    #[error("{0} labels: at most {MOST_SHARES} can have a share")]
    TooMany(usize),
    #[error("{0:?} has two shares")]
    Twice(String),
}

/// As a file has it.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "\"any\", \"majority\", or a table of labels with their shares, { \"2.1\" = 90, \"2.2\" = 10 }"
)]
enum Written {
    Text(String),
    Shares(BTreeMap<String, f64>),
}

impl VersionPolicy {
    fn shares(shares: impl IntoIterator<Item = (String, f64)>) -> Result<Self, PolicyError> {
        let mut checked: Vec<(Label, f64)> = Vec::new();
        for (label, share) in shares {
            if !(0.0..=1e6).contains(&share) {
                return Err(PolicyError::Share { label, share });
            }
            if checked.iter().any(|(known, _)| **known == *label) {
                return Err(PolicyError::Twice(label));
            }
            checked.push((label.into(), share));
        }
        match checked.len() {
            n if n > MOST_SHARES => Err(PolicyError::TooMany(n)),
            _ if checked.iter().all(|(_, share)| *share == 0.0) => Err(PolicyError::Nothing),
            _ => Ok(Self::Shares(checked)),
        }
    }
}

impl FromStr for VersionPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let nonsense = || PolicyError::Nonsense(text.to_owned());
        let share = |part: &str| {
            let (label, share) = part.rsplit_once('=').ok_or_else(nonsense)?;
            Ok((label.trim().to_owned(), share.trim().parse().map_err(|_| nonsense())?))
        };
        match text.trim() {
            "any" => Ok(Self::Any),
            "majority" => Ok(Self::Majority),
            shares => Self::shares(shares.split(',').map(share).collect::<Result<Vec<_>, _>>()?),
        }
    }
}

impl fmt::Display for VersionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Majority => f.write_str("majority"),
            Self::Shares(shares) => {
                let each: Vec<_> = shares.iter().map(|(label, share)| format!("{label}={share}")).collect();
                f.write_str(&each.join(","))
            }
        }
    }
}

impl TryFrom<Written> for VersionPolicy {
    type Error = PolicyError;

    fn try_from(written: Written) -> Result<Self, PolicyError> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Shares(shares) => Self::shares(shares),
        }
    }
}

impl From<VersionPolicy> for Written {
    fn from(policy: VersionPolicy) -> Self {
        match policy {
            VersionPolicy::Shares(shares) => {
                Self::Shares(shares.into_iter().map(|(label, share)| (label.to_string(), share)).collect())
            }
            other => Self::Text(other.to_string()),
        }
    }
}
