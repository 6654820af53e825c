//! What an application says of its own load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The last word of an application that tells its load (ORCA), as far as it holds for the whole instance. Shown to
/// people; no request is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApplicationLoad {
    /// Of the processor: 0 and up; may pass 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_utilization: Option<f64>,
    /// Of memory: 0 and up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_utilization: Option<f64>,
    /// Of what the application itself takes for its limit: 0 and up; may pass 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_utilization: Option<f64>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rps_fractional: Option<f64>,
    /// Errors per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Of resources by name: at most 64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub utilization: BTreeMap<String, f64>,
    /// Whatever it likes to tell, by name: at most 64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named_metrics: BTreeMap<String, f64>,
}

impl ApplicationLoad {
    /// The most names in one map.
    pub const MOST_NAMES: usize = 64;
    /// The longest name, in bytes.
    pub const LONGEST_NAME: usize = 128;

    /// The name of what can not be.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let singles = [
            ("cpu_utilization", self.cpu_utilization),
            ("mem_utilization", self.mem_utilization),
            ("application_utilization", self.application_utilization),
            ("rps_fractional", self.rps_fractional),
            ("eps", self.eps),
        ];
        let is_bad = |value: Option<f64>| value.is_some_and(|value| !(0.0..=f64::MAX).contains(&value));
        let is_bad_map = |map: &BTreeMap<String, f64>| {
            let bad_name =
                |name: &String| name.len() > Self::LONGEST_NAME || name.chars().any(char::is_control);
            map.len() > Self::MOST_NAMES || map.keys().any(bad_name) || map.values().any(|v| !v.is_finite())
        };
        let bad_single = singles.into_iter().find(|(_, value)| is_bad(*value)).map(|(name, _)| name);
        let maps = [("utilization", &self.utilization), ("named_metrics", &self.named_metrics)];
        bad_single.or_else(|| maps.into_iter().find(|(_, map)| is_bad_map(map)).map(|(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_is_named() {
        let named = |name: &str, value| ApplicationLoad {
            named_metrics: [(name.to_owned(), value)].into(),
            ..ApplicationLoad::default()
        };
        let cpu = |cpu| ApplicationLoad { cpu_utilization: Some(cpu), ..ApplicationLoad::default() };
        for (load, problem) in [
            (ApplicationLoad::default(), None),
            (cpu(3.5), None),
            (cpu(-0.1), Some("cpu_utilization")),
            (cpu(f64::NAN), Some("cpu_utilization")),
            (named("queue", -3.0), None),
            (named("a\nb", 1.0), Some("named_metrics")),
            (named(&"x".repeat(129), 1.0), Some("named_metrics")),
            (named("x", f64::INFINITY), Some("named_metrics")),
            (
                ApplicationLoad {
                    utilization: (0..65).map(|n| (n.to_string(), 0.5)).collect(),
                    ..ApplicationLoad::default()
                },
                Some("utilization"),
            ),
        ] {
            assert_eq!(load.problem(), problem, "{load:?}");
        }
    }
}
