//! Asks DNS.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, rdata::SRV},
};
use tokio::time::timeout;

use super::Name;

/// For all queries of one look-up: several servers are tried in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// `None`: those of the system.
    server: Option<SocketAddr>,
}

/// What a look-up found: at least one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// For so long it holds, as its owner says.
    pub(super) ttl: Duration,
}

/// Why a look-up found nothing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("{0}")]
    Dns(#[from] NetError),
    #[error("no answer within {PATIENCE:?}")]
    TimedOut,
    #[error("its records have no address")]
    NoAddress,
}

impl Resolver {
    /// `None`: the servers of the system are asked.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self { server }
    }

    pub(super) async fn resolve(&self, name: &Name) -> Result<Answer, ResolveError> {
        // Made anew each time: what /etc/resolv.conf says may have changed, and what is kept here outlives its TTL.
        let client = self.client()?;
        let looked_up = async {
            match name {
                Name::Host { host, port } => host_addresses(&client, host, *port).await,
                Name::Service(service) => service_addresses(&client, service).await,
            }
        };
        let answer = timeout(PATIENCE, looked_up).await.map_err(|_elapsed| ResolveError::TimedOut)??;
        if answer.addresses.is_empty() { Err(ResolveError::NoAddress) } else { Ok(answer) }
    }

    fn client(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio()?,
            Some(address) => {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                server.connections.iter_mut().for_each(|connection| connection.port = address.port());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build()
    }
}

async fn host_addresses(client: &TokioResolver, host: &str, port: u16) -> Result<Answer, ResolveError> {
    let found = client.lookup_ip(host).await?;
    let addresses = found.iter().map(|ip| SocketAddr::new(ip, port)).collect();
    Ok(Answer { addresses, ttl: left_until(found.valid_until()) })
}

async fn service_addresses(client: &TokioResolver, service: &str) -> Result<Answer, ResolveError> {
    let found = client.srv_lookup(service).await?;
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(record) => Some(record),
        _ => None,
    });
    let mut answer = Answer { addresses: BTreeSet::new(), ttl: left_until(found.valid_until()) };
    for record in first_group(records) {
        match host_addresses(client, &record.target.to_string(), record.port).await {
            Ok(host) => {
                answer.addresses.extend(host.addresses);
                answer.ttl = answer.ttl.min(host.ttl);
            }
            // A name without addresses is a server that is not there; anything else says nothing about it.
            Err(ResolveError::Dns(error)) if error.is_no_records_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Those with the lowest number, which are to be used first (RFC 2782). Weights say how to choose one of them, and
/// here all are wanted. A target of "." says that there is no such service.
fn first_group<'a>(records: impl Iterator<Item = &'a SRV>) -> Vec<&'a SRV> {
    let offered: Vec<_> = records.filter(|record| !record.target.is_root() && record.port != 0).collect();
    let first = offered.iter().map(|record| record.priority).min();
    offered.into_iter().filter(|record| Some(record.priority) == first).collect()
}

fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name as DnsName;

    use super::*;

    #[test]
    fn only_the_first_group_of_a_service_is_taken() {
        let record = |priority, weight, port, target: &str| {
            SRV::new(priority, weight, port, DnsName::from_ascii(target).expect("a name"))
        };
        let records = [
            record(20, 1, 9900, "spare.example."),
            record(10, 0, 9900, "a.example."),
            record(10, 60, 9901, "b.example."),
            record(0, 0, 0, "."),
        ];
        let ports: Vec<_> = first_group(records.iter()).iter().map(|record| record.port).collect();
        assert_eq!(ports, [9900, 9901]);
        assert!(first_group([record(0, 0, 0, ".")].iter()).is_empty(), "the service is not offered");
    }
}
