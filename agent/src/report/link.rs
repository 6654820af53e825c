//! What is known of one balancer: how the last reports went, and what it answered.

use std::sync::{Mutex, PoisonError};

use prometheus::IntCounter;
use sluice_proto::PlanReply;
use tokio::{sync::watch, time::Instant};

use crate::{config::BalancerUrl, metrics::AgentMetrics};

/// What became of one report. One metric label each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SendOutcome {
    Acknowledged,
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The token is missing or wrong.
    Unauthorized,
    /// Another status of the 400s: the balancer does not want this report.
    Refused,
    /// A status of the 500s.
    Failed,
    /// A redirect or worse: nothing that a balancer says.
    Unexpected,
    /// Taken, but the answer is no plan that this agent understands.
    InvalidReply,
}

impl SendOutcome {
    pub const ALL: [Self; 8] = [
        Self::Acknowledged,
        Self::Unreachable,
        Self::TimedOut,
        Self::Unauthorized,
        Self::Refused,
        Self::Failed,
        Self::Unexpected,
        Self::InvalidReply,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unexpected => "unexpected",
            Self::InvalidReply => "invalid_reply",
        }
    }
}

/// One balancer. Written by its sender alone.
pub struct Link {
    pub url: BalancerUrl,
    status: Mutex<LinkStatus>,
    /// The last report that was tried, whatever became of it.
    settled: watch::Sender<u64>,
    counters: [IntCounter; SendOutcome::ALL.len()],
}

/// For the status page and the gauges.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// The last outcome and the words for it. `None`: nothing was sent yet.
    pub last: Option<(SendOutcome, String)>,
    /// Of the last report that was acknowledged.
    pub acknowledged_seq: u64,
    /// When that was; before the first one, when the agent started.
    pub acknowledged_at: Instant,
    pub plan: Option<PlanReply>,
}

impl Link {
    pub fn new(url: BalancerUrl, metrics: &AgentMetrics, now: Instant) -> Self {
        let counters = metrics.reports_to(url.as_str());
        let status = LinkStatus { last: None, acknowledged_seq: 0, acknowledged_at: now, plan: None };
        Self { url, status: Mutex::new(status), settled: watch::Sender::new(0), counters }
    }

    pub fn status(&self) -> LinkStatus {
        self.locked().clone()
    }

    pub(super) fn acknowledged(&self, seq: u64, plan: PlanReply, now: Instant) {
        {
            let mut status = self.locked();
            status.acknowledged_seq = seq;
            status.acknowledged_at = now;
            status.plan = Some(plan);
        }
        self.settle(seq, SendOutcome::Acknowledged, String::new());
    }

    pub(super) fn failed(&self, seq: u64, outcome: SendOutcome, detail: String) {
        self.settle(seq, outcome, detail);
    }

    /// Resolves when report `seq`, or a later one, was acknowledged or has failed: a balancer that can not be reached
    /// is not waited for.
    pub async fn settled(&self, seq: u64) {
        let mut settled = self.settled.subscribe();
        settled.wait_for(|tried| *tried >= seq).await.expect("the sender is in self");
    }

    fn settle(&self, seq: u64, outcome: SendOutcome, detail: String) {
        self.counters[outcome as usize].inc();
        let before = self.locked().last.replace((outcome, detail.clone()));
        self.log_transition(before.map(|(outcome, _)| outcome), outcome, &detail);
        self.settled.send_replace(seq);
    }

    /// A balancer that is down for a day is two lines, not 86,400.
    fn log_transition(&self, before: Option<SendOutcome>, now: SendOutcome, detail: &str) {
        let balancer = self.url.as_str();
        match now {
            _ if before == Some(now) => {}
            SendOutcome::Acknowledged => tracing::info!(balancer, "reports are taken"),
            _ => tracing::warn!(balancer, outcome = now.label(), detail, "reports are not taken; trying on"),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, LinkStatus> {
        // Plain values: each is whole whenever the lock is free.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_the_order_of_their_counters() {
        for (index, outcome) in SendOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }
}
