//! kill -9 of each part under steady load, and its return. What the clients see is said at each test; what is left
//! behind is the same for all: nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sluice_emulation::dist::Dist;
use sluice_emulation::load::{self, ClassLoad, Failure, Progress, RunOptions, Summary, Workload};
use sluice_tests::process::{Process, free_addresses};
use sluice_tests::{PATIENCE, admin, eventually, expect};
use tokio::task::JoinHandle;

const INSTANCES: usize = 3;
/// Per instance.
const WORKERS: usize = 2;
const INTERVAL: Duration = Duration::from_millis(200);

/// Each part in a process of its own, each at an address that it keeps when it is started again.
struct Cluster {
    data: SocketAddr,
    admin: SocketAddr,
    balancer: Option<Process>,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    at: SocketAddr,
    agent_data: SocketAddr,
    agent_admin: SocketAddr,
    instance: Option<Process>,
    agent: Option<Process>,
}

impl Node {
    fn start_instance(&mut self) {
        let (process, at) = Process::instance(&format!("--listen {} --workers {WORKERS}", self.at));
        assert_eq!(at, self.at);
        self.instance = Some(process);
    }

    fn start_agent(&mut self, balancer: SocketAddr) {
        let Self { name, at, agent_data, agent_admin, .. } = self;
        self.agent = Some(Process::start(
            "sluice-agent",
            &format!(
                "--balancer http://{balancer} --instance {at} --listen {agent_data} --admin {agent_admin} \
                 --name {name} --workers {WORKERS} --release first-byte --interval {}ms --health-interval 200ms",
                INTERVAL.as_millis()
            ),
        ));
    }

    /// Requests that its instance answered, as its agent counts.
    async fn answered(&self) -> f64 {
        admin::metric(self.agent_admin, "sluice_agent_requests_total", &["outcome=\"ok\""]).await
    }

    /// Waits until its instance gets requests.
    async fn until_it_works(&self) {
        let before = self.answered().await;
        eventually(&format!("traffic to {}", self.name), PATIENCE, async || {
            expect(self.answered().await, |now| *now > before + 5.0)
        })
        .await;
    }

    /// Waits until its instance works on a request, which takes it 50 ms.
    async fn until_it_is_at_it(&self) {
        eventually("a request at work", PATIENCE, async || {
            let now = admin::json(self.agent_admin, "/v1/status").await["now"].clone();
            expect(now, |now| now["in_flight"].as_u64() >= Some(1))
        })
        .await;
    }
}

impl Cluster {
    async fn start() -> Self {
        let [data, admin, addresses @ ..] = free_addresses::<{ 2 + 3 * INSTANCES }>();
        let node = |(n, addresses): (usize, &[SocketAddr])| Node {
            name: format!("node-{n}"),
            at: addresses[0],
            agent_data: addresses[1],
            agent_admin: addresses[2],
            instance: None,
            agent: None,
        };
        let nodes = addresses.chunks(3).enumerate().map(node).collect();
        let mut cluster = Self { data, admin, balancer: None, nodes };
        cluster.start_balancer();
        for node in &mut cluster.nodes {
            node.start_instance();
            node.start_agent(admin);
        }
        cluster.until_admin_answers().await;
        admin::until_routed(admin, INSTANCES, PATIENCE).await;
        cluster
    }

    fn start_balancer(&mut self) {
        let flags =
            format!("--listen {} --admin {} --threads 2 --instance-keep-alive 1s", self.data, self.admin);
        self.balancer = Some(Process::start("sluice-balancer", &flags));
    }

    async fn until_admin_answers(&self) {
        eventually("the balancer's admin address", PATIENCE, async || {
            tokio::net::TcpStream::connect(self.admin).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }

    fn balancer_files(&self) -> usize {
        self.balancer.as_ref().expect("it runs").open_files()
    }

    /// No slot, request, client or descriptor is held any more.
    async fn assert_nothing_leaked(&self, files_before: usize) {
        admin::until_idle(self.admin).await;
        for node in &self.nodes {
            admin::until_agent_holds(node.agent_admin, 0).await;
        }
        admin::until_metric(self.admin, "sluice_client_connections_open", &[], 0.0).await;
        // Kept connections to agents go after a second, as the balancer is told; those of the reports stay.
        let allowed = files_before + INSTANCES;
        eventually(&format!("at most {allowed} descriptors"), PATIENCE, async || {
            expect(self.balancer_files(), |files| *files <= allowed)
        })
        .await;
    }
}

/// Load of a third of what the workers can do, as people cause it: not waiting for each other's answers.
struct Load {
    progress: Arc<Progress>,
    running: JoinHandle<Summary>,
}

impl Load {
    fn start(target: SocketAddr, seconds: u64) -> Self {
        let mut pages = ClassLoad::new("pages", 40.0);
        // 40/s of 50 ms: 2 of 6 workers.
        pages.work_ms = Dist::Constant(50.0);
        pages.bytes = Dist::Constant(20_000.0);
        let duration = Duration::from_secs(seconds);
        let workload = Workload { name: "steady".into(), seed: 1, duration, classes: vec![pages] };
        let progress = Progress::new(&workload);
        let shown = progress.clone();
        let options = RunOptions { timeout: Duration::from_secs(20), ..RunOptions::default() };
        let running = tokio::spawn(async move { load::run(target, &workload, options, shown).await });
        Self { progress, running }
    }

    fn answered(&self) -> u64 {
        self.progress.snapshot()[0].answered
    }

    /// Waits for that many further answers.
    async fn more(&self, count: u64) {
        let wanted = self.answered() + count;
        eventually("further answers", PATIENCE, async || expect(self.answered(), |n| *n >= wanted)).await;
    }

    async fn summary(self) -> Summary {
        let summary = self.running.await.expect("the load does not panic");
        println!("{summary}");
        assert_eq!(summary.classes[0].not_sent, 0);
        summary
    }
}

/// **An instance dies.** Its clients see nothing: a GET that was not answered yet is sent to another instance, by the
/// balancer, and none is sent there again until the agent finds it listening. A response that had begun is cut, and
/// seen as cut; at most one per worker. Once it is back it gets requests within a few seconds.
#[tokio::test]
async fn an_instance_is_killed_and_comes_back() {
    let mut cluster = Cluster::start().await;
    let files = cluster.balancer_files();
    let load = Load::start(cluster.data, 5);
    cluster.nodes[0].until_it_works().await;
    cluster.nodes[0].until_it_is_at_it().await;
    cluster.nodes[0].instance.take().expect("it runs").kill();
    admin::until_routed(cluster.admin, INSTANCES - 1, PATIENCE).await;
    load.more(40).await;
    cluster.nodes[0].start_instance();
    admin::until_routed(cluster.admin, INSTANCES, Duration::from_secs(3)).await;
    cluster.nodes[0].until_it_works().await;
    assert_at_most_cut(&load.summary().await);
    cluster.assert_nothing_leaked(files).await;
}

/// **An agent dies.** As an instance: what was not answered is sent elsewhere, what had begun is cut. The instance
/// itself goes on, unreachable. The new agent is known as another boot of the same instance.
#[tokio::test]
async fn an_agent_is_killed_and_comes_back() {
    let mut cluster = Cluster::start().await;
    let files = cluster.balancer_files();
    let load = Load::start(cluster.data, 5);
    cluster.nodes[0].until_it_works().await;
    cluster.nodes[0].until_it_is_at_it().await;
    cluster.nodes[0].agent.take().expect("it runs").kill();
    admin::until_routed(cluster.admin, INSTANCES - 1, PATIENCE).await;
    load.more(40).await;
    cluster.nodes[0].start_agent(cluster.admin);
    admin::until_routed(cluster.admin, INSTANCES, Duration::from_secs(3)).await;
    cluster.nodes[0].until_it_works().await;
    assert_at_most_cut(&load.summary().await);
    cluster.assert_nothing_leaked(files).await;
}

/// **The balancer dies.** Connections are reset, and refused until it listens again: that is what a second balancer
/// or the service manager is for. From then on every request is answered: the first wait for an instance to
/// register, which takes 2 or 3 report intervals. The agents see their clients gone and cancel what they asked for.
#[tokio::test]
async fn the_balancer_is_killed_and_comes_back() {
    let mut cluster = Cluster::start().await;
    let files = cluster.balancer_files();
    let load = Load::start(cluster.data, 3);
    load.more(20).await;
    cluster.nodes[0].until_it_is_at_it().await;
    cluster.balancer.take().expect("it runs").kill();
    eventually("connections refused", PATIENCE, async || {
        expect(load.progress.snapshot()[0].failed, |failed| *failed >= 10)
    })
    .await;
    for node in &cluster.nodes {
        admin::until_agent_holds(node.agent_admin, 0).await;
    }
    cluster.start_balancer();
    cluster.until_admin_answers().await;
    let back = Load::start(cluster.data, 3);
    admin::until_routed(cluster.admin, INSTANCES, 5 * INTERVAL).await;
    for node in &cluster.nodes {
        node.until_it_works().await;
    }
    let pages = load.summary().await.classes.remove(0);
    let unexpected: Vec<_> = pages
        .failed
        .keys()
        .filter(|failure| !matches!(failure, Failure::Connect) && !is_cut(failure))
        .collect();
    assert!(unexpected.is_empty(), "{:?}", pages.failed);
    let cut = pages.failed.iter().filter(|(failure, _)| is_cut(failure)).map(|(_, n)| n).sum::<u64>();
    assert!(cut <= (INSTANCES * WORKERS) as u64, "no more than were under way: {:?}", pages.failed);
    let pages = back.summary().await.classes.remove(0);
    assert_eq!(pages.failures(), 0, "once it listens, nothing fails: {:?}", pages.failed);
    cluster.assert_nothing_leaked(files).await;
}

fn is_cut(failure: &Failure) -> bool {
    matches!(failure, Failure::CutShort | Failure::Reset)
}

/// Every request was answered, but for at most one begun response per worker of one instance.
fn assert_at_most_cut(summary: &Summary) {
    let pages = &summary.classes[0];
    let cut = pages.failed.iter().filter(|(failure, _)| is_cut(failure)).map(|(_, n)| n).sum::<u64>();
    assert!(cut <= WORKERS as u64, "{:?}", pages.failed);
    assert_eq!(pages.failures() - cut, 0, "{:?}", pages.failed);
}
