//! The JSON form, as protobuf's mapping has it: names in either spelling, numbers also as strings.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::report::{LoadReport, Map, OrcaError};

pub(super) fn write(report: &LoadReport) -> String {
    serde_json::to_string(report).expect("numbers that are finite, and names")
}

/// Unknown fields are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    #[serde(alias = "cpuUtilization")]
    cpu_utilization: Number,
    #[serde(alias = "memUtilization")]
    mem_utilization: Number,
    #[serde(alias = "applicationUtilization")]
    application_utilization: Number,
    #[serde(alias = "rpsFractional")]
    rps_fractional: Number,
    /// Deprecated, and whole.
    rps: Number,
    eps: Number,
    #[serde(alias = "requestCost")]
    request_cost: Option<BTreeMap<String, Number>>,
    utilization: Option<BTreeMap<String, Number>>,
    #[serde(alias = "namedMetrics")]
    named_metrics: Option<BTreeMap<String, Number>>,
}

/// `null` is as good as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(f64),
    Quoted(String),
    #[default]
    None,
}

impl Number {
    /// What is no number becomes none that is taken.
    fn value(&self) -> Option<f64> {
        match self {
            Self::Plain(value) => Some(*value),
            Self::Quoted(text) => Some(text.parse().unwrap_or(f64::NAN)),
            Self::None => None,
        }
    }
}

pub(super) fn read(text: &str) -> Result<LoadReport, OrcaError> {
    // A list would be taken for the fields in their order here.
    if !text.trim_start().starts_with('{') {
        return Err(OrcaError::Json("no object".to_owned()));
    }
    let raw: Raw = serde_json::from_str(text).map_err(|error| OrcaError::Json(error.to_string()))?;
    let mut report = LoadReport::default();
    // The old field first: the new one, if it says something, is what holds.
    for (name, number) in [
        ("rps_fractional", &raw.rps),
        ("rps_fractional", &raw.rps_fractional),
        ("cpu_utilization", &raw.cpu_utilization),
        ("mem_utilization", &raw.mem_utilization),
        ("application_utilization", &raw.application_utilization),
        ("eps", &raw.eps),
    ] {
        if let Some(value) = number.value() {
            report.set(name, value)?;
        }
    }
    for (map, entries) in [
        (Map::RequestCost, raw.request_cost),
        (Map::Utilization, raw.utilization),
        (Map::NamedMetrics, raw.named_metrics),
    ] {
        for (name, number) in entries.unwrap_or_default() {
            report.add(map, &name, number.value().unwrap_or(f64::NAN))?;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_cases_of_the_json_form() {
        let cpu = |cpu| LoadReport { cpu_utilization: Some(cpu), ..LoadReport::default() };
        let rps = |rps| LoadReport { rps_fractional: Some(rps), ..LoadReport::default() };
        let named = LoadReport { named_metrics: [("x".to_owned(), 1.0)].into(), ..LoadReport::default() };
        for (text, expected) in [
            (r#"{"cpu_utilization":0.3}"#, Some(cpu(0.3))),
            (r#" {"cpuUtilization":"0.3"} "#, Some(cpu(0.3))),
            (r#"{"cpu_utilization":0.3,"new":{"a":[1]}}"#, Some(cpu(0.3))),
            (r#"{"cpu_utilization":null}"#, Some(LoadReport::default())),
            (r#"{"rps":"12"}"#, Some(rps(12.0))),
            (r#"{"rps":"12","rps_fractional":12.5}"#, Some(rps(12.5))),
            (r#"{"namedMetrics":{"x":1}}"#, Some(named)),
            ("{}", Some(LoadReport::default())),
            (r#"{"cpu_utilization":"NaN"}"#, None),
            (r#"{"cpu_utilization":"Infinity"}"#, None),
            (r#"{"cpu_utilization":true}"#, None),
            (r#"{"cpu_utilization":1,"cpuUtilization":1}"#, None),
            (r#"{"named_metrics":{"x":null}}"#, None),
            (r#"{"named_metrics":[1]}"#, None),
            (r#"{"utilization":{"disk":2}}"#, None),
            ("[0.3]", None),
            ("", None),
            (r#"{"cpu_utilization":0.3} x"#, None),
        ] {
            assert_eq!(read(text).ok(), expected, "{text}");
        }
    }
}
