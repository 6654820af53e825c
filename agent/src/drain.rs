//! Leaving without anybody noticing: tell the balancers, finish what runs, go.
//!
//! ```text
//!  asked ─► draining: report, wait for each balancer's word ─► serve until quiet ─► stop the server ─► report down
//!            (2 s at most)                                      (--drain-timeout)                       (1 s at most)
//! ```
//!
//! Asked again, everything is cut at once.

use std::{sync::Arc, time::Duration};

use sluice_process::{Shutdown, Watch};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{report::Published, shared::Shared, state::Leaving};

/// For balancers to learn of the drain. A report that is just being sent to a slow one may take one of them.
const TELL: Duration = Duration::from_secs(2);

/// For HAProxys to ask. Their `agent-inter` is 2 s unless it is set.
const TELL_HAPROXY: Duration = Duration::from_millis(2500);

/// For the last report. Whoever does not hear it in time finds out by the first connection that is refused.
const FAREWELL: Duration = Duration::from_secs(1);

/// The same when everything is to end at once: enough for a balancer that is there.
const HASTY_FAREWELL: Duration = Duration::from_millis(200);

/// At least, for responses that are complete here to leave the sockets' buffers once the server stops.
const FLUSH: Duration = Duration::from_secs(1);

/// The threads of the data path, and that of streamed load reports: how to stop them, and how many have ended.
pub struct DataPath {
    pub stop: Shutdown,
    pub threads: usize,
    pub ended: watch::Receiver<usize>,
}

impl DataPath {
    /// Resolves when a thread has ended; never if there is none, as in mode passive.
    pub async fn any_ended(&self) {
        match self.threads {
            0 => std::future::pending().await,
            _ => self.count(1).await,
        }
    }

    async fn all_ended(&self) {
        self.count(self.threads).await;
    }

    async fn count(&self, wanted: usize) {
        // `Err`: the last writer is gone, and with it the last thread.
        if self.ended.clone().wait_for(|ended| *ended >= wanted).await.is_err() {
            tracing::debug!("no data thread is left");
        }
    }
}

/// Sees the agent out, from the first request to stop to the last report.
pub async fn see_out(shared: &Arc<Shared>, data: &DataPath, asked: &Watch) {
    let farewell = tokio::select! {
        biased;
        () = asked.now() => HASTY_FAREWELL,
        () = gracefully(shared, data) => FAREWELL,
    };
    shared.gate.close();
    data.stop.trigger_now();
    data.all_ended().await;
    let version = shared.state.leave(Leaving::Stopped);
    if timeout(farewell, heard(shared, version)).await.is_err() {
        tracing::info!("some balancer did not hear that this agent stops");
    }
}

async fn gracefully(shared: &Arc<Shared>, data: &DataPath) {
    let deadline = Instant::now() + shared.in_force.load().drain_timeout;
    let version = shared.state.leave(Leaving::Draining("asked to stop"));
    if timeout(TELL, heard(shared, version)).await.is_err() {
        tracing::warn!("some balancer did not hear of the drain in time");
    }
    let patience = TELL_HAPROXY.min(shared.in_force.load().drain_timeout);
    if timeout(patience, heard_by_haproxy(shared)).await.is_err() {
        tracing::info!("some HAProxy did not ask (agent-check) since the drain began");
    }
    if timeout_at(deadline, shared.activity.quiet()).await.is_err() {
        let left = shared.activity.present();
        tracing::warn!(left, "requests that did not end within the drain timeout are cut");
        return;
    }
    // From here on a late request is refused, so that the balancer sends it elsewhere.
    shared.gate.close();
    data.stop.trigger();
    if timeout_at(deadline.max(Instant::now() + FLUSH), data.all_ended()).await.is_err() {
        tracing::debug!("some connection was not closed in time");
    }
}

/// Resolves when as many have asked as there are to be; at once if none is to.
async fn heard_by_haproxy(shared: &Shared) {
    let languages = &shared.config.languages;
    if languages.agent_check.is_some() {
        shared.told.of_drain(languages.agent_check_peers).await;
    }
}

/// Finishes what is under way while a successor takes what comes. Balancers are told nothing: that is the successor's.
pub async fn see_out_succeeded(shared: &Arc<Shared>, data: &DataPath, asked: &Watch) {
    data.stop.hand_over();
    let patience = shared.in_force.load().drain_timeout;
    let finished = async {
        data.all_ended().await;
        // Requests of the clock are none of the data path's.
        shared.activity.quiet().await;
    };
    let hurried = async {
        asked.requested().await;
        data.stop.trigger();
        std::future::pending::<()>().await
    };
    tokio::select! {
        biased;
        () = asked.now() => {}
        ended = timeout(patience, finished) => if ended.is_err() {
            tracing::warn!("what did not end within the drain timeout is cut");
        },
        () = hurried => {}
    }
    shared.gate.close();
    data.stop.trigger_now();
    data.all_ended().await;
}

/// Resolves when a report with this version of the state (or a later one) was tried with every balancer.
async fn heard(shared: &Arc<Shared>, version: u64) {
    let mut reports = shared.published.subscribe();
    let told =
        |report: &Option<Arc<Published>>| report.as_ref().is_some_and(|report| report.version >= version);
    let seq = match reports.wait_for(told).await {
        Ok(report) => report.as_ref().map_or(0, |report| report.report.seq),
        Err(_) => return tracing::error!("reports are no longer made"),
    };
    for link in shared.links.current().iter() {
        link.settled(seq).await;
    }
}
