//! The text form: `cpu_utilization:0.3,named_metrics.queue:4`.

use std::collections::HashSet;

use super::report::{LoadReport, Map, OrcaError};

const NAMED: &str = "named_metrics.";

/// As Envoy's parser reads it: a colon, not an equals sign.
pub(super) fn write(report: &LoadReport) -> String {
    let single = report.metrics().map(|(name, value)| format!("{name}:{}", number(value)));
    let named = report.named_metrics.iter().map(|(name, value)| format!("{NAMED}{name}:{}", number(*value)));
    single.chain(named).collect::<Vec<_>>().join(",")
}

/// Four digits tell any load apart; an exponent only where there would be hundreds of digits.
fn number(value: f64) -> String {
    if value.abs() >= 1e15 {
        return format!("{value:e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Takes `:` and `=`, of which emitters use either. A metric that this form does not have is passed over: what a newer
/// application tells is no reason not to hear the rest.
pub(super) fn read(text: &str) -> Result<LoadReport, OrcaError> {
    let mut report = LoadReport::default();
    let mut seen = HashSet::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let bad = || OrcaError::Entry(entry.chars().take(80).collect());
        let (name, value) = entry.split_once([':', '=']).ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name == NAMED {
            return Err(bad());
        }
        if !seen.insert(name) {
            return Err(OrcaError::Twice(name.to_owned()));
        }
        let value = value.parse::<f64>().map_err(|_| bad())?;
        match name.strip_prefix(NAMED) {
            Some(name) => report.add(Map::NamedMetrics, name, value)?,
            None => {
                report.set(name, value)?;
            }
        }
    }
    if seen.is_empty() { Err(OrcaError::Empty) } else { Ok(report) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_cases_of_the_text_form() {
        let named = |name: &str, value| LoadReport {
            named_metrics: [(name.to_owned(), value)].into(),
            ..LoadReport::default()
        };
        let cpu = |cpu| LoadReport { cpu_utilization: Some(cpu), ..LoadReport::default() };
        for (text, expected) in [
            ("cpu_utilization:0.3", Some(cpu(0.3))),
            ("cpu_utilization=0.3", Some(cpu(0.3))),
            (" cpu_utilization : 3e-1 , ", Some(cpu(0.3))),
            ("cpu_utilization:+1.5", Some(cpu(1.5))),
            ("cpu_utilization:0", Some(LoadReport::default())),
            ("named_metrics.kv=0.4", Some(named("kv", 0.4))),
            ("named_metrics.a.b:-1", Some(named("a.b", -1.0))),
            ("from_the_future:1,cpu_utilization:1", Some(cpu(1.0))),
            ("from_the_future:1", Some(LoadReport::default())),
            ("cpu_utilization:1,cpu_utilization:1", None),
            ("cpu_utilization", None),
            ("cpu_utilization:", None),
            (":1", None),
            ("named_metrics.:1", None),
            ("cpu_utilization:NaN", None),
            ("cpu_utilization:inf", None),
            ("cpu_utilization:-1", None),
            ("mem_utilization:2", None),
            ("cpu_utilization:0x10", None),
            ("cpu_utilization:1:2", None),
            ("", None),
            (",,", None),
        ] {
            assert_eq!(read(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_short_and_plain() {
        for (value, text) in [
            (0.5, "0.5"),
            (1.0, "1"),
            (12.345_678, "12.3457"),
            (1e-9, "0"),
            (1e7, "10000000"),
            (1e300, "1e300"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
