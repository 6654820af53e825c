//! Options that are one of a few words.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_proto::Mode;

/// `--release`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseOption {
    /// Find out; until then, the end.
    #[default]
    Auto,
    /// With the first byte of the response body.
    FirstByte,
    /// With the last byte that the instance sends.
    End,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeOption {
    /// Requests go through the agent.
    Inline,
    /// Requests go to the instance; the agent learns of them from elsewhere.
    Passive,
}

impl From<Mode> for ModeOption {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Inline => Self::Inline,
            Mode::Passive => Self::Passive,
        }
    }
}

impl From<ModeOption> for Mode {
    fn from(mode: ModeOption) -> Self {
        match mode {
            ModeOption::Inline => Self::Inline,
            ModeOption::Passive => Self::Passive,
        }
    }
}
