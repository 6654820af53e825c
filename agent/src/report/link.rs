//! What is known of one balancer: how the last reports went, and what it answered.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use prometheus::IntCounter;
use sluice_proto::{Classification, Classifier, PlanReply};
use tokio::{sync::watch, time::Instant};

use super::Form;
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
    /// The token, or the client certificate, is missing or wrong.
    Unauthorized,
    /// The name is another agent's, or the address another instance's; or the certificate is for another name.
    Misplaced,
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
    pub const ALL: [Self; 9] = [
        Self::Acknowledged,
        Self::Unreachable,
        Self::TimedOut,
        Self::Unauthorized,
        Self::Misplaced,
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
            Self::Misplaced => "misplaced",
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
    held: Mutex<Option<Held>>,
    /// It said with its last answer that it reads short reports. Who did not answer may be another one by now.
    reads_lean: AtomicBool,
    /// The last report that was tried, whatever became of it.
    settled: watch::Sender<u64>,
    counters: [IntCounter; SendOutcome::ALL.len()],
}

/// A classification that the balancer sent.
struct Held {
    version: u64,
    /// `None`: it is not one that this agent can use.
    classifier: Option<Arc<Classifier>>,
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
        Self {
            url,
            status: Mutex::new(status),
            held: Mutex::default(),
            reads_lean: AtomicBool::new(false),
            settled: watch::Sender::new(0),
            counters,
        }
    }

    pub fn status(&self) -> LinkStatus {
        self.locked().clone()
    }

    /// How the next report is to be written.
    pub(super) fn form(&self) -> Form {
        if self.reads_lean.load(Relaxed) { Form::Lean } else { Form::Full }
    }

    /// How the balancer classifies, if it has said so.
    pub fn classifier(&self) -> Option<Arc<Classifier>> {
        self.held().as_ref().and_then(|held| held.classifier.clone())
    }

    /// The version of what the balancer has said of that.
    pub fn classification(&self) -> Option<u64> {
        self.held().as_ref().map(|held| held.version)
    }

    fn hold(&self, classification: &Classification) {
        let classifier = Classifier::try_from(classification.clone()).inspect_err(|error| {
            tracing::warn!(balancer = self.url.as_str(), %error, "its rules can not be used");
        });
        let version = classification.version;
        // One that can not be used is held as well, or it would come again with every plan.
        *self.held() = Some(Held { version, classifier: classifier.ok().map(Arc::new) });
    }

    pub(super) fn acknowledged(&self, seq: u64, mut plan: PlanReply, now: Instant) {
        if let Some(classification) = plan.classification.take() {
            self.hold(&classification);
        }
        self.reads_lean.store(plan.lean, Relaxed);
        {
            let mut status = self.locked();
            status.acknowledged_seq = seq;
            status.acknowledged_at = now;
            status.plan = Some(plan);
        }
        self.settle(seq, SendOutcome::Acknowledged, String::new());
    }

    pub(super) fn failed(&self, seq: u64, outcome: SendOutcome, detail: String) {
        self.reads_lean.store(false, Relaxed);
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

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
