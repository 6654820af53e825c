//! Requests that hold something of an instance.

use std::time::Instant;

use super::demand::{RunId, Stage};
use crate::decide::ids::{InstanceId, Lane};
use crate::decide::predict::RequestKey;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) instance: InstanceId,
    pub(super) key: RequestKey,
    pub(super) lane: Lane,
    /// When it was sent to its worker; one that was sent ahead, when that worker was freed.
    pub(super) sent: Instant,
    /// When the head of its response came.
    pub(super) head: Option<Instant>,
    pub(super) stage: Stage,
    pub(super) known_short: bool,
    pub(super) had_worker: bool,
    pub(super) large_beside: u32,
    pub(super) at_home: Option<bool>,
}

struct Slot {
    generation: u32,
    run: Option<Run>,
}

/// A slab: an id is never that of another request.
#[derive(Default)]
pub(super) struct Running {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
}

impl Running {
    pub(super) fn insert(&mut self, run: Run) -> RunId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, run: None });
            u32::try_from(self.slots.len() - 1).expect("fewer requests at a time than memory for them")
        });
        let slot = &mut self.slots[index as usize];
        slot.run = Some(run);
        RunId { index, generation: slot.generation }
    }

    pub(super) fn get(&self, id: RunId) -> Option<&Run> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?.run.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.run.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, id: RunId) -> Option<Run> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(id.index);
        slot.run.take()
    }
}
