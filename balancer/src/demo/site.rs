//! Starts and stops the demo's parts.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use sluice_emulation::instance::{Instance, Release};
use sluice_emulation::scenario::Scenario;
use sluice_process::control::OwnThread;
use sluice_process::reload::Source;
use sluice_process::{RunError, Shutdown, run_on_own_thread};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::config::Options;
use crate::run;

/// A balancer, agents and emulated instances at work.
pub(super) struct Site {
    pub(super) balancer: run::Running,
    pub(super) agents: Vec<sluice_agent::Running>,
    instances: OwnThread<()>,
    instances_stop: Shutdown,
    agents_stop: Shutdown,
    balancer_stop: Shutdown,
}

/// Agents register within one interval.
const REGISTRATION: Duration = Duration::from_secs(10);

impl Site {
    pub(super) fn start(
        scenario: &Scenario,
        listen: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> Result<Self, RunError> {
        let (instances_stop, agents_stop, balancer_stop) =
            (Shutdown::new(), Shutdown::new(), Shutdown::new());
        let options = balancer_options(listen, admin);
        let balancer = run::start(Source::fixed(options.clone()), options, &balancer_stop)?;
        let (instances, addresses) = start_instances(scenario, &instances_stop)?;
        let mut agents = Vec::new();
        for (number, (address, instance)) in addresses.iter().zip(&scenario.instances).enumerate() {
            let release = match instance.release {
                Release::FirstByte => sluice_agent::config::ReleaseOption::FirstByte,
                Release::End => sluice_agent::config::ReleaseOption::End,
            };
            let options = sluice_agent::Options {
                name: Some(format!("instance-{}", number + 1).parse().expect("letters, digits and a hyphen")),
                instance: Some((*address).into()),
                workers: u32::try_from(instance.workers).ok(),
                release: Some(release),
                version_label: Some("2026.11".to_owned()),
                ..agent_options(balancer.admin)?
            };
            agents.push(sluice_agent::start(sluice_agent::Config::load(options)?, agents_stop.clone())?);
        }
        Ok(Self { balancer, agents, instances, instances_stop, agents_stop, balancer_stop })
    }

    /// Waits until all agents have registered.
    pub(super) async fn ready(&self) -> Result<(), RunError> {
        let all_routed = async {
            while self.balancer.state.plan().entries.iter().filter(|entry| entry.entry.routed).count()
                < self.agents.len()
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let late = |_| RunError::failed("not all agents registered with the balancer");
        timeout(REGISTRATION, all_routed).await.map_err(late)
    }

    /// Stops everything in the order in which an operator would.
    pub(super) fn stop(self) -> Result<(), RunError> {
        self.agents_stop.trigger();
        self.agents.into_iter().try_for_each(sluice_agent::Running::join)?;
        self.balancer_stop.trigger();
        self.balancer.join()?;
        self.instances_stop.trigger();
        self.instances.join().map_err(RunError::failed)
    }
}

fn balancer_options(listen: Option<SocketAddr>, admin: Option<SocketAddr>) -> Options {
    let listen = listen.unwrap_or_else(|| free_or_any(8080)).into();
    let admin = Some(admin.unwrap_or_else(|| free_or_any(9900)).into());
    Options { listen: vec![listen], admin, ..Options::default() }
}

/// The usual port on loopback, or any if somebody has it.
fn free_or_any(port: u16) -> SocketAddr {
    let usual = SocketAddr::from(([127, 0, 0, 1], port));
    if TcpListener::bind(usual).is_ok() { usual } else { SocketAddr::from(([127, 0, 0, 1], 0)) }
}

fn agent_options(balancer: SocketAddr) -> Result<sluice_agent::Options, RunError> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(sluice_agent::Options {
        balancer: vec![format!("http://{balancer}").parse().map_err(RunError::failed)?],
        listen: Some(any.into()),
        admin: Some(any.into()),
        ..sluice_agent::Options::default()
    })
}

/// Instances run on a thread of their own, as they would in a process of their own.
fn start_instances(
    scenario: &Scenario,
    stop: &Shutdown,
) -> Result<(OwnThread<()>, Vec<SocketAddr>), RunError> {
    let (tell, told) = oneshot::channel();
    let (configs, stop) = (scenario.instances.clone(), stop.watch());
    let thread = run_on_own_thread("instances", move || async move {
        let mut running = Vec::new();
        for config in configs {
            match Instance::start(config).await {
                Ok(instance) => running.push(instance),
                Err(error) => return drop(tell.send(Err(error))),
            }
        }
        let addresses = running.iter().map(Instance::addr).collect::<Vec<_>>();
        if tell.send(Ok(addresses)).is_ok() {
            stop.requested().await;
        }
    });
    let thread = thread.map_err(RunError::failed)?;
    let addresses = told.blocking_recv().map_err(RunError::failed)?.map_err(RunError::failed)?;
    Ok((thread, addresses))
}
