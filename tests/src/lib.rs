//! End-to-end tests: fixtures here, one file per promise in tests/.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | HTTP/1.1 by hand over a socket, from either side, where the bytes matter |
//! | [`frames`] | HTTP/2 by hand, frame by frame, as attackers write it |
//! | [`dns`] | a DNS server that says what a test wants |
//! | [`http2`] | HTTP/2 as clients speak it |
//! | [`orca`] | load reports on gRPC streams, as Envoy asks for them |
//! | [`certs`] | certificates, and clients that believe them |
//! | [`script`] | instances that do exactly what a test says |
//! | [`site`] | balancer and agents in this process, on free ports |
//! | [`process`] | the same as child processes, to be killed and measured |
//! | [`lineage`] | one of them after the other, upgraded |
//! | [`admin`] | what the admin addresses say |
//!
//! Nothing sleeps to let something happen: tests wait for events, or for a condition by [`eventually`].

pub mod admin;
pub mod certs;
pub mod conformance;
pub mod dns;
pub mod frames;
pub mod http2;
pub mod kubernetes;
pub mod lineage;
pub mod orca;
pub mod process;
pub mod script;
pub mod site;
pub mod wire;

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// Longer than anything takes that works, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What `event` comes to; panics if it takes longer than [`PATIENCE`].
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Polls until `probe` gives something; panics, with what it said last, after `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if Instant::now() >= deadline => panic!("{what}: not within {within:?}: {last}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// For [`eventually`]: `value` if it is as wanted, else what it is.
pub fn expect<T: std::fmt::Debug>(value: T, wanted: impl FnOnce(&T) -> bool) -> Result<T, String> {
    if wanted(&value) { Ok(value) } else { Err(format!("{value:?}")) }
}
