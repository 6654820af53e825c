//! One instance as the data path sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sluice_proto::report::ReleasePoint;
use sluice_proto::{InstanceName, Target};

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
    /// Requests reach it through its agent.
    behind_agent: AtomicBool,
    /// Milliseconds after `known_since`, plus one; 0: never.
    last_success: AtomicU64,
    /// A connection failed and none succeeded since.
    suspect: AtomicBool,
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
            behind_agent: AtomicBool::new(false),
            last_success: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
        }
    }

    /// When its worker is free.
    pub fn release_point(&self) -> ReleasePoint {
        if self.releases_at_first_byte.load(Relaxed) { ReleasePoint::FirstByte } else { ReleasePoint::End }
    }

    pub fn set_release_point(&self, point: ReleasePoint) {
        self.releases_at_first_byte.store(point == ReleasePoint::FirstByte, Relaxed);
    }

    /// Whether Sluice's own fields mean something there.
    pub fn is_behind_agent(&self) -> bool {
        self.behind_agent.load(Relaxed)
    }

    pub fn set_behind_agent(&self, behind: bool) {
        self.behind_agent.store(behind, Relaxed);
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

    pub(super) fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, Relaxed);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Relaxed)
    }
}
