//! What agents say to their balancer.

use sluice_proto::{Lean, Report};
use sluice_proto::report::{MAX_CLASSES, MAX_URL_LEN, MAX_URLS};

/// A report that is taken is within its bounds, and says the same when it is sent again.
pub fn report(bytes: &[u8]) {
    let Ok(report) = Report::parse(bytes) else { return };
    assert!(report.classes.len() <= MAX_CLASSES && report.heavy_urls.len() <= MAX_URLS);
    assert!(report.heavy_urls.iter().all(|url| url.url.len() <= MAX_URL_LEN));
    assert!((100..=60_000).contains(&report.interval_ms) && (1..=10_000).contains(&report.workers));
    for class in &report.classes {
        assert!(class.errors <= class.requests && class.held_us.count() <= class.requests);
        for sketch in [&class.held_us, &class.ttfb_us, &class.response_bytes] {
            let quantiles = [0.0, 0.5, 0.99, 1.0].map(|q| sketch.quantile(q).unwrap_or(0));
            assert!(quantiles.is_sorted() && quantiles[3] <= sketch.max().unwrap_or(0));
            assert!(sketch.mean().is_none_or(f64::is_finite));
        }
    }
    let text = serde_json::to_vec(&report).expect("plain data");
    assert_eq!(Report::parse(&text).expect("it was taken before"), report);
    let lean = serde_json::to_vec(&Lean::of(&report)).expect("plain data");
    let lean = Report::parse(&lean).expect("a shorter form of what was taken before");
    assert_eq!(lean.measured(), report.measured());
    assert_eq!(lean, Report { heavy_urls: Vec::new(), measured: lean.measured.clone(), ..report });
}
