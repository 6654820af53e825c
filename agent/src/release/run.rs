//! One request at the instance, as the learner remembers it.

use sluice_proto::ClassName;
use tokio::time::Instant;

/// Names one request at the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) u64);

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Answered while every worker had something that was not over.
    Answered,
    /// It had to wait for the end of a response.
    Waited,
    /// A worker may have become free in some other way meanwhile, or it was not answered.
    Unclear,
}

#[derive(Debug)]
pub(super) struct Run {
    /// `None`: a question of the agent's own.
    pub(super) class: Option<ClassName>,
    pub(super) begun: Instant,
    /// A worker was free for it: fewer requests were there than workers.
    pub(super) has_worker: bool,
    pub(super) body: Option<Body>,
    /// The last response that was being sent when this came, and ended before this had its answer.
    pub(super) freed_by: Option<Suspect>,
    /// What its wait means, once that is said.
    pub(super) verdict: Option<ProbeOutcome>,
}

/// A response's body on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) since: Instant,
    /// As its head says.
    pub(super) length: Option<u64>,
}

/// A response that may hold its worker, or not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspect {
    pub(super) class: ClassName,
    pub(super) length: Option<u64>,
}

/// A proof that counts if the response goes on for long enough.
#[derive(Debug)]
pub(super) struct Pending {
    /// Of the responses that it may be about, the one that had been sent for longest.
    pub(super) run: RunId,
    /// The shortest of them.
    pub(super) suspect: Suspect,
    pub(super) counts_at: Instant,
}

impl Run {
    /// Its response, while that is being sent. What is in the class `other` has nothing in common.
    pub(super) fn suspect(&self) -> Option<Suspect> {
        let class = self.class.clone().filter(|class| class.as_str() != ClassName::OTHER)?;
        Some(Suspect { class, length: self.body?.length })
    }
}

impl Suspect {
    /// The shorter of two that are alike.
    pub(super) fn shorter(self, other: Self) -> Option<Self> {
        let alike = self.class == other.class && self.length.is_some() == other.length.is_some();
        alike.then(|| if other.length < self.length { other } else { self })
    }
}
