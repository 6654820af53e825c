//! What peers of Sluice's are told.

use std::net::SocketAddr;

use sluice_process::ConfigError;
use sluice_proto::Mode;

use super::{Options, check::within};
use crate::orca::Form;

/// As many HAProxys as most sites have; with more, each would open as many connections as there are workers.
const AGENT_CHECK_PEERS: u32 = 1;

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
}

impl LanguagesConfig {
    /// Whether nobody is told.
    pub fn is_silent(&self) -> bool {
        self.agent_check.is_none() && self.heartbeat.is_none() && self.orca.is_none()
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
    Ok(LanguagesConfig {
        agent_check: options.agent_check,
        agent_check_peers: within("--agent-check-peers", peers, 1, 1000)?,
        heartbeat: options.heartbeat,
        orca: options.orca,
    })
}
