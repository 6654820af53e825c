//! The configuration is read again while requests are under way: no request and no connection is lost to that, and a
//! file that can not be used changes nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::Value;
use sluice_tests::http2::{self, Http2};
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::script::{Answering, RawInstance};
use sluice_tests::site::{Agent, Balancer};
use sluice_tests::wire::{Conn, ask, get, ok};
use sluice_tests::{PATIENCE, admin, eventually, expect, soon};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A configuration file, and a place for others.
struct File {
    dir: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let this = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        this.write(text);
        this
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sluice.toml")
    }

    /// As editors do: a new file in the old one's place. It listens on a free port if `text` does not say where.
    fn write(&self, text: &str) {
        let listen = if text.contains("listen") { "" } else { "listen = '127.0.0.1:0'\n" };
        let text = format!("{listen}{text}");
        let new = self.dir.path().join("new");
        fs::write(&new, text).expect("written");
        fs::rename(new, self.path()).expect("renamed");
    }

    fn balancer(&self) -> Balancer {
        Balancer::of_file(&self.path())
    }
}

async fn reloads(admin: SocketAddr) -> Value {
    admin::json(admin, "/v1/reloads").await
}

/// What became of the last attempt, and why.
async fn last(balancer: &Balancer) -> (String, String) {
    let last = reloads(balancer.admin).await["last"].clone();
    let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("error"))
}

async fn apply(balancer: &Balancer, file: &File, text: &str) {
    file.write(text);
    balancer.reload();
    assert_eq!(last(balancer).await, ("applied".to_owned(), String::new()), "{text}");
}

/// Clients that ask over and over on kept connections: one after another, until told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    running: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Panics in their tasks if any request gets anything but 200, or a connection ends.
    fn start(address: SocketAddr, count: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let one = |_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut kept = Conn::open(address).await;
                while !stop.load(Relaxed) {
                    kept.send(get("/kept")).await;
                    assert_eq!(kept.response().await.status(), 200);
                    assert_eq!(ask(address, get("/new")).await.status(), 200);
                    answered.fetch_add(2, Relaxed);
                }
            })
        };
        let running = (0..count).map(one).collect();
        Self { stop, answered, running }
    }

    async fn more(&self, count: usize) {
        let wanted = self.answered.load(Relaxed) + count;
        // Many clients, and a machine that may be busy with other tests.
        eventually("further answers", 6 * PATIENCE, async || {
            let dead = self.running.iter().any(JoinHandle::is_finished);
            assert!(!dead, "a client lost a request or its connection");
            expect(self.answered.load(Relaxed), |n| *n >= wanted)
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Relaxed);
        for client in self.running {
            soon("a client's end", client).await.expect("no request and no connection was lost");
        }
    }
}

/// Ten different configurations, each of which changes limits, rules, timeouts, options of the listener and more.
#[tokio::test]
async fn ten_reloads_under_load_lose_nothing() {
    let instances = [Answering::named("a").await, Answering::named("b").await];
    let [a, b] = instances.each_ref().map(Answering::address);
    let text = |n: usize| {
        let workers = 1 + n % 3;
        format!(
            "listen = '127.0.0.1:0{}'\ninstance = ['{a},workers={workers},name=a', '{b},workers=2,name=b']\n\
             queue-length = {}\nclient-head-timeout = '{}s'\nconnect-timeout = '{}s'\neject-after = {}\n\
             access-log = '/dev/null'\naccess-log-sample = 0.{}\ntrusted-proxy = '10.0.0.{n}/32'\n\
             [[rule]]\nname = 'kept{n}'\npath = '/kept'\nlane = 'large'\n",
            if n.is_multiple_of(2) { ",h2c" } else { "" },
            500 + n,
            10 + n,
            5 + n,
            5 + n,
            1 + n % 9,
        )
    };
    let file = File::new(&text(0));
    let balancer = file.balancer();
    let clients = Clients::start(balancer.address, 4);
    for n in 1..=10 {
        clients.more(10).await;
        apply(&balancer, &file, &text(n)).await;
    }
    clients.more(10).await;
    clients.end().await;
    admin::until_metric(balancer.admin, "sluice_config_reloads_total", &["outcome=\"applied\""], 10.0).await;
    admin::until_idle(balancer.admin).await;
    admin::until_metric(balancer.admin, "sluice_client_connections_open", &[], 0.0).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let instance = Answering::named("a").await;
    let good = format!("instance = '{},name=a'\nqueue-length = 7\n", instance.address());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("bound");
    let _somebody_elses = std::net::TcpListener::bind(taken);
    let file = File::new(&good);
    let balancer = file.balancer();
    let since = reloads(balancer.admin).await["in_force_since_ms"].clone();
    let cases = [
        ("not TOML", "= 1".to_owned(), vec!["sluice.toml", "line 2"]),
        ("unknown key", format!("{good}lissten = 1"), vec!["lissten", "`listen`"]),
        ("value", format!("{good}queue-timeout = '0s'"), vec!["queue-timeout", "0s", "30s"]),
        ("a certificate", format!("{good}listen = '127.0.0.1:0,tls=/no/cert:/no/key'"), vec!["/no/cert"]),
        (
            "an address that is taken",
            format!("listen = ['127.0.0.1:0', '{}']", balancer.admin),
            vec!["can not listen"],
        ),
        (
            "an instance of no service",
            "instance = '127.0.0.1:1,service=shop'".to_owned(),
            vec!["shop", "default"],
        ),
    ];
    for (n, (case, text, parts)) in cases.iter().enumerate() {
        file.write(text);
        balancer.reload();
        let (outcome, error) = last(&balancer).await;
        assert_eq!(outcome, "refused", "{case}");
        for part in parts {
            assert!(error.contains(part), "{case}: {part:?} is not in: {error}");
        }
        assert_eq!(ask(balancer.address, get("/")).await.text(), "a", "{case}");
        let refused =
            admin::metric(balancer.admin, "sluice_config_reloads_total", &["outcome=\"refused\""]).await;
        assert_eq!(refused, (n + 1) as f64, "{case}");
    }
    fs::remove_file(file.path()).expect("removed");
    balancer.reload();
    assert!(last(&balancer).await.1.contains("No such file"));
    assert_eq!(
        reloads(balancer.admin).await["in_force_since_ms"],
        since,
        "it is the first configuration still"
    );
    apply(&balancer, &file, &good).await;
}

#[tokio::test]
async fn a_listener_is_added_and_one_is_removed_with_a_download_going_on() {
    let mut instance = RawInstance::start().await;
    let [first, second] = free_addresses::<2>();
    let text = |listen: &str| format!("listen = [{listen}]\ninstance = '{}'\n", instance.address());
    let (one, both) = (format!("'{first}'"), format!("'{first}', '{second}'"));
    let (only_second, one) = (text(&format!("'{second}'")), text(&one));
    let both = text(&both);
    let file = File::new(&one);
    let balancer = file.balancer();
    apply(&balancer, &file, &both).await;

    let mut client = Conn::open(first).await;
    client.send(get("/download")).await;
    let mut served = instance.accept().await;
    served.request().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst").await;
    client.until("first").await;

    apply(&balancer, &file, &only_second).await;
    eventually("the removed address refuses", PATIENCE, async || {
        match tokio::net::TcpStream::connect(first).await {
            Ok(_) => Err("it accepts".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    served.send("after").await;
    assert_eq!(client.exactly(5).await, b"after", "what was under way is finished");
    client.ended().await;

    let mut client = Conn::open(second).await;
    client.send(get("/")).await;
    let mut served = match tokio::time::timeout(PATIENCE, served.try_head()).await {
        Ok(Ok(_)) => served,
        _ => instance.accept().await,
    };
    served.send(ok("second")).await;
    assert_eq!(client.response().await.text(), "second");
}

#[tokio::test]
async fn options_of_an_address_change_for_new_connections() {
    let instance = Answering::named("a").await;
    let [address] = free_addresses::<1>();
    let text =
        |options: &str| format!("listen = '{address}{options}'\ninstance = '{}'\n", instance.address());
    let file = File::new(&text(""));
    let balancer = file.balancer();
    let mut before = Conn::open(address).await;
    before.send(get("/")).await;
    assert_eq!(before.response().await.text(), "a");

    apply(&balancer, &file, &text(",proxy")).await;
    let mut introduced = Conn::open(address).await;
    introduced.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{}", get("/"))).await;
    assert_eq!(introduced.response().await.text(), "a");
    let mut bare = Conn::open(address).await;
    bare.send(get("/")).await;
    bare.ended().await;
    before.send(get("/")).await;
    assert_eq!(before.response().await.text(), "a", "who was connected is served as before");
}

#[tokio::test]
async fn instances_come_and_go_under_load() {
    let instances = [Answering::named("a").await, Answering::named("b").await];
    let [a, b] = instances.each_ref().map(Answering::address);
    let only_a = format!("instance = '{a},workers=2,name=a'\n");
    let both = format!("instance = ['{a},workers=2,name=a', '{b},workers=2,name=b']\n");
    let only_b = format!("instance = '{b},workers=4,name=b'\n");
    let file = File::new(&only_a);
    let balancer = file.balancer();
    let clients = Clients::start(balancer.address, 3);
    clients.more(10).await;
    assert_eq!(instances[1].served(), 0);

    apply(&balancer, &file, &both).await;
    eventually("requests to the new one", PATIENCE, async || expect(instances[1].served(), |n| *n > 5)).await;

    apply(&balancer, &file, &only_b).await;
    let known = admin::instances(balancer.admin).await;
    assert_eq!(known.iter().map(|i| i["name"].clone()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(known[0]["workers"], 4);
    clients.more(10).await;
    let served = instances[0].served();
    clients.more(10).await;
    assert_eq!(instances[0].served(), served, "nothing more goes to the one that was removed");
    clients.end().await;
}

#[tokio::test]
async fn a_removed_instance_finishes_what_it_works_on() {
    let (mut leaving, staying) = (RawInstance::start().await, Answering::named("stays").await);
    let file = File::new(&format!("instance = '{},name=leaving'\n", leaving.address()));
    let balancer = file.balancer();
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let mut served = leaving.accept().await;
    served.request().await;
    apply(&balancer, &file, &format!("instance = '{},name=staying'\n", staying.address())).await;
    assert_eq!(ask(balancer.address, get("/")).await.text(), "stays");
    served.send(ok("left in peace")).await;
    assert_eq!(client.response().await.text(), "left in peace");
    admin::until_idle(balancer.admin).await;
}

#[tokio::test]
async fn an_instance_with_an_agent_stays_when_the_configuration_drops_it() {
    let instance = Answering::named("a").await;
    let file = File::new(&format!("instance = '{},workers=3,name=a'\n", instance.address()));
    let balancer = file.balancer();
    let _agent = Agent::start(balancer.admin, instance.address(), "--name a --workers 3");
    eventually("its agent's report", PATIENCE, async || {
        expect(admin::instances(balancer.admin).await, |list| list.len() == 1 && list[0]["source"] == "agent")
    })
    .await;
    apply(&balancer, &file, "queue-length = 9\n").await;
    let known = admin::instances(balancer.admin).await;
    assert_eq!((known.len(), &known[0]["routed"]), (1, &Value::Bool(true)));
    assert_eq!(ask(balancer.address, get("/")).await.text(), "a");
}

#[tokio::test]
async fn rules_and_services_change_and_instances_stay() {
    let (main, shop) = (Answering::named("main").await, Answering::named("shop").await);
    let instances =
        format!("instance = ['{},name=m', '{},name=s,service=shop']\n", main.address(), shop.address());
    let plain = format!("instance = '{},name=m'\n", main.address());
    let ruled = format!(
        "{instances}[[rule]]\nname = 'reports'\npath = '/r/*'\nlane = 'large'\n[service.shop]\nhosts = 'shop'\n"
    );
    let file = File::new(&plain);
    let balancer = file.balancer();
    let explain =
        async |path: &str| admin::json(balancer.admin, &format!("/v1/explain?host=h&path={path}")).await;
    assert_eq!(ask(balancer.address, get("/r/1")).await.text(), "main");
    assert_eq!(explain("/r/1").await["lane"]["name"], "small");

    apply(&balancer, &file, &ruled).await;
    let told = explain("/r/1").await;
    assert_eq!((&told["class"], &told["lane"]["name"]), (&"reports".into(), &"large".into()), "{told}");
    let to_shop = "GET / HTTP/1.1\r\nhost: shop\r\n\r\n";
    assert_eq!(ask(balancer.address, to_shop).await.text(), "shop");
    assert_eq!(ask(balancer.address, get("/r/1")).await.text(), "main");

    apply(&balancer, &file, &ruled.replace("large", "small")).await;
    assert_eq!(explain("/r/1").await["lane"]["name"], "small");

    apply(&balancer, &file, &plain).await;
    assert_eq!(ask(balancer.address, to_shop).await.text(), "main", "its service is gone");
    assert_ne!(explain("/r/1").await["class"], "reports");
    let known = admin::instances(balancer.admin).await;
    assert_eq!(known.iter().map(|i| i["name"].clone()).collect::<Vec<_>>(), ["m"]);
    assert_eq!(main.served(), 3);
}

#[tokio::test]
async fn flags_beat_the_file_each_time_and_what_needs_a_restart_is_named() {
    let instance = Answering::named("a").await;
    let file = File::new("queue-length = 5\n");
    let flags = format!("--config {} --instance {},name=flag", file.path().display(), instance.address());
    let balancer = Balancer::start(&flags);
    let text =
        "instance = '127.0.0.1:1,name=file'\nmax-classes = 50\nadmin = '127.0.0.1:1'\nlog-format = 'json'\n";
    apply(&balancer, &file, text).await;
    let known = admin::instances(balancer.admin).await;
    assert_eq!(known.iter().map(|i| i["name"].clone()).collect::<Vec<_>>(), ["flag"]);
    let fixed = reloads(balancer.admin).await["last"]["needs_restart"].clone();
    assert_eq!(fixed, serde_json::json!(["max-classes", "log-format"]), "the admin address is a flag's");
    let events = admin::json(balancer.admin, "/v1/reloads").await;
    assert_eq!(events["last"]["outcome"], "applied");
}

#[tokio::test]
async fn an_access_log_begins_changes_and_ends() {
    let instance = Answering::named("a").await;
    let file = File::new("");
    let logs = ["one", "two"].map(|name| file.dir.path().join(name));
    let text = |rest: &str| format!("instance = '{}'\n{rest}", instance.address());
    let log = |n: usize| format!("access-log = '{}'\naccess-log-format = '$target'\n", logs[n].display());
    file.write(&text(""));
    let balancer = file.balancer();
    let lines = async |n: usize, wanted: &str| {
        eventually("lines", PATIENCE, async || {
            expect(fs::read_to_string(&logs[n]).unwrap_or_default(), |text| text == wanted)
        })
        .await;
    };
    ask(balancer.address, get("/unlogged")).await;
    apply(&balancer, &file, &text(&log(0))).await;
    ask(balancer.address, get("/first")).await;
    lines(0, "/first\n").await;
    apply(&balancer, &file, &text(&log(1))).await;
    ask(balancer.address, get("/second")).await;
    lines(1, "/second\n").await;
    lines(0, "/first\n").await;
    apply(&balancer, &file, &text("")).await;
    ask(balancer.address, get("/unlogged")).await;
    balancer.stop();
    balancer.ended().await;
    lines(1, "/second\n").await;
}

/// The real program: SIGHUP, a file that changes without one, and `--watch-config off`.
#[tokio::test]
async fn the_program_reads_again_on_sighup_and_when_the_file_changes() {
    let instance = Answering::named("a").await;
    let text = |queue: usize| format!("instance = '{}'\nqueue-length = {queue}\n", instance.address());
    let applied = async |admin: SocketAddr, wanted: f64| {
        admin::until_metric(admin, "sluice_config_reloads_total", &["outcome=\"applied\""], wanted).await;
    };
    let [listen, admin, quiet_listen, quiet_admin] = free_addresses::<4>();
    let file = File::new(&text(1));
    let flags = format!("--config {}", file.path().display());
    let balancer = Process::start("sluice-balancer", &format!("{flags} --listen {listen} --admin {admin}"));
    let quiet = Process::start(
        "sluice-balancer",
        &format!("{flags} --watch-config off --listen {quiet_listen} --admin {quiet_admin}"),
    );
    for admin in [admin, quiet_admin] {
        eventually("the admin address", PATIENCE, async || {
            tokio::net::TcpStream::connect(admin).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    applied(admin, 0.0).await;
    file.write(&text(2));
    applied(admin, 1.0).await;
    assert_eq!(ask(listen, get("/")).await.text(), "a");
    applied(quiet_admin, 0.0).await;
    quiet.signal("HUP");
    applied(quiet_admin, 1.0).await;
    balancer.signal("HUP");
    applied(admin, 2.0).await;
    assert_eq!(ask(listen, get("/")).await.text(), "a");
    assert_eq!(ask(quiet_listen, get("/")).await.text(), "a");
}

/// The agent: workers and queue change under way, a bad file changes nothing, the rest is named.
#[tokio::test]
async fn an_agent_reads_its_configuration_again() {
    let mut instance = RawInstance::start().await;
    let balancer = Balancer::start("");
    let file = File::new("workers = 1\n");
    let config = file.path();
    let agent =
        Agent::start(balancer.admin, instance.address(), &format!("--name a --config {}", config.display()));
    admin::until_routed(balancer.admin, 1, PATIENCE).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Conn::open(balancer.address).await;
        client.send(get("/")).await;
        clients.push(client);
    }
    let mut first = instance.accept().await;
    first.request().await;
    fs::write(&config, "workers = 0\n").expect("written");
    agent.reload();
    let told = admin::json(agent.admin, "/v1/status").await;
    assert_eq!((&told["configuration"]["last"]["outcome"], &told["workers"]), (&"refused".into(), &1.into()));
    assert!(told["configuration"]["last"]["error"].to_string().contains("--workers"), "{told}");

    fs::write(&config, "workers = 2\ninterval = '7s'\nconnect-timeout = '9s'\n").expect("written");
    agent.reload();
    let told = admin::json(agent.admin, "/v1/status").await;
    assert_eq!((&told["configuration"]["last"]["outcome"], &told["workers"]), (&"applied".into(), &2.into()));
    let fixed = &told["configuration"]["last"]["needs_restart"];
    assert_eq!(*fixed, serde_json::json!(["connect-timeout"]), "the interval is a flag's");
    let mut second = instance.accept().await;
    second.request().await;
    for (mut served, mut client) in [first, second].into_iter().zip(clients) {
        served.send(ok("done")).await;
        assert_eq!(client.response().await.text(), "done");
    }
    admin::until_idle(balancer.admin).await;
}

/// What is not finished by the drain timeout is cut, whatever it came by.
#[tokio::test]
async fn a_stop_has_a_deadline() {
    let mut instance = RawInstance::start().await;
    let flags =
        format!("--listen 127.0.0.1:0,h2c --instance {},workers=4 --drain-timeout 300ms", instance.address());
    let balancer = Balancer::start(&flags);
    let mut client = Conn::open(balancer.address).await;
    client.send(get("/")).await;
    let mut held = instance.accept().await;
    held.request().await;
    let mut other = Http2::open(balancer.address).await;
    let (response, _) = other.send(http2::get("/"), true).await;
    let mut held = (held, instance.accept().await);
    held.1.request().await;
    balancer.stop();
    soon("the cut", response).await.expect_err("nobody answered");
    assert!(client.try_head().await.is_err(), "nobody answered");
    balancer.ended().await;
}
