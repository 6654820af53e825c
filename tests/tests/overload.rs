//! Three times as much as the workers can do: pages go on, the rest is told so at once, and when it is over it is over.

use std::net::SocketAddr;
use std::time::Duration;

use sluice_emulation::dist::Dist;
use sluice_emulation::instance::{Instance, InstanceConfig};
use sluice_emulation::load::{
    self, ClassLoad, ClassSummary, Failure, Progress, RunOptions, Summary, Workload,
};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::Balancer;
use sluice_tests::wire::{ask, get};
use sluice_tests::{admin, soon};

/// Lanes by rule: on a busy machine pages take so long that they are told from exports by nothing else.
const RULES: &str = r#"
[[rule]]
name = "pages"
path = "^/pages"
lane = "small"

[[rule]]
name = "exports"
path = "^/exports"
lane = "large"
"#;

const WORKERS: usize = 2;
/// `--queue-timeout`, in milliseconds.
const DEADLINE_MS: f64 = 2000.0;

/// Half of what two instances of two workers can do for pages of 50 ms, half for exports of 500 ms, times `times`.
async fn load(target: SocketAddr, times: f64, seconds: u64) -> Summary {
    let mut pages = ClassLoad::new("pages", 40.0 * times);
    pages.work_ms = Dist::Constant(50.0);
    let mut exports = ClassLoad::new("exports", 4.0 * times);
    exports.work_ms = Dist::Constant(500.0);
    let duration = Duration::from_secs(seconds);
    let workload = Workload { name: "mixed".into(), seed: 1, duration, classes: vec![pages, exports] };
    let options = RunOptions { keep_requests: true, ..RunOptions::default() };
    let summary = load::run(target, &workload, options, Progress::new(&workload)).await;
    println!("{times} times:\n{summary}");
    summary
}

fn class<'a>(summary: &'a Summary, name: &str) -> &'a ClassSummary {
    summary.class(name).expect("in the workload")
}

/// Of the worker time of what was answered.
fn share_of_pages(summary: &Summary) -> f64 {
    let [pages, exports] =
        [("pages", 50.0), ("exports", 500.0)].map(|(name, ms)| class(summary, name).ok as f64 * ms);
    pages / (pages + exports)
}

/// The median of the times after which requests were turned away, in milliseconds.
fn told_after(summary: &Summary) -> f64 {
    let told = summary.requests.iter().filter(|request| request.failed == Some(Failure::Status(503)));
    let mut times: Vec<f64> = told.map(|request| request.total_ms).collect();
    assert!(times.len() > 50, "only {} were turned away", times.len());
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Asks until it is turned away, and returns when it may come again.
async fn retry_after(balancer: SocketAddr) -> u64 {
    loop {
        let answer =
            ask(balancer, get("/exports/1").replace("\r\n\r\n", "\r\nX-Emulate-Work-Us: 500000\r\n\r\n"))
                .await;
        if answer.status() == 503 {
            let seconds = answer.head.get("retry-after").expect("a hint").parse();
            return seconds.expect("seconds");
        }
    }
}

#[tokio::test]
async fn pages_go_on_at_three_times_the_capacity() {
    let config = InstanceConfig { workers: WORKERS, ..InstanceConfig::default() };
    let instances = [config.clone(), config].map(Instance::start);
    let [a, b] = instances.map(|starting| async { starting.await.expect("a free port") });
    let (a, b) = (a.await, b.await);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), RULES).expect("writable");
    let flags = format!(
        "--config {} --instance {},workers={WORKERS} --instance {},workers={WORKERS} --queue-timeout 2s \
         --large-queue-timeout 2s",
        file.path().display(),
        a.addr(),
        b.addr()
    );
    let balancer = Balancer::start(&flags);
    let once = load(balancer.address, 1.0, 3).await;
    let (thrice, hint) = tokio::join!(load(balancer.address, 3.0, 6), retry_after(balancer.address));
    assert!((1..=60).contains(&hint), "{hint} s");

    // Shares and not rates, and much patience with times: `./check overload` measures them on a quiet machine.
    let (before, during) = (share_of_pages(&once), share_of_pages(&thrice));
    assert!(during >= 0.9 * before, "{during} of the work was for pages in overload, {before} before");
    let served = class(&thrice, "pages").total.expect("many");
    assert!(served.p99_ms < DEADLINE_MS + 1000.0, "{served:?}");
    assert!(told_after(&thrice) < DEADLINE_MS / 4.0, "{} ms", told_after(&thrice));

    let turned_away = async |lane: &str| admin::metric(balancer.admin, "sluice_shed_total", &[lane]).await;
    let (small, large) = (turned_away("lane=\"small\"").await, turned_away("lane=\"large").await);
    assert!(large > 0.0, "large ones too");
    let late = admin::metric(balancer.admin, "sluice_requests_total", &["outcome=\"queue_timeout\""]).await;
    assert!(late <= 0.25 * (small + large), "{late} were kept waiting for nothing");

    let limit = ["lane=\"small\""];
    admin::until_metric(balancer.admin, "sluice_lane_longest_wait_seconds", &limit, DEADLINE_MS / 1e3).await;
    assert_eq!(ask(balancer.address, get("/pages/1")).await.status(), 200, "it is over");
}

/// It needs no time to find out: a request that is not answered keeps its worker, and there are no others.
#[tokio::test]
async fn an_instance_that_never_answers_gets_no_more_than_its_workers() {
    let silent = RawInstance::start().await;
    let sound = Answering::named("sound").await;
    let flags = format!("--instance {},workers=2 --instance {},workers=2", silent.address(), sound.address());
    let balancer = Balancer::start(&flags);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..60 {
        clients.spawn(ask(balancer.address, get(&format!("/page-{n}"))));
    }
    for _ in 0..60 - 2 {
        let answer = soon("an answer", clients.join_next()).await.expect("60 have asked").expect("no panic");
        assert_eq!(answer.text(), "sound");
    }
    assert!(silent.connections() <= 2, "{}", silent.connections());
}
