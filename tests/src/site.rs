//! Balancer and agents in this process, on free ports, each on threads of their own.

use std::net::SocketAddr;

use clap::Parser;
use sluice_process::Shutdown;
use sluice_process::reload::Source;

use crate::PATIENCE;
use crate::admin;

#[derive(Parser)]
struct BalancerLine {
    #[command(flatten)]
    options: sluice_balancer::config::Options,
}

#[derive(Parser)]
struct AgentLine {
    #[command(flatten)]
    options: sluice_agent::Options,
}

/// A balancer; ends at once when dropped.
pub struct Balancer {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Where Envoys ask, with `--xds`.
    pub xds: Option<SocketAddr>,
    running: Option<sluice_balancer::run::Running>,
    shutdown: Shutdown,
}

impl Balancer {
    /// Starts with `flags`, split at white space, on free ports and with one data thread.
    pub fn start(flags: &str) -> Self {
        Self::try_start(flags).unwrap_or_else(|error| panic!("{flags}: {error}"))
    }

    /// # Errors
    /// As [`sluice_balancer::run::start`], or what is wrong with the flags.
    pub fn try_start(flags: &str) -> Result<Self, String> {
        let listen = if flags.contains("--listen") { "" } else { "--listen 127.0.0.1:0" };
        Self::of_line(&[listen, flags].join(" "))
    }

    /// Starts with a configuration file that says where to listen.
    pub fn of_file(file: &std::path::Path) -> Self {
        Self::of_line(&format!("--config {}", file.display())).unwrap_or_else(|error| panic!("{error}"))
    }

    fn of_line(flags: &str) -> Result<Self, String> {
        let admin = if flags.contains("--admin") { "" } else { "--admin 127.0.0.1:0" };
        let line = format!("balancer --threads 1 {admin} {flags}");
        let options =
            BalancerLine::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?.options;
        let file = options.config.clone();
        let source = Source::new(options, file);
        let options = source.read().map_err(|e| e.to_string())?;
        let shutdown = Shutdown::new();
        let running = sluice_balancer::run::start(source, options, &shutdown).map_err(|e| e.to_string())?;
        // A balancer on Unix sockets alone has none.
        let address = running.listen.first().copied().unwrap_or(running.admin);
        Ok(Self { address, admin: running.admin, xds: running.xds, running: Some(running), shutdown })
    }

    /// The address of its listener of that number.
    pub fn listening(&self, index: usize) -> SocketAddr {
        self.running.as_ref().expect("it has not ended").listen[index]
    }

    /// Reads its configuration again, as on SIGHUP.
    pub fn reload(&self) {
        self.running.as_ref().expect("it has not ended").reload();
    }

    /// Asks it to stop gracefully.
    pub fn stop(&self) {
        self.shutdown.trigger();
    }

    /// Waits for its end.
    pub async fn ended(mut self) {
        let running = self.running.take().expect("taken only here");
        let joined = tokio::task::spawn_blocking(move || running.join());
        crate::soon("the balancer's end", joined).await.expect("no panic").expect("a clean end");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shutdown.trigger_now();
    }
}

/// An agent; ends at once when dropped.
pub struct Agent {
    /// Where the balancer sends requests: here, or in mode passive to the instance.
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// Where HAProxy asks, with `--agent-check`.
    pub agent_check: Option<SocketAddr>,
    /// Where load reports are streamed, with `--orca-listen`.
    pub orca: Option<SocketAddr>,
    running: Option<sluice_agent::Running>,
    shutdown: Shutdown,
}

impl Agent {
    /// Starts beside `instance` with `flags`, reporting to `balancer` ten times a second.
    pub fn start(balancer: SocketAddr, instance: SocketAddr, flags: &str) -> Self {
        Self::reporting_to(&format!("http://{balancer}"), instance, flags)
    }

    /// As [`start`](Self::start), to a balancer at any URL.
    pub fn reporting_to(balancer: &str, instance: SocketAddr, flags: &str) -> Self {
        Self::beside(instance, &format!("--balancer {balancer} {flags}"))
    }

    /// As [`start`](Self::start), but `flags` say whom it reports to, if anybody.
    pub fn beside(instance: SocketAddr, flags: &str) -> Self {
        let own = format!(
            "agent --instance {instance} --listen 127.0.0.1:0 --admin 127.0.0.1:0 --interval 100ms {flags}"
        );
        let options = AgentLine::parse_from(own.split_whitespace()).options;
        let source = Source::new(options.clone(), options.config.clone());
        let config = sluice_agent::Config::load(options).unwrap_or_else(|error| panic!("{flags}: {error}"));
        let shutdown = Shutdown::new();
        let running = sluice_agent::start_from(Some(source), config, shutdown.clone())
            .unwrap_or_else(|e| panic!("{flags}: {e}"));
        Self {
            address: running.data_addr().unwrap_or(instance),
            admin: running.admin_addr(),
            agent_check: running.agent_check_addr(),
            orca: running.orca_addr(),
            running: Some(running),
            shutdown,
        }
    }

    /// Reads its configuration again, as on SIGHUP.
    pub fn reload(&self) {
        self.running.as_ref().expect("it has not ended").reload();
    }

    /// Asks it to leave gracefully, as SIGTERM does.
    pub fn stop(&self) {
        self.shutdown.trigger();
    }

    /// Waits for its end.
    pub async fn ended(mut self) {
        let running = self.running.take().expect("taken only here");
        let joined = tokio::task::spawn_blocking(move || running.join());
        crate::soon("the agent's end", joined).await.expect("no panic").expect("a clean end");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.trigger_now();
    }
}

/// The two ways that a request can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Client, balancer, instance.
    Balancer,
    /// Client, balancer, agent, instance.
    Agent,
}

/// A balancer before one instance.
pub struct Site {
    pub balancer: Balancer,
    pub agent: Option<Agent>,
}

/// What a site is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub workers: u32,
    pub balancer: &'static str,
    pub agent: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { workers: 4, balancer: "", agent: "" }
    }
}

impl Site {
    /// Ready to serve.
    pub async fn start(chain: Chain, instance: SocketAddr, settings: Settings) -> Self {
        let Settings { workers, balancer, agent } = settings;
        let site = match chain {
            Chain::Balancer => {
                let flags = format!("--instance {instance},workers={workers} {balancer}");
                Self { balancer: Balancer::start(&flags), agent: None }
            }
            Chain::Agent => {
                let balancer = Balancer::start(balancer);
                let flags = format!("--workers {workers} {agent}");
                let agent = Agent::start(balancer.admin, instance, &flags);
                Self { balancer, agent: Some(agent) }
            }
        };
        admin::until_routed(site.balancer.admin, 1, PATIENCE).await;
        site
    }

    pub fn address(&self) -> SocketAddr {
        self.balancer.address
    }

    /// Waits until nothing is held anywhere.
    pub async fn until_idle(&self) {
        admin::until_idle(self.balancer.admin).await;
        if let Some(agent) = &self.agent {
            admin::until_agent_holds(agent.admin, 0).await;
        }
    }
}
