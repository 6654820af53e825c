//! What a request asks of the dispatcher, and what it gets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::why::Why;
use crate::decide::ids::{ClassId, InstanceId, Lane};
use crate::decide::predict::RequestKey;

/// What one request asks for.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Its class, and what else its cost is predicted from.
    pub key: RequestKey,
    pub lane: Lane,
    /// Above 0 before, below 0 after the others of its lane.
    pub priority: i8,
    /// When it must have been sent; `None`: in turn.
    pub due: Option<Instant>,
    /// The only instances that may serve it; `None`: any.
    pub only: Option<Arc<[InstanceId]>>,
    /// The instance that has its session: it waits for that one while it is up.
    pub sticky: Option<InstanceId>,
    /// Whether others may be queued behind it: its class is known to be short.
    pub known_short: bool,
}

impl Demand {
    /// A request that any instance may serve in turn.
    pub fn new(key: RequestKey, lane: Lane) -> Self {
        Self { key, lane, priority: 0, due: None, only: None, sticky: None, known_short: false }
    }

    pub fn class(&self) -> ClassId {
        self.key.class
    }
}

/// One slot, from the sending to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A slot that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub run: RunId,
    pub instance: InstanceId,
    pub why: Why,
}

/// A slot for one that waited.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W> {
    pub waiter: W,
    pub granted: Granted,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) lane: Lane,
    pub(super) order: Order,
}

/// Who is served first within a lane: by priority, then by when it is due, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// Negated, so that a higher priority sorts first.
    pub(super) rank: i16,
    pub(super) due: Instant,
    pub(super) number: u64,
}

impl Order {
    pub(super) fn rank_of(priority: i8) -> i16 {
        -i16::from(priority)
    }
}

/// What became of an arriving request.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The slot is taken; send it there.
    Slot(Granted),
    /// It waits; see [`super::Dispatcher::next_grant`].
    Waiting(Ticket),
    /// It must be turned away.
    Refused(Refusal),
}

/// Why a request is turned away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// No instance that it may use is up.
    NoInstance,
    /// The queue is full.
    QueueFull,
    /// It would wait for longer than it may.
    TooLate,
}

/// Where a request is that holds something of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It holds a worker.
    Working,
    /// Its worker is free; its response is still being sent.
    Streaming,
}

/// A worker that was given back, and what that says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Released {
    pub instance: InstanceId,
    pub key: RequestKey,
    pub lane: Lane,
    pub held: Duration,
    /// How long the worker was held after the head of the response, if there was one.
    pub sending: Option<Duration>,
    /// `held` is a worker's time: the request was sent to a free one, or the time at which one was
    /// freed for it is known.
    pub had_worker: bool,
    pub large_beside: u32,
    /// `None`: its class has no home.
    pub at_home: Option<bool>,
    /// How slow the instance is known to be: 1 or more.
    pub slowness: f64,
}
