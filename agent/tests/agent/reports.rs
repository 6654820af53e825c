//! What balancers are told, and what the agent makes of balancers that do not listen.

use sluice_proto::{Mode, ReleaseFound, ReleasePoint, Report, State, headers::CLASS};

use crate::support::{
    Agent, Answer,
    balancer::{FakeBalancer, Manner},
    eventually,
    instance::FakeInstance,
};

fn is_ready(report: &Report) -> bool {
    report.state == State::Ready
}

#[tokio::test]
async fn a_report_says_who_this_is_and_what_the_instance_did() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let flags = "--name zope-1 --service shop --version-label v7 --workers 2 --interval 200ms --release end";
    let agent = Agent::start(instance.address, &[balancer.address], flags);
    let first = balancer.report_with("ready", is_ready).await;
    assert_eq!((first.name.as_str(), first.service.as_str()), ("zope-1", "shop"));
    assert_eq!(first.address.as_str(), agent.data().to_string());
    assert_eq!((first.workers, first.interval_ms, first.mode), (2, 200, Mode::Inline));
    assert_eq!((first.release.point, first.release.found), (ReleasePoint::End, ReleaseFound::Configured));
    assert_eq!(first.version_label.as_deref(), Some("v7"));

    agent.answer("/page").await;
    agent.answer("/news/7?page=2").await;
    agent.answer("/news/8").await;
    agent.answer("/status/503").await;
    Answer::to(agent.get("/whatever").header(CLASS, "export")).await;
    let (mut requests, mut errors, mut bytes, mut names, mut urls) = (0, 0, 0, vec![], vec![]);
    while requests < 5 {
        let report = balancer.report().await;
        for class in report.classes {
            requests += class.requests;
            errors += class.errors;
            bytes += class.response_bytes.sum();
            assert_eq!((class.held_us.count(), class.ttfb_us.count()), (class.requests, class.requests));
            names.push(class.class.to_string());
        }
        urls.extend(report.heavy_urls.into_iter().map(|url| (url.url, url.total_bytes)));
    }
    names.sort();
    names.dedup();
    urls.sort();
    assert_eq!(names, ["GET /news/{n}", "GET /page", "GET /status/{n}", "export"]);
    assert_eq!((requests, errors, bytes), (5, 1, 4 * 5 + 11));
    assert!(urls.contains(&("/news/7?page=2".to_owned(), 5)), "{urls:?}");
}

#[tokio::test]
async fn reports_follow_each_other_and_cover_their_windows_only() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let _agent = Agent::start(instance.address, &[balancer.address], "");
    let mut before = balancer.report_with("ready", is_ready).await;
    for _ in 0..5 {
        let next = balancer.report().await;
        assert!(next.seq > before.seq && next.boot_id == before.boot_id);
        assert!(next.classes.is_empty());
        before = next;
    }
}

/// Of a short report nothing is missed but the heavy URLs, which such a balancer does not look at.
#[tokio::test]
async fn a_balancer_gets_short_reports_for_as_long_as_it_says_that_it_reads_them() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "--interval 200ms");
    // What the mode says of it is left out of a short one alone.
    let is_full = |report: &Report| report.measured.is_some();
    assert!(is_full(&balancer.report_with("ready", is_ready).await), "nobody asked for another");

    balancer.set_manner(Manner::PlanForLean);
    balancer.report_with("less in it", |report| !is_full(report)).await;
    agent.answer("/page").await;
    let lean = balancer.report_with("requests", |report| !report.classes.is_empty()).await;
    let class = &lean.classes[0];
    assert_eq!((class.class.as_str(), class.requests, class.held_us.count()), ("GET /page", 1, 1));
    assert!(!is_full(&lean) && lean.heavy_urls.is_empty() && class.response_bytes.sum() > 0);

    balancer.set_manner(Manner::Status(422));
    balancer.report_with("everything in it, as one was refused", is_full).await;
    balancer.set_manner(Manner::PlanForLean);
    balancer.report_with("less in it again", |report| !is_full(report)).await;
    balancer.set_manner(Manner::Plan);
    balancer.report_with("everything in it, as an older balancer has taken over", is_full).await;
}

#[tokio::test]
async fn every_start_is_a_boot_of_its_own() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let mut boots = vec![];
    for _ in 0..2 {
        let agent = Agent::start(instance.address, &[balancer.address], "");
        boots.push(balancer.report_with("ready", is_ready).await.boot_id);
        agent.stop_now();
        agent.ended().await;
        balancer.left();
    }
    assert_ne!(boots[0], boots[1]);
}

#[tokio::test]
async fn a_balancer_that_was_away_gets_the_next_report() {
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let agent = Agent::start(instance.address, &[balancer.address], "");
    let before = balancer.report_with("ready", is_ready).await;

    let address = balancer.kill().await;
    let counted =
        format!(r#"sluice_agent_reports_total{{balancer="http://{address}",outcome="unreachable"}} 0"#);
    eventually("a report that failed", async || !agent.metrics().await.contains(&counted)).await;
    assert_eq!(agent.answer("/page").await.status, 200, "requests do not notice");
    let known = &agent.status().await["balancers"][0];
    assert_eq!(
        (&known["outcome"], &known["url"]),
        (&"unreachable".into(), &format!("http://{address}").into())
    );

    let mut balancer = FakeBalancer::start_at(address, Manner::Plan).await;
    let after = balancer.report().await;
    assert!(after.seq > before.seq && after.boot_id == before.boot_id);
    eventually("the plan", async || agent.status().await["balancers"][0]["plan"]["role"] == "general").await;
}

#[tokio::test]
async fn one_balancer_that_hangs_or_refuses_takes_nothing_from_another() {
    let instance = FakeInstance::start().await;
    let mut good = FakeBalancer::start().await;
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut hangs = FakeBalancer::start_at(any, Manner::Silence).await;
    let refuses = FakeBalancer::start_at(any, Manner::Status(422)).await;
    let redirects = FakeBalancer::start_at(any, Manner::Status(307)).await;
    let fails = FakeBalancer::start_at(any, Manner::Status(500)).await;
    let all = [hangs.address, refuses.address, redirects.address, fails.address, good.address];
    let agent = Agent::start(instance.address, &all, "");
    hangs.report().await;
    for _ in 0..10 {
        good.report().await;
    }
    assert!(hangs.left().len() <= 2, "one is under way for a second, and ten others are not waiting for it");
    eventually("every outcome", async || {
        let status = agent.status().await;
        let outcome = |i: usize| status["balancers"][i]["outcome"].as_str().unwrap_or_default().to_owned();
        [0, 1, 2, 3, 4].map(outcome) == ["timed_out", "refused", "unexpected", "failed", "acknowledged"]
    })
    .await;
    hangs.set_manner(Manner::Plan);
    eventually("peace", async || agent.status().await["balancers"][0]["outcome"] == "acknowledged").await;
}

#[tokio::test]
async fn the_token_goes_with_each_report_and_guards_the_admin_server() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").expect("a token file");
    let instance = FakeInstance::start().await;
    let mut balancer = FakeBalancer::start().await;
    let flags = format!("--token-file {}", token.display());
    let agent = Agent::start(instance.address, &[balancer.address], &flags);
    balancer.report().await;
    assert_eq!(balancer.authorization().as_deref(), Some("Bearer s3cret"));
    assert_eq!(agent.admin_post("/v1/drain", "").await.status, 401);
    let drain = agent.client.post(format!("http://{}/v1/drain", agent.admin)).bearer_auth("s3cret");
    assert_eq!(Answer::to(drain).await.status, 200);
}
