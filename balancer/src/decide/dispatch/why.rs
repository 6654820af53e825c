//! Why a request goes where it goes, or waits.

use serde::{Deserialize, Serialize};

use super::demand::{Demand, Refusal};
use super::index::Zone;
use super::table::Entry;
use crate::decide::ids::InstanceId;

/// Why a request is sent to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It has the request's session.
    Session,
    /// To find out whether it can be reached again.
    Trial,
    /// The best of those that may serve it: by a rule, or as others failed it.
    Allowed,
    /// No worker is free; one more is sent, as so many wait.
    Ahead,
    /// Its class is at home there.
    Home,
    /// No better one is free, and so many wait that a slow one is worth it.
    Slow,
    /// It is for large requests first.
    Dedicated,
    /// Large, and served where a worker is free.
    Large,
    /// Every free worker is beside a large request.
    Beside,
    /// The smallest share of its workers is held.
    Free,
}

impl Why {
    /// For labels and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Trial => "trial",
            Self::Allowed => "allowed",
            Self::Ahead => "ahead",
            Self::Home => "home",
            Self::Slow => "slow",
            Self::Dedicated => "dedicated",
            Self::Large => "large",
            Self::Beside => "beside",
            Self::Free => "free",
        }
    }

    /// Of a request that is about to be counted at `entry`. `restricted`: it may not use every instance.
    pub(super) fn of(entry: &Entry, demand: &Demand, restricted: bool, at_home: bool) -> Self {
        if demand.sticky == Some(entry.id) {
            Self::Session
        } else if !entry.breaker.is_closed() {
            Self::Trial
        } else if restricted {
            Self::Allowed
        } else if !entry.load.has_slot() {
            Self::Ahead
        } else if at_home && !demand.lane.is_large() {
            Self::Home
        } else if entry.slowness > 1.0 {
            Self::Slow
        } else if demand.lane.is_large() {
            if entry.zone == Zone::Dedicated { Self::Dedicated } else { Self::Large }
        } else if entry.load.large > 0 {
            Self::Beside
        } else {
            Self::Free
        }
    }
}

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// The workers of the instance that has its session are held.
    Session,
    /// Its home is worth waiting for.
    Home,
    /// Its lane, or a larger one with it, holds as many workers as it may.
    Cap,
    /// The workers of the instances that may serve it are held.
    Allowed,
    /// Others came before.
    Queue,
    /// The free workers are so slow that waiting takes less.
    Slower,
    /// The free workers are kept for small requests.
    Kept,
    /// The free workers are of a version that has had its share.
    Version,
    /// Every worker is held.
    Busy,
    /// No instance has been heard of since the start.
    First,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "does")]
pub enum Course {
    Sent {
        instance: InstanceId,
        why: Why,
    },
    /// `at`: the instance that it waits for; `None`: for any that it may use.
    Waits {
        why: Wait,
        at: Option<InstanceId>,
    },
    Refused {
        why: Refusal,
    },
}

impl Course {
    pub fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Sent { instance, .. } => Some(*instance),
            Self::Waits { .. } | Self::Refused { .. } => None,
        }
    }
}
