//! Upgraded connections: bytes both ways, after both sides agreed with a 101.

use std::time::Duration;

use http::{Request, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::body::{End, Observer};
use crate::h1::Upgraded as Instance;
use crate::metrics::RelayMetrics;
use crate::upstream::Lease;

/// Whether a prepared request asks for an upgrade.
pub fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(header::UPGRADE)
}

/// Joins client and instance once both have changed protocols. Returns at once; the tunnel lives
/// until both sides ended, one failed, or neither said anything for `idle`.
///
/// `client` is the client's request's [`OnUpgrade`], taken before the request was sent on.
/// The observer is told the first byte at once: the protocol has changed.
pub fn splice_upgrade<O: Observer>(
    client: OnUpgrade,
    mut lease: Lease,
    idle: Duration,
    mut observer: O,
    metrics: &RelayMetrics,
) {
    let instance = lease.take_upgraded();
    let open = metrics.tunnels_open.clone();
    observer.first_byte();
    open.inc();
    tokio::task::spawn_local(async move {
        let (end, bytes) = match (client.await, instance) {
            (Ok(client), Some(instance)) => run(client, instance, idle).await,
            (Err(error), _) => {
                tracing::debug!(%error, "upgrade was not completed");
                (End::ClientGone, 0)
            }
            (Ok(_), None) => (End::CutShort, 0),
        };
        observer.ended(end, bytes);
        open.dec();
    });
}

/// Copies until both directions ended. Returns the bytes that the instance sent.
async fn run(client: Upgraded, instance: Instance, idle: Duration) -> (End, u64) {
    let (mut client_in, mut client_out) = tokio::io::split(TokioIo::new(client));
    let (instance_io, _open) = instance.io.into_tcp();
    let (instance_in, mut instance_out) = instance_io.into_split();
    let mut instance_in = instance.ahead.chain(instance_in);
    let activity = Activity::default();
    let mut received = 0;
    let mut sent = 0;
    let both = async {
        tokio::try_join!(
            copy(&mut client_in, &mut instance_out, &activity, &mut sent),
            copy(&mut instance_in, &mut client_out, &activity, &mut received),
        )
    };
    let end = tokio::select! {
        result = both => if result.is_ok() { End::Complete } else { End::CutShort },
        () = activity.ceased(idle) => End::Stalled,
    };
    (end, received)
}

/// Copies one direction and passes on its end.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
    bytes: &mut u64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        activity.noticed();
        to.write_all(&buffer[..n]).await?;
        *bytes += n as u64;
    }
}

/// Whether either direction moved.
#[derive(Default)]
struct Activity {
    moved: tokio::sync::Notify,
}

impl Activity {
    fn noticed(&self) {
        self.moved.notify_one();
    }

    async fn ceased(&self, idle: Duration) {
        while timeout(idle, self.moved.notified()).await.is_ok() {}
    }
}
