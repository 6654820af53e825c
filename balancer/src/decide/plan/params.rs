//! What of the planner can be tuned.

use serde::{Deserialize, Serialize};

use crate::decide::plan::cap::CapParams;

/// The defaults are those of algorithms.md 3.9, and of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanParams {
    /// Wait after which a large request may take a worker beyond the base cap, in units of the mean
    /// worker-held time of large requests.
    pub patience: f64,
    /// Ticks for which a lower cap must be wanted.
    pub lower_after: u32,
    /// Ticks (seconds) for which more dedicated instances must be wanted.
    pub dedicate_after: u32,
    /// Ticks for which fewer dedicated instances must be wanted.
    pub return_after: u32,
    /// Seconds that a worker is idle between two requests, as its release must be heard of.
    pub round_trip_s: f64,
    pub cap: CapParams,
}

impl Default for PlanParams {
    fn default() -> Self {
        Self {
            patience: 0.5,
            lower_after: 5,
            dedicate_after: 3,
            return_after: 10,
            round_trip_s: 0.0005,
            cap: CapParams::default(),
        }
    }
}

/// A parameter that can not be planned with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} = {value} is not usable: {accepted}")]
pub struct ParamError {
    /// As in the file: `cap.small_bias`.
    pub field: &'static str,
    pub value: f64,
    pub accepted: String,
}

impl PlanParams {
    /// # Errors
    /// The first parameter that is out of its range.
    pub fn check(&self) -> Result<(), ParamError> {
        let Self { cap, .. } = self;
        for (field, value, least, most) in [
            ("patience", self.patience, 0.0, 1000.0),
            ("lower_after", self.lower_after.into(), 1.0, 86_400.0),
            ("dedicate_after", self.dedicate_after.into(), 1.0, 86_400.0),
            ("return_after", self.return_after.into(), 1.0, 86_400.0),
            ("round_trip_s", self.round_trip_s, 0.0, 1.0),
            ("cap.target_wait", cap.target_wait, 0.0, 1000.0),
            ("cap.small_bias", cap.small_bias, 0.1, 10.0),
            ("cap.reserve", cap.reserve, 0.0, 10.0),
            ("cap.unstable_wait", cap.unstable_wait, 0.1, 1000.0),
            ("cap.starving", cap.starving, 0.1, 10_000.0),
            ("cap.bearable_wait", cap.bearable_wait, 0.0, 10_000.0),
            ("cap.lasting_wait", cap.lasting_wait, 0.0, 10_000.0),
        ] {
            if !(least..=most).contains(&value) {
                let accepted = format!("a number from {least} to {most}");
                return Err(ParamError { field, value, accepted });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_what_is_not_is_named() {
        assert_eq!(PlanParams::default().check(), Ok(()));
        let cap = CapParams { small_bias: f64::NAN, ..CapParams::default() };
        let error = PlanParams { cap, ..PlanParams::default() }.check().expect_err("not a number");
        assert_eq!(error.to_string(), "cap.small_bias = NaN is not usable: a number from 0.1 to 10");
        let never = PlanParams { lower_after: 0, ..PlanParams::default() };
        assert_eq!(never.check().expect_err("0 ticks").field, "lower_after");
    }
}
