//! Balancers are found in DNS: those that come are reported to, those that go are not, and that DNS fails changes
//! nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sluice_tests::dns::{Dns, Record};
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::{PATIENCE, admin, eventually, expect};

/// Whom the agent reports to at present.
async fn until_reports_to(agent: &Agent, mut wanted: Vec<String>) {
    wanted.sort();
    eventually("balancers", 3 * PATIENCE, async || {
        let status = admin::json(agent.admin, "/v1/status").await;
        let balancers = status["balancers"].as_array().expect("a list").clone();
        let mut urls: Vec<_> =
            balancers.iter().map(|one| one["url"].as_str().expect("text").into()).collect();
        urls.sort();
        expect(urls, |urls: &Vec<String>| *urls == wanted)
    })
    .await;
}

/// What the balancer believes to have of the instance's workers; `None`: all.
async fn until_granted(balancer: &Balancer, workers: Option<u64>) {
    eventually("a share of the workers", PATIENCE, async || {
        let instance = admin::instances(balancer.admin).await.remove(0);
        expect(instance["granted"].as_u64(), |granted| *granted == workers)
    })
    .await;
}

async fn until_asked(dns: &Dns, more: usize) {
    let before = dns.asked();
    eventually("look-ups", 3 * PATIENCE, async || expect(dns.asked(), |asked| *asked >= before + more)).await;
}

fn service(priority: u16, address: SocketAddr) -> Record {
    Record::Service { priority, port: address.port(), target: "lb.sluice.test" }
}

#[tokio::test]
async fn balancers_of_a_service_come_and_go() {
    const NAME: &str = "_sluice._tcp.sluice.test";
    let (first, second, spare) = (Balancer::start(""), Balancer::start(""), Balancer::start(""));
    let url = |balancer: &Balancer| format!("http://{}", balancer.admin);
    let dns = Dns::start().await;
    dns.set("lb.sluice.test", [Record::Address("127.0.0.1".parse().expect("an address"))]);
    dns.set(NAME, [service(10, first.admin), service(20, spare.admin)]);
    let instance = Answering::named("zope").await;
    let flags = format!("--workers 4 --balancer srv+http://{NAME} --dns-server {}", dns.address());
    let agent = Agent::beside(instance.address(), &flags);
    admin::until_routed(first.admin, 1, 3 * PATIENCE).await;
    until_granted(&first, None).await;

    // One more: it has the report without waiting for the next.
    dns.set(NAME, [service(10, first.admin), service(20, spare.admin), service(10, second.admin)]);
    admin::until_routed(second.admin, 1, 3 * PATIENCE).await;
    until_granted(&first, Some(2)).await;
    until_granted(&second, Some(2)).await;

    dns.set_broken(true);
    until_asked(&dns, 4).await;
    until_reports_to(&agent, vec![url(&first), url(&second)]).await;
    let taken = ["outcome=\"acknowledged\"", &url(&second)];
    let before = admin::metric(agent.admin, "sluice_agent_reports_total", &taken).await;
    eventually("reports go on", PATIENCE, async || {
        let now = admin::metric(agent.admin, "sluice_agent_reports_total", &taken).await;
        expect(now, |now| *now > before)
    })
    .await;

    dns.set_broken(false);
    dns.set(NAME, [service(10, second.admin), service(20, spare.admin)]);
    until_reports_to(&agent, vec![url(&second)]).await;
    // It has all of them again, and is told so by saying nothing.
    until_granted(&second, None).await;
    let page = admin::get(agent.admin, "/metrics").await.text();
    assert!(!page.contains(&url(&first)), "nothing is told of one that is gone:\n{page}");
    assert!(admin::instances(spare.admin).await.is_empty(), "the spare group is spare");
}

#[tokio::test]
async fn every_address_of_a_name_is_a_balancer() {
    const NAME: &str = "balancers.sluice.test";
    let v4 = |last: u8| Record::Address(IpAddr::from([127, 0, 0, last]));
    let dns = Dns::start().await;
    let balancer = Balancer::start("");
    let port = balancer.admin.port();
    dns.set(NAME, [v4(1), v4(2), Record::Address(Ipv6Addr::LOCALHOST.into())]);
    let instance = Answering::named("zope").await;
    // One that is named as well gets one report, not two.
    let flags = format!(
        "--balancer dns+http://{NAME}:{port} --dns-server {} --balancer http://127.0.0.1:{port}",
        dns.address()
    );
    let agent = Agent::beside(instance.address(), &flags);
    let url = |host: &str| format!("http://{host}:{port}");
    until_reports_to(&agent, vec![url("127.0.0.1"), url("127.0.0.2"), url("[::1]")]).await;
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    dns.set(NAME, [v4(3)]);
    until_reports_to(&agent, vec![url("127.0.0.1"), url("127.0.0.3")]).await;
    // A name without addresses is a mistake, and no reason to report to nobody.
    dns.set(NAME, []);
    until_asked(&dns, 4).await;
    until_reports_to(&agent, vec![url("127.0.0.1"), url("127.0.0.3")]).await;
}
