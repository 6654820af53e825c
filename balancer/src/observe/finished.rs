//! A request that is over, as whoever is told sees it.

use std::time::{Duration, Instant};

use sluice_relay::Failure;
use sluice_relay::trace::TraceParent;

use crate::metrics::Outcome;
use crate::observe::trail::{Asked, Attempt};

/// What a request was, where it went and what it came to.
pub struct Finished<'a> {
    pub asked: &'a Asked,
    pub service: &'a str,
    pub class: &'a str,
    pub lane: Option<&'static str>,
    /// Where it was sent, the last one last.
    pub attempts: &'a [Attempt],
    pub outcome: Outcome,
    /// As the instance answered, if it did.
    pub answered: Option<u16>,
    /// The same, or as Sluice did in its stead.
    pub status: u16,
    pub arrived: Instant,
    /// From its arrival to the last byte that its instance sent.
    pub duration: Duration,
    /// Of that, waiting for a worker.
    pub queue: Duration,
    /// For how long it was expected to hold a worker.
    pub predicted: Option<Duration>,
    /// From its being sent to the head of the response.
    pub ttfb: Option<Duration>,
    /// Of its body.
    pub request_bytes: u64,
    /// Of the response's body, from the instance.
    pub response_bytes: u64,
    /// `None`: it was refused before it had one.
    pub trace: Option<TraceParent>,
}

/// What nginx writes for a client that did not wait: no response was sent that could have a status.
const CLIENT_GONE: u16 = 499;

/// The status that tells best what became of a request. `answered`: the status of the instance's response, if there
/// was one.
pub(super) fn status(outcome: Outcome, answered: Option<u16>) -> u16 {
    match outcome {
        Outcome::Answered(status) => status,
        Outcome::Failed(Failure::ClientGone) => CLIENT_GONE,
        Outcome::Failed(failure) => failure.status().as_u16(),
        Outcome::Broken(_) => answered.unwrap_or(CLIENT_GONE),
    }
}

impl Finished<'_> {
    /// Why it was not answered to the end; `None`: it was.
    pub fn failure(&self) -> Option<&'static str> {
        (!matches!(self.outcome, Outcome::Answered(_))).then(|| self.outcome.label())
    }

    /// Whether it is one that operators look for: not answered to the end, or with a 5xx.
    pub fn is_notable(&self) -> bool {
        self.failure().is_some() || self.status >= 500
    }

    /// The instance that it was sent to last.
    pub fn instance(&self) -> Option<&str> {
        self.attempts.last().map(|attempt| attempt.instance.name.as_str())
    }
}
