//! Releases of the application side by side: who gets the requests while a rollout is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::Value;
use sluice_tests::script::Answering;
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tokio::task::JoinHandle;

/// An instance that answers with its version, and its agent.
struct Node {
    name: String,
    instance: Answering,
    agent: Agent,
}

impl Node {
    async fn start(balancer: &Balancer, name: &str, version: &'static str) -> Self {
        let instance = Answering::named(version).await;
        let flags = format!("--name {name} --version-label {version} --workers 4");
        let agent = Agent::start(balancer.admin, instance.address(), &flags);
        let this = Self { name: name.to_owned(), instance, agent };
        eventually("its report that it is up", PATIENCE, async || {
            let list = admin::instances(balancer.admin).await;
            let own = list.into_iter().find(|i| i["name"] == name).unwrap_or_default();
            expect(own, |own| own["state"] == "ready" && own["version_label"] == version)
        })
        .await;
        this
    }

    /// As a rollout does: drained, then gone.
    async fn leave(self) {
        self.agent.stop();
        self.agent.ended().await;
    }
}

async fn shares(balancer: &Balancer) -> Vec<(String, f64)> {
    let plan = admin::json(balancer.admin, "/v1/plan").await;
    let shares = plan["services"][0]["versions"]["shares"].as_array().cloned().unwrap_or_default();
    let text = |share: &Value| share["version"].as_str().unwrap_or_default().to_owned();
    shares.iter().map(|share| (text(share), share["share"].as_f64().unwrap_or_default())).collect()
}

/// Clients that ask one request after another and note which version answers. Any other answer is a panic.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    running: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(balancer: &Balancer, count: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let address = balancer.address;
        let one = |_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut conn = Conn::open(address).await;
                let mut versions = Vec::new();
                while !stop.load(Relaxed) {
                    conn.send(get("/")).await;
                    let answer = conn.response().await;
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    versions.push(answer.text());
                    answered.fetch_add(1, Relaxed);
                }
                versions
            })
        };
        let running = (0..count).map(one).collect();
        Self { stop, answered, running }
    }

    async fn more(&self, count: usize) {
        let wanted = self.answered.load(Relaxed) + count;
        eventually("further answers", 6 * PATIENCE, async || {
            expect(self.answered.load(Relaxed), |n| *n >= wanted)
        })
        .await;
    }

    async fn end(self) -> Vec<Vec<String>> {
        self.stop.store(true, Relaxed);
        let mut all = Vec::new();
        for client in self.running {
            all.push(soon("a client's end", client).await.expect("every request was answered"));
        }
        all
    }
}

#[tokio::test]
async fn a_rollout_moves_all_requests_at_once_when_it_passes_the_half() {
    let balancer = Balancer::start("--versions majority");
    let mut old = Vec::new();
    for name in ["a", "b", "c"] {
        old.push(Node::start(&balancer, name, "1").await);
    }
    admin::until_routed(balancer.admin, 3, PATIENCE).await;
    let clients = Clients::start(&balancer, 3);
    clients.more(20).await;
    let first = Node::start(&balancer, "d", "2").await;
    clients.more(30).await;
    let list = admin::instances(balancer.admin).await;
    let own = list.iter().find(|i| i["name"] == first.name).expect("known");
    assert_eq!(own["routed"], false);
    assert!(own["reason"].as_str().is_some_and(|reason| reason.contains("version")), "{own}");
    let explained = admin::json(balancer.admin, "/v1/explain?path=/").await;
    assert!(explained["candidates"].to_string().contains("other-version"), "{explained}");
    old.remove(0).leave().await;
    let second = Node::start(&balancer, "e", "2").await;
    clients.more(30).await;
    assert_eq!(shares(&balancer).await, [("1".to_owned(), 1.0)], "two and two: it stays where it is");
    assert_eq!((first.instance.served(), second.instance.served()), (0, 0));
    old.remove(0).leave().await;
    eventually("the move", PATIENCE, async || {
        expect(shares(&balancer).await, |shares| *shares == [("2".to_owned(), 1.0)])
    })
    .await;
    clients.more(30).await;
    old.remove(0).leave().await;
    clients.more(30).await;
    for versions in clients.end().await {
        let moves = versions.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(moves, 1, "{versions:?}");
        assert_eq!((versions[0].as_str(), versions[versions.len() - 1].as_str()), ("1", "2"));
    }
    admin::until_idle(balancer.admin).await;
}

#[tokio::test]
async fn a_canary_gets_its_share_and_is_missed_by_nobody() {
    let balancer = Balancer::start("--versions 1=90,2=10");
    let _main = [Node::start(&balancer, "a", "1").await, Node::start(&balancer, "b", "1").await];
    let canary = Node::start(&balancer, "c", "2").await;
    let bystander = Node::start(&balancer, "d", "3").await;
    admin::until_routed(balancer.admin, 3, PATIENCE).await;
    let before = canary.instance.served();
    let mut conn = Conn::open(balancer.address).await;
    for _ in 0..500 {
        conn.send(get("/")).await;
        assert_eq!(conn.response().await.status(), 200);
    }
    let canaries = canary.instance.served() - before;
    assert!((48..=52).contains(&canaries), "a tenth of 500: {canaries}");
    assert_eq!(bystander.instance.served(), 0, "its version has no share");
    let counted = canary.instance.served() as f64;
    admin::until_metric(balancer.admin, "sluice_version_requests_total", &["version=\"2\""], counted).await;
    admin::until_metric(balancer.admin, "sluice_version_instances", &["version=\"1\""], 2.0).await;

    let clients = Clients::start(&balancer, 3);
    clients.more(30).await;
    canary.leave().await;
    clients.more(30).await;
    for _ in 0..30 {
        assert_eq!(ask(balancer.address, get("/")).await.text(), "1", "it leaves its share to the others");
    }
    clients.end().await;
    admin::until_idle(balancer.admin).await;
}

#[tokio::test]
async fn while_no_instance_of_a_version_that_should_serve_is_up_others_do() {
    let balancer = Balancer::start("--versions 2=1");
    let only = Node::start(&balancer, "a", "1").await;
    assert_eq!(ask(balancer.address, get("/")).await.text(), "1");
    let wanted = Node::start(&balancer, "b", "2").await;
    eventually("the move", PATIENCE, async || {
        expect(shares(&balancer).await, |shares| *shares == [("2".to_owned(), 1.0)])
    })
    .await;
    assert_eq!(ask(balancer.address, get("/")).await.text(), "2");
    let clients = Clients::start(&balancer, 2);
    clients.more(20).await;
    wanted.leave().await;
    clients.more(20).await;
    assert_eq!(ask(balancer.address, get("/")).await.text(), "1");
    clients.end().await;
    drop(only);
}
