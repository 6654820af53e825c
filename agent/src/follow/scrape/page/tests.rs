//! Pages as exporters write them.

use super::*;
use crate::config::ScrapeConfig;

fn pages(change: impl FnOnce(&mut ScrapeConfig)) -> Pages {
    let mut config = ScrapeConfig::of("http://127.0.0.1:8000/metrics".parse().expect("a URL"));
    change(&mut config);
    Pages::new(Names::new(&config))
}

/// Class, requests, errors, mean microseconds; by name.
fn told(told: &Told) -> Vec<(&str, u64, u64, Option<f64>)> {
    let mut rows: Vec<_> = told
        .classes
        .iter()
        .map(|(class, sums)| (class.as_str(), sums.requests, sums.errors, sums.held_us.mean()))
        .collect();
    rows.sort_by_key(|row| row.0);
    rows
}

fn second(pages: &mut Pages, first: &str, second: &str) -> Told {
    let classifier = Classifier::default();
    let before = pages.read(first, &classifier).expect("something is found");
    assert_eq!(told(&before), [], "a first page is only where counting starts");
    pages.read(second, &classifier).expect("something is found")
}

const FLASK: &str = r#"
# TYPE flask_http_request_duration_seconds histogram
flask_http_request_duration_seconds_bucket{le="0.1",method="GET",path="/news/7",status="200"} 10
flask_http_request_duration_seconds_bucket{le="+Inf",method="GET",path="/news/7",status="200"} 12
flask_http_request_duration_seconds_count{method="GET",path="/news/7",status="200"} 12
flask_http_request_duration_seconds_sum{method="GET",path="/news/7",status="200"} 2.5
flask_http_request_total{method="GET",status="200"} 12
"#;

const FLASK_LATER: &str = r#"
flask_http_request_duration_seconds_bucket{le="0.1",method="GET",path="/news/7",status="200"} 14
flask_http_request_duration_seconds_bucket{le="+Inf",method="GET",path="/news/7",status="200"} 16
flask_http_request_duration_seconds_count{method="GET",path="/news/7",status="200"} 16
flask_http_request_duration_seconds_sum{method="GET",path="/news/7",status="200"} 2.7
flask_http_request_duration_seconds_bucket{le="0.1",method="GET",path="/news/7",status="500"} 0
flask_http_request_duration_seconds_bucket{le="+Inf",method="GET",path="/news/7",status="500"} 1
flask_http_request_duration_seconds_count{method="GET",path="/news/7",status="500"} 1
flask_http_request_duration_seconds_sum{method="GET",path="/news/7",status="500"} 3.8
flask_http_request_total{method="GET",status="200"} 16
flask_http_request_total{method="GET",status="500"} 1
"#;

#[test]
fn requests_between_two_pages_are_counted_by_class() {
    let later = second(&mut pages(|_| {}), FLASK, FLASK_LATER);
    // 4.0 s of five requests.
    assert_eq!(told(&later), [("GET /news/{n}", 5, 1, Some(800_000.0))]);
    assert_eq!((later.measured.held_us, later.measured.errors), (Quality::Estimated, Quality::Measured));
    assert_eq!((later.measured.response_bytes, later.busy), (Quality::Unmeasured, None));
}

#[test]
fn common_exporters_are_known() {
    for (name, first, later, wanted) in [
        (
            "django-prometheus: views, and the status elsewhere",
            r#"django_http_requests_latency_seconds_by_view_method_count{method="GET",view="news:detail"} 0"#,
            r#"django_http_requests_latency_seconds_by_view_method_bucket{le="1.0",method="GET",view="news:detail"} 2
django_http_requests_latency_seconds_by_view_method_count{method="GET",view="news:detail"} 2
django_http_requests_latency_seconds_by_view_method_sum{method="GET",view="news:detail"} 1
django_http_responses_total_by_status_view_method_total{method="GET",status="200",view="news:detail"} 1
django_http_responses_total_by_status_view_method_total{method="GET",status="503",view="news:detail"} 1"#,
            ("GET news:detail", 2, 1, Some(500_000.0)),
        ),
        (
            "prometheus-fastapi-instrumentator: templates, and groups of status",
            r#"http_request_duration_seconds_count{handler="/items/{id}",method="GET"} 1
http_requests_total{handler="/items/{id}",method="GET",status="2xx"} 1"#,
            r#"http_request_duration_seconds_count{handler="/items/{id}",method="GET"} 4
http_request_duration_seconds_sum{handler="/items/{id}",method="GET"} 0.3
http_requests_total{handler="/items/{id}",method="GET",status="2xx"} 2
http_requests_total{handler="/items/{id}",method="GET",status="5xx"} 2"#,
            ("GET /items/{n}", 3, 2, Some(100_000.0)),
        ),
        (
            "OpenTelemetry of old: milliseconds",
            r#"http_server_duration_milliseconds_count{http_method="POST",http_route="/a/:id"} 1"#,
            r#"http_server_duration_milliseconds_count{http_method="POST",http_route="/a/:id"} 2
http_server_duration_milliseconds_sum{http_method="POST",http_route="/a/:id"} 250"#,
            ("POST /a/{n}", 1, 0, Some(250_000.0)),
        ),
        (
            "gunicorn's statsd: no labels at all",
            "gunicorn_request_duration_count 5\ngunicorn_request_duration_sum 2\ngunicorn_requests 898",
            "gunicorn_request_duration{quantile=\"0.5\"} 9\ngunicorn_request_duration_count 7\ngunicorn_request_duration_sum 3\ngunicorn_requests 900",
            ("other", 2, 0, Some(500_000.0)),
        ),
        (
            "a counter alone",
            r#"http_requests_total{method="GET",path="/a",code="200"} 7"#,
            r#"http_requests_total{method="GET",path="/a",code="200"} 9"#,
            ("GET /a", 2, 0, None),
        ),
    ] {
        let later = second(&mut pages(|_| {}), first, later);
        assert_eq!(told(&later), [wanted], "{name}");
    }
}

#[test]
fn what_is_not_on_the_page_is_not_measured() {
    let later = second(&mut pages(|_| {}), "gunicorn_requests 5", "gunicorn_requests 7");
    assert_eq!(told(&later), [("other", 2, 0, None)]);
    assert_eq!((later.measured.held_us, later.measured.errors), (Quality::Unmeasured, Quality::Unmeasured));
    assert_eq!(pages(|_| {}).read("python_gc_objects_collected_total 7", &Classifier::default()), None);
    assert_eq!(pages(|_| {}).read("<html>", &Classifier::default()), None);
}

#[test]
fn names_of_ones_own_and_gauges_are_found() {
    let mut own = pages(|config| {
        config.durations = Some("app_seconds".into());
        config.requests = Some("app_requests_total".into());
        config.busy = Some("app_busy".into());
        config.path_label = Some("page".into());
    });
    let first = "app_seconds_count{page=\"/a\"} 1\nhttp_requests_total 7\napp_busy{pid=\"1\"} 2\napp_busy{pid=\"2\"} 1";
    let later =
        "app_seconds_count{page=\"/a\"} 3\napp_seconds_sum{page=\"/a\"} 1\napp_requests_total{page=\"/a\"} 2";
    assert_eq!(own.read(first, &Classifier::default()).and_then(|told| told.busy), Some(3));
    let later = own.read(later, &Classifier::default()).expect("something is found");
    assert_eq!(told(&later), [("METHOD /a", 2, 0, Some(500_000.0))]);
    assert_eq!(later.busy, None, "it is gone");
}

#[test]
fn a_restart_is_not_traffic() {
    let mut pages = pages(|_| {});
    let page = |started: u32, requests: u32| {
        format!(
            "process_start_time_seconds {started}\nhttp_requests_total{{path=\"/a\",method=\"GET\"}} {requests}"
        )
    };
    let mut counted = Vec::new();
    for (started, requests) in [(1, 100), (1, 110), (2, 5), (2, 6), (1, 111)] {
        let told = pages.read(&page(started, requests), &Classifier::default()).expect("found");
        counted.push(told.classes.values().map(|sums| sums.requests).sum::<u64>());
    }
    assert_eq!(counted, [0, 10, 0, 1, 1]);
}
