//! Reports as agents make them, made once: only names and numbers are filled in while the clock runs.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice_proto::report::{Release, ReleaseFound, ReleasePoint};
use sluice_proto::{
    ClassName, ClassReport, HeavyUrl, Lean, Measured, Mode, Now, PlanReply, Report, SCHEMA, ServiceName,
    Sketch, State,
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

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The first one, and those for an older balancer.
    Full,
    /// For a balancer that said that it reads it.
    Lean,
}

impl Form {
    /// What the next report has to be, by the answer to one.
    pub(crate) fn asked_for(reply: &[u8]) -> Self {
        let plan: Result<PlanReply, _> = serde_json::from_slice(reply);
        if plan.is_ok_and(|plan| plan.lean) { Self::Lean } else { Self::Full }
    }
}

/// The texts of one agent's reports.
pub(crate) struct Reports {
    full: Texts,
    lean: Texts,
    /// Of the windows, where this agent begins.
    first: usize,
}

/// A form's.
struct Texts {
    /// Up to the sequence number, from there to the window, from there to the end.
    parts: [String; 3],
    windows: Arc<[String]>,
}

impl Reports {
    /// Of `agents` agents.
    pub(crate) fn of(agents: usize, mix: &Mix, rng: &mut fastrand::Rng) -> Vec<Self> {
        let windows: Vec<Report> = (0..WINDOWS).map(|_| window(mix, rng)).collect();
        let texts = |form| windows.iter().map(|window| lists(&text(window, form)).to_owned()).collect();
        let (full, lean): (Arc<[String]>, Arc<[String]>) = (texts(Form::Full), texts(Form::Lean));
        let mut reports = |agent| Self {
            full: Texts { parts: parts(agent, mix, Form::Full), windows: full.clone() },
            lean: Texts { parts: parts(agent, mix, Form::Lean), windows: lean.clone() },
            first: rng.usize(..WINDOWS),
        };
        (0..agents).map(&mut reports).collect()
    }

    /// The request that carries report `seq`.
    pub(crate) fn request(&self, seq: u64, form: Form) -> Vec<u8> {
        let texts = match form {
            Form::Full => &self.full,
            Form::Lean => &self.lean,
        };
        let [before, between, after] = &texts.parts;
        let turn = usize::try_from(seq).unwrap_or(0);
        let (seq, window) = (seq.to_string(), &texts.windows[(self.first + turn) % WINDOWS]);
        let length = before.len() + seq.len() + between.len() + window.len() + after.len();
        let head = format!(
            "POST /v1/report HTTP/1.1\r\nhost: 127.0.0.1:9900\r\ncontent-type: application/json\r\n\
             user-agent: sluice-agent\r\naccept: */*\r\ncontent-length: {length}\r\n\r\n"
        );
        [&head, before, &seq, between, window, after].map(String::as_bytes).concat()
    }
}

fn text(report: &Report, form: Form) -> String {
    let text = match form {
        Form::Full => serde_json::to_string(report),
        Form::Lean => serde_json::to_string(&Lean::of(report)),
    };
    text.expect("plain data")
}

/// The part of a report that differs from window to window.
fn lists(text: &str) -> &str {
    let (begin, end) = (text.find(r#""classes":"#), text.find(LISTS_END).or_else(|| text.rfind('}')));
    let (begin, end) = begin.zip(end).expect("a report has classes, and an end");
    &text[begin..end]
}

/// What comes behind the lists.
const LISTS_END: &str = r#","measured":"#;

/// Name of a class of the site: few enough names side by side that none of them is taken for a variable.
pub(crate) fn path(class: usize) -> String {
    let letters =
        |n: usize| [n / 26 % 26, n % 26].map(|n| char::from(b'a' + n as u8)).iter().collect::<String>();
    format!("/section-{}/page-{}", letters(class / 25), letters(class % 25))
}

fn parts(agent: usize, mix: &Mix, form: Form) -> [String; 3] {
    const SEQ: u64 = 1_234_567_890_123;
    let text = text(&report(agent, SEQ, mix), form);
    let (before, rest) = text.split_once(&SEQ.to_string()).expect("the number that was put in");
    let (between, after) = rest.split_once(lists(&text)).expect("lists that were left empty");
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
fn window(mix: &Mix, rng: &mut fastrand::Rng) -> Report {
    let first = rng.usize(..mix.classes.max(1));
    let classes: Vec<_> =
        (0..mix.active.min(mix.classes)).map(|n| class((first + n) % mix.classes, rng)).collect();
    let heavy_urls = classes.iter().map(|class| heavy_url(class, rng)).collect();
    Report { classes, heavy_urls, ..report(0, 0, mix) }
}

fn class(class: usize, rng: &mut fastrand::Rng) -> ClassReport {
    let requests = rng.u64(1..=MOST_REQUESTS);
    let mut sketch = |typical: f64| {
        let mut sketch = Sketch::new();
        // Spread by a factor of four in either direction.
        (0..requests).for_each(|_| sketch.add((typical * 16_f64.powf(rng.f64() - 0.5)) as u64));
        sketch.into()
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
        for (form, urls) in [(Form::Full, 20), (Form::Lean, 0)] {
            let request = String::from_utf8(reports[2].request(77, form)).expect("text");
            let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            let report = Report::parse(body.as_bytes()).expect("a report");
            assert_eq!((report.seq, report.classes.len(), report.heavy_urls.len()), (77, 20, urls));
            assert_eq!(report.name.as_str(), "app-000-worker-02");
        }
    }

    #[test]
    fn an_answer_says_which_form_it_is_to_be() {
        let plan = r#"{"schema":1,"plan":1,"role":"general","reason":"","routed":true,"lean":true}"#;
        for (reply, form) in [
            (plan, Form::Lean),
            (&plan.replace("true}", "false}"), Form::Full),
            (&plan.replace(r#","lean":true"#, ""), Form::Full),
            ("no", Form::Full),
        ] {
            assert_eq!(Form::asked_for(reply.as_bytes()), form, "{reply}");
        }
    }
}
