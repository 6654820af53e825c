//! When a class arrives: its rate over the run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dist::{OutOfRange, not_negative, positive};

/// When requests arrive: a Poisson process whose rate may be switched on and off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rate {
    /// Requests per second.
    Constant(f64),
    /// `per_s` during the first `on_s` of every `every_s` seconds, else nothing.
    Bursts { per_s: f64, on_s: f64, every_s: f64 },
    /// `per_s` from `from_s` until `until_s` seconds into the run; `None`: to its end.
    Window {
        per_s: f64,
        from_s: f64,
        #[serde(default)]
        until_s: Option<f64>,
    },
}

impl Rate {
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        match *self {
            Rate::Constant(per_s) => positive("per_s", per_s),
            Rate::Bursts { per_s, on_s, every_s } => {
                positive("per_s", per_s)?;
                positive("on_s", on_s)?;
                positive("every_s - on_s", every_s - on_s)
            }
            Rate::Window { per_s, from_s, until_s } => {
                positive("per_s", per_s)?;
                not_negative("from_s", from_s)?;
                until_s.map_or(Ok(()), |until| positive("until_s - from_s", until - from_s))
            }
        }
    }

    /// Requests per second while switched on.
    pub(super) fn while_on(&self) -> f64 {
        match *self {
            Rate::Constant(per_s) | Rate::Bursts { per_s, .. } | Rate::Window { per_s, .. } => per_s,
        }
    }

    /// Time into the run at which the process has been switched on for `active` seconds in all;
    /// `None`: never, or only after a window's end.
    pub(super) fn at_active(&self, active: f64) -> Option<f64> {
        match *self {
            Rate::Constant(_) => Some(active),
            Rate::Bursts { on_s, every_s, .. } => Some((active / on_s).floor() * every_s + active % on_s),
            Rate::Window { from_s, until_s, .. } => {
                let at = from_s + active;
                (until_s.is_none_or(|until| at < until)).then_some(at)
            }
        }
    }

    /// Requests per second, averaged over a run of `duration`.
    pub(super) fn mean(&self, duration: Duration) -> f64 {
        let run = duration.as_secs_f64();
        let on = match *self {
            Rate::Constant(_) => run,
            Rate::Bursts { on_s, every_s, .. } => (run / every_s).floor() * on_s + (run % every_s).min(on_s),
            Rate::Window { from_s, until_s, .. } => (until_s.unwrap_or(run).min(run) - from_s).max(0.0),
        };
        self.while_on() * on / run
    }
}
