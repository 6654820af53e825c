//! What users of the load generator rely on: every request is accounted for, and latency is honest.

use std::net::SocketAddr;
use std::time::Duration;

use sluice_emulation::dist::Dist;
use sluice_emulation::instance::{Instance, InstanceConfig, Release};
use sluice_emulation::load::{self, ClassLoad, Failure, Progress, RunOptions, Schedule, Summary, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

const SEED: u64 = 42;

fn workload(millis: u64, classes: Vec<ClassLoad>) -> Workload {
    let duration = Duration::from_millis(millis);
    Workload { name: "test".into(), seed: SEED, duration, classes }
}

fn class(name: &str, per_s: f64, work_ms: f64) -> ClassLoad {
    ClassLoad { work_ms: Dist::Constant(work_ms), ..ClassLoad::new(name, per_s) }
}

async fn run(target: SocketAddr, workload: &Workload, options: RunOptions) -> Summary {
    load::run(target, workload, options, Progress::new(workload)).await
}

/// Reads one request per connection, answers it with `reply` and closes.
async fn server_that_says(reply: &'static str) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a whole request"));
            }
            // The client may hang up as soon as it has seen enough.
            drop(stream.write_all(reply.as_bytes()).await);
        }
    });
    (addr, serving)
}

#[tokio::test]
async fn every_arrival_is_sent_and_answered() {
    let instance =
        Instance::start(InstanceConfig { workers: 4, ..Default::default() }).await.expect("a free port");
    let upload = ClassLoad { request_bytes: 100_000, method: http::Method::POST, ..class("up", 50.0, 0.0) };
    let workload = workload(500, vec![class("page", 400.0, 1.0), upload]);
    let progress = Progress::new(&workload);
    let options = RunOptions::default();
    let summary = load::run(instance.addr(), &workload, options, progress.clone()).await;
    assert!(summary.all_answered(), "{summary}");
    for (index, class) in summary.classes.iter().enumerate() {
        let arrivals = Schedule::new(&workload).filter(|a| a.class == index);
        let (count, bytes) = arrivals.fold((0, 0), |(n, b), a| (n + 1, b + a.cost.bytes));
        assert_eq!((class.sent, class.ok, class.bytes), (count, count, bytes), "seed {SEED}\n{summary}");
        let live = &progress.snapshot()[index];
        assert_eq!((live.sent, live.answered, live.in_flight), (count, count, 0));
    }
    let stats = instance.stats();
    assert_eq!(stats.served, summary.classes.iter().map(|c| c.ok).sum::<u64>());
    assert_eq!(stats.request_bytes, summary.classes[1].sent * 100_000);
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Failure::CutShort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", Failure::CutShort),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort", Failure::CutShort),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", Failure::Status(503)),
        ("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", Failure::Status(404)),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nshort", Failure::CutShort),
        ("HTTP/1.1 200 OK\r\nContent-", Failure::Reset),
        ("", Failure::Reset),
        ("220 mail.example.org ESMTP\r\n\r\n", Failure::BadResponse),
    ];
    for (reply, expected) in cases {
        let (target, _serving) = server_that_says(reply).await;
        let summary =
            run(target, &workload(100, vec![class("page", 100.0, 0.0)]), RunOptions::default()).await;
        let page = &summary.classes[0];
        assert!(page.sent > 0 && page.ok == 0, "{reply:?}\n{summary}");
        let failures: Vec<_> = page.failed.keys().copied().collect();
        assert_eq!(failures, [expected], "{reply:?}\n{summary}");
        assert_eq!(summary.all_answered(), expected == Failure::Status(404), "{reply:?}");
    }
}

#[tokio::test]
async fn complete_answers_of_servers_that_close_are_no_failures() {
    let replies = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
    ];
    for reply in replies {
        let (target, _serving) = server_that_says(reply).await;
        // One at a time, so that none is sent on a connection which is just being closed.
        let options = RunOptions { max_in_flight: 1, ..Default::default() };
        let slow = ClassLoad { client_rate: Some(1 << 30), ..class("page", 50.0, 0.0) };
        let summary = run(target, &workload(200, vec![slow]), options).await;
        let page = &summary.classes[0];
        assert!(page.ok > 0 && page.failures() == 0, "{reply:?}\n{summary}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_a_silent_server_are_told_apart() {
    let workload = workload(100, vec![class("page", 100.0, 0.0)]);
    let options = || RunOptions { timeout: Duration::from_millis(300), ..Default::default() };

    let bound = TcpSocket::new_v4().expect("a socket");
    bound.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let refusing = bound.local_addr().expect("bound"); // bound, so nobody else gets it; not listening
    let summary = run(refusing, &workload, options()).await;
    assert_eq!(summary.classes[0].failed.keys().collect::<Vec<_>>(), [&Failure::Connect]);

    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let summary = run(silent.local_addr().expect("bound"), &workload, options()).await;
    assert_eq!(summary.classes[0].failed.keys().collect::<Vec<_>>(), [&Failure::Timeout]);
    assert!(!summary.all_answered());
}

#[tokio::test]
async fn a_target_that_stalls_is_seen_in_full() {
    // One worker, 20 ms each, 100/s: twice what it can do. The n-th answer can not come before
    // n * 20 ms, and no request was due later than 1 s.
    let instance = Instance::start(InstanceConfig::default()).await.expect("a free port");
    let summary =
        run(instance.addr(), &workload(1000, vec![class("page", 100.0, 20.0)]), RunOptions::default()).await;
    assert!(summary.all_answered(), "{summary}");
    let total = summary.classes[0].total.expect("answers");
    let least = summary.classes[0].ok as f64 * 20.0 - 1000.0;
    assert!(least > 500.0, "seed {SEED} gives enough arrivals");
    assert!(total.max_ms >= least * 0.95, "{least} ms at least\n{summary}");
}

#[tokio::test]
async fn arrivals_beyond_the_limit_count_as_not_sent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = silent.local_addr().expect("bound");
    let options = RunOptions { max_in_flight: 5, timeout: Duration::from_secs(2), ..Default::default() };
    let workload = workload(300, vec![class("page", 200.0, 0.0)]);
    let arrivals = Schedule::new(&workload).count() as u64;
    let summary = run(target, &workload, options).await;
    let page = &summary.classes[0];
    assert_eq!(page.sent + page.not_sent, arrivals);
    assert_eq!(page.failed.get(&Failure::Timeout), Some(&page.sent));
    assert!(page.not_sent > 0 && !summary.all_answered());
}

#[tokio::test]
async fn a_slow_client_holds_a_worker_until_it_has_read_with_release_at_the_end_only() {
    for (release, held) in [(Release::FirstByte, 0), (Release::End, 1)] {
        let instance =
            Instance::start(InstanceConfig { release, ..Default::default() }).await.expect("a free port");
        let slow = ClassLoad {
            bytes: Dist::Constant(64e6),
            client_rate: Some(100_000), // would take 11 minutes
            ..class("blob", 1000.0, 0.0)
        };
        let workload = workload(1000, vec![slow]);
        let options = RunOptions { max_in_flight: 1, ..Default::default() };
        let target = instance.addr();
        let load = tokio::spawn(async move { run(target, &workload, options).await });
        assert_eq!(instance.until(|s| s.streaming == 1).await.busy, held, "{release:?}");
        load.abort(); // dropping a run drops its requests
        instance.until(|s| s.cancelled == 1 && s.busy == 0).await;
    }
}
