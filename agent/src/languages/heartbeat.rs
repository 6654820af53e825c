//! Datagrams for httpd's mod_heartmonitor, whose mod_lbmethod_heartbeat sends requests where most workers are ready.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use sluice_proto::{Now, State};
use tokio::time::{MissedTickBehavior, interval};

use super::metrics::Beat;
use crate::shared::Shared;

/// As mod_heartbeat does; mod_lbmethod_heartbeat forgets a server after ten.
const EVERY: Duration = Duration::from_secs(1);

/// `v=1` and workers, as `hm_processmsg` of mod_heartmonitor reads it; `port` is the one that httpd knows this server
/// by. An instance that should get nothing has no worker ready.
fn text(state: State, now: &Now, workers: u32, port: Option<u16>) -> String {
    let busy = now.in_flight;
    let ready = match state {
        State::Ready => workers.saturating_sub(busy).saturating_sub(now.queued),
        State::Draining | State::Down => 0,
    };
    let port = port.map(|port| format!("&port={port}")).unwrap_or_default();
    format!("v=1&ready={ready}&busy={busy}{port}")
}

/// Whom it is sent to, and what about.
pub struct Heartbeat {
    socket: UdpSocket,
    to: SocketAddr,
    port: Option<u16>,
    shared: Arc<Shared>,
}

impl Heartbeat {
    /// To one address, or to all who joined a group.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn new(to: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let address = shared.identity.address.as_str();
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Ok(Self { socket, to, port, shared })
    }

    /// Sends for ever. A datagram that can not be sent is not sent later: the next one says more.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (state, _) = self.shared.state.standing().word();
            let text = text(state, &self.shared.now(), self.shared.workers(), self.port);
            // Sockets for datagrams take one at once, or not at all.
            let beat = match self.socket.send_to(text.as_bytes(), self.to) {
                Ok(_bytes) => Beat::Sent,
                Err(error) => {
                    tracing::debug!(to = %self.to, %error, "a heartbeat could not be sent");
                    Beat::Failed
                }
            };
            self.shared.languages.beaten(beat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_ready_if_nothing_waits_for_them() {
        let now = |in_flight, queued| Now { in_flight, queued, streaming: 9, spooled_bytes: 0 };
        for (state, now, expected) in [
            (State::Ready, now(0, 0), "v=1&ready=4&busy=0&port=8001"),
            (State::Ready, now(3, 0), "v=1&ready=1&busy=3&port=8001"),
            (State::Ready, now(4, 7), "v=1&ready=0&busy=4&port=8001"),
            (State::Draining, now(1, 0), "v=1&ready=0&busy=1&port=8001"),
            (State::Down, now(0, 0), "v=1&ready=0&busy=0&port=8001"),
        ] {
            assert_eq!(text(state, &now, 4, Some(8001)), expected);
        }
        assert_eq!(text(State::Ready, &now(0, 0), 1, None), "v=1&ready=1&busy=0");
    }
}
