//! Reports as agents make them, made once: only names and numbers are filled in while the clock runs.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice_proto::report::{Release, ReleaseFound, ReleasePoint};
use sluice_proto::{
    ClassName, ClassReport, HeavyUrl, Measured, Mode, Now, Report, SCHEMA, ServiceName, Sketch, State,
};

use crate::connect::address;

/// Different windows that all agents share.
const WINDOWS: usize = 64;

/// Requests of an active class in one window, at most: an instance with few workers serves some tens per second.
const MOST_REQUESTS: u64 = 6;

/// What the reports are about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Mix {
    /// Classes of the site.
    #[arg(long, default_value_t = 200)]
    classes: usize,
    /// Of these, those that an instance served in a window.
    #[arg(long, default_value_t = 20)]
    active: usize,
    /// Where the reported instances are: this port of 127.21.x.y.
    #[arg(long, default_value_t = 1)]
    instance_port: u16,
    /// Workers that each instance has.
    #[arg(long, default_value_t = 4)]
    workers: u32,
    /// What the reports say of the time between two of them, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub(crate) interval_ms: u32,
}

/// The texts of one agent's reports.
pub(crate) struct Reports {
    /// Up to the sequence number, from there to the window, from there to the end.
    parts: [String; 3],
    windows: Arc<[String]>,
    first: usize,
}

impl Reports {
    /// Of `agents` agents.
    pub(crate) fn of(agents: usize, mix: &Mix, rng: &mut fastrand::Rng) -> Vec<Self> {
        let windows: Arc<[String]> = (0..WINDOWS).map(|_| window(mix, rng)).collect();
        let reports =
            |agent| Self { parts: parts(agent, mix), windows: windows.clone(), first: rng.usize(..WINDOWS) };
        (0..agents).map(reports).collect()
    }

    /// The request that carries report `seq`.
    pub(crate) fn request(&self, seq: u64) -> Vec<u8> {
        let [before, between, after] = &self.parts;
        let turn = usize::try_from(seq).unwrap_or(0);
        let (seq, window) = (seq.to_string(), &self.windows[(self.first + turn) % WINDOWS]);
        let length = before.len() + seq.len() + between.len() + window.len() + after.len();
        let head = format!(
            "POST /v1/report HTTP/1.1\r\nhost: 127.0.0.1:9900\r\ncontent-type: application/json\r\n\
             user-agent: sluice-agent\r\naccept: */*\r\ncontent-length: {length}\r\n\r\n"
        );
        [&head, before, &seq, between, window, after].map(String::as_bytes).concat()
    }
}

/// Name of a class of the site: few enough names side by side that none of them is taken for a variable.
pub(crate) fn path(class: usize) -> String {
    let letters =
        |n: usize| [n / 26 % 26, n % 26].map(|n| char::from(b'a' + n as u8)).iter().collect::<String>();
    format!("/section-{}/page-{}", letters(class / 25), letters(class % 25))
}

fn parts(agent: usize, mix: &Mix) -> [String; 3] {
    const SEQ: u64 = 1_234_567_890_123;
    let report = report(agent, SEQ, mix);
    let text = serde_json::to_string(&report).expect("plain data");
    let empty = r#""classes":[],"heavy_urls":[]"#;
    let (before, rest) = text.split_once(&SEQ.to_string()).expect("the number that was put in");
    let (between, after) = rest.split_once(empty).expect("lists that were left empty");
    [before, between, after].map(str::to_owned)
}

fn report(agent: usize, seq: u64, mix: &Mix) -> Report {
    let name = format!("app-{:03}-worker-{:02}", agent / 32, agent % 32);
    Report {
        schema: SCHEMA,
        name: name.parse().expect("a name"),
        service: ServiceName::default(),
        address: SocketAddr::from((address(21, agent), mix.instance_port)).into(),
        boot_id: format!("boot-{agent}-{}", std::process::id()).parse().expect("an id"),
        seq,
        interval_ms: mix.interval_ms,
        window_ms: 1000,
        workers: mix.workers,
        release: Release { point: ReleasePoint::End, found: ReleaseFound::Learned },
        mode: Mode::Inline,
        version_label: Some("2026.11.3".to_owned()),
        state: State::Ready,
        reason: None,
        now: Now::default(),
        classes: Vec::new(),
        heavy_urls: Vec::new(),
        classifications: Vec::new(),
        releases: Vec::new(),
        measured: Some(Measured::by_agent()),
        application: None,
        grant: None,
        answers_probes: true,
    }
}

/// What one window came to: `active` of the site's classes, and a heavy URL for each.
fn window(mix: &Mix, rng: &mut fastrand::Rng) -> String {
    let first = rng.usize(..mix.classes.max(1));
    let classes: Vec<_> =
        (0..mix.active.min(mix.classes)).map(|n| class((first + n) % mix.classes, rng)).collect();
    let urls: Vec<_> = classes.iter().map(|class| heavy_url(class, rng)).collect();
    let text = |list: serde_json::Result<String>| list.expect("plain data");
    let (classes, urls) = (text(serde_json::to_string(&classes)), text(serde_json::to_string(&urls)));
    format!(r#""classes":{classes},"heavy_urls":{urls}"#)
}

fn class(class: usize, rng: &mut fastrand::Rng) -> ClassReport {
    let requests = rng.u64(1..=MOST_REQUESTS);
    let mut sketch = |typical: f64| {
        let mut sketch = Sketch::new();
        // Spread by a factor of four in either direction.
        (0..requests).for_each(|_| sketch.add((typical * 16_f64.powf(rng.f64() - 0.5)) as u64));
        sketch
    };
    ClassReport {
        class: ClassName::parse(&format!("GET {}", path(class))).expect("a name"),
        requests,
        errors: 0,
        held_us: sketch(20_000.0),
        ttfb_us: sketch(15_000.0),
        response_bytes: sketch(30_000.0),
    }
}

fn heavy_url(class: &ClassReport, rng: &mut fastrand::Rng) -> HeavyUrl {
    HeavyUrl {
        url: format!("{}?page={}", class.class.parts().template, rng.u32(..1000)),
        requests: 1,
        total_bytes: class.response_bytes.max().unwrap_or(0),
        largest_bytes: class.response_bytes.max().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_a_report_with_that_number_and_those_classes() {
        let mix = Mix { classes: 200, active: 20, instance_port: 1, workers: 4, interval_ms: 1000 };
        let reports = Reports::of(3, &mix, &mut fastrand::Rng::with_seed(1));
        let request = String::from_utf8(reports[2].request(77)).expect("text");
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let report = Report::parse(body.as_bytes()).expect("a report");
        assert_eq!((report.seq, report.classes.len(), report.heavy_urls.len()), (77, 20, 20));
        assert_eq!(report.name.as_str(), "app-000-worker-02");
    }
}
