//! What ORCA knows of an instance, whatever the form: `xds.data.orca.v3.OrcaLoadReport`.

use std::collections::BTreeMap;

use serde::Serialize;
use sluice_proto::ApplicationLoad;

/// As reports to balancers take them; an application's own are fewer.
const MOST_NAMES: usize = ApplicationLoad::MOST_NAMES;
const LONGEST_NAME: usize = ApplicationLoad::LONGEST_NAME;

/// `None`: not said. Zero is what protobuf says for that, so that it means the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoadReport {
    /// 0 and up; may pass 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_utilization: Option<f64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_utilization: Option<f64>,
    /// 0 and up; may pass 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_utilization: Option<f64>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rps_fractional: Option<f64>,
    /// Errors per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Of this request alone, in units of the application's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request_cost: BTreeMap<String, f64>,
    /// Of resources by name, 0 to 1 each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub utilization: BTreeMap<String, f64>,
    /// Whatever the application likes to tell.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named_metrics: BTreeMap<String, f64>,
}

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrcaError {
    #[error("neither TEXT nor JSON nor BIN")]
    Form,
    #[error("no metric")]
    Empty,
    #[error("{0:?} is no metric and its value")]
    Entry(String),
    #[error("{0} is there twice")]
    Twice(String),
    #[error("{0} is not a number that it may be")]
    Value(String),
    #[error("not JSON: {0}")]
    Json(String),
    #[error("not base64")]
    Base64,
    #[error("not protobuf")]
    Protobuf,
}

/// One of the three maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Map {
    RequestCost,
    Utilization,
    NamedMetrics,
}

impl LoadReport {
    /// Sets a metric by the name that it has in text and JSON. `Ok(false)`: there is none of that name.
    pub(super) fn set(&mut self, name: &str, value: f64) -> Result<bool, OrcaError> {
        let field = match name {
            "cpu_utilization" => &mut self.cpu_utilization,
            "mem_utilization" => &mut self.mem_utilization,
            "application_utilization" => &mut self.application_utilization,
            "rps_fractional" => &mut self.rps_fractional,
            "eps" => &mut self.eps,
            _ => return Ok(false),
        };
        let most = if name == "mem_utilization" { 1.0 } else { f64::MAX };
        // Refuses NaN, too.
        if !(0.0..=most).contains(&value) {
            return Err(OrcaError::Value(name.to_owned()));
        }
        *field = (value != 0.0).then_some(value);
        Ok(true)
    }

    /// Adds to a map, as far as there is room; names that would not fit into a header field are left out.
    pub(super) fn add(&mut self, map: Map, name: &str, value: f64) -> Result<(), OrcaError> {
        let good = match map {
            Map::NamedMetrics | Map::RequestCost => value.is_finite(),
            Map::Utilization => (0.0..=1.0).contains(&value),
        };
        if !good {
            return Err(OrcaError::Value(name.to_owned()));
        }
        let map = match map {
            Map::RequestCost => &mut self.request_cost,
            Map::Utilization => &mut self.utilization,
            Map::NamedMetrics => &mut self.named_metrics,
        };
        if is_name(name) && (map.len() < MOST_NAMES || map.contains_key(name)) {
            map.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// The single metrics that are said, by name.
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("cpu_utilization", self.cpu_utilization),
            ("mem_utilization", self.mem_utilization),
            ("application_utilization", self.application_utilization),
            ("rps_fractional", self.rps_fractional),
            ("eps", self.eps),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// What `self` says, and what only `other` says.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.cpu_utilization = self.cpu_utilization.or(other.cpu_utilization);
        self.mem_utilization = self.mem_utilization.or(other.mem_utilization);
        self.application_utilization = self.application_utilization.or(other.application_utilization);
        self.rps_fractional = self.rps_fractional.or(other.rps_fractional);
        self.eps = self.eps.or(other.eps);
        for (own, others) in [
            (&mut self.request_cost, other.request_cost),
            (&mut self.utilization, other.utilization),
            (&mut self.named_metrics, other.named_metrics),
        ] {
            for (name, value) in others {
                own.entry(name).or_insert(value);
            }
        }
        self
    }
}

/// What holds for the whole instance.
impl From<LoadReport> for ApplicationLoad {
    fn from(report: LoadReport) -> Self {
        Self {
            cpu_utilization: report.cpu_utilization,
            mem_utilization: report.mem_utilization,
            application_utilization: report.application_utilization,
            rps_fractional: report.rps_fractional,
            eps: report.eps,
            utilization: report.utilization,
            named_metrics: report.named_metrics,
        }
    }
}

/// Printable, and without what ends a name or an entry in text.
fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'=' | b'"' | b'\\');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_is_refused() {
        for (name, value, taken) in [
            ("cpu_utilization", 3.5, Ok(true)),
            ("cpu_utilization", -0.1, Err(())),
            ("application_utilization", f64::NAN, Err(())),
            ("rps_fractional", f64::INFINITY, Err(())),
            ("mem_utilization", 1.0, Ok(true)),
            ("mem_utilization", 1.1, Err(())),
            ("disk_utilization", 1.1, Ok(false)),
        ] {
            let mut report = LoadReport::default();
            assert_eq!(report.set(name, value).map_err(drop), taken, "{name} {value}");
        }
        let mut report = LoadReport::default();
        assert!(
            report.add(Map::NamedMetrics, "balance", -3.0).is_ok(),
            "an application's own may be negative"
        );
        assert!(report.add(Map::NamedMetrics, "x", f64::NAN).is_err());
        assert!(report.add(Map::Utilization, "disk", 1.5).is_err());
    }

    #[test]
    fn maps_are_bounded_and_names_are_harmless() {
        let mut report = LoadReport::default();
        let long = "x".repeat(LONGEST_NAME + 1);
        for name in ["a b", "a,b", "a:b", "a\r\nb", "", "é", &long] {
            report.add(Map::NamedMetrics, name, 1.0).expect("left out");
        }
        assert!(report.named_metrics.is_empty(), "{report:?}");
        for n in 0..1000 {
            report.add(Map::NamedMetrics, &format!("m{n}"), 1.0).expect("left out");
        }
        assert_eq!(report.named_metrics.len(), MOST_NAMES);
    }

    #[test]
    fn what_one_does_not_say_the_other_does() {
        let report = |cpu, rps, name: &str| LoadReport {
            cpu_utilization: cpu,
            rps_fractional: rps,
            named_metrics: [(name.to_owned(), 1.0), ("both".to_owned(), cpu.unwrap_or(9.0))].into(),
            ..LoadReport::default()
        };
        let both = report(Some(0.5), None, "a").or(report(Some(0.9), Some(3.0), "b"));
        assert_eq!((both.cpu_utilization, both.rps_fractional), (Some(0.5), Some(3.0)));
        let names = [("a", 1.0), ("b", 1.0), ("both", 0.5)].map(|(name, value)| (name.to_owned(), value));
        assert_eq!(both.named_metrics, names.into());
    }
}
