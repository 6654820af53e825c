//! Instances without agents are found in DNS and in Kubernetes: those that come get requests, those that go finish what
//! they have, and that nobody can be asked changes nothing.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::dns::{Dns, Record};
use sluice_tests::kubernetes::Api;
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect};

/// For what is asked for again after pauses: those of look-ups and watches that fail double up to 30 s, and on a machine
/// that is busy enough some fail for that alone.
const ENOUGH: Duration = Duration::from_secs(120);

const NAME: &str = "_http._tcp.zope.test";
const GET: &str = "GET / HTTP/1.1\r\nhost: zope.test\r\nconnection: close\r\n\r\n";

fn service(priority: u16, address: SocketAddr) -> Record {
    Record::Service { priority, port: address.port(), target: "host.zope.test" }
}

async fn zone(records: impl IntoIterator<Item = Record>) -> Dns {
    let dns = Dns::start().await;
    dns.set("host.zope.test", [Record::Address("127.0.0.1".parse().expect("an address"))]);
    dns.set(NAME, records);
    dns
}

/// Waits until the instances are these: name or address, where they are from, state, whether they get requests.
async fn until_instances(admin: SocketAddr, wanted: &[(&str, &str, &str, bool)]) {
    let mut wanted: Vec<_> = wanted
        .iter()
        .map(|(name, source, state, routed)| format!("{name} {source} {state} {routed}"))
        .collect();
    wanted.sort();
    eventually("instances", ENOUGH, async || {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let told = |i: &Value| {
            format!("{} {} {} {}", text(&i["name"]), text(&i["source"]), text(&i["state"]), i["routed"])
        };
        let mut told: Vec<_> = admin::instances(admin).await.iter().map(told).collect();
        told.sort();
        expect(told, |told| *told == wanted)
    })
    .await;
}

async fn until_at_least(admin: SocketAddr, name: &str, labels: &[&str], least: f64) {
    eventually(&format!("{name}{labels:?} >= {least}"), ENOUGH, async || {
        expect(admin::metric(admin, name, labels).await, |value| *value >= least)
    })
    .await;
}

async fn answers(balancer: &Balancer) -> String {
    sluice_tests::wire::ask(balancer.address, GET.to_owned()).await.text()
}

#[tokio::test]
async fn instances_of_a_name_come_and_go() {
    let mut leaving = RawInstance::start().await;
    let (stays, spare) = (Answering::named("stays").await, Answering::named("spare").await);
    let (left, there) = (leaving.address().to_string(), stays.address().to_string());
    let dns = zone([service(10, leaving.address()), service(20, spare.address())]).await;
    let source = format!("srv:{NAME}");
    let flags = format!("--instance {source},workers=2 --dns-server {}", dns.address());
    let balancer = Balancer::start(&flags);
    until_instances(balancer.admin, &[(&left, &source, "ready", true)]).await;
    assert_eq!(admin::instances(balancer.admin).await[0]["workers"], 2);

    let mut client = Conn::open(balancer.address).await;
    client.send(GET).await;
    let mut held = leaving.accept().await;
    held.head().await;
    dns.set(NAME, [service(10, stays.address()), service(20, spare.address())]);
    until_instances(balancer.admin, &[(&there, &source, "ready", true)]).await;
    assert_eq!(answers(&balancer).await, "stays");
    held.send(ok("finished")).await;
    assert_eq!(client.response().await.text(), "finished", "what is under way is finished");

    dns.set_broken(true);
    until_at_least(balancer.admin, "sluice_source_answers_total", &["outcome=\"failed\"", &source], 2.0)
        .await;
    dns.set(NAME, []);
    dns.set_broken(false);
    until_at_least(balancer.admin, "sluice_source_answers_total", &["outcome=\"failed\"", &source], 3.0)
        .await;
    until_instances(balancer.admin, &[(&there, &source, "ready", true)]).await;
    assert_eq!(answers(&balancer).await, "stays");
    assert_eq!(spare.served(), 0, "the spare group is spare");
}

/// A pod has an agent, and DNS has the pod: it is one instance, and the agent speaks for it.
#[tokio::test]
async fn what_has_an_agent_is_one_instance() {
    let instance = Answering::named("zope").await;
    let dns = zone([]).await;
    let flags = format!("--instance srv:{NAME} --dns-server {}", dns.address());
    let balancer = Balancer::start(&flags);
    let agent = Agent::start(balancer.admin, instance.address(), "--workers 3 --name zope-1");
    until_instances(balancer.admin, &[("zope-1", "agent", "ready", true)]).await;
    dns.set(NAME, [service(0, agent.address)]);
    until_at_least(balancer.admin, "sluice_source_endpoints", &[], 1.0).await;
    until_instances(balancer.admin, &[("zope-1", "agent", "ready", true)]).await;
}

#[tokio::test]
async fn a_source_comes_and_goes_with_the_configuration() {
    let (first, second) = (Answering::named("first").await, Answering::named("second").await);
    let (one, other) = (first.address().to_string(), second.address().to_string());
    let dns = zone([service(0, first.address())]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("balancer.toml");
    let configure = |instances: &str| {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nwatch-config = \"off\"\ndns-server = \"{}\"\ninstance = [{instances}]\n",
            dns.address()
        );
        std::fs::write(&file, text).expect("written");
    };
    let (source, fixed) = (format!("srv:{NAME}"), format!("\"{other}\""));
    configure(&fixed);
    let balancer = Balancer::of_file(&file);
    until_instances(balancer.admin, &[(&other, "configuration", "ready", true)]).await;
    configure(&format!("{fixed}, \"{source},workers=3\""));
    balancer.reload();
    let both = [(&*other, "configuration", "ready", true), (&*one, &*source, "ready", true)];
    until_instances(balancer.admin, &both).await;
    configure(&format!("\"{source},workers=5\""));
    balancer.reload();
    until_instances(balancer.admin, &both[1..]).await;
    assert_eq!(admin::instances(balancer.admin).await[0]["workers"], 5, "found once, and still there");
    configure(&fixed);
    balancer.reload();
    until_instances(balancer.admin, &both[..1]).await;
    eventually("its metrics are gone", PATIENCE, async || {
        let page = admin::get(balancer.admin, "/metrics").await.text();
        expect(page, |page| !page.contains(&source))
    })
    .await;
}

#[tokio::test]
async fn pods_of_a_kubernetes_service_are_instances() {
    let (a, b) = (Answering::named("a").await, Answering::named("b").await);
    let dir = tempfile::tempdir().expect("a directory");
    let api = Api::start(dir.path()).await;
    let (ready, not_ready) = (json!({ "ready": true }), json!({ "ready": false }));
    let ending = json!({ "ready": false, "serving": true, "terminating": true });
    api.set("zope-1", "pod-a", a.address(), &ready);
    let source = "kubernetes:default/zope:http";
    let kubeconfig = api.kubeconfig().display();
    let balancer = Balancer::start(&format!(
        "--kubernetes-service default/zope:http,workers=4 --kubeconfig {kubeconfig}"
    ));
    let admin = balancer.admin;
    let up = |pod| (pod, source, "ready", true);
    until_instances(admin, &[up("pod-a")]).await;
    assert_eq!(answers(&balancer).await, "a");

    api.set("zope-2", "pod-b", b.address(), &not_ready);
    until_instances(admin, &[up("pod-a"), ("pod-b", source, "down", false)]).await;
    api.set("zope-2", "pod-b", b.address(), &ready);
    until_instances(admin, &[up("pod-a"), up("pod-b")]).await;
    api.set("zope-1", "pod-a", a.address(), &ending);
    until_instances(admin, &[("pod-a", source, "draining", false), up("pod-b")]).await;
    assert_eq!(answers(&balancer).await, "b");
    api.delete("zope-1");
    until_instances(admin, &[up("pod-b")]).await;

    api.set_down(true);
    until_at_least(admin, "sluice_source_answers_total", &["outcome=\"failed\"", source], 1.0).await;
    until_instances(admin, &[up("pod-b")]).await;
    assert_eq!(answers(&balancer).await, "b", "nobody says that it is gone");
    api.set("zope-3", "pod-c", a.address(), &ready);
    api.delete("zope-2");
    api.set_down(false);
    until_instances(admin, &[up("pod-c")]).await;
    api.delete("zope-3");
    until_instances(admin, &[]).await;
}
