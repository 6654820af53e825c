//! OpenMetrics text, for scrapers that ask for it: the same series, with exemplars.
//!
//! The `prometheus` crate writes its own text format only. The two differ in little, so one is made from the other:
//! a series has the same name in both.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;

/// The format's content type.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether `accept` asks for it.
pub(crate) fn is_wanted(accept: &str) -> bool {
    accept.split(',').any(|media| {
        let mut parts = media.split(';').map(str::trim);
        let is_it =
            parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        is_it && !parts.any(|part| part == "q=0")
    })
}

/// What a program exports.
#[derive(Clone)]
pub struct Exposition {
    pub registry: Registry,
    pub exemplars: Exemplars,
}

impl From<Registry> for Exposition {
    fn from(registry: Registry) -> Self {
        Self { registry, exemplars: Exemplars::default() }
    }
}

/// For buckets of histograms: an observation that a trace tells more of.
#[derive(Clone, Debug, Default)]
pub struct Exemplars(Arc<Mutex<Kept>>);

/// By what stands before `,le=` in the text's line of a bucket.
type Kept = HashMap<Arc<str>, Buckets>;

#[derive(Debug)]
struct Buckets {
    /// Upper ones; one bucket more than these.
    bounds: &'static [f64],
    last: Vec<Option<Exemplar>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Exemplar {
    trace: u128,
    value: f64,
    at: SystemTime,
}

/// The place for one histogram's exemplars.
#[derive(Debug)]
pub struct ExemplarSlot {
    all: Exemplars,
    series: Arc<str>,
    bounds: &'static [f64],
}

impl Exemplars {
    /// For the histogram `family` with these labels, sorted by name, and the upper bounds of its buckets.
    pub fn slot(
        &self,
        family: &'static str,
        labels: &[(&str, &str)],
        bounds: &'static [f64],
    ) -> ExemplarSlot {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let series = format!("{family}_bucket{{{}", labels.join(",")).into();
        ExemplarSlot { all: self.clone(), series, bounds }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no code panics while holding it")
    }
}

impl ExemplarSlot {
    /// `value` was observed in a request of that trace. Only for traces that are recorded: others lead nowhere.
    pub fn observed(&self, value: f64, trace: u128, at: SystemTime) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        let none = || Buckets { bounds: self.bounds, last: vec![None; self.bounds.len() + 1] };
        let mut kept = self.all.kept();
        kept.entry(self.series.clone()).or_insert_with(none).last[bucket] =
            Some(Exemplar { trace, value, at });
    }

    /// Forgets them, as the series is gone.
    pub fn clear(&self) {
        self.all.kept().remove(&self.series);
    }
}

/// Makes OpenMetrics text of Prometheus'.
pub(crate) fn from_text(text: &str, exemplars: &Exemplars) -> String {
    let kept = exemplars.kept();
    let mut out = String::with_capacity(text.len() + 64);
    let mut help = None;
    for line in text.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            help = about.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|about| about.split_once(' '))
        {
            // "The MetricFamily name [...] MUST NOT have the suffix": it is the samples' alone.
            let family = if kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name };
            append(&mut out, format_args!("# TYPE {family} {kind}\n"));
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                append(&mut out, format_args!("# HELP {family} {}\n", text.replace('"', "\\\"")));
            }
        } else {
            out.push_str(line);
            exemplar(line, &kept).iter().for_each(|exemplar| append_exemplar(&mut out, exemplar));
            out.push('\n');
        }
    }
    out + "# EOF\n"
}

/// That of a bucket's line: `family_bucket{labels,le="bound"} count`.
fn exemplar(line: &str, kept: &Kept) -> Option<Exemplar> {
    let (series, _) = line.rsplit_once("\"} ")?;
    let (series, bound) = series.rsplit_once(",le=\"")?;
    let of = kept.get(series)?;
    let bound: f64 = bound.parse().ok()?;
    let bucket = of.bounds.iter().position(|own| *own == bound).unwrap_or(of.bounds.len());
    of.last[bucket]
}

fn append_exemplar(out: &mut String, exemplar: &Exemplar) {
    let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    append(out, format_args!(" # {{trace_id=\"{:032x}\"}} {} {at:.3}", exemplar.trace, exemplar.value));
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

/// A label's value as the text format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::TextEncoder;

    use super::*;
    use crate::metrics::{counters, gauge, histograms};

    #[test]
    fn it_is_asked_for_by_name() {
        for (accept, wanted) in [
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", true),
            ("text/plain, application/openmetrics-text; version=0.0.1;q=0.75", true),
            ("application/openmetrics-text;q=0, text/plain", false),
            ("text/plain;version=0.0.4", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(is_wanted(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn buckets_carry_the_last_trace_that_fell_into_them() {
        let registry = Registry::new();
        counters(&registry, "sluice_a_total", "A \"quoted\" word", &["x"]).with_label_values(&["1"]).inc();
        gauge(&registry, "sluice_b", "B").set(2);
        let bounds: &[f64] = &[0.5, 1.0];
        let family = histograms(&registry, "sluice_c_seconds", "C", &["a", "b"], bounds);
        let exemplars = Exemplars::default();
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        for (value, trace) in [(0.2, 1), (0.5, 2), (7.0, 3)] {
            let class = "GET /\"x\"\\";
            family.with_label_values(&[class, "s"]).observe(value);
            exemplars
                .slot("sluice_c_seconds", &[("a", class), ("b", "s")], bounds)
                .observed(value, trace, at);
        }
        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("valid");
        let labels = r#"a="GET /\"x\"\\",b="s""#;
        let trace = |n: u128| format!("# {{trace_id=\"{n:032x}\"}}");
        let expected = [
            "# TYPE sluice_a counter".to_owned(),
            r#"# HELP sluice_a A \"quoted\" word"#.to_owned(),
            "sluice_a_total{x=\"1\"} 1".to_owned(),
            "# TYPE sluice_b gauge".to_owned(),
            "# HELP sluice_b B".to_owned(),
            "sluice_b 2".to_owned(),
            "# TYPE sluice_c_seconds histogram".to_owned(),
            "# HELP sluice_c_seconds C".to_owned(),
            format!("sluice_c_seconds_bucket{{{labels},le=\"0.5\"}} 2 {} 0.5 1.500", trace(2)),
            format!("sluice_c_seconds_bucket{{{labels},le=\"1\"}} 2"),
            format!("sluice_c_seconds_bucket{{{labels},le=\"+Inf\"}} 3 {} 7 1.500", trace(3)),
            format!("sluice_c_seconds_sum{{{labels}}} 7.7"),
            format!("sluice_c_seconds_count{{{labels}}} 3"),
            "# EOF".to_owned(),
        ];
        assert_eq!(from_text(&text, &exemplars).lines().collect::<Vec<_>>(), expected);
        exemplars.slot("sluice_c_seconds", &[("a", "GET /\"x\"\\"), ("b", "s")], bounds).clear();
        assert!(!from_text(&text, &exemplars).contains("trace_id"));
    }
}
