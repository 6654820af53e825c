//! A sender for each balancer that there is at present.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use sluice_process::discover::{Follower, Name, Resolver};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::Source;
use crate::{
    config::BalancerUrl,
    report::{Link, Sender},
    shared::Shared,
};

/// More balancers than anyone runs side by side; a wrong name must not make an agent report to half the world.
const MOST: usize = 64;

/// One that has not sent anything yet.
type MakeSender = Box<dyn Fn(&Arc<Link>) -> Sender + Send>;

/// All senders of one agent, and those who look for balancers.
pub struct Crew {
    shared: Arc<Shared>,
    sender: MakeSender,
    resolver: Resolver,
    tasks: JoinSet<()>,
    at_work: HashMap<BalancerUrl, AbortHandle>,
}

impl Crew {
    /// `sender` makes one that has not sent anything yet.
    pub fn new(
        shared: Arc<Shared>,
        resolver: Resolver,
        sender: impl Fn(&Arc<Link>) -> Sender + Send + 'static,
    ) -> Self {
        let (tasks, at_work) = (JoinSet::new(), HashMap::new());
        Self { shared, sender: Box::new(sender), resolver, tasks, at_work }
    }

    /// Reports for as long as the agent runs.
    pub async fn run(mut self) {
        let (found, mut changes) = mpsc::channel(16);
        let mut known: Vec<Vec<BalancerUrl>> = Vec::new();
        for (index, source) in self.shared.config.balancers.clone().into_iter().enumerate() {
            match source {
                Source::One(url) => known.push(vec![url]),
                Source::Named(name) => {
                    known.push(Vec::new());
                    self.tasks.spawn(follow(index, name, self.resolver.clone(), found.clone()));
                }
            }
        }
        self.report_to(&known.concat());
        loop {
            tokio::select! {
                Some(Found { source, balancers }) = changes.recv() => {
                    known[source] = balancers;
                    self.report_to(&known.concat());
                }
                Some(ended) = self.tasks.join_next() => match ended {
                    Err(error) if error.is_cancelled() => {}
                    // Whoever runs the crew takes its end for a failure.
                    Err(error) => return tracing::error!(%error, "reports are no longer sent"),
                    Ok(()) => return tracing::error!("reports are no longer sent"),
                },
            }
        }
    }

    /// From now on to these and nobody else.
    fn report_to(&mut self, wanted: &[BalancerUrl]) {
        let links = &self.shared.links;
        let (gone, come) = links.become_those(wanted, |url| {
            Arc::new(Link::new(url.clone(), &self.shared.metrics, tokio::time::Instant::now()))
        });
        for link in gone {
            tracing::info!(balancer = link.url.as_str(), "no longer in DNS: no more reports");
            if let Some(task) = self.at_work.remove(&link.url) {
                task.abort();
            }
            self.shared.metrics.forget_balancer(link.url.as_str());
        }
        for link in come {
            tracing::info!(balancer = link.url.as_str(), "reports from now on");
            let task = self.tasks.spawn((self.sender)(&link).run());
            self.at_work.insert(link.url.clone(), task);
        }
    }
}

/// One name's balancers, whenever they change.
struct Found {
    source: usize,
    balancers: Vec<BalancerUrl>,
}

/// Looks `name` up for ever, and tells `found` of each change.
async fn follow(source: usize, name: Name, resolver: Resolver, found: mpsc::Sender<Found>) {
    let mut follower = Follower::new(name, resolver, MOST, fastrand::Rng::new());
    loop {
        let looked = follower.look_up().await;
        if let Some(addresses) = looked.changed {
            let balancers = addresses.into_iter().map(url_of).collect();
            if found.send(Found { source, balancers }).await.is_err() {
                return;
            }
        }
        sleep(looked.pause).await;
    }
}

fn url_of(address: SocketAddr) -> BalancerUrl {
    format!("http://{address}").parse().expect("an address and a port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url() {
        for (address, url) in
            [("10.0.0.1:9900", "http://10.0.0.1:9900"), ("[2001:db8::1]:80", "http://[2001:db8::1]")]
        {
            assert_eq!(url_of(address.parse().expect("an address")).as_str(), url);
        }
    }
}
