//! What peers of Sluice's are told.

use std::{net::SocketAddr, time::Duration};

use sluice_process::{ConfigError, Span};
use sluice_proto::Mode;

use super::{
    Options, Switch,
    check::{HOUR, time, within},
};
use crate::orca::Form;

/// As many HAProxys as most sites have; with more, each would open as many connections as there are workers.
const AGENT_CHECK_PEERS: u32 = 1;

/// As gRPC's own servers can be set to and its clients ask for in tests; Envoy updates its weights once a second. A
/// report costs microseconds.
const ORCA_MIN_INTERVAL: Span = Span::from_secs(1);

/// Whom the agent tells how its instance is, beside balancers of Sluice's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguagesConfig {
    /// Where HAProxy asks; port 0 takes a free one. `None`: nowhere.
    pub agent_check: Option<SocketAddr>,
    /// HAProxys that share the workers. 1 to 1,000.
    pub agent_check_peers: u32,
    /// Where heartbeats go. `None`: nowhere.
    pub heartbeat: Option<SocketAddr>,
    /// How responses tell the load. `None`: they do not.
    pub orca: Option<Form>,
    /// Where streams of reports are served; port 0 takes a free one. `None`: nowhere.
    pub orca_listen: Option<SocketAddr>,
    /// Whether they are where requests are taken, too.
    pub orca_on_listen: bool,
    /// Between two reports on a stream. 100 ms to 1 h.
    pub orca_min_interval: Duration,
}

impl LanguagesConfig {
    /// Whether nobody is told.
    pub fn is_silent(&self) -> bool {
        self.agent_check.is_none() && self.heartbeat.is_none() && !self.speaks_orca()
    }

    /// Whether load reports are told, in whatever way.
    pub fn speaks_orca(&self) -> bool {
        self.orca.is_some() || self.orca_listen.is_some() || self.orca_on_listen
    }
}

pub(super) fn languages(options: &Options, mode: Mode) -> Result<LanguagesConfig, ConfigError> {
    let peers = options.agent_check_peers.unwrap_or(AGENT_CHECK_PEERS);
    if let Some(nowhere) = options.heartbeat.filter(|to| to.port() == 0 || to.ip().is_unspecified()) {
        let accepted = "the address and port of mod_heartmonitor's HeartbeatListen, such as 239.0.0.1:27999";
        return Err(ConfigError::value("--heartbeat", nowhere, accepted));
    }
    if let (Some(form), Mode::Passive) = (options.orca, mode) {
        let accepted = "responses do not pass the agent in mode passive; leave it out, or use --mode inline";
        return Err(ConfigError::value("--orca", format!("{form:?}").to_lowercase(), accepted));
    }
    let orca_on_listen = options.orca_on_listen == Some(Switch::On);
    if orca_on_listen && mode == Mode::Passive {
        let accepted = "nobody listens in mode passive; leave it out and use --orca-listen, or --mode inline";
        return Err(ConfigError::value("--orca-on-listen", "on", accepted));
    }
    Ok(LanguagesConfig {
        agent_check: options.agent_check,
        agent_check_peers: within("--agent-check-peers", peers, 1, 1000)?,
        heartbeat: options.heartbeat,
        orca: options.orca,
        orca_listen: options.orca_listen,
        orca_on_listen,
        orca_min_interval: time(
            "--orca-min-interval",
            options.orca_min_interval,
            ORCA_MIN_INTERVAL,
            100,
            HOUR,
        )?,
    })
}
