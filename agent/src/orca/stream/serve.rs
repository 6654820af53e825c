//! The listener of `--orca-listen`, on a thread of its own: in mode passive there is none of the data path's, and where
//! there is one, it is for requests.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use sluice_process::{Watch, upgrade::Sockets};
use sluice_relay::{
    Client, ClientBody, Doors, Handler, ReplyBody,
    limits::{ClientLimits, Http2Limits},
    listen::{Listener, Protocol, Socket},
    metrics::RelayMetrics,
    server::Server,
    threads::DataThreads,
};
use tokio::sync::watch;

use super::LoadStreams;
use crate::{data::EndNote, languages, shared::Shared};

/// Takes the address, by the socket in `inherited` if there is one for it, and leaves one in `heritage`; port 0 takes
/// a free one.
///
/// # Errors
/// If the address is taken.
pub(crate) fn bind(address: SocketAddr, inherited: &Sockets, heritage: &Sockets) -> io::Result<TcpListener> {
    languages::listen("orca", "--orca-listen", address, inherited, heritage)
}

/// Serves until `stop`; adds one to `ended` then.
///
/// # Errors
/// If there is no thread to be had.
pub(crate) fn start(
    shared: &Arc<Shared>,
    listener: TcpListener,
    relay: &RelayMetrics,
    stop: &Watch,
    ended: &watch::Sender<usize>,
) -> io::Result<DataThreads> {
    let (shared, relay, stop, ended) = (shared.clone(), relay.clone(), stop.clone(), ended.clone());
    DataThreads::start("agent-orca", vec![listener], move |listener| {
        let note = EndNote::new(ended.clone());
        let handler = Rc::new(OrcaHandler(LoadStreams::new(shared.clone(), stop.clone())));
        let doors = Doors::new(&limits(), Vec::new());
        let server = Server::new(handler, limits(), doors, relay.clone(), stop.clone());
        let protocol = Protocol { h2c: true, ..Protocol::default() };
        let (listener, stop) = (Listener { socket: Socket::Tcp(listener), protocol }, stop.clone());
        async move {
            let _note = note;
            server.listen(listener, stop).await;
        }
    })
}

/// A report is a few hundred bytes, and each peer needs one connection: whoever takes more time or room than that is gone
/// or none of them.
fn limits() -> ClientLimits {
    ClientLimits {
        keep_alive: Duration::from_secs(20),
        body_stall: Duration::from_secs(10),
        write_stall: Duration::from_secs(20),
        head_bytes: 16 * 1024,
        connections: 256,
        http2: Http2Limits { streams: 16, ping: Duration::from_secs(10), ..Http2Limits::default() },
        ..ClientLimits::default()
    }
}

struct OrcaHandler(LoadStreams);

impl Handler for OrcaHandler {
    type Observer = ();

    async fn handle(
        self: Rc<Self>,
        request: Request<ClientBody>,
        _client: Client,
    ) -> Response<ReplyBody<()>> {
        self.0.answer(request).await
    }
}
