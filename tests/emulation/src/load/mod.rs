//! An open-loop load generator: arrivals come when the schedule says, whatever the target does.
//!
//! Latency is counted from the *scheduled* arrival, so a target (or a generator) that stalls shows
//! in full: nothing is left out because an earlier answer was late ("coordinated omission").

mod client;
mod outcome;
mod progress;
mod rate;
mod schedule;
mod slow;
mod summary;
mod workload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

pub use outcome::Failure;
pub use progress::{ClassProgress, Progress};
pub use rate::Rate;
pub use schedule::{Arrival, Schedule};
pub use summary::{ClassSummary, Latencies, RequestRecord, Summary};
pub use workload::{ClassLoad, PathPattern, Pick, Sections, Sizes, Workload, WorkloadError};

use client::Client;
use outcome::Outcome;
use summary::Tally;

/// How a run treats its target.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Requests in flight at most; an arrival beyond it is counted as not sent. Default 10,000.
    pub max_in_flight: usize,
    /// A request fails if not answered whole this long after its scheduled arrival. Default 60 s.
    pub timeout: Duration,
    /// `Host` header; default: the target's address.
    pub host: Option<String>,
    /// Maximum TCP segment of slow clients, in bytes. Default 1448, as on Ethernet: loopback's
    /// 64 KiB segments would let the kernel swallow most of a response at once.
    pub segment: u32,
    /// Receive buffer asked for by slow clients, in bytes (the kernel doubles it). Default 32 KiB.
    pub receive_buffer: usize,
    /// Keep each request in the summary, for figures of parts of a run. Default: no.
    pub keep_requests: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            max_in_flight: 10_000,
            timeout: Duration::from_secs(60),
            host: None,
            segment: 1448,
            receive_buffer: 32 * 1024,
            keep_requests: false,
        }
    }
}

/// Sends `workload` to `target` and returns when every request is answered, failed or timed out.
///
/// Never fails itself: what went wrong with requests is in the summary. `progress` must be made
/// from the same workload. Dropping the future drops all requests in flight.
pub async fn run(
    target: SocketAddr,
    workload: &Workload,
    options: RunOptions,
    progress: Arc<Progress>,
) -> Summary {
    let (max_in_flight, keep_requests) = (options.max_in_flight, options.keep_requests);
    let client = Arc::new(Client::new(target, options));
    let start = Instant::now();
    let mut tally = Tally::new(workload, keep_requests);
    let mut requests = JoinSet::new();
    for arrival in Schedule::new(workload) {
        let due = start + arrival.at;
        sleep_until(due).await;
        tally.lag(due.elapsed());
        while let Some(done) = requests.try_join_next() {
            tally.record(outcome_of(done));
        }
        if requests.len() < max_in_flight {
            progress.sent(arrival.class);
            requests.spawn(observe(Arc::clone(&client), arrival, due, Arc::clone(&progress)));
        } else {
            progress.not_sent(arrival.class);
            tally.not_sent(arrival.class);
        }
    }
    while let Some(done) = requests.join_next().await {
        tally.record(outcome_of(done));
    }
    tally.summary(target, workload, start.elapsed())
}

async fn observe(client: Arc<Client>, arrival: Arrival, due: Instant, progress: Arc<Progress>) -> Outcome {
    let outcome = client.exchange(&arrival, due).await;
    progress.done(&outcome, Instant::now());
    outcome
}

/// Requests are never aborted while the set lives, so a task that did not end has panicked.
fn outcome_of(done: Result<Outcome, JoinError>) -> Outcome {
    match done {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
