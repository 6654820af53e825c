//! Where clients connect: the sockets for each data thread, and the certificates that are served there.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::Registry;
use sluice_process::upgrade::Sockets;
use sluice_process::{RunError, Shutdown};
use sluice_relay::Doors;
use sluice_relay::limits::ClientLimits;
use sluice_relay::listen::{self, Inherited, ListenSpec, Listener, Place, Protocol, Socket};
use sluice_relay::tls::{Certificates, TlsMetrics};
use tokio::time::sleep;

use crate::data::{Life, Stand};

/// How often certificates' files are looked at. 2 s: who replaces one sees what came of it; it is a call per file.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// All listeners of the configuration in force. Holds each socket once more than the data threads do, so that another
/// stand can take one over with the connections that wait in it.
pub struct Listeners {
    opened: Vec<Opened>,
    inherited: Inherited,
    /// Every socket once more, for the process after this one.
    heritage: Sockets,
    metrics: TlsMetrics,
    /// Data threads.
    threads: usize,
    /// Those that are served now, for [`keep_fresh`].
    certificates: SharedCertificates,
}

/// Certificates in use, as the configuration changes them.
pub type SharedCertificates = Arc<Mutex<Vec<Arc<Certificates>>>>;

/// A place that is listened on.
struct Opened {
    spec: ListenSpec,
    /// For [`listen::spread`].
    sockets: Vec<Socket>,
    protocol: Protocol,
    life: Life,
}

/// What another configuration listens on, opened and not yet served.
pub struct Prepared(Vec<Next>);

enum Next {
    /// As before, or with other options: the listener of that number in the configuration in force.
    Kept(usize, Option<(ListenSpec, Protocol)>),
    New(Opened),
}

impl Listeners {
    /// None yet. Where the process before this one listened its sockets, `former`, are taken; `heritage` gets
    /// duplicates of all that are in force, for the next.
    pub fn new(registry: &Registry, threads: usize, former: &Sockets, heritage: &Sockets) -> Self {
        Self {
            opened: Vec::new(),
            inherited: Inherited::from_env().after(former),
            heritage: heritage.clone(),
            metrics: TlsMetrics::register(registry),
            threads,
            certificates: Arc::default(),
        }
    }

    /// IP addresses as bound, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.opened.iter().filter_map(|one| one.sockets.first()?.ip_address().ok().flatten()).collect()
    }

    pub fn certificates(&self) -> SharedCertificates {
        self.certificates.clone()
    }

    /// Opens what is not open yet. Nothing is served and nothing is changed until [`Listeners::commit`].
    ///
    /// # Errors
    /// A place that can not be listened on, or a certificate that can not be used any more.
    pub fn prepare(&self, specs: &[ListenSpec]) -> Result<Prepared, RunError> {
        let mut kept = vec![false; self.opened.len()];
        specs.iter().map(|spec| self.prepare_one(spec, &mut kept)).collect::<Result<_, _>>().map(Prepared)
    }

    /// `kept`: which listeners are taken over. None twice: port 0 may be asked for as often as one likes.
    fn prepare_one(&self, spec: &ListenSpec, kept: &mut [bool]) -> Result<Next, RunError> {
        let is_it = |(index, one): (usize, &Opened)| {
            (!kept[index] && is_same_place(&one.spec.place, &spec.place)).then_some(index)
        };
        if let Some(index) = self.opened.iter().enumerate().find_map(is_it) {
            kept[index] = true;
            let changed = self.opened[index].spec != *spec;
            let renewed =
                changed.then(|| Ok::<_, RunError>((spec.clone(), self.protocol(spec)?))).transpose()?;
            return Ok(Next::Kept(index, renewed));
        }
        let sockets = listen::open(&spec.place, self.threads, &self.inherited).map_err(RunError::failed)?;
        let protocol = self.protocol(spec)?;
        Ok(Next::New(Opened { spec: spec.clone(), sockets, protocol, life: Life::default() }))
    }

    fn protocol(&self, spec: &ListenSpec) -> Result<Protocol, RunError> {
        let tls = match spec.tls.as_slice() {
            [] => None,
            files => Some(Certificates::load(files, &self.metrics).map_err(RunError::failed)?),
        };
        Ok(Protocol { tls, h2c: spec.h2c, proxy: spec.proxy })
    }

    /// Puts it in force: what is new is served, what is gone ends when its connections are idle, and what has other
    /// options, or is to have other limits (`anew`), serves new connections by them. Returns what the data threads are
    /// to serve, for each of them.
    ///
    /// # Errors
    /// There are no descriptors left for it; then it stays as it was.
    pub fn commit(
        &mut self,
        prepared: Prepared,
        limits: &ClientLimits,
        doors: &Arc<Doors>,
        anew: bool,
    ) -> Result<Vec<Vec<Stand>>, RunError> {
        let Prepared(next) = prepared;
        // All that can fail comes first.
        let shares: Vec<_> = next.iter().map(|next| self.shares_of(next, anew)).collect::<Result<_, _>>()?;
        self.bequeath(&next)?;
        let mut before: Vec<_> = std::mem::take(&mut self.opened).into_iter().map(Some).collect();
        let mut stands: Vec<Vec<Stand>> = (0..self.threads).map(|_| Vec::new()).collect();
        for (next, shares) in next.into_iter().zip(shares) {
            let mut opened = match next {
                Next::New(opened) => opened.announced(),
                Next::Kept(index, renewed) => {
                    let Some(opened) = before.get_mut(index).and_then(Option::take) else { continue };
                    opened.renewed(renewed)
                }
            };
            if let Some(shares) = shares {
                opened.stand(shares, limits, doors, &mut stands);
            }
            self.opened.push(opened);
        }
        for gone in before.into_iter().flatten() {
            self.heritage.take(&gone.spec.place.to_string());
            gone.end();
        }
        let served = self.opened.iter().filter_map(|one| one.protocol.tls.clone()).collect();
        *self.certificates.lock().expect("no code panics while holding it") = served;
        Ok(stands)
    }

    /// Sockets for new stands, by data thread, if there are to be new ones.
    fn shares_of(&self, next: &Next, anew: bool) -> Result<Option<Vec<Vec<Socket>>>, RunError> {
        let sockets = match next {
            Next::New(opened) => &opened.sockets,
            Next::Kept(index, renewed) if anew || renewed.is_some() => &self.opened[*index].sockets,
            Next::Kept(..) => return Ok(None),
        };
        listen::spread(sockets, self.threads).map(Some).map_err(RunError::failed)
    }

    /// Leaves what is new to the process after this one: all of it or nothing.
    fn bequeath(&self, next: &[Next]) -> Result<(), RunError> {
        let new =
            || next.iter().filter_map(|next| if let Next::New(opened) = next { Some(opened) } else { None });
        for opened in new() {
            if let Err(error) = listen::bequeath(&opened.spec.place, &opened.sockets, &self.heritage) {
                new().for_each(|opened| drop(self.heritage.take(&opened.spec.place.to_string())));
                return Err(RunError::failed(error));
            }
        }
        Ok(())
    }

    /// Nobody can connect any more, once the data threads have closed theirs too.
    pub fn close(&mut self) {
        self.opened.clear();
        self.heritage.close();
    }
}

/// The mode of a Unix socket is no part of its place.
fn is_same_place(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::Unix { path: a, .. }, Place::Unix { path: b, .. }) => a == b,
        _ => a == b,
    }
}

impl Opened {
    fn announced(self) -> Self {
        let scheme = if self.spec.tls.is_empty() { "http" } else { "https" };
        let socket = &self.sockets[0];
        match (socket.ip_address().ok().flatten(), socket.path()) {
            (Some(address), _) => tracing::info!("serving {scheme}://{address}"),
            (None, Some(path)) => tracing::info!("serving {scheme} at {}", path.display()),
            (None, None) => tracing::info!("serving {scheme} at {}", self.spec.place),
        }
        self
    }

    /// With other options, if there are.
    fn renewed(self, renewed: Option<(ListenSpec, Protocol)>) -> Self {
        let Some((spec, protocol)) = renewed else { return self };
        tracing::info!("{} is served otherwise from now on: {spec}", self.spec.place);
        if let Place::Unix { path, mode } = &spec.place {
            set_mode(path, *mode);
        }
        Self { spec, protocol, ..self }
    }

    /// New connections are taken by new stands. Those that were accepted before go on as they are.
    fn stand(
        &mut self,
        shares: Vec<Vec<Socket>>,
        limits: &ClientLimits,
        doors: &Arc<Doors>,
        stands: &mut [Vec<Stand>],
    ) {
        self.life.closed.trigger();
        self.life.closed = Shutdown::new();
        for (stands, share) in stands.iter_mut().zip(shares) {
            stands.extend(share.into_iter().map(|socket| Stand {
                listener: Listener { socket, protocol: self.protocol.clone() },
                limits: limits.clone(),
                doors: doors.clone(),
                life: self.life.clone(),
            }));
        }
    }

    fn end(self) {
        tracing::info!("{} is served no more", self.spec.place);
        self.life.stop.trigger();
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    if let Err(error) = set_permissions(path, Permissions::from_mode(mode)) {
        tracing::warn!("{} keeps its permissions: {error}", path.display());
    }
}

/// Reads certificates again when their files change, for ever.
pub async fn keep_fresh(certificates: SharedCertificates) {
    loop {
        sleep(LOOK_EVERY).await;
        let all = certificates.lock().expect("no code panics while holding it").clone();
        if all.is_empty() {
            continue;
        }
        // Not on this thread: files may be on a network.
        let looked = tokio::task::spawn_blocking(move || all.iter().for_each(|one| one.refresh())).await;
        if let Err(error) = looked {
            tracing::error!("looking for new certificates failed: {error}");
        }
    }
}
