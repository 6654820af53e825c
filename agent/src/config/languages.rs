//! What peers of Sluice's are told.

use std::net::SocketAddr;

use sluice_process::ConfigError;

use super::{Options, check::within};

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
}

impl LanguagesConfig {
    /// Whether nobody is told.
    pub fn is_silent(&self) -> bool {
        self.agent_check.is_none() && self.heartbeat.is_none()
    }
}

pub(super) fn languages(options: &Options) -> Result<LanguagesConfig, ConfigError> {
    let peers = options.agent_check_peers.unwrap_or(AGENT_CHECK_PEERS);
    if let Some(nowhere) = options.heartbeat.filter(|to| to.port() == 0 || to.ip().is_unspecified()) {
        let accepted = "the address and port of mod_heartmonitor's HeartbeatListen, such as 239.0.0.1:27999";
        return Err(ConfigError::value("--heartbeat", nowhere, accepted));
    }
    Ok(LanguagesConfig {
        agent_check: options.agent_check,
        agent_check_peers: within("--agent-check-peers", peers, 1, 1000)?,
        heartbeat: options.heartbeat,
    })
}
