//! Where clients connect: the sockets for each data thread, and the certificates that are served there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use sluice_process::RunError;
use sluice_process::upgrade::Sockets;
use sluice_relay::listen::{self, Inherited, ListenSpec, Listener, Protocol, Socket};
use sluice_relay::tls::{Certificates, TlsMetrics};
use tokio::time::sleep;

use crate::config::Config;

/// How often certificates' files are looked at. 2 s: who replaces one sees what came of it; it is a call per file.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// All listeners of a configuration.
pub struct Listeners {
    /// IP addresses as bound, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// Each of them at least once per data thread.
    pub per_thread: Vec<Vec<Listener>>,
    pub certificates: Vec<Arc<Certificates>>,
}

impl Listeners {
    /// By the sockets of the process before this one where it listened on the same; `heritage` gets duplicates of all,
    /// for the next.
    ///
    /// # Errors
    /// A place that can not be listened on, or a certificate that can not be used any more.
    pub fn open(
        config: &Config,
        registry: &Registry,
        former: &Sockets,
        heritage: &Sockets,
    ) -> Result<Self, RunError> {
        let metrics = TlsMetrics::register(registry);
        let inherited = Inherited::from_env().after(former);
        let per_thread = (0..config.threads).map(|_| Vec::new()).collect();
        let mut all = Self { addresses: Vec::new(), per_thread, certificates: Vec::new() };
        for spec in &config.listen {
            let sockets = listen::open(&spec.place, config.threads, &inherited).map_err(RunError::failed)?;
            listen::bequeath(&spec.place, &sockets, heritage).map_err(RunError::failed)?;
            let address = sockets[0].ip_address().map_err(RunError::failed)?;
            all.addresses.extend(address);
            let protocol = all.protocol(spec, &metrics)?;
            announce(spec, &sockets[0], address);
            let shares = listen::spread(&sockets, config.threads).map_err(RunError::failed)?;
            for (thread, share) in all.per_thread.iter_mut().zip(shares) {
                let listener = |socket| Listener { socket, protocol: protocol.clone() };
                thread.extend(share.into_iter().map(listener));
            }
        }
        Ok(all)
    }

    fn protocol(&mut self, spec: &ListenSpec, metrics: &TlsMetrics) -> Result<Protocol, RunError> {
        let tls = match spec.tls.as_slice() {
            [] => None,
            files => Some(Certificates::load(files, metrics).map_err(RunError::failed)?),
        };
        self.certificates.extend(tls.clone());
        Ok(Protocol { tls, h2c: spec.h2c, proxy: spec.proxy })
    }
}

fn announce(spec: &ListenSpec, socket: &Socket, address: Option<SocketAddr>) {
    let scheme = if spec.tls.is_empty() { "http" } else { "https" };
    match (address, socket.path()) {
        (Some(address), _) => tracing::info!("serving {scheme}://{address}"),
        (None, Some(path)) => tracing::info!("serving {scheme} at {}", path.display()),
        (None, None) => tracing::info!("serving {scheme} at {}", spec.place),
    }
}

/// Reads certificates again when their files change, for ever.
pub async fn keep_fresh(certificates: Vec<Arc<Certificates>>) {
    while !certificates.is_empty() {
        sleep(LOOK_EVERY).await;
        let all = certificates.clone();
        // Not on this thread: files may be on a network.
        let looked = tokio::task::spawn_blocking(move || all.iter().for_each(|one| one.refresh())).await;
        if let Err(error) = looked {
            tracing::error!("looking for new certificates failed: {error}");
        }
    }
}
