//! A registry with what every program exports, and shorthands that register and hand out the handle at once.
//!
//! Names start with `sluice_` and carry their unit (`_seconds`, `_bytes`), counters end in `_total`. Registering
//! takes place once, at start, so a name used twice is a mistake of the programmer and panics.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector, process_collector::ProcessCollector,
};

/// Upper bounds for times, in seconds: 1 ms to 5 min.
///
/// Steps of 1-2-5 while people wait for pages (a quantile read off them is wrong by a factor of 2.5 at most), then
/// the time-outs that proxies and workers usually have: 30, 60, 120, 300 s. Seventeen series per label set: enough to see
/// a tail move, few enough for one set per class.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Upper bounds for sizes, in bytes: 256 B to 1 GiB in steps of 4, as sizes spread over more decades than times do.
pub const SIZE_BUCKETS: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// A registry with `process_*` (CPU, memory, descriptors of this process) and
/// `sluice_build_info{program, version} 1`.
pub fn registry(program: &str, version: &str) -> Registry {
    let registry = Registry::new();
    let process = registry.register(Box::new(ProcessCollector::for_self()));
    process.expect("nothing else is in the registry yet");
    let help = "What runs here: always 1, the labels tell";
    gauges(&registry, "sluice_build_info", help, &["program", "version"])
        .with_label_values(&[program, version])
        .set(1);
    registry
}

pub fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, name, IntCounter::with_opts(opts(name, help)).expect(VALID))
}

pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, name, IntCounterVec::new(opts(name, help), labels).expect(VALID))
}

pub fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, name, IntGauge::with_opts(opts(name, help)).expect(VALID))
}

pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, name, IntGaugeVec::new(opts(name, help), labels).expect(VALID))
}

/// For fractions and seconds; [`gauge`] counts things.
pub fn float_gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    register(registry, name, Gauge::with_opts(opts(name, help)).expect(VALID))
}

/// For fractions and seconds; [`gauges`] count things.
pub fn float_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(registry, name, GaugeVec::new(opts(name, help), labels).expect(VALID))
}

pub fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    register(registry, name, Histogram::with_opts(options).expect(VALID))
}

pub fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
    register(registry, name, HistogramVec::new(options, labels).expect(VALID))
}

const VALID: &str = "name and labels are valid and the help is not empty";

fn opts(name: &str, help: &str) -> Opts {
    assert!(name.starts_with("sluice_"), "metric {name} must start with sluice_");
    Opts::new(name, help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, name: &str, collector: C) -> C {
    if let Err(error) = registry.register(Box::new(collector.clone())) {
        panic!("metric {name} needs a unique name: {error}");
    }
    collector
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).expect("metrics are valid")
    }

    #[test]
    fn a_registry_says_what_runs_and_what_it_uses() {
        let text = text(&registry("sluice-agent", "1.2.3"));
        assert!(text.contains(r#"sluice_build_info{program="sluice-agent",version="1.2.3"} 1"#), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[test]
    fn every_kind_is_exported_under_its_name() {
        let registry = Registry::new();
        counter(&registry, "sluice_reports_total", "Reports").inc();
        counters(&registry, "sluice_refused_total", "Refused", &["reason"])
            .with_label_values(&["stale"])
            .inc_by(2);
        gauge(&registry, "sluice_in_flight", "In flight").set(3);
        float_gauge(&registry, "sluice_report_age_seconds", "Age").set(0.5);
        float_gauges(&registry, "sluice_busy_ratio", "Busy", &["instance"])
            .with_label_values(&["a"])
            .set(0.25);
        histogram(&registry, "sluice_plan_seconds", "Planning", LATENCY_BUCKETS).observe(0.0015);
        histograms(&registry, "sluice_response_bytes", "Size", &["class"], SIZE_BUCKETS)
            .with_label_values(&["page"])
            .observe(300.0);
        let text = text(&registry);
        for line in [
            "sluice_reports_total 1",
            "sluice_refused_total{reason=\"stale\"} 2",
            "sluice_in_flight 3",
            "sluice_report_age_seconds 0.5",
            "sluice_busy_ratio{instance=\"a\"} 0.25",
            "sluice_plan_seconds_bucket{le=\"0.001\"} 0",
            "sluice_plan_seconds_bucket{le=\"0.002\"} 1",
            "sluice_response_bytes_bucket{class=\"page\",le=\"1024\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn buckets_grow() {
        for buckets in [LATENCY_BUCKETS, SIZE_BUCKETS] {
            assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{buckets:?}");
        }
    }

    #[test]
    #[should_panic(expected = "sluice_reports_total needs a unique name")]
    fn a_name_used_twice_is_told() {
        let registry = Registry::new();
        counter(&registry, "sluice_reports_total", "Reports");
        counter(&registry, "sluice_reports_total", "Reports");
    }
}
