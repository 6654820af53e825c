//! One instance as the data path sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sluice_proto::report::ReleasePoint;
use sluice_proto::{ClassName, ClassRelease, InstanceName, Target};
use tokio::sync::Notify;

use crate::decide::dispatch::InstanceId;

/// What a request needs to know of the instance it was given. A new address makes a new value
/// under the same id; the rest changes in place.
#[derive(Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub name: InstanceName,
    pub target: Target,
    known_since: Instant,
    releases_at_first_byte: AtomicBool,
    /// Where its agent knows better, by class; empty where agents have not said so of late.
    releases: ArcSwap<HashMap<ClassName, ClassRelease>>,
    /// Requests reach it through its agent.
    behind_agent: AtomicBool,
    /// That agent says by itself that it runs.
    answers_probes: AtomicBool,
    /// Milliseconds after `known_since`, plus one; 0: never.
    last_success: AtomicU64,
    /// A connection failed and none succeeded since.
    suspect: AtomicBool,
    given_up: Notify,
}

impl Instance {
    pub fn new(
        id: InstanceId,
        name: InstanceName,
        target: Target,
        release: ReleasePoint,
        now: Instant,
    ) -> Self {
        Self {
            id,
            name,
            target,
            known_since: now,
            releases_at_first_byte: AtomicBool::new(release == ReleasePoint::FirstByte),
            releases: ArcSwap::default(),
            behind_agent: AtomicBool::new(false),
            answers_probes: AtomicBool::new(false),
            last_success: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            given_up: Notify::new(),
        }
    }

    /// Whether its worker is free at the first byte of a response of that class. `length`: of the body, if it says.
    pub fn frees_early(&self, class: &ClassName, length: Option<u64>) -> bool {
        match self.releases.load().get(class) {
            Some(claim) => claim.frees_early(length),
            None => self.releases_at_first_byte.load(Relaxed),
        }
    }

    pub fn set_release_point(&self, point: ReleasePoint) {
        self.releases_at_first_byte.store(point == ReleasePoint::FirstByte, Relaxed);
    }

    /// What its agent says of classes, in place of all that it said before.
    pub fn set_releases(&self, claims: &[ClassRelease]) {
        if claims.is_empty() && self.releases.load().is_empty() {
            return;
        }
        let by_class = claims.iter().map(|claim| (claim.class.clone(), claim.clone())).collect();
        self.releases.store(Arc::new(by_class));
    }

    /// Whether Sluice's own fields mean something there.
    pub fn is_behind_agent(&self) -> bool {
        self.behind_agent.load(Relaxed)
    }

    pub fn set_behind_agent(&self, behind: bool) {
        self.behind_agent.store(behind, Relaxed);
    }

    /// Whether to ask, and not just to connect, to find out that it can be reached.
    pub fn answers_probes(&self) -> bool {
        self.answers_probes.load(Relaxed)
    }

    pub fn set_answers_probes(&self, answers: bool) {
        self.answers_probes.store(answers, Relaxed);
    }

    /// It answered a request.
    pub fn succeeded(&self, now: Instant) {
        let after = now.saturating_duration_since(self.known_since).as_millis();
        self.last_success.store(u64::try_from(after).unwrap_or(u64::MAX - 1) + 1, Relaxed);
    }

    pub fn last_success(&self) -> Option<Instant> {
        let after = self.last_success.load(Relaxed).checked_sub(1)?;
        Some(self.known_since + Duration::from_millis(after))
    }

    /// Nothing more is expected of it: requests that wait there for a response and may be sent twice are sent elsewhere.
    pub fn give_up(&self) {
        self.given_up.notify_waiters();
    }

    /// Resolves at the next [`Self::give_up`].
    pub async fn given_up(&self) {
        self.given_up.notified().await;
    }

    pub(super) fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Relaxed);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }
}
