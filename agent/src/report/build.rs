//! From a window to the report: what a reader accepts, never more. No clock, no I/O.

use std::{collections::HashMap, time::Duration};

use sluice_proto::{
    ApplicationLoad, BootId, ClassName, ClassRelease, ClassReport, ClassSums, HeavyUrl, InstanceName,
    Measured, Mode, Now, Release, Report, SCHEMA, ServiceName, Target,
    report::{MAX_BYTES, MAX_URLS},
};

use crate::{measure::WindowData, state::Standing};

/// The longest window that a reader believes, in milliseconds.
const LONGEST_WINDOW_MS: u128 = 3_600_000;

/// The longest reason that a reader takes, in bytes.
const LONGEST_REASON: usize = 256;

/// Room for what each balancer is told for itself, in bytes.
const GRANT: usize = 32;

/// What stays the same from start to stop.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: InstanceName,
    pub service: ServiceName,
    pub address: Target,
    pub boot_id: BootId,
    pub interval: Duration,
    pub workers: u32,
    pub release: Release,
    pub mode: Mode,
    pub version_label: Option<String>,
}

/// What holds when the report is made.
#[derive(Clone, Debug)]
pub struct Moment {
    pub seq: u64,
    pub standing: Standing,
    pub now: Now,
    /// Which of the window's and the moment's figures were measured.
    pub measured: Measured,
    /// Versions that balancers have sent: see [`Report::classifications`].
    pub classifications: Vec<u64>,
    /// At most [`MAX_CLASSES`](sluice_proto::report::MAX_CLASSES).
    pub releases: Vec<ClassRelease>,
    /// The application's own word.
    pub application: Option<ApplicationLoad>,
}

/// The report on `window`, the classes with the most requests first.
pub fn build(identity: &Identity, moment: Moment, window: WindowData) -> Report {
    let (state, reason) = moment.standing.word();
    let heavy_urls = window.heavy.top(MAX_URLS).into_iter().map(|(url, heavy)| HeavyUrl {
        url: url.to_owned(),
        requests: heavy.count,
        total_bytes: heavy.weight,
        largest_bytes: heavy.largest,
    });
    Report {
        schema: SCHEMA,
        name: identity.name.clone(),
        service: identity.service.clone(),
        address: identity.address.clone(),
        boot_id: identity.boot_id.clone(),
        seq: moment.seq,
        interval_ms: u32::try_from(identity.interval.as_millis()).unwrap_or(u32::MAX),
        window_ms: window.length.as_millis().clamp(1, LONGEST_WINDOW_MS) as u32,
        workers: identity.workers,
        release: identity.release.clone(),
        mode: identity.mode,
        version_label: identity.version_label.clone(),
        state,
        reason: reason.map(|reason| one_line(&reason)),
        now: moment.now,
        classes: class_reports(window.classes),
        heavy_urls: heavy_urls.collect(),
        classifications: moment.classifications,
        releases: moment.releases,
        measured: Some(moment.measured),
        application: moment.application,
        grant: None,
        answers_probes: identity.mode == Mode::Inline,
    }
}

/// The report as JSON of at most [`MAX_BYTES`], and as it had to be shortened for that.
///
/// Classes with few requests go into `other` first: their sketches cost as much as those of the large, and say less.
pub fn encode(mut report: Report) -> (Report, Vec<u8>) {
    loop {
        let bytes = serde_json::to_vec(&report).expect("numbers, text and lists");
        if bytes.len() <= MAX_BYTES - GRANT {
            return (report, bytes);
        }
        tracing::debug!(bytes = bytes.len(), classes = report.classes.len(), "report is too large");
        if report.classes.len() > 1 {
            fold_smaller_half(&mut report.classes);
        } else if report.releases.len() > 1 {
            // What is not claimed is held to the end.
            report.releases.truncate(report.releases.len() / 2);
        } else {
            report.heavy_urls.truncate(report.heavy_urls.len() / 2);
        }
    }
}

fn class_reports(classes: HashMap<ClassName, ClassSums>) -> Vec<ClassReport> {
    let mut reports: Vec<_> =
        classes.into_iter().map(|(class, window)| class_report(class, window)).collect();
    reports.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.class.cmp(&b.class)));
    reports
}

fn class_report(class: ClassName, window: ClassSums) -> ClassReport {
    let ClassSums { requests, errors, held_us, ttfb_us, response_bytes, .. } = window;
    ClassReport {
        class,
        requests,
        errors,
        held_us: held_us.into(),
        ttfb_us: ttfb_us.into(),
        response_bytes: response_bytes.into(),
    }
}

/// Merges the second half of `classes` into `other`, which comes last. Shortens any list of two or more.
fn fold_smaller_half(classes: &mut Vec<ClassReport>) {
    let mut folded = ClassSums::default();
    let small = classes.split_off((classes.len() - 1) / 2);
    let earlier =
        classes.extract_if(.., |class| class.class.as_str() == ClassName::OTHER).collect::<Vec<_>>();
    for report in small.iter().chain(&earlier) {
        // Which figures say nothing holds for all classes of a report: these are added as they are.
        folded.merge(&ClassSums::reported(report, &Measured::by_agent()));
    }
    classes.push(class_report(ClassName::other(), folded));
}

/// Readers take short text without control characters.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if line.len() + c.len_utf8() > LONGEST_REASON {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use sluice_proto::{HeavyHitters, ReleaseFound, ReleasePoint, State};

    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "zope-1".parse().expect("a name"),
            service: ServiceName::default(),
            address: "127.0.0.1:8081".parse().expect("an address"),
            boot_id: "b1".parse().expect("an id"),
            interval: Duration::from_secs(1),
            workers: 2,
            release: Release { point: ReleasePoint::End, found: ReleaseFound::Assumed },
            mode: Mode::Inline,
            version_label: None,
        }
    }

    fn moment() -> Moment {
        Moment {
            seq: 7,
            standing: Standing::default(),
            now: Now { in_flight: 1, ..Now::default() },
            measured: Measured::by_agent(),
            classifications: vec![u64::MAX],
            releases: vec![],
            application: None,
        }
    }

    fn window(classes: impl IntoIterator<Item = (String, ClassSums)>) -> WindowData {
        let named = |(name, window): (String, _)| (ClassName::parse(&name).expect("a name"), window);
        WindowData {
            length: Duration::from_micros(1_003_900),
            classes: classes.into_iter().map(named).collect(),
            heavy: HeavyHitters::new(MAX_URLS),
        }
    }

    fn class(requests: u64, spread: u64) -> ClassSums {
        let mut class = ClassSums { requests, errors: 1, ..ClassSums::default() };
        for i in 0..requests.min(spread) {
            class.held_us.add(1 + i * i * i);
            class.ttfb_us.add(1 + i * i);
            class.response_bytes.add(1 + i * i * i * i);
        }
        class
    }

    fn read_back(report: Report) -> (Report, usize) {
        let (kept, bytes) = encode(report);
        assert_eq!(Report::parse(&bytes).expect("what is sent is accepted"), kept);
        (kept, bytes.len())
    }

    #[test]
    fn a_report_says_what_was_measured() {
        let mut window = window([("GET /small".into(), class(9, 9)), ("GET /few".into(), class(2, 2))]);
        window.heavy.add("/small/1", 900);
        window.heavy.add("/small/1", 100);
        let (report, _) = read_back(build(&identity(), moment(), window));
        assert_eq!((report.seq, report.window_ms, report.interval_ms), (7, 1003, 1000));
        assert_eq!((report.state, report.reason.as_deref()), (State::Down, Some("not checked yet")));
        let names: Vec<_> = report.classes.iter().map(|class| class.class.as_str()).collect();
        assert_eq!(names, ["GET /small", "GET /few"]);
        assert_eq!((report.classes[0].requests, report.classes[0].errors), (9, 1));
        let url = &report.heavy_urls[0];
        assert_eq!((&*url.url, url.requests, url.total_bytes, url.largest_bytes), ("/small/1", 2, 1000, 900));
    }

    #[test]
    fn windows_of_any_length_are_ones_that_a_reader_believes() {
        for (length, window_ms) in [
            (Duration::ZERO, 1),
            (Duration::from_micros(999), 1),
            (Duration::from_millis(2), 2),
            (Duration::from_secs(3600), 3_600_000),
            (Duration::from_secs(9999), 3_600_000),
        ] {
            let window = WindowData { length, ..window([]) };
            let (report, _) = read_back(build(&identity(), moment(), window));
            assert_eq!(report.window_ms, window_ms, "{length:?}");
        }
    }

    #[test]
    fn a_report_that_is_too_large_loses_names_but_no_requests() {
        let large = (0..1000).map(|i| (format!("GET /{i:0>150}"), class(200 + i, 200)));
        let report = build(&identity(), moment(), window(large));
        let all: u64 = report.classes.iter().map(|class| class.requests).sum();
        let largest = report.classes[0].clone();
        assert!(serde_json::to_vec(&report).expect("plain data").len() > MAX_BYTES, "or this tests nothing");

        let (kept, bytes) = read_back(report);
        assert!(bytes <= MAX_BYTES, "{bytes}");
        assert_eq!(kept.classes.iter().map(|class| class.requests).sum::<u64>(), all);
        assert_eq!(kept.classes.iter().map(|class| class.errors).sum::<u64>(), 1000);
        assert_eq!(kept.classes[0], largest, "the largest keeps its own figures");
        let others = kept.classes.iter().filter(|class| class.class.as_str() == ClassName::OTHER);
        assert_eq!(others.count(), 1);
    }

    #[test]
    fn folding_always_shortens() {
        for names in [vec!["a", "b"], vec!["other", "a"], vec!["a", "other"], vec!["a", "other", "b"]] {
            let mut classes: Vec<_> = names
                .iter()
                .map(|name| class_report(ClassName::parse(name).expect("a name"), class(3, 3)))
                .collect();
            while classes.len() > 1 {
                let before = classes.len();
                fold_smaller_half(&mut classes);
                assert!(classes.len() < before, "{names:?}");
                assert_eq!(classes.iter().map(|class| class.requests).sum::<u64>(), 3 * names.len() as u64);
            }
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(one_line(&"é".repeat(200)).len(), LONGEST_REASON);
    }
}
